"""Hostile input at length: `make hostile`, or `python -m tests.hostile --datasets 5000 --streams 2000 --seed 1`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.hostile.suite import Hostile, settings
from tests.processes import peak_bytes
from tests.system.node_process import NodeProcess


def main() -> None:
    """Run, and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=5000)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, NodeProcess(Path(name), **settings(Path(name))) as node:
        hostile = Hostile(Path(name), node, chosen.seed)
        with hostile.silent_callers():
            hostile.datasets(chosen.datasets)
            hostile.streams(chosen.streams)
            print(hostile.check(timeout_s=1800), f"{peak_bytes(node.pid) >> 20} MiB", flush=True)
            assert node.stop() == 0


if __name__ == "__main__":
    main()
