"""voxtell-dicom: a DICOM node for free-text 3-D segmentation with VoxTell. Research use, not a medical device."""

from __future__ import annotations

__version__ = "0.2.0a1"
