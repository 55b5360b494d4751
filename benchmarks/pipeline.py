"""A received series to a stored SEG: what a user would script today beside our node, same series, same PACS, one run.

    python benchmarks/pipeline.py            # a phantom torso, 10 prompts, three rounds
    python benchmarks/pipeline.py --json     # the same as JSON; `ratios` are theirs over ours

The script: dcm2niix → the official predictor on the phantom's checkpoint (its size constants patched: they fit the
official checkpoint only) → highdicom from one stacked 4-D mask → C-STORE. It stays up, model loaded, its best
case. Both begin with the series complete on disk (the node: where its own timeline begins, after the quiet time) and
end when the PACS, a Storage SCP in this process, has answered. Peak memory: the script's process; the
node and its worker.
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
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the tests' patched official predictor

from tests.processes import children, peak_bytes

ROOT = Path(__file__).resolve().parent.parent

PROMPTS = ["liver", "liver lesion", "spleen", "left kidney", "right kidney", "left lung", "right lung", "spine"]
PROMPTS += ["aorta", "urinary bladder"]


def peer(port: int) -> None:
    """The script of a user, as a process: a folder on each line of standard input, seconds per stage as the answer."""
    import nibabel
    import numpy as np
    import torch
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

    from tests.oracles.engine_oracle import official_predictor
    from tools.phantom_prompts import bank
    from voxtell_dicom.engine import phantom_directory
    from voxtell_dicom.engine.plans import read_plans

    directory = phantom_directory()
    plans = read_plans(directory)
    texts, vectors = bank()
    predictor = official_predictor(
        directory, plans.sizes, plans.arch_kwargs, plans.patch_size, dict(zip(texts, vectors, strict=True))
    )
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print("ready", file=answers)
    for line in sys.stdin:
        folder, work = Path(line.strip()), Path(tempfile.mkdtemp())
        seconds: dict[str, float] = {}
        with _timed(seconds, "convert"):
            subprocess.run(["dcm2niix", "-z", "n", "-f", "image", "-o", work, folder], check=True, capture_output=True)
            (nifti,) = work.glob("*.nii")
            image, _ = NibabelIOWithReorient().read_images([str(nifti)])
        with _timed(seconds, "segment"), torch.inference_mode():
            masks = predictor.predict_single_image(image, PROMPTS)
        with _timed(seconds, "encode"):
            ras = nibabel.as_closest_canonical(nibabel.load(nifti)).affine
            seg = _highdicom_seg(folder, np.asarray(masks), ras)
            path = work / "seg.dcm"
            seg.save_as(path)
        with _timed(seconds, "send"):
            _c_store([path], port, "PACS")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), file=answers)


def _highdicom_seg(folder: Path, masks: Any, ras: Any) -> Any:
    """The usual way: masks back on the NIfTI's axes, then on the slices, one stacked array, one Segmentation."""
    import highdicom as hd
    import nibabel
    import numpy as np
    import pydicom
    from pydicom.sr.codedict import codes

    sources = [pydicom.dcmread(path) for path in folder.iterdir()]
    row, column = (np.array(sources[0].ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
    normal = np.cross(row, column)
    sources.sort(key=lambda ds: float(np.dot(normal, np.array(ds.ImagePositionPatient, float))))
    back = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(ras), nibabel.io_orientation(_dicom_affine(sources))
    )
    stacked = np.stack(
        [nibabel.apply_orientation(mask.transpose(2, 1, 0), back).transpose(2, 1, 0) for mask in masks], axis=-1
    ).astype(bool)
    algorithm = hd.AlgorithmIdentificationSequence("VoxTell", codes.DCM.ArtificialIntelligence, "1.1")
    descriptions = [
        hd.seg.SegmentDescription(number, text, codes.SCT.Organ, codes.SCT.Liver, "AUTOMATIC", algorithm)
        for number, text in enumerate(PROMPTS, 1)
    ]
    return hd.seg.Segmentation(
        sources, stacked, "BINARY", descriptions, hd.UID(), 100, hd.UID(), 1, "script", "script", "1", "1"
    )


def _dicom_affine(sources: list[Any]) -> Any:
    """Voxel (column, row, slice) to RAS mm, slices sorted along the normal."""
    import numpy as np

    first, last = (np.array(ds.ImagePositionPatient, float) for ds in (sources[0], sources[-1]))
    orientation = np.array(sources[0].ImageOrientationPatient, float)
    between_rows, between_columns = map(float, sources[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = orientation[:3] * between_columns, orientation[3:] * between_rows
    affine[:3, 2], affine[:3, 3] = (last - first) / (len(sources) - 1), first
    return np.diag([-1, -1, 1, 1]) @ affine


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _c_store(files: list[Path], port: int, title: str) -> None:
    from pydicom import dcmread
    from pynetdicom import AE

    entity = AE("SCRIPT")
    entity.add_requested_context(str(dcmread(files[0], stop_before_pixels=True).SOPClassUID), "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", port, ae_title=title)
    assert association.is_established
    for path in files:
        assert association.send_c_store(path).Status == 0x0000
    association.release()


class Pacs:
    """A Storage SCP in this process; tells when each SEG arrived and what was in it."""

    def __init__(self) -> None:
        from pynetdicom import AE, AllStoragePresentationContexts, evt

        self.arrived = threading.Semaphore(0)
        self.last: Any = None
        entity = AE("PACS")
        entity.supported_contexts = AllStoragePresentationContexts
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert self._server is not None
        self.port = int(self._server.server_address[1])

    def _store(self, event: Any) -> int:
        self.last = event.dataset
        self.last.file_meta = event.file_meta
        self.arrived.release()
        return 0x0000

    def close(self) -> None:
        assert self._server is not None
        self._server.shutdown()


class OurNode:
    """`serve` as a process, with quiet_s as short as it may be: waiting is not work."""

    def __init__(self, folder: Path, pacs_port: int) -> None:
        import yaml

        from tests.system.peers.ports import free_port

        self.port = free_port()
        self.config = folder / "node.yaml"
        rule: dict[str, Any] = {"name": "all", "when": {"Modality": "CT"}, "prompts": PROMPTS, "send_to": ["pacs"]}
        rule["experimental"] = True  # a lesion is among the prompts
        rule["receipt"] = "never"  # one object a series, as the script makes
        settings = {
            "version": 1,
            "node": {"dimse": {"host": "127.0.0.1", "port": self.port}, "storage": str(folder / "data")},
            "receive": {"quiet_s": 0.2, "accept_unknown": True, "min_free_percent": 1},
            "model": {"engine": "phantom"},
            "peers": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs_port}},
            "rules": [rule],
        }
        self.config.write_text(yaml.safe_dump(settings))
        program = Path(sys.executable).with_name("voxtell-dicom")
        self.log = (folder / "node.log").open("w+")
        self.process = subprocess.Popen([program, "serve", "-c", self.config], stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + 120
        while "node ready" not in (folder / "node.log").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)

    def timeline(self) -> dict[str, Any]:
        program = Path(sys.executable).with_name("voxtell-dicom")
        done = subprocess.run([program, "jobs", "show", "latest", "--json", "-c", self.config], capture_output=True)
        job: dict[str, Any] = json.loads(done.stdout)
        return job

    def peak_bytes(self) -> int:
        return sum(peak_bytes(pid) for pid in (self.process.pid, *children(self.process.pid)))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def _voxels(seg: Any) -> dict[str, int]:
    """Voxels per prompt of a SEG as it arrived."""
    import numpy as np

    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    names = {item.SegmentNumber: PROMPTS.index(_prompt(item)) for item in seg.SegmentSequence}
    counts = dict.fromkeys(PROMPTS, 0)
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        counts[PROMPTS[names[number]]] += int(np.count_nonzero(frame))
    return counts


def _prompt(item: Any) -> str:
    """Ours has the whole prompt at the beginning of the Segment Description; the script's label is the prompt."""
    text = str(item.get("SegmentDescription", "") or item.SegmentLabel)
    return next(prompt for prompt in sorted(PROMPTS, key=len, reverse=True) if text.startswith(prompt))


def run(rounds: int) -> dict[str, Any]:
    """Both ways in turn, each round on another patient."""
    from voxtell_dicom.phantom import demo_acquisition, torso, write_series

    seconds: dict[str, list[float]] = {"script": [], "node": []}
    stages: dict[str, dict[str, list[float]]] = {"script": {}, "node": {}}
    peak = {"script": 0, "node": 0}
    different = 0
    pacs = Pacs()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        command = [sys.executable, __file__, "--peer", str(pacs.port)]
        script = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert script.stdin is not None
        assert script.stdout is not None
        node = OurNode(work, pacs.port)
        try:
            assert script.stdout.readline() == "ready\n"
            for turn in range(rounds):
                files = write_series(torso(8000 + turn), demo_acquisition(8000 + turn), work / f"series{turn}")
                start = time.perf_counter()
                script.stdin.write(f"{work / f'series{turn}'}\n")
                script.stdin.flush()
                line = script.stdout.readline()
                if not line:
                    raise SystemExit("the script ended; its error stands above")
                seconds["script"].append(time.perf_counter() - start)
                pacs.arrived.acquire()
                answer = json.loads(line)
                peak["script"] = max(peak["script"], answer["peak_bytes"])
                for stage, value in answer["seconds"].items():
                    stages["script"].setdefault(stage, []).append(value)
                theirs = _voxels(pacs.last)

                _c_store(files, node.port, "VOXTELL")
                pacs.arrived.acquire(timeout=600)
                time.sleep(0.5)  # the node writes its timeline after the answer
                job = node.timeline()
                began = min(row["started"] for row in job["timeline"])
                ended = max(row["started"] + (row["seconds"] or 0) for row in job["timeline"])
                seconds["node"].append(ended - began)
                for row in job["timeline"]:
                    stages["node"].setdefault(row["stage"].split()[0], []).append(row["seconds"] or 0)
                peak["node"] = max(peak["node"], node.peak_bytes())
                ours = _voxels(pacs.last)
                different += sum(abs(theirs[prompt] - ours[prompt]) for prompt in PROMPTS)
        finally:
            node.close()
            script.stdin.close()
            script.wait(60)
            pacs.close()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "seconds": median,
        "stages": {name: {key: statistics.median(v) for key, v in each.items()} for name, each in stages.items()},
        "peak_bytes": peak,
        "voxel_difference": different,
        "ratios": {
            "series_to_seg": round(median["script"] / median["node"], 3),
            "peak_memory": round(peak["script"] / peak["node"], 3),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        peer(args.peer)
        return
    result = run(args.rounds)
    if args.json:
        print(json.dumps(result))
        return
    for name in ("script", "node"):
        detail = ", ".join(f"{stage} {value:.2f}" for stage, value in result["stages"][name].items())
        gib = result["peak_bytes"][name] / 2**30
        print(f"{name:7} {result['seconds'][name]:6.2f} s   ({detail})   peak {gib:.2f} GiB")
    print(f"voxels of difference between the two, all prompts and rounds: {result['voxel_difference']}")
    print("ratios: " + ", ".join(f"{key} {value:.2f}×" for key, value in result["ratios"].items()))


if __name__ == "__main__":
    main()
