"""Runs the sections one after the other, each in a process of its own, all together within the time."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

LEAST_S = 5.0  # with less, a section is not begun
GRACE_S = 10.0  # beyond its time, until its process is ended


class Status(StrEnum):
    """The ways in which a section ends."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # its time was over
    NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class Section:
    """A part of the run. work: see `Launcher`."""

    name: str
    seconds: float
    work: Callable[..., None]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a section."""

    status: Status
    seconds: float = 0.0
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)


class Launcher(Protocol):
    """Runs a section."""

    def __call__(self, section: Section, seconds: float, known: dict[str, Any]) -> Outcome:
        """Run it for at most so many seconds; known: the results so far."""


def run_sections(
    sections: Sequence[Section],
    launch: Launcher,
    seconds: float,
    report: Callable[[dict[str, Outcome]], None],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Outcome]:
    """Each section within its own time and what is left of all; one that fails does not keep the next from running.

    report: is given all outcomes after each section, so that a run that is cut off has written what it knew.
    """
    end = clock() + seconds
    outcomes: dict[str, Outcome] = {}
    for section in sections:
        left = end - clock()
        if left < LEAST_S:
            outcomes[section.name] = Outcome(Status.NOT_BEGUN, error="no time left")
        else:
            known = {name: outcome.result for name, outcome in outcomes.items()}
            outcomes[section.name] = launch(section, min(section.seconds, left), known)
        report(outcomes)
    return outcomes


@dataclass(frozen=True)
class Forked:
    """Runs a section in a forked process: one that ends with a broken device or a dead process takes no other along.

    The parent must not have used the device.
    """

    prepare: Callable[..., Any]  # a context for what a section's work is given: of (seconds, known, put)
    grace_s: float = GRACE_S
    clock: Callable[[], float] = time.perf_counter

    def __call__(self, section: Section, seconds: float, known: dict[str, Any]) -> Outcome:
        """Run a section; see `Launcher`."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            process = multiprocessing.get_context("fork").Process(
                target=_child, args=(self.prepare, section, seconds, known, report)
            )
            start = self.clock()
            process.start()
            process.join(seconds + self.grace_s)
            late = process.is_alive()
            if late:
                process.kill()
                process.join()
            said = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
            took = round(self.clock() - start, 2)
        error = said.get("error", "")
        if late:
            return Outcome(Status.STOPPED, took, "its time was over", said.get("result", {}))
        if process.exitcode and not error:
            error = f"its process ended with {process.exitcode}"
        return Outcome(Status.FAILED if error else Status.DONE, took, error, said.get("result", {}))


def _child(prepare: Callable[..., Any], section: Section, seconds: float, known: dict[str, Any], report: Path) -> None:
    from benchmarks.laboratory.bench import write_json

    last: dict[str, Any] = {}

    def put(result: dict[str, Any]) -> None:
        last["result"] = result
        write_json(report, last)

    try:
        with prepare(seconds, known, put) as bench:
            section.work(bench)
    except BaseException as error:
        last["error"] = f"{type(error).__name__}: {error}"[:2000]
        write_json(report, last)
        traceback.print_exc()
        raise SystemExit(1) from None


def as_json(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Return the outcomes as the results file has them."""
    return {name: asdict(outcome) for name, outcome in outcomes.items()}
