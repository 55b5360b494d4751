"""Marker that tells if index and store belong together: a store id, and a generation that grows while work is done.

A database that was lost, or restored from an older backup, has a lower generation than the store: then the store holds
instances that no row knows, and the index is completed from it.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from voxtell_dicom.archive import tables
from voxtell_dicom.archive.store import Store

KEY = "index.json"


@dataclass(frozen=True)
class Marker:
    """A store id, and a generation of what it holds."""

    store_id: str
    generation: int


def read_store(store: Store) -> Marker | None:
    """Return the store's marker, None where there is none. Raises OSError."""
    try:
        content = json.loads(store.path(KEY).read_bytes())
        return Marker(str(content["store_id"]), int(content["generation"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def read_index(connection: sa.Connection) -> Marker | None:
    """Return the index's marker, None where it is new."""
    row = connection.execute(sa.select(tables.marker).where(tables.marker.c.id == 1)).first()
    return Marker(row.store_id, row.generation) if row else None


def is_behind(index: Marker | None, store: Marker | None) -> bool:
    """Return whether the store may hold what the index does not know."""
    return index is None or store is None or index.store_id != store.store_id or index.generation < store.generation


def advance(engine: sa.Engine, store: Store) -> Marker:
    """Record the next generation in both: in the index first, so that a crash between makes none seem older."""
    here = read_store(store)
    with engine.begin() as connection:
        known = read_index(connection)
        generation = 1 + max(known.generation if known else 0, here.generation if here else 0)
        marker = Marker(here.store_id if here else uuid.uuid4().hex, generation)
        if known is None:
            connection.execute(sa.insert(tables.marker).values(id=1, store_id="", generation=0))
        values = {"store_id": marker.store_id, "generation": marker.generation}
        connection.execute(sa.update(tables.marker).where(tables.marker.c.id == 1).values(values))
    content = json.dumps({"v": 1, "store_id": marker.store_id, "generation": marker.generation}).encode()
    store.put(KEY, lambda file: file.write(content))
    return marker
