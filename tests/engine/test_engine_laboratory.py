"""The laboratory for a card, rehearsed without one: from the folder of wheels, on a bare interpreter, in its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import distribution, distributions
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.laboratory import __main__ as laboratory
from benchmarks.laboratory import sweep
from benchmarks.laboratory.bench import TINY, Bench
from benchmarks.laboratory.runner import Forked, Outcome, Section, Status, run_sections
from benchmarks.laboratory.window_profile import gaps
from voxtell_dicom.engine.kernels.tiles import Kernel, Tuning, Widths, fitting
from voxtell_dicom.engine.kernels.tune import Launch

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)  # a dozen starts of programs, on a machine that may be busy
MOST_WHEELS_BYTES = 40 << 20
# What a machine with a card has; all else comes out of the folder of wheels.
BARE = (
    "torch", "triton", "numpy", "scipy", "safetensors", "einops", "tqdm", "pytest", "pluggy", "iniconfig", "packaging",
    "pygments", "typing-extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec", "pip",
    "setuptools",
)  # fmt: skip


def nothing(_: Any) -> None: ...


class Hall:
    """Sections that take what a table states, by a clock of its own."""

    def __init__(self, takes: dict[str, float], broken: tuple[str, ...] = ()) -> None:
        self.now = 0.0
        self._takes, self._broken = takes, broken
        self.given: dict[str, float] = {}
        self.known: dict[str, list[str]] = {}

    def clock(self) -> float:
        return self.now

    def __call__(self, section: Section, seconds: float, known: dict[str, Any]) -> Outcome:
        self.given[section.name], self.known[section.name] = seconds, list(known)
        took = min(seconds, self._takes[section.name])
        self.now += took
        if section.name in self._broken:
            return Outcome(Status.FAILED, took, "RuntimeError: illegal memory access")
        return Outcome(Status.DONE if took == self._takes[section.name] else Status.STOPPED, took)


def test_each_section_has_its_own_time_and_no_more_than_is_left() -> None:
    hall = Hall({"a": 10, "b": 500, "c": 20, "d": 5}, broken=("a",))
    reports: list[list[str]] = []
    sections = [Section(name, 40, nothing) for name in "abcd"]
    outcomes = run_sections(sections, hall, 73, lambda known: reports.append(list(known)), hall.clock)
    assert hall.given == {"a": 40, "b": 40, "c": 23}
    assert [outcome.status for outcome in outcomes.values()] == ["failed", "stopped", "done", "not begun"]
    assert hall.known["c"] == ["a", "b"], "what was measured before is known"
    assert reports == [["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]], "written after each"
    assert hall.now <= 73


def test_the_whole_run_is_under_nine_minutes() -> None:
    """Were every section to take all its time and its grace."""
    hall = Hall({section.name: 1e9 for section in laboratory.SECTIONS})
    run_sections(laboratory.SECTIONS, hall, laboratory.SECONDS, nothing, hall.clock)
    assert hall.now <= laboratory.SECONDS < 540


def sections_of_all_kinds() -> Iterator[Section]:
    def working(bench: Any) -> None:
        bench(value=1)

    def failing(bench: Any) -> None:
        bench(value=2)
        raise RuntimeError("illegal memory access")

    def dying(bench: Any) -> None:
        bench(value=3)
        os._exit(139)

    def endless(bench: Any) -> None:
        bench(value=4)
        time.sleep(3600)

    yield from (Section(work.__name__, 0.1, work) for work in (failing, dying, endless, working))


class _Prepared:
    """A stand-in for the bench: a function that records its keywords."""

    def __init__(self, _seconds: float, _known: dict[str, Any], put: Callable[..., None]) -> None:
        self._put = put

    def __enter__(self) -> Callable[..., None]:
        return lambda **values: self._put(values)

    def __exit__(self, *_: Any) -> None: ...


def test_one_that_fails_dies_or_never_ends_keeps_the_next_from_nothing() -> None:
    """Its process is ended a little after its time; what it had measured is there."""
    outcomes = {s.name: Forked(_Prepared, grace_s=8)(s, s.seconds, {}) for s in sections_of_all_kinds()}
    assert {name: o.status.value for name, o in outcomes.items()} == {
        "failing": "failed", "dying": "failed", "endless": "stopped", "working": "done",
    }  # fmt: skip
    assert [o.result for o in outcomes.values()] == [{"value": n} for n in (2, 3, 4, 1)]
    assert outcomes["failing"].error == "RuntimeError: illegal memory access"
    assert outcomes["dying"].error == "its process ended with 139"


class Ticking:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def bench_of(tmp_path: Path, seconds: float, clock: Callable[[], float]) -> Bench:
    return Bench(tmp_path, tmp_path, TINY, torch.device("cuda", 0), seconds, {}, nothing, clock)


def test_a_section_stops_itself_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = Launch(Widths(Kernel.UPCONV, 8, 64), (2, 2, 2), (2, 2, 2))
    monkeypatch.setattr(sweep, "launches_of", lambda _: [launch])
    with laboratory._no_card():
        bench = bench_of(tmp_path, 20, Ticking())
        sweep.sweep(bench)
    timed = bench.result[str(launch.widths)]
    assert 0 < len(timed) < len(fitting(Kernel.UPCONV, (9, 0)))
    assert bench.result["unfinished"].startswith("upconv from ")
    assert bench.clock() < 40


def test_what_there_is_no_time_for_or_fails_is_noted(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 10, Ticking())
    assert bench.attempt("a", "one", work=lambda: 3) == 3
    assert bench.attempt("a", "two", work=lambda: 1 // 0) is None
    for _ in range(10):
        bench.clock()
    assert bench.attempt("b", work=lambda: pytest.fail("begun without time")) is None
    assert bench.result == {
        "a": {"one": 3, "two": {"error": "ZeroDivisionError: integer division or modulo by zero"}},
        "b": {"error": "no time left"},
    }


def test_gaps_between_kernels_are_counted() -> None:
    found = gaps([(1.0, 2.0), (2.5, 3.0), (2.6, 2.9), (3.00005, 4.0)])
    assert found["launches"] == 4
    assert found["busy_s"] == pytest.approx(2.49995)
    assert found["idle_s"] == pytest.approx(0.50005)
    assert found["gaps"] == {"up to 1e-05 s": 0, "up to 0.0001 s": 1, "up to 0.001 s": 0, "longer": 1}


def bare_python(folder: Path) -> Path:
    """Return an interpreter that has what a machine with a card has, and no more."""
    site = folder / "bare"
    site.mkdir()
    libraries = [found for found in distributions() if found.name.startswith(("nvidia-", "cuda-"))]  # torch's own
    for found in [*map(distribution, BARE), *libraries]:
        for top in {Path(file).parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            target = Path(str(found.locate_file(top)))
            if not (site / top).exists():
                (site / top).symlink_to(target)
    path = folder / "python"
    base = getattr(sys, "_base_executable", sys.executable)
    path.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{site}" exec {base} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a whole run leaves, wheels fetched as for a card's machine."""
    folder = tmp_path_factory.mktemp("laboratory")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"WHEELS": str(folder / "wheels"), "OMP_NUM_THREADS": "1"}
    script = str(ROOT / "tools" / "cuda-check.sh")

    def call(python: Path, *arguments: str) -> None:
        run = subprocess.run(
            [script, *arguments], env={**environment, "PYTHON": str(python)}, capture_output=True, text=True,
            check=False, timeout=880,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]

    call(Path(sys.executable), "wheels", "{}.{}".format(*sys.version_info))
    assert sum(path.stat().st_size for path in (folder / "wheels").iterdir()) <= MOST_WHEELS_BYTES
    call(bare_python(folder), "run", str(folder / "out"), "--rehearse")
    return folder / "out"


def errors_in(value: Any, where: str = "") -> list[str]:
    """Every error that a result notes, with its place."""
    if not isinstance(value, dict):
        return []
    here = [f"{where}: {value['error']}"] if value.get("error") else []
    return here + [line for name, inner in value.items() for line in errors_in(inner, f"{where} / {name}")]


def test_a_bare_machine_runs_every_section(rehearsed: Path) -> None:
    results = json.loads((rehearsed / "results.json").read_text())
    assert {name: o["status"] for name, o in results["sections"].items()} == {
        section.name: "done" for section in laboratory.SECTIONS
    }
    assert errors_in(results["sections"]) == []
    assert "a card that is none" in results["card"]
    names = sorted(path.name for path in rehearsed.iterdir())
    assert names == ["card.txt", "log.txt", "profile.txt", "results.json", "table.txt", "tests.txt"]
    assert all(path.stat().st_size < 16 << 20 for path in rehearsed.iterdir())


def test_the_results_hold_what_tuning_needs(rehearsed: Path) -> None:
    sections = {n: o["result"] for n, o in json.loads((rehearsed / "results.json").read_text())["sections"].items()}
    assert sections["correctness"]["tests"]["exit code"] == 0
    assert set(sections["correctness"]["half precision"]) == {"official", "ours"}
    assert set(sections["ceilings"]["flops"]) == {"float16", "bfloat16", "tf32"}
    swept = {name: tried for name, tried in sections["sweep"].items() if name.startswith("upconv")}
    assert len(swept) == 4, "each stage that sees the prompt"
    for tried in swept.values():
        assert set(tried) == {str(tile) for tile in fitting(Kernel.UPCONV, (9, 0))}
        assert all({"seconds", "flops", "bytes_per_second"} == set(entry) for entry in tried.values())
    assert {"prompt by prompt", "groups of 4", "graph", "torch twins"} <= set(sections["alternatives"]["window"])
    assert set(sections["alternatives"]["encoder"]) == {"channels-last, fused", "contiguous, torch"}
    assert {"plain", "compiled"} == set(sections["compile"])
    assert all("official_over_ours" in entry for n, entry in sections["against"].items() if n.endswith("prompts"))
    assert sections["volume"]["default"]["windows"] >= 1
    assert set(sections["caps"]) == {"24 GiB", "16 GiB", "12 GiB"}
    table = (rehearsed / "table.txt").read_text()
    assert "TFLOP/s" in table
    assert "official_over_ours" in table


def test_the_packages_table_is_derived_from_the_results(rehearsed: Path) -> None:
    results = json.loads((rehearsed / "results.json").read_text())
    (capability, entry), *rest = laboratory.settings(results).items()
    assert (capability, rest) == ("9.0", [])
    assert entry["measured"].startswith("a card that is none")
    tuned = Tuning.from_json(entry)
    assert all(tile in fitting(widths.kernel, (9, 0)) for widths, tile in tuned.tiles.items())
    assert len([widths for widths in tuned.tiles if widths.kernel is Kernel.UPCONV]) == 4
