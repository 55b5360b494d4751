"""A segmentation of 20 overlapping segments on 400 × 512²: ours, highdicom from one stacked array, and others.

    python benchmarks/encode.py              # a minute or two on two quiet cores, 6 GB of memory
    python benchmarks/encode.py --quick      # 80 frames, two rounds
    python benchmarks/encode.py --json       # the same as JSON; `ratios` is what the README claims

Every way gets the masks in the form that it takes, in a process of its own, and writes a file. The time is the best of
the rounds (dcmqi: one), the memory the process's peak, its input included: that is part of the way. Ours starts from
boxes and bits and reads the source headers from disk; highdicom gets them already read. Label-map input cannot
overlap: there the last segment wins. dcmqi's `itkimage2segimage` reads one NRRD per segment. Then the files of ours,
of highdicom and of dcmqi are decoded, and ours and highdicom's must be equal.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SEGMENTS = 20
WAYS = {
    "ours": "ours, from boxes and bits",
    "highdicom_4d": "highdicom, one stacked 4-D array",
    "highdicom_labelmap": "highdicom, label-map input (no overlap)",
    "dcmqi": "dcmqi itkimage2segimage",
    "labelmap_rle": "highdicom LABELMAP object, RLE (no overlap)",
}


def segment(number: int, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """An ellipsoid about as large as an organ, that overlaps its neighbours."""
    rng = np.random.default_rng(number)
    size = np.array(shape)
    radius = size * rng.uniform([0.1, 0.06, 0.06], [0.17, 0.16, 0.16])
    centre = size * rng.uniform(0.3, 0.7, 3)
    axes = (((np.arange(n, dtype=np.float32) - c) / r) ** 2 for n, c, r in zip(shape, centre, radius, strict=True))
    z, y, x = axes
    return z[:, None, None] + y[None, :, None] + x[None, None, :] <= 1


def write_source(folder: Path, shape: tuple[int, int, int]) -> None:
    """A CT series of empty pixels."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    for index in range(shape[0]):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{index:05d}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.71", "2.25.72", "2.25.73"
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "A^B", "1", "", ""
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", "1"
        ds.ReferringPhysicianName, ds.PositionReferenceIndicator = "", ""
        ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "CT", "Test", 1, index + 1
        ds.ImageType, ds.RescaleSlope, ds.RescaleIntercept = ["ORIGINAL", "PRIMARY", "AXIAL"], 1, 0
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-200, -200, index * 1.5]
        ds.PixelSpacing, ds.SliceThickness = [0.8, 0.8], 1.5
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = shape[1:]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.PixelData = bytes(2 * shape[1] * shape[2])
        ds.save_as(folder / f"{index:05d}.dcm", enforce_file_format=True)


def prepare(way: str, work: Path, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """The masks in the form that `way` takes, and a function that encodes them to a path given to it."""
    files = sorted((work / "source").glob("*.dcm"))
    if way == "ours":
        return _ours(files, work, shape)
    if way == "dcmqi":
        return _dcmqi(work, shape)
    return _highdicom(way, files, shape)


def _ours(files: list[Path], work: Path, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    from voxtell_dicom.encode import OutputContext, encode_seg
    from voxtell_dicom.model import Found, Frame, Grid, Mask, Plan, Prompt, ToRas, Volume

    uid = "1.2.840.10008.5.1.4.1.1.2"
    positions = [(-200.0, -200.0, index * 1.5) for index in range(shape[0])]
    frames = [Frame(f"2.25.77{i:05d}", uid, 1, path, positions[i]) for i, path in enumerate(files)]
    grid = Grid(shape, (-200.0, -200.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.5, 0.8, 0.8))
    same = ToRas((0, 1, 2), (False, False, False))
    volume = Volume("2.25.71", "2.25.72", "2.25.73", "CT", "", tuple(frames), grid, same, "key")
    prompts = tuple(Prompt(f"structure {number}", f"Structure {number}") for number in range(SEGMENTS))
    found = [Found(prompt, Mask.from_array(segment(number, shape))) for number, prompt in enumerate(prompts)]

    def encode(path: Path) -> Path:
        plan = Plan("key", path.stem, 0, prompts, ("seg",), (), "benchmark", "1")
        result = encode_seg(OutputContext(plan, volume, found, directory=work))
        assert result is not None
        return result.path

    return found, encode


def _highdicom(way: str, files: list[Path], shape: tuple[int, int, int]) -> tuple[Any, Any]:
    import highdicom
    import pydicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

    sources = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    algorithm = highdicom.AlgorithmIdentificationSequence("x", codes.DCM.ArtificialIntelligence, "1")
    descriptions = [
        highdicom.seg.SegmentDescription(
            number + 1,
            f"Structure {number}",
            codes.SCT.AnatomicalStructure,
            codes.SCT.Organ,
            "AUTOMATIC",
            algorithm,
            tracking_uid=generate_uid(),
            tracking_id=str(number),
        )
        for number in range(SEGMENTS)
    ]
    if way == "highdicom_4d":
        array = np.stack([segment(number, shape) for number in range(SEGMENTS)], axis=-1).astype(np.uint8)
    else:
        array = np.zeros(shape, np.uint8)
        for number in range(SEGMENTS):
            array[segment(number, shape)] = number + 1

    def encode(path: Path) -> Path:
        labelmap = way == "labelmap_rle"
        made = highdicom.seg.Segmentation(
            sources,
            array,
            "LABELMAP" if labelmap else "BINARY",
            descriptions,
            generate_uid(),
            2,
            generate_uid(),
            1,
            "m",
            "n",
            "v",
            "s",
            transfer_syntax_uid=RLELossless if labelmap else ExplicitVRLittleEndian,
        )
        made.save_as(path)
        return path

    return array, encode


def _dcmqi(work: Path, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    import SimpleITK as sitk

    images, attributes = [], []
    organ = {"CodeValue": "91772007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Organ"}
    structure = {"CodeValue": "91723000", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
    for number in range(SEGMENTS):
        image = sitk.GetImageFromArray(segment(number, shape).astype(np.uint8))
        image.SetSpacing((0.8, 0.8, 1.5))
        image.SetOrigin((-200, -200, 0))
        images.append(work / f"{number}.nrrd")
        sitk.WriteImage(image, str(images[-1]))
        item = {"labelID": 1, "SegmentDescription": str(number), "SegmentAlgorithmType": "AUTOMATIC"}
        item |= {"SegmentAlgorithmName": "x", "SegmentedPropertyTypeCodeSequence": organ}  # type: ignore[dict-item]
        attributes.append([item | {"SegmentedPropertyCategoryCodeSequence": structure}])
    meta = work / "meta.json"
    words = {"ContentCreatorName": "x", "ClinicalTrialSeriesID": "1", "ClinicalTrialTimePointID": "1"}
    words |= {"SeriesDescription": "x", "SeriesNumber": "2", "InstanceNumber": "1"}
    meta.write_text(json.dumps(words | {"segmentAttributes": attributes}))

    def encode(path: Path) -> Path:
        program = Path(sys.executable).with_name("itkimage2segimage")
        command = [str(program), "--inputImageList", ",".join(map(str, images)), "--skip", "1"]
        command += ["--inputDICOMDirectory", str(work / "source"), "--inputMetadata", str(meta)]
        subprocess.run([*command, "--outputDICOM", str(path)], check=True, capture_output=True)
        return path

    return None, encode


def one_way(way: str, work: Path, shape: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    """Runs in a process of its own: seconds (best), peak memory, what the input held of it, file."""
    kept, encode = prepare(way, work, shape)
    before = _resident()
    seconds = []
    path = work / "none"
    for number in range(1 if way == "dcmqi" else rounds):  # it takes minutes
        began = time.perf_counter()
        path = encode(work / f"{way}{number}.dcm")
        seconds.append(time.perf_counter() - began)
    peak = _peak("self") if way != "dcmqi" else _peak("children")
    del kept
    return {
        "seconds": min(seconds),
        "peak_mb": peak,
        "input_mb": before,
        "file_mb": path.stat().st_size / 1e6,
        "path": str(path),
    }


def _resident() -> float:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def _peak(who: str) -> float:
    """Peak resident memory in MB, since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF if who == "self" else resource.RUSAGE_CHILDREN).ru_maxrss / 1e3


def same_masks(one: Path, other: Path) -> bool:
    """Whether two BINARY objects hold the same voxels on the same source frames: decoded by pydicom, frame by frame."""
    return _frames(one) == _frames(other)


def _frames(path: Path) -> dict[tuple[int, str], bytes]:
    import pydicom

    ds = pydicom.dcmread(path)
    size = ds.Rows * ds.Columns // 8
    data = ds.PixelData
    frames = {}
    for index, item in enumerate(ds.PerFrameFunctionalGroupsSequence):
        source = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        frames[int(number), str(source)] = bytes(data[index * size : (index + 1) * size])
    return frames


def measure(shape: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    """All ways, one after the other."""
    with tempfile.TemporaryDirectory(prefix="voxtell-encode-") as temporary:
        work = Path(temporary)
        write_source(work / "source", shape)
        results: dict[str, Any] = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--work", str(work), "--rounds", str(rounds)]
            command += ["--shape", *map(str, shape)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[way] = json.loads(done.stdout)
        equal = same_masks(Path(results["ours"]["path"]), Path(results["highdicom_4d"]["path"]))
        equal_dcmqi = same_masks(Path(results["ours"]["path"]), Path(results["dcmqi"]["path"]))
    if not equal:
        raise SystemExit("the masks of the two files differ")
    ours = results["ours"]
    return {
        "shape": list(shape),
        "segments": SEGMENTS,
        "ways": {way: {k: v for k, v in row.items() if k != "path"} for way, row in results.items()},
        "same_masks": {"highdicom_4d": equal, "dcmqi": equal_dcmqi},
        "ratios": {
            way: results[way]["seconds"] / ours["seconds"] for way in WAYS if way not in ("ours", "labelmap_rle")
        }
        | {"peak_memory": results["highdicom_4d"]["peak_mb"] / ours["peak_mb"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs=3, default=(400, 512, 512), metavar=("FRAMES", "ROWS", "COLUMNS"))
    options = parser.parse_args()
    shape = tuple(options.shape)
    if options.way:
        print(json.dumps(one_way(options.way, options.work, shape, options.rounds)))
        return
    report = measure((80, 512, 512), 2) if options.quick else measure(shape, options.rounds)
    if options.json:
        print(json.dumps(report))
        return
    print(f"{SEGMENTS} overlapping segments, {' × '.join(map(str, report['shape']))} voxels")
    print(f"{'':42}{'seconds':>9}{'peak MB':>9}{'file MB':>9}")
    for way, words in WAYS.items():
        row = report["ways"][way]
        print(f"{words:42}{row['seconds']:9.2f}{row['peak_mb']:9.0f}{row['file_mb']:9.1f}")
    print("ratios, theirs over ours:", {name: round(value, 1) for name, value in report["ratios"].items()})
    print("same masks as ours:", report["same_masks"])


if __name__ == "__main__":
    main()
