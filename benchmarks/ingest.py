"""Reception of 300 CT instances of 512² beside Orthanc and DCMTK's storescp, in one run.

    python benchmarks/ingest.py [--rounds 5] [--instances 300] [--json]

In each round every receiver starts as a process of its own on an empty folder, and the receivers take turns. `storescu`
sends all instances over one association, then the same number under new UIDs over four associations at once; the time
is from its start to its end. TCP_NODELAY=1 is set for all. Orthanc runs as Debian installs it (SyncStorageArea: true),
storescp with --fork. `ours` is the reception alone (SCP, intake, archive, completion), `node` is the whole `serve`.
The series is synthetic, and its UIDs are new in each round. Ratios are their median seconds over ours: above 1 we are
faster. CPU is the receiver's, children included, in ms an instance. At the end: the CPU that 50 idle associations cost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the peers of the tests

from tests.processes import children, cpu_s
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import ENVIRONMENT, StoreScp
from tests.system.peers.orthanc import Orthanc

ROWS = COLUMNS = 512
TITLE = "VOXTELL"
SENDER = "STORESCU"
ROOT = "2.25.1234567890."  # of all UIDs, followed by numbers of a fixed length, so that bytes can be replaced


@dataclass(frozen=True)
class Running:
    """A receiver that has started."""

    port: int
    pid: int


Receiver = Callable[[Path], AbstractContextManager[Running]]


@contextmanager
def ours(folder: Path) -> Iterator[Running]:
    """Our reception alone."""
    command = [sys.executable, __file__, "--receiver", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Running(int(process.stdout.readline()), process.pid)
    finally:
        process.kill()
        process.wait()


def receive(folder: Path) -> None:
    """Run `ours` in this process: print the port, then receive until killed."""
    from tests.receive.receiving import Receiver as Reception
    from voxtell_dicom.observe.logs import configure_logs

    configure_logs()
    bounds = {"connections_per_address": 60}  # 50 idle ones at the end
    settings = {"quiet_s": 600, "incomplete_s": 600, "bounds": bounds}
    print(Reception(folder, accept_unknown=True, max_associations=60, **settings).port, flush=True)
    time.sleep(3600)


@contextmanager
def node(folder: Path) -> Iterator[Running]:
    """The whole node, with a rule for nothing that arrives here."""
    rule = {"name": "none", "when": {"Modality": "MR"}, "prompts": ["> 300"], "send_to": []}
    quiet = {"quiet_s": 600, "incomplete_s": 600}
    with NodeProcess(folder, peers={}, rules=[rule], receive=quiet) as process:
        assert process._process is not None
        yield Running(process.port, process._process.pid)


@contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Orthanc with the settings of the Debian package."""
    with Orthanc(folder, settings={"SyncStorageArea": True}) as process:
        assert process._process is not None
        yield Running(process.dicom_port, process._process.pid)


@contextmanager
def storescp(folder: Path) -> Iterator[Running]:
    """DCMTK's storescp, a process for each association."""
    with StoreScp(folder, "--fork") as process:
        assert process._process is not None
        yield Running(process.port, process._process.pid)


RECEIVERS: dict[str, Receiver] = {"ours": ours, "node": node, "orthanc": orthanc, "storescp": storescp}


def make_template() -> bytes:
    """Return one CT instance as a file; its Series and SOP Instance UID, ROOT and 8 digits each, are to be replaced."""
    from io import BytesIO

    import numpy as np
    from pydicom.uid import ExplicitVRLittleEndian

    from tests.receive.receiving import make_slice

    ds = make_slice(f"{ROOT}11111111", 1, study_uid=f"{ROOT}33333333")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}22222222"
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.PixelData = np.random.default_rng(1).integers(0, 4096, (ROWS, COLUMNS), np.uint16).tobytes()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def write_series(folder: Path, template: bytes, number: int, instances: int) -> None:
    """Write a series under UIDs made from its number."""
    folder.mkdir(parents=True)
    series = template.replace(b"11111111", b"%08d" % (10**7 + number)).replace(b"33333333", b"%08d" % number)
    for index in range(instances):
        path = folder / f"{index:04}.dcm"
        path.write_bytes(series.replace(b"22222222", b"%08d" % (20_000_000 + number * 10_000 + index)))


def send(folders: list[Path], port: int) -> float:
    """Send each folder over an association of its own, all at once; return the seconds. Fails if one was not stored."""
    options = ["+sd", "-aet", SENDER, "-aec", TITLE, "127.0.0.1", str(port)]
    began = time.perf_counter()
    senders = [subprocess.Popen(["storescu", *options, str(folder)], env=ENVIRONMENT) for folder in folders]
    codes = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - began
    if any(codes):
        raise SystemExit(f"storescu failed: {codes}")
    return seconds


def used_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and of its children, those that have ended included."""
    return sum(map(cpu_s, (*children(pid), pid)))


def idle_cpu_percent(folder: Path, associations: int = 50, seconds: float = 5.0) -> float:
    """Return the share of a core, in per cent, that open associations without traffic cost our reception."""
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    from voxtell_dicom.network.associations import new_entity

    with ours(folder) as running:
        entity = new_entity(SENDER)
        entity.add_requested_context(Verification)
        entity.network_timeout = None
        links = [entity.associate("127.0.0.1", running.port, ae_title=TITLE) for _ in range(associations)]
        assert all(link.is_established for link in links)
        time.sleep(1)
        before = used_cpu_s(running.pid)
        time.sleep(seconds)
        used = used_cpu_s(running.pid) - before
        for link in links:
            link.release()
    return round(100 * used / seconds, 2)


def run(rounds: int, instances: int, names: list[str]) -> dict[str, Any]:
    """Measure all receivers in turn."""
    seconds: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    template = make_template()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for turn in range(rounds):
            one = [work / "in/1"]
            four = [work / f"in/4{part}" for part in range(4)]
            write_series(one[0], template, 10 * turn, instances)
            for part, folder in enumerate(four):
                write_series(folder, template, 10 * turn + 1 + part, instances // 4)
            for name in names if turn % 2 == 0 else reversed(names):
                with ExitStack() as stack:
                    running = stack.enter_context(RECEIVERS[name](work / name))
                    for key, folders in ((f"{name}_1", one), (f"{name}_4", four)):
                        before = used_cpu_s(running.pid)
                        seconds.setdefault(key, []).append(send(folders, running.port))
                        used = used_cpu_s(running.pid) - before
                        cpu.setdefault(key, []).append(1000 * used / instances)
                shutil.rmtree(work / name)
            shutil.rmtree(work / "in")
        idle = idle_cpu_percent(work / "idle")
    median = {key: statistics.median(values) for key, values in seconds.items()}
    megabytes = instances * len(template) / 1e6
    ratios = {
        f"{name}_{count}": round(median[f"{name}_{count}"] / median[f"ours_{count}"], 3)
        for name in names
        for count in (1, 4)
        if name != "ours"
    }
    return {
        "instances": instances,
        "rounds": rounds,
        "load": os.getloadavg()[0],
        "seconds": {key: [round(value, 3) for value in values] for key, values in seconds.items()},
        "mb_per_s": {key: round(megabytes / value, 1) for key, value in median.items()},
        "cpu_ms": {key: round(statistics.median(values), 2) for key, values in cpu.items()},
        "idle_cpu_percent": idle,
        "ratios": ratios,
    }


def print_transfers(result: Mapping[str, Any], what: str) -> None:
    """Print seconds, rate and CPU time of each receiver, by the number of `what` at once, and the ratios."""
    for key, values in result["seconds"].items():
        name, _, count = key.partition("_")
        spread = f"{min(values):.2f}-{max(values):.2f}"
        print(
            f"{name:9} {count} {what}  {statistics.median(values):6.2f} s ({spread})"
            f"  {result['mb_per_s'][key]:6.1f} MB/s  {result['cpu_ms'][key]:5.2f} ms CPU an instance"
        )
    ratios = ", ".join(f"{key} {value:.2f}×" for key, value in result["ratios"].items())
    print(f"ratios: {ratios}; load {result['load']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--instances", type=int, default=300, help="a multiple of four")
    parser.add_argument("--only", nargs="+", choices=[name for name in RECEIVERS if name != "ours"])
    parser.add_argument("--receiver", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.receiver:
        receive(args.receiver)
        return
    result = run(args.rounds, args.instances, ["ours", *(args.only or [name for name in RECEIVERS if name != "ours"])])
    if args.json:
        print(json.dumps(result))
        return
    print_transfers(result, "associations")
    print(f"50 idle associations: {result['idle_cpu_percent']} % of a core")


if __name__ == "__main__":
    main()
