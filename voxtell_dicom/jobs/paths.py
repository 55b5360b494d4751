"""Paths in stored values: relative to the storage folder, so that it can move, and another host can read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_KEYS = frozenset({"path", "other"})  # of Instance, Frame and Result


def relative(data: Any, root: Path | None) -> Any:
    """Return JSON of values with the paths below `root` relative to it; others stay (a test's, an old row's)."""
    return data if root is None else _mapped(data, lambda path: _below(path, root))


def absolute(data: Any, root: Path | None) -> Any:
    """Return the inverse of `relative`; what is absolute stays as it is."""
    return data if root is None else _mapped(data, lambda path: str(root / path))


def _below(path: str, root: Path) -> str:
    prefix = f"{root}/"
    return path.removeprefix(prefix)


def _mapped(data: Any, change: Any) -> Any:
    if isinstance(data, dict):
        return {
            key: change(value) if key in _KEYS and isinstance(value, str) else _mapped(value, change)
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [_mapped(item, change) for item in data]
    return data
