"""Nothing is lost and nothing is started twice: a folder of version 0.1, a lost or older database, a power cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.receive.receiving import make_series, make_slice
from tests.receive.sending import encode
from voxtell_dicom.archive import tables
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.archive.naming import name_of
from voxtell_dicom.archive.part10 import Facts, write_part10
from voxtell_dicom.config import Receive
from voxtell_dicom.dicom.identity import series_version
from voxtell_dicom.model import Series
from voxtell_dicom.receive.arrival import read_arrival
from voxtell_dicom.receive.completion import Completion

EXPLICIT = "1.2.840.10008.1.2.1"
SETTINGS = Receive(quiet_s=1, incomplete_s=60, min_free_percent=0)
ENDS = {"1.2.1": True, "1.2.2": True, "1.2.3": None, "2.25.9": True}  # how their associations ended; None: not written


class Clock:
    """The archive's time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def write_folder_of_version_0_1(root: Path) -> None:
    """As version 0.1 (7b67aef) wrote it: one series handed on, one waiting, one cut off, one of our own results."""
    (root / "incoming").mkdir(parents=True)
    (root / "incoming" / "left.part").write_bytes(b"half")
    for number, series_uid in enumerate(ENDS):
        folder = root / "series" / name_of(series_uid)
        folder.mkdir(parents=True)
        for ds in make_series(3, series_uid):
            sender = Sender(f"a{number}", "CT1", "VOXTELL", "127.0.0.1:1", 9e8)
            facts = Facts.of(read_arrival(encode(ds), EXPLICIT), sender, 9e8 + number)
            with (folder / f"{name_of(ds.SOPInstanceUID)}.dcm").open("wb") as file:
                write_part10(file, facts, encode(ds))
        if ENDS[series_uid] is not None:
            line = {"association": f"a{number}", "opened": 9e8, "ended": 9e8 + 10, "released": ENDS[series_uid]}
            (folder / "associations.jsonl").write_text(json.dumps(line) + "\n")
        else:
            (folder / "associations.jsonl").write_text('{"torn":')
    version = series_version(f"1.2.1.{number}" for number in (1, 2, 3))
    lines = [["1.2.1", version, 9e8 + 20], ["1.2.77", "v", 9e8]]  # of a series that was dropped since
    (root / "taken.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "own.txt").write_text("2.25.9\n2.25.9.7\n2.25.torn")


def run(root: Path, engine: sa.Engine, seconds: float, act: Callable[[Archive], object] = id) -> list[Series]:
    """Start, let time pass, stop. Returns what was handed on."""
    clock, completed = Clock(), []
    archive = Archive(root, engine, SETTINGS, clock=clock)
    completion = Completion(archive, SETTINGS, {}, lambda _connection, series: completed.append(series))
    completion._started_at = clock.now
    act(archive)
    for _ in range(int(seconds * 2)):
        clock.now += 0.5
        completion.run_once()
    archive.close()
    return completed


def test_a_folder_of_version_0_1_is_adopted(tmp_path: Path, engine: sa.Engine) -> None:
    root = tmp_path / "spool"
    write_folder_of_version_0_1(root)
    before = {path: path.read_bytes() for path in root.rglob("*.dcm")}
    assert {series.series_uid: len(series.instances) for series in run(root, engine, 10)} == {"1.2.2": 3}
    assert {path: path.read_bytes() for path in root.rglob("*.dcm")} == before
    assert not list(root.rglob("*.jsonl"))
    assert len(list(root.rglob("*.imported"))) == 2 + len(ENDS)

    def look(archive: Archive) -> None:
        assert {one.series_uid: (one.starts, one.others) for one in archive.summaries()} == {
            **dict.fromkeys(("1.2.1", "1.2.2", "1.2.3"), (3, 0)),
            "2.25.9": (0, 3),
        }
        assert archive.is_handed_on("1.2.77", "v")
        series = archive.series("1.2.1")
        assert series
        assert archive.headers(series)["1.2.1.2"].InstanceNumber == 2
        sender = Sender("new", "CT1", "VOXTELL", opened=archive.now())
        again = [read_arrival(encode(ds), EXPLICIT) for ds in make_series(3, "1.2.1")]
        assert [archive.store(arrival, sender) for arrival in again] == ["same"] * 3

    (cut_off,) = run(root, engine, 70, look)  # its association was cut off: it waited longer
    assert (cut_off.series_uid, cut_off.incomplete) == ("1.2.3", "")
    assert run(root, engine, 70) == []


def take(archive: Archive, *numbers: int, series_uid: str = "1.2.5") -> None:
    sender = Sender(f"b{numbers}", "CT1", "VOXTELL", opened=archive.now())
    for number in numbers:
        archive.store(read_arrival(encode(make_slice(series_uid, number)), EXPLICIT), sender)
    archive.end_association(sender.association, released=True)


def test_a_lost_database_is_made_again_from_the_store(tmp_path: Path, engine: sa.Engine) -> None:
    root = tmp_path / "spool"
    (first,) = run(root, engine, 5, lambda archive: take(archive, 1, 2, 3))
    tables.metadata.drop_all(engine)
    (again,) = run(root, engine, 5)
    assert again == first
    assert run(root, engine, 5, lambda archive: take(archive, 1, 2, 3)) == []


def test_an_older_database_does_not_swallow_what_came_since(tmp_path: Path, engine: sa.Engine) -> None:
    root = tmp_path / "spool"
    (old,) = run(root, engine, 5, lambda archive: take(archive, 1, 2, 3))
    rows = dump(engine)

    def since(archive: Archive) -> None:
        take(archive, 4)
        take(archive, 1, 2, series_uid="1.2.6")

    later = run(root, engine, 5, since)
    assert sorted(len(series.instances) for series in later) == [2, 4]
    restore(engine, rows)
    again = run(root, engine, 5)
    assert sorted(series.version for series in again) == sorted(series.version for series in later)
    assert old.version not in {series.version for series in again}


def test_a_row_that_a_power_cut_lost_is_inserted_again(tmp_path: Path, engine: sa.Engine) -> None:
    root = tmp_path / "spool"
    archive = Archive(root, engine, SETTINGS, clock=Clock())
    sender = Sender("b", "CT1", "VOXTELL", opened=1e9)
    for number in (1, 2, 3):
        archive.store(read_arrival(encode(make_slice("1.2.5", number)), EXPLICIT), sender)
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.instance).where(tables.instance.c.sop_uid != "1.2.5.1"))
    archive.close()
    (series,) = run(root, engine, 70)
    assert [one.sop_instance_uid for one in series.instances] == ["1.2.5.1", "1.2.5.2", "1.2.5.3"]


def test_a_start_opens_no_file_of_what_is_settled(
    tmp_path: Path, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    run(root, engine, 5, lambda archive: take(archive, 1, 2, 3))
    monkeypatch.setattr("voxtell_dicom.archive.adoption.read_facts", None)
    assert run(root, engine, 1) == []


def test_a_drop_that_was_cut_off_is_finished_at_the_start(tmp_path: Path, engine: sa.Engine) -> None:
    root = tmp_path / "spool"
    run(root, engine, 5, lambda archive: take(archive, 1, 2, 3))
    with engine.begin() as connection:
        from voxtell_dicom.archive import index

        index.forget(connection, "1.2.5")
    assert len(list(root.rglob("*.dcm"))) == 3
    run(root, engine, 1)
    assert not list(root.rglob("*.dcm"))


def dump(engine: sa.Engine) -> dict[str, list[dict[str, object]]]:
    with engine.connect() as connection:
        return {
            name: [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for name, table in tables.metadata.tables.items()
        }


def restore(engine: sa.Engine, rows: dict[str, list[dict[str, object]]]) -> None:
    with engine.begin() as connection:
        for name, table in tables.metadata.tables.items():
            connection.execute(sa.delete(table))
            if rows[name]:
                connection.execute(sa.insert(table), rows[name])
