"""What never starts work (contracts § 3): results and documents, which are kept but make no series complete.

A PACS that forwards everything it stores, our results included, therefore runs one job.
"""

from __future__ import annotations

_PREFIXES = (
    "1.2.840.10008.5.1.4.1.1.88.",  # Structured Reports and Key Object Selection
    "1.2.840.10008.5.1.4.1.1.11.",  # Presentation States
    "1.2.840.10008.5.1.4.1.1.7.",  # multi-frame Secondary Capture
)
_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.5",  # Surface Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.66.8",  # Height Map Segmentation
        "1.2.840.10008.5.1.4.1.1.481.3",  # RT Structure Set
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image
    }
)


def never_starts(sop_class_uid: str) -> bool:
    """Whether instances of this class start work only where a rule asks for the class."""
    return sop_class_uid in _CLASSES or sop_class_uid.startswith(_PREFIXES)
