"""Measure the cost of the node around the model: complete series → object stored by a peer, seconds by stage, memory.

    python benchmarks/overhead.py                       # 300 × 512² CT, 20 large segments by the threshold engine
    python benchmarks/overhead.py --json                # last line: one JSON object; `ratios` are theirs over ours
    python benchmarks/overhead.py --tree ../other       # beside the same node of another checkout, interleaved

Beside it a script that does the same work by hand: a loop of pydicom, a threshold of numpy, a Segmentation of highdicom
from one stacked 4-D mask, C-STORE by pynetdicom. The peer of all is DCMTK's storescp. Seconds are wall seconds by the
node's own timeline; CPU seconds (node and worker, from the last C-STORE to delivery) are what counts on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the tests' free ports

from tests.processes import children, cpu_s, peak_bytes

ROOT = Path(__file__).resolve().parent.parent

SEGMENTS = 20
THRESHOLDS = [25 * number for number in range(SEGMENTS)]


def write_series(folder: Path, slices: int, size: int, number: int) -> list[Path]:
    """Write a CT of a bright column: each threshold segments a narrower part of it on nearly every slice."""
    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    axis = np.linspace(-1, 1, size)
    column = 600 * (1 - np.hypot(axis[:, None], axis[None]))
    noise = np.random.default_rng(number)
    files = []
    for index in range(slices):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{number:03d}{index:05d}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"2.25.71{number:03d}", f"2.25.72{number:03d}"
        ds.FrameOfReferenceUID = f"2.25.73{number:03d}"
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "A^B", "1", "", ""
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", "1"
        ds.ReferringPhysicianName, ds.PositionReferenceIndicator = "", ""
        ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "CT", "Test", 1, index + 1
        ds.ImageType, ds.RescaleSlope, ds.RescaleIntercept = ["ORIGINAL", "PRIMARY", "AXIAL"], 1, -1024
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-200, -200, index * 1.5]
        ds.PixelSpacing, ds.SliceThickness = [0.8, 0.8], 1.5
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows = ds.Columns = size
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.PixelData = (column + noise.normal(1024, 8, (size, size))).astype("<u2").tobytes()
        files.append(folder / f"{index:05d}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    return files


def script(folder: Path, port: int) -> None:
    """Run the script that a user would write, as a process of its own; print seconds, CPU seconds and peak memory."""
    import highdicom as hd
    import numpy as np
    import pydicom
    from pydicom.sr.codedict import codes

    seconds: dict[str, float] = {}
    with _timed(seconds, "process"):
        sources = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
        sources.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
        volume = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in sources])
    with _timed(seconds, "segment"):
        masks = np.stack([volume > threshold for threshold in THRESHOLDS], axis=-1)
    with _timed(seconds, "encode"):
        algorithm = hd.AlgorithmIdentificationSequence("threshold", codes.DCM.ArtificialIntelligence, "1")
        described = [
            hd.seg.SegmentDescription(number, f"> {t}", codes.SCT.Organ, codes.SCT.Liver, "AUTOMATIC", algorithm)
            for number, t in enumerate(THRESHOLDS, 1)
        ]
        made = hd.seg.Segmentation(
            sources, masks, "BINARY", described, hd.UID(), 100, hd.UID(), 1, "script", "script", "1", "1"
        )
        path = folder.parent / "script-seg.dcm"
        made.save_as(path)
    with _timed(seconds, "deliver"):
        _c_store([path], port)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "peak_bytes": peak}))


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _c_store(files: list[Path], port: int) -> None:
    from pydicom import dcmread
    from pynetdicom import AE

    entity = AE("SCRIPT")
    entity.add_requested_context(str(dcmread(files[0], stop_before_pixels=True).SOPClassUID), "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", port, ae_title="PACS")
    assert association.is_established
    for path in files:
        assert association.send_c_store(path).Status == 0x0000
    association.release()


class Node:
    """`serve` of a checkout as a process."""

    def __init__(self, tree: Path, folder: Path, pacs_port: int) -> None:
        import yaml

        from tests.system.peers.ports import free_port

        self.port, self.config = free_port(), folder / "node.yaml"
        self._environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}  # not the working folder
        folder.mkdir()
        rule: dict[str, Any] = {"name": "all", "when": {"Modality": "CT"}, "send_to": ["pacs"], "receipt": "never"}
        rule["prompts"] = [f"> {threshold}" for threshold in THRESHOLDS]
        settings = {
            "version": 1,
            "node": {"dimse": {"host": "127.0.0.1", "port": self.port}, "storage": str(folder / "data")},
            "receive": {"quiet_s": 1, "accept_unknown": True, "min_free_percent": 1},
            "model": {"engine": "threshold"},
            "peers": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs_port}},
            "rules": [rule],
        }
        self.config.write_text(yaml.safe_dump(settings))
        log = folder / "node.log"
        with log.open("w") as file:
            self._process = subprocess.Popen(self._command("serve"), stderr=file, stdout=file, env=self._environment)
        deadline = time.monotonic() + 300
        while "node ready" not in log.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(log.read_text()[-2000:])
            time.sleep(0.1)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "voxtell_dicom", *words, "-c", str(self.config)]

    def pids(self) -> list[int]:
        return [self._process.pid, *children(self._process.pid)]

    def cpu_s(self) -> float:
        """CPU seconds of the node and its worker so far."""
        return sum(map(cpu_s, self.pids()))

    def peaks(self) -> list[int]:
        """Peak resident bytes of the node, then of its worker."""
        return [peak_bytes(pid) for pid in self.pids()]

    def segment(self, files: list[Path]) -> dict[str, Any]:
        """Send a series and wait until its object is delivered: seconds by stage, CPU seconds."""
        subprocess.run(["storescu", "-aec", "VOXTELL", "127.0.0.1", str(self.port), *map(str, files)], check=True)
        before, job = self.cpu_s(), {}
        deadline = time.monotonic() + 600
        before_id = getattr(self, "_last", "")
        while time.monotonic() < deadline:
            done = subprocess.run(
                self._command("jobs", "show", "latest", "--json"), capture_output=True, env=self._environment
            )
            job = json.loads(done.stdout) if done.returncode == 0 and done.stdout else {}
            if job.get("id") != before_id and job.get("state") in ("delivered", "failed", "empty", "held"):
                break
            time.sleep(0.5)
        if job.get("state") != "delivered":
            raise SystemExit(f"the job is {job.get('state')}: {job.get('reason')}")
        self._last = job["id"]
        seconds = {row["stage"].split()[0]: row["seconds"] or 0.0 for row in job["timeline"]}
        return {"seconds": seconds, "cpu_s": self.cpu_s() - before}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)


def run(rounds: int, slices: int, size: int, trees: list[Path]) -> dict[str, Any]:
    """All in turn, each round on another series."""
    from tests.system.peers.ports import free_port

    names = {"node": ROOT, **{f"tree{number or ''}": tree for number, tree in enumerate(trees)}}
    taken: dict[str, list[dict[str, Any]]] = {"script": [], **{name: [] for name in names}}
    with tempfile.TemporaryDirectory() as temporary:
        work, port = Path(temporary), free_port()
        (work / "pacs").mkdir()
        pacs = subprocess.Popen(["storescp", "-aet", "PACS", "--ignore", str(port)], cwd=work / "pacs")
        nodes = {name: Node(tree, work / name, port) for name, tree in names.items()}
        try:
            for turn in range(rounds):
                files = write_series(work / f"series{turn}", slices, size, turn)
                for name, node in nodes.items():
                    taken[name].append(node.segment(files))
                command = [sys.executable, __file__, "--script", str(files[0].parent), str(port)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                taken["script"].append(json.loads(done.stdout.splitlines()[-1]))
            peaks = {name: node.peaks() for name, node in nodes.items()}
        finally:
            for node in nodes.values():
                node.close()
            pacs.terminate()
            pacs.wait(10)
    peaks["script"] = [max(each["peak_bytes"] for each in taken["script"])]
    result: dict[str, Any] = {"peak_bytes": peaks, "rounds": rounds, "slices": slices, "size": size}
    for key in ("seconds", "cpu_s"):
        result[key] = {}
    for name, rows in taken.items():
        stages = rows[0]["seconds"]
        result["seconds"][name] = {
            stage: round(statistics.median(row["seconds"].get(stage, 0.0) for row in rows), 3) for stage in stages
        }
        result["cpu_s"][name] = round(statistics.median(row["cpu_s"] for row in rows), 3)
    total = {name: sum(each.values()) for name, each in result["seconds"].items()}
    ratios = {name: round(total[name] / total["node"], 3) for name in total if name != "node"}
    ratios |= {f"{name}_cpu": round(result["cpu_s"][name] / result["cpu_s"]["node"], 3) for name in ratios}
    ratios |= {f"{name}_peak": round(sum(peaks[name]) / sum(peaks["node"]), 3) for name in taken if name != "node"}
    result["ratios"] = ratios
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--tree", type=Path, action="append", default=[], help="another checkout, measured beside")
    parser.add_argument("--script", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.script:
        script(Path(args.script[0]), int(args.script[1]))
        return
    result = run(args.rounds, args.slices, args.size, [tree.resolve() for tree in args.tree])
    if args.json:
        print(json.dumps(result))
        return
    for name, stages in result["seconds"].items():
        detail = ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items())
        memory = " + ".join(f"{peak / 2**30:.2f}" for peak in result["peak_bytes"][name])
        print(f"{name:7} {sum(stages.values()):6.2f} s ({detail})   {result['cpu_s'][name]:.2f} CPU s   {memory} GiB")
    print("ratios: " + ", ".join(f"{key} {value:.2f}×" for key, value in result["ratios"].items()))


if __name__ == "__main__":
    main()
