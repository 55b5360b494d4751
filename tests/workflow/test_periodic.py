"""What is done every so often goes on after an error, and ends when it is told to."""

from __future__ import annotations

import threading

from voxtell_dicom.workflow.periodic import PeriodicTask


class Failing(PeriodicTask):
    """Fails the first time."""

    def __init__(self) -> None:
        super().__init__("failing", 0.01)
        self.times = 0
        self.third = threading.Event()

    def run_once(self) -> None:
        self.times += 1
        if self.times == 1:
            raise OSError("the first time")
        if self.times == 3:
            self.third.set()


def test_an_error_does_not_end_it():
    repeating = Failing()
    repeating.start()
    assert repeating.third.wait(60)
    repeating.stop()
    assert not any(thread.name == "failing" for thread in threading.enumerate())
