"""The index: which instances are here, of which series, and what was handed on: statements alone.

Each function works within the caller's transaction. What is read to be decided upon is locked first and read in a
second statement: on PostgreSQL a statement sees what was committed when it began, not when it got its lock.
The statements that run for each instance are built once: building one costs as much as running it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from voxtell_dicom.archive import tables
from voxtell_dicom.archive.part10 import Facts
from voxtell_dicom.archive.summary import Links, SeriesSummary
from voxtell_dicom.dicom.identity import series_version
from voxtell_dicom.model import Receiving

_BATCH = 500
_NOW_PENDING = tables.series.c.has_new_instances == sa.true()


@dataclass(frozen=True)
class Stored:
    """An instance as the index has it."""

    sop_uid: str
    series_uid: str
    sop_class: str
    transfer_syntax: str
    digest: str
    frames: int
    images_in_acquisition: int
    own: bool
    object: str
    size: int
    arrived: float


STORED_COLUMNS = [tables.instance.c[name] for name in Stored.__dataclass_fields__]
_FIND = sa.select(*STORED_COLUMNS).where(tables.instance.c.sop_uid == sa.bindparam("sop_uid"))
_SERIES = sa.select(tables.series).where(tables.series.c.series_uid == sa.bindparam("series_uid"))
_LOCKED_SERIES = _SERIES.with_for_update()


@cache
def _insert_ignore(table: sa.Table, dialect: str) -> sa.Executable:
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def insert_ignore(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows whose key is not there yet. Returns how many were inserted, for one row at a time."""
    if not rows:
        return 0
    statement = _insert_ignore(table, connection.dialect.name)
    found = connection.execute(statement, list(rows) if len(rows) > 1 else dict(rows[0]))
    return found.rowcount


def lock_series(connection: sa.Connection, series_uid: str) -> sa.Row[Any] | None:
    """Lock the row of a series until the transaction ends. Returns it, None where the series is not here."""
    return connection.execute(_LOCKED_SERIES, {"series_uid": series_uid}).first()


def find_series(connection: sa.Connection, series_uid: str) -> sa.Row[Any] | None:
    """Return the row of a series, None where it is not here."""
    return connection.execute(_SERIES, {"series_uid": series_uid}).first()


def find(connection: sa.Connection, sop_uid: str) -> Stored | None:
    """Return what is known of an instance."""
    row = connection.execute(_FIND, {"sop_uid": sop_uid}).first()
    return Stored(**row._mapping) if row else None


def add_series(connection: sa.Connection, facts: Facts, now: float) -> None:
    """Insert a series, to be looked at now, unless it is here."""
    row = {
        "series_uid": facts.series_uid,
        "study_uid": facts.study_uid,
        "patient_id": plain(facts.patient_id),
        "calling_ae": plain(facts.calling_ae),
        "called_ae": plain(facts.called_ae),
        "last_at": now,
        "has_new_instances": True,
        "due_at": now,
    }
    insert_ignore(connection, tables.series, [row])


def add_hold(connection: sa.Connection, facts: Facts, receiver: str) -> None:
    """Note that an open association brings new instances to a series, and who it is."""
    sender = {"calling_ae": plain(facts.calling_ae), "called_ae": plain(facts.called_ae), "last_at": facts.arrived}
    connection.execute(sa.update(tables.series).where(tables.series.c.series_uid == facts.series_uid).values(sender))
    row = {
        "series_uid": facts.series_uid,
        "association": facts.association,
        "receiver": receiver,
        "calling_ae": sender["calling_ae"],
        "opened": facts.opened,
    }
    insert_ignore(connection, tables.hold, [row])


def end_holds(connection: sa.Connection, association: str, at: float, *, released: bool) -> int:
    """Note how an association ended, and have its series looked at now. Returns how many series it held."""
    hold, series = tables.hold, tables.series
    held = sa.select(hold.c.series_uid).where(hold.c.association == association, hold.c.ended.is_(None))
    connection.execute(sa.update(series).where(series.c.series_uid.in_(held), _NOW_PENDING).values(due_at=at))
    mine = sa.update(hold).where(hold.c.association == association, hold.c.ended.is_(None))
    return connection.execute(mine.values(ended=at, released=released)).rowcount


def add_instance(connection: sa.Connection, facts: Facts, key: str, size: int, header: bytes | None) -> bool:
    """Claim a SOP Instance UID. Returns False where it is already here."""
    return insert_ignore(connection, tables.instance, [instance_row(facts, key, size, header)]) == 1


def instance_row(facts: Facts, key: str, size: int, header: bytes | None) -> dict[str, Any]:
    """Return the row of an instance. header: the bytes of the dataset before the pixels, None where unknown."""
    return {
        "sop_uid": facts.sop_instance_uid,
        "series_uid": facts.series_uid,
        "sop_class": facts.sop_class_uid,
        "transfer_syntax": facts.transfer_syntax_uid,
        "digest": facts.digest,
        "frames": facts.frames,
        "images_in_acquisition": facts.images_in_acquisition,
        "own": facts.own,
        "association": facts.association,
        "object": key,
        "size": size,
        "arrived": facts.arrived,
        "header": zlib.compress(header, 6) if header is not None else None,
    }


def replace_instance(connection: sa.Connection, old: Stored, row: Mapping[str, Any]) -> bool:
    """Let an instance have other headers. Returns False where it has changed since `old` was read."""
    table = tables.instance
    same = (table.c.sop_uid == old.sop_uid) & (table.c.digest == old.digest)
    return connection.execute(sa.update(table).where(same).values(**row, header_version=None)).rowcount == 1


def mark_new(connection: sa.Connection, series_uid: str, due_at: float) -> None:
    """Have a series looked at that has got new instances."""
    changed = {"has_new_instances": True, "due_at": due_at}
    connection.execute(sa.update(tables.series).where(tables.series.c.series_uid == series_uid).values(changed))


def set_due(connection: sa.Connection, series_uid: str, due_at: float, *, before: float) -> None:
    """Put off the next look at a series, unless another one was made due since (`before` is what it was)."""
    series = tables.series
    mine = (series.c.series_uid == series_uid) & (series.c.due_at == before)
    connection.execute(sa.update(series).where(mine).values(due_at=due_at))


def make_due(connection: sa.Connection, now: float) -> None:
    """Have all series that wait be looked at now."""
    connection.execute(sa.update(tables.series).where(_NOW_PENDING).values(due_at=now))


def due(connection: sa.Connection, now: float, limit: int = 50) -> list[tuple[str, float, str]]:
    """Return the series that are to be looked at, with the time since when, and who sent them.

    The longest waiting of each caller first, then the next of each: a thousand series of one do not hide another's.
    """
    series = tables.series
    turn = sa.func.row_number().over(partition_by=series.c.calling_ae, order_by=series.c.due_at).label("turn")
    columns = series.c.series_uid, series.c.due_at, series.c.calling_ae, turn
    wanted = sa.select(*columns).where(_NOW_PENDING, series.c.due_at <= now)
    rows = connection.execute(wanted.order_by(sa.text("turn"), series.c.due_at).limit(limit))
    return [(row.series_uid, row.due_at, row.calling_ae) for row in rows]


def next_due(connection: sa.Connection) -> float | None:
    """Return when a series is to be looked at next, None where none is."""
    series = tables.series
    soonest = sa.select(series.c.due_at).where(_NOW_PENDING).order_by(series.c.due_at).limit(1)
    return connection.scalar(soonest)


def settle(connection: sa.Connection, series_uid: str, last_at: float) -> None:
    """Note that a series has nothing new since `last_at`, and forget how it came."""
    series, hold = tables.series, tables.hold
    changed = {"has_new_instances": False, "last_at": last_at}
    connection.execute(sa.update(series).where(series.c.series_uid == series_uid).values(changed))
    connection.execute(sa.delete(hold).where(hold.c.series_uid == series_uid, hold.c.ended.is_not(None)))
    connection.execute(sa.delete(tables.unstored).where(tables.unstored.c.series_uid == series_uid))


def links(connection: sa.Connection, series_uid: str) -> Links:
    """Return how the associations stand that brought new instances to a series."""
    hold = tables.hold
    rows = connection.execute(sa.select(hold).where(hold.c.series_uid == series_uid)).all()
    lost_at = 0.0
    for row in sorted((row for row in rows if row.ended is not None), key=lambda row: row.ended):
        if not row.released:
            lost_at = row.ended
        elif row.opened > lost_at:
            lost_at = 0.0
    ended = max((row.ended for row in rows if row.ended is not None), default=0.0)
    return Links(any(row.ended is None for row in rows), ended, bool(lost_at))


def unstored_count(connection: sa.Connection, series_uid: str) -> int:
    """Return how many instances of a series were sent and are not here."""
    unstored, instance = tables.unstored, tables.instance
    here = sa.exists().where(instance.c.sop_uid == unstored.c.sop_uid)
    count = sa.select(sa.func.count()).select_from(unstored).where(unstored.c.series_uid == series_uid, ~here)
    return int(connection.scalar(count) or 0)


def receiving(connection: sa.Connection, limit: int) -> list[Receiving]:
    """Return the series that have new instances and were not handed on since, the newest first."""
    series, instance, hold = tables.series, tables.instance, tables.hold
    count = sa.select(sa.func.count()).where(instance.c.series_uid == series.c.series_uid).scalar_subquery()
    first = sa.select(sa.func.min(instance.c.arrived)).where(instance.c.series_uid == series.c.series_uid)
    is_open = sa.exists().where(hold.c.series_uid == series.c.series_uid, hold.c.ended.is_(None))
    columns = [
        series.c.series_uid, series.c.study_uid, count.label("instances"), series.c.calling_ae,
        is_open.label("open"), sa.func.coalesce(first.scalar_subquery(), series.c.last_at).label("since"),
    ]  # fmt: skip
    wanted = sa.select(*columns).where(_NOW_PENDING).order_by(series.c.due_at.desc()).limit(limit)
    return [Receiving(**{**row._mapping, "open": bool(row.open)}) for row in connection.execute(wanted)]


def instances(
    connection: sa.Connection, series_uid: str, starts: Callable[[str], bool]
) -> tuple[list[Stored], list[Stored]]:
    """Return the instances of a series that start work, by SOP Instance UID, and the others.

    starts: whether a SOP class starts work.
    """
    instance, own = tables.instance, tables.own_object
    known = sa.exists().where(own.c.uid == instance.c.sop_uid) | sa.exists().where(own.c.uid == instance.c.series_uid)
    wanted = sa.select(*STORED_COLUMNS, known.label("known")).where(instance.c.series_uid == series_uid)
    chosen: list[Stored] = []
    others: list[Stored] = []
    for row in connection.execute(wanted.order_by(instance.c.sop_uid)):
        values = dict(row._mapping)
        mine = not values.pop("known") and not row.own and starts(row.sop_class)
        (chosen if mine else others).append(Stored(**values))
    return sorted(chosen, key=lambda one: one.sop_uid), others


def summarize(
    connection: sa.Connection, row: sa.Row[Any], chosen: Sequence[Stored], others: Sequence[Stored]
) -> SeriesSummary | None:
    """Return the summary of a series from its row and instances; None where it has none."""
    every = [*chosen, *others]
    if not every:
        return None
    version = series_version(one.sop_uid for one in chosen)
    return SeriesSummary(
        series_uid=row.series_uid,
        study_uid=row.study_uid,
        version=version,
        starts=len(chosen),
        others=len(others),
        frames=sum(one.frames for one in chosen),
        images_in_acquisition=max((one.images_in_acquisition for one in chosen), default=0),
        calling_ae=row.calling_ae,
        called_ae=row.called_ae,
        first_arrived=min(one.arrived for one in every),
        last_arrived=max(one.arrived for one in every),
        handed_on=is_handed_on(connection, row.series_uid, version),
        bytes=sum(one.size for one in every),
    )


def is_handed_on(connection: sa.Connection, series_uid: str, version: str) -> bool:
    """Return whether this version was handed on, ever."""
    table = tables.series_version
    wanted = sa.select(table.c.at).where(table.c.series_uid == series_uid, table.c.version == version)
    return connection.execute(wanted).first() is not None


def settled_before(
    connection: sa.Connection, limit_at: float, after: tuple[float, str], count: int
) -> list[tuple[float, str]]:
    """Return (last_at, series UID) of series with nothing new since `limit_at`, in order, behind `after`."""
    series = tables.series
    behind = sa.tuple_(series.c.last_at, series.c.series_uid) > sa.tuple_(*after)
    wanted = sa.select(series.c.last_at, series.c.series_uid).where(series.c.last_at <= limit_at, behind)
    ordered = wanted.order_by(series.c.last_at, series.c.series_uid).limit(count)
    return [(row.last_at, row.series_uid) for row in connection.execute(ordered)]


def forget(connection: sa.Connection, series_uid: str) -> None:
    """Delete the rows of a series, and note that its objects are to be deleted."""
    insert_ignore(connection, tables.dropped_series, [{"series_uid": series_uid}])
    remove_series(connection, series_uid)


def remove_series(connection: sa.Connection, series_uid: str) -> None:
    """Delete the rows of a series."""
    for table in (tables.instance, tables.hold, tables.unstored, tables.series_attributes, tables.series):
        connection.execute(sa.delete(table).where(table.c.series_uid == series_uid))


def add_uids(connection: sa.Connection, uids: Iterable[str]) -> None:
    """Remember UIDs of our own results."""
    insert_ignore(connection, tables.own_object, [{"uid": uid} for uid in sorted(set(uids))])


def open_holds(connection: sa.Connection, receiver: str) -> Iterator[sa.Row[Any]]:
    """Return the open holds of other runs of this node: their associations ended with them."""
    hold = tables.hold
    wanted = sa.select(hold).where(hold.c.ended.is_(None), hold.c.receiver != receiver)
    return iter(connection.execute(wanted).all())


def plain(text: str) -> str:
    """Return text that both databases can hold: without NUL."""
    return text.replace("\0", " ")
