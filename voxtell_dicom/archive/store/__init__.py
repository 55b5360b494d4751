"""Store of objects: bytes under keys. The index decides what exists, never the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

Writer = Callable[[BinaryIO], object]


class Store(Protocol):
    """Objects under keys such as ``series/a/b.dcm``. Every method raises OSError where the store is not available."""

    def put(self, key: str, write: Writer) -> int:
        """Store what `write` writes, durably and whole; return its size in bytes. An object of the key is replaced."""

    def path(self, key: str) -> Path:
        """Return a local file with the object's content; it may be absent."""

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""

    def list(self, prefix: str) -> Iterator[str]:
        """Return the keys below a prefix that ends in a slash, in no order."""

    def remove(self, key: str) -> None:
        """Delete one object, if it is there."""

    def delete(self, prefix: str) -> None:
        """Delete the objects below a prefix that ends in a slash, all at once."""
