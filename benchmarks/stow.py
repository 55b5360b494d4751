"""STOW-RS of 200 CT instances of 512² beside Orthanc's DICOMweb plugin, in one run; memory while a large body comes.

    python benchmarks/stow.py [--rounds 3] [--instances 200] [--large-mb 2048] [--json]

In each round both start as processes of their own on an empty folder and take turns. One request has all instances, as
a chunked body made while it is sent; then four requests at once, a quarter each, under new UIDs. Orthanc runs as Debian
installs it (SyncStorageArea: true). `node` is the whole `serve`, which stores each instance durably before it answers.
Ratios are Orthanc's median seconds over ours: above 1 we are faster. At the end: by how much the node's resident memory
grows while one request of --large-mb comes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the peers of the tests

from benchmarks.ingest import make_template, print_transfers, used_cpu_s
from tests.system.node_process import NodeProcess
from tests.system.peers.orthanc import Orthanc

HEAD = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=b'


@dataclass(frozen=True)
class Running:
    """A server that has started. url: of its studies."""

    url: str
    pid: int


@contextmanager
def node(folder: Path) -> Iterator[Running]:
    """Run the whole node, with a rule for nothing that arrives here."""
    rule = {"name": "none", "when": {"Modality": "MR"}, "prompts": ["> 300"], "send_to": []}
    quiet = {"quiet_s": 600, "incomplete_s": 600}
    with NodeProcess(folder, peers={}, rules=[rule], receive=quiet, http={}) as process:
        yield Running(f"http://127.0.0.1:{process.http_port}/dicomweb/studies", process.pid)


@contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Orthanc with the settings of the Debian package."""
    with Orthanc(folder, settings={"SyncStorageArea": True}) as process:
        yield Running(f"{process.dicomweb}/studies", process.pid)


Server = Callable[[Path], AbstractContextManager[Running]]
SERVERS: dict[str, Server] = {"node": node, "orthanc": orthanc}


def message(template: bytes, number: int, instances: int) -> Iterator[bytes]:
    """Yield a multipart message of a series under UIDs made from its number."""
    series = template.replace(b"11111111", b"%08d" % (10**7 + number)).replace(b"33333333", b"%08d" % number)
    for index in range(instances):
        yield HEAD + series.replace(b"22222222", b"%08d" % (20_000_000 + number * 10_000 + index)) + b"\r\n"
    yield b"--b--\r\n"


def post(url: str, body: Iterator[bytes]) -> None:
    """Send one request. Fails if an instance was not stored."""
    headers = {"Content-Type": CONTENT_TYPE, "Accept": "application/dicom+json"}
    answer = requests.post(url, data=body, headers=headers, timeout=600)
    if answer.status_code != 200 or answer.json().get("00081198", {}).get("Value"):
        raise SystemExit(f"not stored: {answer.status_code} {answer.text[:500]}")


def send(url: str, bodies: list[Iterator[bytes]]) -> float:
    """Send each message in a request of its own, all at once; return the seconds."""
    began = time.perf_counter()
    with ThreadPoolExecutor(len(bodies)) as pool:
        for done in [pool.submit(post, url, body) for body in bodies]:
            done.result()
    return time.perf_counter() - began


def growth_mb(folder: Path, template: bytes, megabytes: int) -> float:
    """Return by how much the node's resident memory grows while one large request comes: the same instance again."""

    def resident() -> float:
        return int(Path(f"/proc/{running.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def body() -> Iterator[bytes]:
        part = HEAD + template + b"\r\n"
        for _ in range(megabytes * 1_000_000 // len(part)):
            yield part
        yield b"--b--\r\n"

    with node(folder) as running:
        post(running.url, message(template, 1, 4))
        before, highest, done = resident(), 0.0, threading.Event()

        def watch() -> None:
            nonlocal highest
            while not done.wait(0.05):
                highest = max(highest, resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        post(running.url, body())
        done.set()
        watcher.join()
    return round(highest - before, 1)


def run(rounds: int, instances: int, large_mb: int) -> dict[str, Any]:
    """Measure both in turn."""
    seconds: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    template = make_template()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for turn in range(rounds):
            for name in SERVERS if turn % 2 == 0 else reversed(SERVERS):
                with SERVERS[name](work / name) as running:
                    for key, parts in ((f"{name}_1", 1), (f"{name}_4", 4)):
                        numbers = range(10 * turn + 10 * (parts > 1), 10 * turn + 10 * (parts > 1) + parts)
                        bodies = [message(template, 1 + number, instances // parts) for number in numbers]
                        before = used_cpu_s(running.pid)
                        seconds.setdefault(key, []).append(send(running.url, bodies))
                        cpu.setdefault(key, []).append(1000 * (used_cpu_s(running.pid) - before) / instances)
                shutil.rmtree(work / name)
        growth = growth_mb(work / "large", template, large_mb)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    megabytes = instances * len(template) / 1e6
    return {
        "instances": instances,
        "rounds": rounds,
        "load": os.getloadavg()[0],
        "seconds": {key: [round(value, 3) for value in values] for key, values in seconds.items()},
        "mb_per_s": {key: round(megabytes / value, 1) for key, value in median.items()},
        "cpu_ms": {key: round(statistics.median(values), 2) for key, values in cpu.items()},
        "growth_mb": growth,
        "large_mb": large_mb,
        "ratios": {
            "orthanc": round(median["orthanc_1"] / median["node_1"], 3),
            "orthanc_4": round(median["orthanc_4"] / median["node_4"], 3),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--instances", type=int, default=200, help="a multiple of four")
    parser.add_argument("--large-mb", type=int, default=2048)
    args = parser.parse_args()
    result = run(args.rounds, args.instances, args.large_mb)
    if args.json:
        print(json.dumps(result))
        return
    print_transfers(result, "requests")
    print(f"memory grew by {result['growth_mb']} MB in a request of {args.large_mb} MB")


if __name__ == "__main__":
    main()
