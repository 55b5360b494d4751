"""Names of what the store holds."""

from __future__ import annotations

import hashlib


def name_of(uid: str) -> str:
    """Return the file or folder name for a UID: a hash, since a UID is chosen by whoever sends it."""
    return hashlib.sha256(uid.encode()).hexdigest()[:40]


def series_prefix(series_uid: str) -> str:
    """Return the prefix of the keys of a series' instances."""
    return f"series/{name_of(series_uid)}/"


def instance_key(series_uid: str, sop_instance_uid: str, digest: str) -> str:
    """Return the key of an instance with this content."""
    return f"{series_prefix(series_uid)}{name_of(sop_instance_uid)}-{digest[:16]}.dcm"
