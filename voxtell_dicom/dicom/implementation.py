"""Who we are on the network and in files: one identity for all associations and all Part 10 files (PS3.7 D.3.3.2)."""

from __future__ import annotations

from typing import Final

import voxtell_dicom

IMPLEMENTATION_CLASS_UID: Final = "2.25.212497063172418563951227684935170614113"
IMPLEMENTATION_VERSION_NAME: Final = f"VOXTELL_{voxtell_dicom.__version__}"[:16]
