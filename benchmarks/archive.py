"""The archive's index with 1,000 and with 1,000,000 instances: start, memory, a claim, a look for complete series.

    python benchmarks/archive.py [--instances 1000000] [--repeat 3] [--json]

Rows are inserted directly, no files are written: series of 300 instances, 20 of the series with new instances. Each
measurement runs in a process of its own, the sizes taking turns; medians count.
start: opening the archive. memory: growth of the
resident set by opening it and all of the following. claim: one instance inserted in the index. look: which series are
due, and when the next one is. state: what is decided upon for one series of 300.
`ratios`: the large index over the small one (for memory: MB more).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PER_SERIES = 300
PENDING = 20
CLAIMS = 300


def open_engine(folder: Path) -> Any:
    from voxtell_dicom.archive.database import open_database
    from voxtell_dicom.config import Config

    settings = {"version": 1, "node": {"storage": folder}, "model": {"engine": "threshold"}}
    return open_database(Config.model_validate(settings))


def open_archive(folder: Path, engine: Any) -> Any:
    from voxtell_dicom.archive.archive import Archive
    from voxtell_dicom.config import Receive

    return Archive(folder / "spool", engine, Receive(min_free_percent=0))


def fill(folder: Path, count: int) -> None:
    """Insert the rows of `count` instances."""
    import sqlalchemy as sa

    from voxtell_dicom.archive import tables
    from voxtell_dicom.archive.naming import instance_key

    engine = open_engine(folder)
    open_archive(folder, engine).close()
    total = -(-count // PER_SERIES)
    for number in range(total):
        series_uid = f"2.25.{number}"
        pending = number >= total - PENDING
        row = {
            "series_uid": series_uid, "study_uid": f"2.26.{number}", "patient_id": "P", "calling_ae": "CT",
            "called_ae": "VOXTELL", "last_at": float(number), "has_new_instances": pending,
            "due_at": time.time() + 1e6 * pending,
        }  # fmt: skip
        size = min(PER_SERIES, count - number * PER_SERIES)
        rows = [
            {
                "sop_uid": f"{series_uid}.{index}", "series_uid": series_uid,
                "sop_class": "1.2.840.10008.5.1.4.1.1.2", "transfer_syntax": "1.2.840.10008.1.2.1",
                "digest": f"{number * PER_SERIES + index:064x}", "frames": 1, "images_in_acquisition": 0, "own": False,
                "association": f"{number:032x}", "object": instance_key(series_uid, f"{series_uid}.{index}", "0" * 64),
                "size": 526_000, "arrived": float(number), "header": None, "header_version": None,
            }
            for index in range(size)
        ]  # fmt: skip
        with engine.begin() as connection:
            connection.execute(sa.insert(tables.series), [row])
            connection.execute(sa.insert(tables.instance), rows)


def measure(folder: Path) -> dict[str, float]:
    """In this process: seconds of each operation (median), and MB of growth."""
    from voxtell_dicom.archive.instance import Arrival, Sender
    from voxtell_dicom.archive.part10 import Facts

    open_archive(folder / "warm", open_engine(folder / "warm")).close()  # imports and first use
    engine = open_engine(folder)
    before = resident_mb()
    start = time.perf_counter()
    archive = open_archive(folder, engine)
    found = {"start_s": time.perf_counter() - start}
    sender = Sender("bench", "CT", "VOXTELL", opened=archive.now())
    prefix = f"2.27.{time.time_ns()}"
    claims: list[float] = []
    for index in range(CLAIMS):
        uid = f"{prefix}.{index}"
        known = ("1.2.840.10008.5.1.4.1.1.2", uid, prefix, "2.28", "P", "1.2.840.10008.1.2.1", f"{index:064x}")
        facts = Facts.of(Arrival(*known, own=False, images_in_acquisition=0, frames=1, data=b""), sender, archive.now())
        archive._hold(facts)
        start = time.perf_counter()
        archive._claim(facts, f"series/{uid}", 526_000, b"h" * 4000, None)
        claims.append(time.perf_counter() - start)
    found["claim_s"] = statistics.median(claims)
    looks, states = [], []
    for _ in range(100):
        start = time.perf_counter()
        archive.due()
        archive.next_due()
        looks.append(time.perf_counter() - start)
    for _ in range(20):
        start = time.perf_counter()
        archive.arrival_state(prefix)
        states.append(time.perf_counter() - start)
    found["look_s"], found["state_s"] = statistics.median(looks), statistics.median(states)
    found["memory_mb"] = resident_mb() - before
    archive.close()
    return found


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folders = {count: Path(scratch) / str(count) for count in (1000, options.instances)}
        for count, folder in folders.items():
            folder.mkdir()
            fill(folder, count)
        runs: dict[int, list[dict[str, float]]] = {count: [] for count in folders}
        for _ in range(options.repeat):
            for count, folder in folders.items():
                command = [sys.executable, __file__, "--measure", str(folder)]
                answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                runs[count].append(json.loads(answer.splitlines()[-1]))
    medians = {
        count: {name: statistics.median(run[name] for run in some) for name in some[0]} for count, some in runs.items()
    }
    small, large = medians[1000], medians[options.instances]
    ratios = {name.removesuffix("_s"): large[name] / small[name] for name in large if name.endswith("_s")}
    ratios["memory_mb"] = large["memory_mb"] - small["memory_mb"]
    if options.json:
        print(json.dumps({"seconds": medians, "ratios": ratios}))
        return
    for count, some in medians.items():
        print(f"{count:>9} instances: " + ", ".join(f"{name} {value:.5f}" for name, value in some.items()))
    print("ratios: " + ", ".join(f"{name} {value:.2f}" for name, value in ratios.items()))


if __name__ == "__main__":
    main()
