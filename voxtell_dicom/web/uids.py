"""UIDs in paths and queries: checked before anything is looked up by them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import HTTPException, Path
from pydantic import AfterValidator

# PS3.5 section 9.1, but for leading zeros: devices write them, and reception takes them.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
NO_UID: Final = "the path holds something else where a UID must stand (PS3.5 section 9.1)"


def is_uid(text: str) -> bool:
    """Return whether a text is a UID: numbers with dots between them, at most 64 characters."""
    return len(text) <= 64 and bool(_UID.fullmatch(text))


def checked(text: str) -> str:
    """Return a UID. Raises HTTPException (400) where it is none."""
    if not is_uid(text):
        raise HTTPException(400, NO_UID)
    return text


PathUid = Annotated[str, Path(pattern=r"^[0-9.]+$", max_length=64), AfterValidator(checked)]
