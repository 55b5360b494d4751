"""Text within the limits of its value representation (PS3.5 6.2)."""

from __future__ import annotations

from typing import Final

LO: Final = 64
ST: Final = 1024


def clipped(text: str, limit: int = LO, ending: str = "") -> str:
    """Return `text` without control characters and backslashes, cut with an ellipsis to leave room for `ending`."""
    clean = "".join(" " if ord(c) < 32 or c == "\\" else c for c in text).strip()
    room = limit - len(ending)
    if len(clean) > room:
        clean = clean[: room - 3].rstrip() + "..."
    return clean + ending
