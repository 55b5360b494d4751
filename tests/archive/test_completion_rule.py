"""The rule of completeness (contracts § 2) by an injected clock, and the hand-over, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from tests.receive.receiving import make_series, make_slice
from tests.receive.sending import encode
from voxtell_dicom.archive import index
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.clock import database_clock
from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.archive.part10 import Facts
from voxtell_dicom.config import Receive
from voxtell_dicom.errors import Refusal, SpoolUnavailable
from voxtell_dicom.model import Series
from voxtell_dicom.receive.arrival import read_arrival
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.intake import Intake

QUIET_S, INCOMPLETE_S = 3.0, 60.0
EXPLICIT = "1.2.840.10008.1.2.1"


class Scene:
    """An archive and a completion without a thread, at a time of their own."""

    def __init__(self, folder: Path, engine: sa.Engine, expected: int = 0) -> None:
        self.time, self.begin = 1e9, 1e9
        self.settings = Receive(quiet_s=QUIET_S, incomplete_s=INCOMPLETE_S, min_free_percent=0)
        self.archive = Archive(folder / "spool", engine, self.settings, clock=lambda: self.time)
        self.completed: list[tuple[float, Series]] = []
        self.corrected: list[str] = []
        hooks: dict[str, Any] = {"missing": self._missing, "on_correction": self.corrected.append}
        self.completion = Completion(self.archive, self.settings, {}, self.enqueue, **hooks)
        self.intake = Intake(self.archive, self.completion)
        self._expected = expected

    def _missing(self, series: Series) -> str:
        return "slices are missing" if len(series.instances) < self._expected else ""

    def enqueue(self, _connection: sa.Connection, series: Series) -> None:
        self.completed.append((self.time - self.begin, series))

    def sender(self, name: str) -> Sender:
        return Sender(name, "CT1", "VOXTELL", opened=self.time)

    def take(self, ds: Dataset, sender: Sender) -> str:
        try:
            return self.intake.take(encode(ds), EXPLICIT, sender)
        except Refusal as refusal:
            return refusal.code

    def until(self, second: float) -> list[tuple[float, Series]]:
        """Time passes, a tenth of a second at a time. Returns what was completed so far."""
        while self.time < self.begin + second:
            self.time += 0.1
            self.completion.run_once()
        return self.completed


@pytest.fixture
def scene(tmp_path: Path, engine: sa.Engine) -> Iterator[Scene]:
    made = Scene(tmp_path, engine)
    yield made
    made.archive.close()


def test_five_series_over_one_association_that_stays_open(scene: Scene) -> None:
    pooled = scene.sender("pooled")
    last: dict[str, float] = {}
    for number in range(5):
        for ds in make_series(3, f"1.2.{number}"):
            assert scene.take(ds, pooled) == "new"
        last[f"1.2.{number}"] = scene.time - scene.begin
        scene.until(6.0 * (number + 1))
    assert [one.instances for one in scene.archive.receiving()] == [3] * 5
    assert {(one.calling_ae, one.open) for one in scene.archive.receiving()} == {("CT1", True)}
    while len(scene.completed) < 5 and scene.time < scene.begin + 200:  # it is kept busy with others
        scene.take(make_slice("1.3", int(scene.time - scene.begin) + 1), pooled)
        scene.until(scene.time - scene.begin + 2)
    waited = {series.series_uid: at - last[series.series_uid] for at, series in scene.completed}
    assert waited.keys() == last.keys()
    assert all(INCOMPLETE_S <= wait < INCOMPLETE_S + 3 for wait in waited.values()), waited
    assert {series.incomplete for _, series in scene.completed} == {""}
    assert [one.series_uid for one in scene.archive.receiving()] == ["1.3"]


def test_a_release_lets_all_its_series_go_after_their_quiet_time(scene: Scene) -> None:
    pooled = scene.sender("pooled")
    for number in range(5):
        scene.take(make_slice(f"1.2.{number}", 1), pooled)
    assert scene.until(10) == []
    scene.completion.ended(pooled, released=True)
    assert scene.until(12.8) == []
    assert len(scene.until(13.3)) == 5


@pytest.mark.parametrize("ended_at", [0.0, 40.0], ids=["abort after the last success", "own idle abort"])
@pytest.mark.parametrize("expected", [3, 4])
def test_an_abort_is_a_finding_only_where_slices_are_missing(
    tmp_path: Path, engine: sa.Engine, expected: int, ended_at: float
) -> None:
    scene = Scene(tmp_path, engine, expected)
    sender = scene.sender("a")
    for ds in make_series(3, "1.2"):
        scene.take(ds, sender)
    scene.until(ended_at)
    scene.completion.ended(sender, released=False)
    assert scene.until(INCOMPLETE_S - 0.2) == []
    ((at, series),) = scene.until(INCOMPLETE_S + 1)
    assert INCOMPLETE_S <= at < INCOMPLETE_S + 0.3
    reason = "an association that sent to it was aborted or lost; slices are missing"
    assert series.incomplete == ("" if expected == 3 else reason)
    scene.archive.close()


@pytest.mark.parametrize("expected", [2, 3])
def test_one_of_two_associations_aborting_is_a_finding_only_where_slices_are_missing(
    tmp_path: Path, engine: sa.Engine, expected: int
) -> None:
    scene = Scene(tmp_path, engine, expected)
    one, two = scene.sender("one"), scene.sender("two")
    scene.take(make_slice("1.2", 1), one)
    scene.take(make_slice("1.2", 2), two)
    scene.completion.ended(one, released=False)
    scene.completion.ended(two, released=True)
    assert scene.until(INCOMPLETE_S - 0.2) == []
    ((_, series),) = scene.until(INCOMPLETE_S + 1)
    assert (len(series.instances), bool(series.incomplete)) == (2, expected == 3)
    scene.archive.close()


@pytest.mark.parametrize("edit", [{}, {"PixelData": bytes(2048)}], ids=["the same again", "refused each time"])
def test_what_is_sent_again_or_refused_does_not_restart_the_wait(scene: Scene, edit: dict[str, bytes]) -> None:
    first = scene.sender("first")
    series = make_series(3, "1.2")
    for ds in series:
        assert scene.take(ds, first) == "new"
    scene.completion.ended(first, released=True)
    again = make_slice("1.2", 1, **edit)
    for number in range(10):
        scene.until(1.3 * number)
        sender = scene.sender(f"again {number}")
        assert scene.take(again, sender) == ("instance-conflict" if edit else "same")
        scene.completion.ended(sender, released=number % 2 == 0)
    ((at, done),) = scene.completed
    assert (QUIET_S <= at < QUIET_S + 0.3, done.incomplete) == (True, "")


def test_a_new_instance_restarts_the_wait(scene: Scene) -> None:
    for number in range(1, 6):
        sender = scene.sender(f"a{number}")
        assert scene.take(make_slice("1.2", number), sender) == "new"
        scene.completion.ended(sender, released=True)
        scene.until(2.5 * number)
    ((at, series),) = scene.until(20)
    assert (len(series.instances), 13 <= at < 13.4) == (5, True)


def test_another_patients_instance_is_missing_from_the_series(scene: Scene) -> None:
    sender = scene.sender("a")
    assert scene.take(make_slice("1.2", 1), sender) == "new"
    assert scene.take(make_slice("1.2", 2, PatientID="P2"), sender) == "series-conflict"
    scene.completion.ended(sender, released=True)
    assert scene.until(INCOMPLETE_S - 1) == []
    ((_, series),) = scene.until(INCOMPLETE_S + 1)
    assert series.incomplete == "1 instances were sent that could not be stored"


def test_a_series_of_which_nothing_could_be_stored_leaves_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = scene.sender("a")

    def no_space(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(scene.archive.objects, "put", no_space)
        with pytest.raises(SpoolUnavailable, match="No space left"):
            scene.take(make_slice("1.2", 1), sender)
    scene.completion.ended(sender, released=True)
    assert scene.until(10) == []
    other = scene.sender("b")
    assert scene.take(make_slice("1.2", 1, PatientID="P2"), other) == "new"
    scene.completion.ended(other, released=True)
    assert [series.incomplete for _, series in scene.until(20)] == [""]


def test_the_clock_does_not_follow_the_hosts(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, real = database_clock(engine), time.time()
    before = clock()
    assert abs(before - real) < 60
    monkeypatch.setattr(time, "time", lambda: real - 3600)
    assert 0 <= clock() - before < 60


def test_a_hand_over_that_fails_records_nothing_and_is_tried_again(scene: Scene) -> None:
    sender, tries = scene.sender("a"), []

    def fail_once(connection: sa.Connection, series: Series) -> None:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS queue (version TEXT)"))
        connection.execute(sa.text("INSERT INTO queue VALUES (:version)"), {"version": series.version})
        tries.append(series.version)
        if len(tries) == 1:
            raise RuntimeError("the queue is away")

    scene.completion._enqueue = fail_once
    scene.take(make_slice("1.2", 1), sender)
    scene.completion.ended(sender, released=True)
    scene.until(20)
    assert len(tries) == 2
    with scene.archive._engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT version FROM queue")).all() == tries[:1]
    assert scene.archive.is_handed_on("1.2", tries[0])


def test_an_instance_that_comes_while_a_version_is_handed_over_is_in_the_next(scene: Scene) -> None:
    """A claim that is not committed yet keeps the hand-over waiting, which then sees it."""
    sender = scene.sender("a")
    scene.take(make_slice("1.2", 1), sender)
    series = scene.archive.series("1.2")
    late = read_arrival(encode(make_slice("1.2", 2)), EXPLICIT)
    facts = Facts.of(late, sender, scene.time)
    results: list[bool] = []
    assert series
    over = threading.Thread(target=lambda: results.append(scene.archive.hand_over(series, scene.enqueue)))
    with scene.archive._claims.begin() as connection:
        index.lock_series(connection, "1.2")
        assert index.add_instance(connection, facts, "series/x", 1, b"")
        over.start()
        over.join(0.5)
        assert over.is_alive()
    over.join(30)
    assert (results, scene.completed) == ([False], [])
    assert [one.instances for one in scene.archive.receiving()] == [2]


def test_two_that_hand_over_at_once_do_it_once(scene: Scene) -> None:
    scene.take(make_slice("1.2", 1), scene.sender("a"))
    series = scene.archive.series("1.2")
    assert series
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(scene.archive.hand_over(series, scene.enqueue)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(results), len(scene.completed)) == ([False, False, False, True], 1)


def test_two_contents_of_one_uid_at_once(scene: Scene) -> None:
    """Whoever claims the UID first is stored; the other is refused, or told to come again."""
    for number in range(5):
        contents = [make_slice("1.2", number), make_slice("1.2", number, PixelData=bytes(2048))]
        verdicts: list[str] = []
        take = partial(_append_verdict, verdicts, scene)
        threads = [threading.Thread(target=take, args=(ds,)) for ds in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(verdicts) == ["instance-conflict", "new"]


def test_headers_are_read_once_and_follow_a_correction(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = scene.sender("a")
    for ds in make_series(3, "1.2"):
        scene.take(ds, sender)
    series = scene.archive.series("1.2")
    assert series
    for instance in series.instances:  # no file is opened for a header
        monkeypatch.setattr(type(instance.path), "open", _refuse, raising=False)
        break
    before = scene.archive.headers(series)
    assert [before[f"1.2.{number}"].InstanceNumber for number in (1, 2, 3)] == [1, 2, 3]
    assert "PixelData" not in before["1.2.1"]
    monkeypatch.undo()
    assert scene.archive.hand_over(series, scene.enqueue)
    assert scene.archive.headers(series) is before
    corrected = make_slice("1.2", 2, AccessionNumber="A2")
    assert scene.take(corrected, sender) == "headers"
    after = scene.archive.headers(scene.archive.series("1.2") or series)
    assert [after[f"1.2.{number}"].get("AccessionNumber", "") for number in (1, 2, 3)] == ["", "A2", ""]


def test_a_correction_is_dealt_with_once_also_after_the_node_was_killed(tmp_path: Path, engine: sa.Engine) -> None:
    scene = Scene(tmp_path, engine)
    sender = scene.sender("a")
    assert scene.take(make_slice("1.2", 2), sender) == "new"
    scene.completion.run_once()
    assert scene.take(make_slice("1.2", 2, AccessionNumber="A2"), sender) == "headers"
    assert scene.corrected == []
    scene.archive.close()  # nothing has looked at it yet
    scene = Scene(tmp_path, engine)
    scene.completion.run_once()
    scene.completion.run_once()
    assert scene.corrected == ["1.2"]
    scene.archive.close()


def _append_verdict(verdicts: list[str], scene: Scene, ds: Dataset) -> None:
    verdicts.append(scene.take(ds, scene.sender("a")))


def _refuse(*_args: object, **_more: object) -> None:
    raise AssertionError("a file was opened")
