"""kill -9 in the middle of reception: what got success is there, whole, and the series is finished in the end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from tests.receive.receiving import make_series
from tests.receive.sending import association, encode, send


@contextmanager
def process(spool: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "tests.receive.receive_process", str(spool)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert child.stdout
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize("after", [0, 7, 23])
def test_killed_while_receiving(receiver, tmp_path, after):
    series = make_series(60, Rows=256, Columns=256, PixelData=bytes(range(256)) * 512)
    answered: list[str] = []
    with process(tmp_path / "spool") as (child, port), association(port, series) as link:

        def feed() -> None:
            for ds in series:
                try:
                    if send(link, ds).Status == 0:
                        answered.append(ds.SOPInstanceUID)
                except (AssertionError, OSError):
                    return
                if len(answered) == after:
                    enough.set()

        enough = threading.Event()
        if after == 0:
            enough.set()
        thread = threading.Thread(target=feed)
        thread.start()
        assert enough.wait(120)
        child.kill()
        child.wait()
        link.kill()
        thread.join(120)
    assert after <= len(answered) < 60
    node = receiver(quiet_s=0.3, incomplete_s=60)  # longer than sending what is here already takes
    kept = node.archive.series(series[0].SeriesInstanceUID)
    found = {i.sop_instance_uid: i.path.read_bytes() for i in kept.instances} if kept else {}
    assert set(answered) <= set(found)
    assert len(found) <= len(answered) + 1  # one may have been on its way
    for ds in series:
        if ds.SOPInstanceUID in found:
            assert found[ds.SOPInstanceUID].endswith(encode(ds))
    assert not list((node.archive.root / "incoming").iterdir())
    assert len(list(node.archive.root.rglob("*.dcm"))) == len(found)
    # The sender, told nothing or a lost link, sends it all again.
    with association(node.port, series) as link:
        assert {send(link, ds).Status for ds in series} == {0}
    (done,) = node.wait(1)
    assert (len(done.instances), done.incomplete) == (60, "")
    assert all(pydicom.dcmread(i.path).PixelData == series[0].PixelData for i in done.instances)
