"""`python -m voxtell_dicom` is `voxtell-dicom`."""

from __future__ import annotations

from voxtell_dicom.cli import app

app(prog_name="voxtell-dicom")
