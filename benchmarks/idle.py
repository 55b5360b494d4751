"""Measure the CPU time of an idle node, and how soon it hands a small series on.

    python benchmarks/idle.py                 # 60 s idle, then five small series, one after the other
    python benchmarks/idle.py --json          # the same as JSON
    python benchmarks/idle.py --tree DIR      # the package of another checkout, e.g. of an earlier version

Idle: CPU seconds of the node's process (its worker apart) over `--seconds`, as a share of one core, from /proc; it does
not depend on how busy the machine is. Hand-offs: from `process` having begun to the object lying in the folder of the
peer, with the threshold engine, which takes milliseconds: nearly all of it is the way from stage to stage.
`ratios.idle`: 2 % of a core over what was used, so 1 or more is within the bar.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the tests' made series

from tests.processes import cpu_s

ROOT = Path(__file__).resolve().parent.parent

BAR_PERCENT = 2.0


def main() -> None:
    """Start a node, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--series", type=int, default=5)
    parser.add_argument("--tree", type=Path, default=ROOT, help="checkout whose voxtell_dicom runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments.tree.resolve(), arguments.seconds, arguments.series)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    print(f"idle: {found['idle_percent']:.2f} % of a core (bar {BAR_PERCENT:g} %)")
    print(f"hand-offs: median {found['handoff_s']:.2f} s from process to delivered ({found['series']} series)")


def measure(folder: Path, tree: Path, seconds: float, series: int) -> dict[str, object]:
    """Return CPU while idle in percent of a core, seconds from `process` to delivered (median, all), and ratios."""
    from tests.system.made_series import write_ct
    from tests.system.peers.ports import free_port

    port = free_port()
    config = {
        "version": 1,
        "node": {"dimse": {"port": port}, "http": {"port": free_port()}, "storage": str(folder / "data")},
        "receive": {"quiet_s": 1, "min_free_percent": 1},
        "model": {"engine": "threshold"},
        "peers": {"sender": {"ae_title": "SENDER"}, "out": {"folder": str(folder / "out")}},
        "rules": [{"name": "bright", "when": {"Modality": "CT"}, "prompts": ["> 300"], "send_to": ["out"]}],
    }
    (folder / "out").mkdir()
    (folder / "node.yaml").write_text(yaml.safe_dump(config))
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "voxtell_dicom", "serve", "-c", str(folder / "node.yaml")]
    with (folder / "node.log").open("w") as log:
        node = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        _wait(lambda: "node ready" in (folder / "node.log").read_text())
        time.sleep(5)  # what a start leaves to do
        began, used = time.monotonic(), cpu_s(node.pid)
        time.sleep(seconds)
        idle = 100 * (cpu_s(node.pid) - used) / (time.monotonic() - began)
        handoffs = []
        for number in range(series):
            files = write_ct(folder / f"series-{number}", slices=4, seed=number)
            send = ["storescu", "-aet", "SENDER", "-aec", "VOXTELL", "127.0.0.1", str(port), *map(str, files)]
            subprocess.run(send, check=True, env={**os.environ, "TCP_NODELAY": "1"})
            _wait(lambda n=number: len(_delivered(folder / "data")) > n)
            handoffs.append(_delivered(folder / "data")[-1])
            time.sleep(3)  # idle again, as before most series
    finally:
        node.terminate()
        node.wait(60)
    return {
        "idle_percent": round(idle, 2),
        "handoff_s": round(statistics.median(handoffs), 3),
        "handoffs_s": [round(each, 3) for each in handoffs],
        "series": series,
        "ratios": {"idle": round(BAR_PERCENT / max(idle, 0.01), 2)},
    }


def _delivered(storage: Path) -> list[float]:
    """Seconds from the creation of `process` to the end of the delivery, for each job, in order of time."""
    with sqlite3.connect(f"file:{storage / 'node.sqlite'}?mode=ro", uri=True, timeout=10) as connection:
        rows = connection.execute(
            "SELECT MIN(CASE WHEN stage = 'process' THEN started END),"
            " MAX(CASE WHEN stage LIKE 'deliver%' THEN started + seconds END) AS done"
            " FROM voxtell_stage GROUP BY job_id HAVING done IS NOT NULL ORDER BY done"
        ).fetchall()
    return [done - began for began, done in rows]


def _wait(happened: object, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not happened():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError("the node did not get there")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
