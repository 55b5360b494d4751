"""The index made, or completed, from the objects in the store; a storage folder of version 0.1 taken over.

Version 0.1 kept its state in journals beside the instances: ``taken.jsonl`` (versions handed on), ``own.txt`` (UIDs of
our results) and, per series, ``associations.jsonl`` (how each association ended). They are read once and renamed
``*.imported``; the instances stay as they are.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from voxtell_dicom.archive import index, tables
from voxtell_dicom.archive.naming import series_prefix
from voxtell_dicom.archive.part10 import Facts, read_facts
from voxtell_dicom.archive.store.folder import FolderStore

_RECEIVER = "0.1"  # of the holds of a folder of that version

log = structlog.get_logger(__name__)


def complete_index(engine: sa.Engine, store: FolderStore, now: float) -> int:
    """Insert what the store holds and the index does not, and the journals of version 0.1. Returns how many instances.

    Series that get instances so are looked at again: a version of which the index does not know that it was handed on
    is handed on. Raises OSError. May be repeated: it does nothing twice.
    """
    found = 0
    journals: list[Path] = []
    for prefix in sorted(f"series/{folder.name}/" for folder in (store.root / "series").iterdir() if folder.is_dir()):
        found += _complete_series(engine, store, prefix, now)
        journals += (store.root / prefix).glob("associations.jsonl")
        if not any((store.root / prefix).iterdir()):
            (store.root / prefix).rmdir()
    versions, own = store.root / "taken.jsonl", store.root / "own.txt"
    with engine.begin() as connection:
        rows = [
            {"series_uid": str(uid), "version": str(version), "at": float(at), "incomplete": ""}
            for uid, version, at in _lines_of(versions)
        ]
        index.insert_ignore(connection, tables.series_version, rows)
        index.add_uids(connection, _whole_lines(own))
    for path in (versions, own, *journals):
        if path.exists():
            path.rename(path.with_name(f"{path.name}.imported"))
    return found


def end_earlier_runs(engine: sa.Engine, store: FolderStore, receiver: str, now: float) -> None:
    """End the associations that were open when an earlier run of this node ended: as lost, now, for senders go on.

    What they brought is in the store; rows that were lost in a power cut are inserted again.
    """
    with engine.connect() as connection:
        holds = list(index.open_holds(connection, receiver))
    for series_uid in sorted({hold.series_uid for hold in holds}):
        _complete_series(engine, store, series_prefix(series_uid), now)
    for association in sorted({hold.association for hold in holds}):
        with engine.begin() as connection:
            index.end_holds(connection, association, now, released=False)


def _complete_series(engine: sa.Engine, store: FolderStore, prefix: str, now: float) -> int:
    """Insert or correct the rows of one series from its objects. Returns how many were inserted."""
    here = sorted(_read(store, prefix), key=lambda pair: pair[1].series_uid)
    found = 0
    for series_uid, some in groupby(here, key=lambda pair: pair[1].series_uid):
        objects = list(some)
        first = objects[0][1]
        with engine.begin() as connection:
            new = 0
            known = {one.sop_uid: one for part in index.instances(connection, series_uid, bool) for one in part}
            index.add_series(connection, max((facts for _, facts in objects), key=lambda facts: facts.arrived), now)
            index.lock_series(connection, series_uid)
            for key, facts in objects:
                row = index.instance_row(facts, key, store.path(key).stat().st_size, None)
                old = known.get(facts.sop_instance_uid)
                if old is None:
                    new += index.insert_ignore(connection, tables.instance, [row])
                elif old.object == key and old.digest != facts.digest:
                    index.replace_instance(connection, old, row)
            if new:
                _add_links(connection, store, prefix, [facts for _, facts in objects])
                index.mark_new(connection, first.series_uid, now)
            found += new
    return found


def _read(store: FolderStore, prefix: str) -> Iterator[tuple[str, Facts]]:
    """The objects of a prefix with their facts; what is none of ours is left alone and named in the log."""
    for key in store.list(prefix):
        if not key.endswith(".dcm"):
            continue
        try:
            yield key, read_facts(store.path(key))
        except (ValueError, TypeError, KeyError, struct.error) as error:
            log.error("not an object of the archive: left alone", object=key, error=str(error))


def _add_links(connection: sa.Connection, store: FolderStore, prefix: str, facts: list[Facts]) -> None:
    """The associations of a series of version 0.1. One whose end was not written was cut off: lost."""
    journal = store.root / prefix / "associations.jsonl"
    if not journal.exists():
        return
    senders = {one.association: one for one in facts}
    ends = {line["association"]: line for line in _lines_of(journal)}
    rows = []
    for association in {*senders, *ends}:
        sender, end = senders.get(association), ends.get(association, {})
        last = max((one.arrived for one in facts if one.association == association), default=0.0)
        rows.append(
            {
                "series_uid": facts[0].series_uid,
                "association": association,
                "receiver": _RECEIVER,
                "calling_ae": index.plain(sender.calling_ae) if sender else "",
                "opened": float(end.get("opened", sender.opened if sender else 0.0)),
                "ended": float(end.get("ended", last)),
                "released": bool(end.get("released", False)),
            }
        )
    index.insert_ignore(connection, tables.hold, rows)


def _lines_of(path: Path) -> list[Any]:
    """The lines of a journal as JSON; one that is none (a damaged disk) is left out and named in the log."""
    found = []
    for number, line in enumerate(_whole_lines(path), 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            log.error("unreadable line", file=str(path), line=number)
    return found


def _whole_lines(path: Path) -> list[str]:
    """The whole lines of a journal; a line torn by a crash was never acknowledged."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    return [line for line in text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").split("\n") if line]
