"""One run with a card: `python -m benchmarks.laboratory FOLDER`; `tools/cuda-check.sh run` calls it.

--rehearse          everything at a tiny size, on a device that is none: seconds, of no meaning
--seconds 530       for all sections together
--only sweep caps   these sections (and `model`, which writes the model they load)
--settings JSON     no run: print what the package's settings.json should hold for the card of these results
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import engine
from benchmarks.laboratory import against, alternatives, ceilings, correctness, sweep, volume, window_profile
from benchmarks.laboratory.bench import FULL, TINY, TINY_FEATURES, TINY_SIZES, TINY_STRIDE, Bench, write_json
from benchmarks.laboratory.runner import Forked, Outcome, Section, Status, as_json, run_sections
from benchmarks.laboratory.table import table

SECONDS = 530.0
MOST_BYTES = 16 << 20  # of a file
SECTIONS = (
    Section("model", 45, correctness.write_model),
    Section("correctness", 75, correctness.check),
    Section("ceilings", 20, ceilings.measure),
    Section("sweep", 110, sweep.sweep),
    Section("alternatives", 70, alternatives.compare),
    Section("against", 90, against.compare),
    Section("volume", 60, volume.whole),
    Section("profile", 30, window_profile.measure),
    Section("caps", 50, volume.capped),
    Section("compile", 60, alternatives.compile_decoder),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("cuda-check"))
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only", nargs="+", choices=[section.name for section in SECTIONS])
    parser.add_argument("--settings", type=Path)
    args = parser.parse_args()
    if args.settings:
        print(json.dumps(settings(json.loads(args.settings.read_text(encoding="utf-8"))), indent=1))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    wanted = [s for s in SECTIONS if not args.only or s.name in ("model", *args.only)]
    with tempfile.TemporaryDirectory() as work:
        launch = Forked(partial(_bench, args.folder, Path(work), args.rehearse))
        start = time.perf_counter()
        outcomes = run_sections(wanted, launch, args.seconds, partial(_report, args.folder, start))
    limit(args.folder)
    done = [name for name, outcome in outcomes.items() if outcome.status is Status.DONE]
    print((args.folder / "table.txt").read_text(encoding="utf-8"))
    sys.exit(0 if len(done) == len(wanted) else 1)


@contextlib.contextmanager
def _bench(
    folder: Path, work: Path, rehearse: bool, seconds: float, known: dict[str, Any], put: Callable[..., None]
) -> Iterator[Bench]:
    """Return the bench of a section, made in its own process."""
    with _no_card() if rehearse else contextlib.nullcontext():
        yield Bench(folder, work, TINY if rehearse else FULL, torch.device("cuda", 0), seconds, known, put)


@contextlib.contextmanager
def _no_card() -> Iterator[None]:
    """Return a bench with a tiny network on the device of the tests that is none, twins in place of kernels."""
    import pytest

    from tests.engine.pretend_cuda import pretend_cuda, twins_for_launches

    engine.FULL_FEATURES[:] = TINY_FEATURES
    engine.BLOCKS[:] = [1] * len(TINY_FEATURES)
    engine.STRIDES[-1] = TINY_STRIDE
    engine.SIZES.update(TINY_SIZES)
    with pytest.MonkeyPatch.context() as patch, pretend_cuda(patch):
        twins_for_launches(patch)
        yield


def _report(folder: Path, start: float, outcomes: dict[str, Outcome]) -> None:
    """Write what is known so far: a run that is cut off has left it."""
    card = outcomes["model"].result.get("card", "no card")
    results = {
        "card": card,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - start,
        "sections": as_json(outcomes),
    }
    write_json(folder / "results.json", results)
    (folder / "table.txt").write_text(table(results), encoding="utf-8")
    name, last = list(outcomes.items())[-1]
    print(f"{name}: {last.status}, {last.seconds:.0f} s {last.error[:200]}", flush=True)


def limit(folder: Path) -> None:
    """Cut files off where they are too large to be brought back."""
    for path in folder.iterdir():
        if path.stat().st_size > MOST_BYTES:
            os.truncate(path, MOST_BYTES)


def settings(results: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of `cards` in voxtell_dicom/engine/kernels/settings.json for the card of a run."""
    sections = results["sections"]
    chosen = sections["alternatives"]["result"].get("chosen") or sections["sweep"]["result"]["chosen"]
    major, minor = sections["model"]["result"]["capability"]
    return {f"{major}.{minor}": {"measured": f"{results['card']}, {results['date']}", **chosen}}


if __name__ == "__main__":
    main()
