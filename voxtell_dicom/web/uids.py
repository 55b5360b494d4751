"""UIDs in paths and queries: checked before anything is looked up by them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Path

# PS3.5 section 9.1, but for leading zeros: devices write them, and reception takes them.
_PATTERN: Final = r"[0-9]+(\.[0-9]+)*"
_LONGEST: Final = 64
NO_UID: Final = "the path holds something else where a UID must stand (PS3.5 section 9.1)"

PathUid = Annotated[str, Path(pattern=f"^{_PATTERN}$", max_length=_LONGEST)]  # else RequestValidationError


def is_uid(text: str) -> bool:
    """Return whether a text is a UID: numbers with dots between them, at most 64 characters."""
    return len(text) <= _LONGEST and bool(re.fullmatch(_PATTERN, text, re.ASCII))
