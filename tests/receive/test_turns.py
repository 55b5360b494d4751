"""Callers take turns: a thousand series of one do not delay those of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.receive.receiving import make_slice, open_archive
from tests.receive.sending import encode
from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.config import Receive
from voxtell_dicom.model import Series
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.intake import Intake


@pytest.mark.parametrize("room", [1, 4])
def test_a_good_series_is_not_behind_fifty_of_another_caller(tmp_path: Path, room: int) -> None:
    time = 1e9
    archive = open_archive(tmp_path / "spool", clock=lambda: time)
    handed: list[str] = []
    queue: list[str] = []

    def enqueue(_connection: sa.Connection, series: Series) -> None:
        handed.append(series.calling_ae)
        queue.append(series.series_uid)

    settings = Receive(quiet_s=1, incomplete_s=2, min_free_percent=0)
    completion = Completion(archive, settings, {}, enqueue, has_room=lambda: len(queue) < room)
    intake = Intake(archive, completion)

    def take(series_uid: str, caller: str) -> None:
        sender = Sender(f"{caller} {series_uid}", caller, "VOXTELL", opened=time)
        assert intake.take(encode(make_slice(series_uid, 1)), "1.2.840.10008.1.2.1", sender) == "new"
        completion.ended(sender, released=True)

    for number in range(50):
        take(f"1.2.{number}", "JUNK")
    time += 0.5
    take("1.3.1", "CT1")
    take("1.3.2", "MR1")
    completion.run_once()  # none is due
    for _ in range(40):
        time += 0.2
        completion.run_once()
        del queue[:1]
    assert len(handed) > 20
    assert max(handed.index("CT1"), handed.index("MR1")) <= 10 + 2 * room, handed
    archive.close()
