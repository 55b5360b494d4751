"""A CT series of 1000 × 512² to a RAS float32 volume: time and peak memory, beside the usual ways, in one run.

    python benchmarks/volume.py [--slices 1000] [--repeat 3] [--json]

Each way runs in a process of its own on the same files (written once, in the page cache for all), the ways taking
turns; the best of the repeats counts. Each begins with the paths in no order and ends with the values in memory:
SimpleITK's `ImageSeriesReader` (positions sorted by GDCM), highdicom's `get_volume_from_series`
(float32) and a plain pydicom loop (read, sort by position, stack, rescale). Ours also checks identity and geometry, and
turns the array to RAS. Peak memory is the growth of the resident set over what the imports take.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS = COLUMNS = 512


def write_series(folder: Path, slices: int) -> None:
    """A CT series of smooth noise, Explicit VR Little Endian; file names in no order."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    rng = np.random.default_rng(1)
    base = rng.integers(0, 4096, (ROWS, COLUMNS), dtype=np.uint16)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
    ds.PatientID, ds.PatientName, ds.Modality = "BENCH", "Bench", "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [0.7, 0.7], 0.6
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (
        ROWS,
        COLUMNS,
        16,
        12,
        11,
        0,
    )
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    for index in range(slices):
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"2.25.4.{index}"
        ds.ImagePositionPatient, ds.InstanceNumber = [-179.2, -179.2, round(index * 0.6, 3)], index + 1
        ds.PixelData = np.roll(base, 3 * index, axis=1).tobytes()
        ds.save_as(folder / f"{hashlib.sha256(str(index).encode()).hexdigest()[:12]}.dcm", enforce_file_format=True)


def ours(paths: list[Path]) -> Any:
    """This package: assemble and to_ras."""
    from voxtell_dicom.model import Instance, Series
    from voxtell_dicom.series.headers import assemble
    from voxtell_dicom.series.volume import to_ras

    (volume,) = assemble(Series("", "", "", tuple(Instance("", "", "", "", path) for path in paths))).volumes
    return to_ras(volume)


def pydicom_loop(paths: list[Path]) -> Any:
    """Return what most people write."""
    import pydicom

    slices = [pydicom.dcmread(path) for path in paths]
    slices.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    volume = np.stack([ds.pixel_array for ds in slices]).astype(np.float32)
    volume *= np.float32(slices[0].RescaleSlope)
    volume += np.float32(slices[0].RescaleIntercept)
    return volume


def imageseriesreader(paths: list[Path]) -> Any:
    """SimpleITK as its examples show it, the files sorted by position by GDCM."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent)))
    return sitk.GetArrayFromImage(reader.Execute()).astype(np.float32)


def highdicom_volume(paths: list[Path]) -> Any:
    """highdicom's volume of the datasets."""
    import highdicom
    import pydicom

    return highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths], dtype=np.float32).array


WAYS: dict[str, Callable[[list[Path]], Any]] = {
    "ours": ours,
    "imageseriesreader": imageseriesreader,
    "highdicom": highdicom_volume,
    "pydicom": pydicom_loop,
}


def measured(way: str, folder: Path) -> None:
    """Run one way; print seconds, peak memory and a digest of the values as JSON. Imports are not timed."""
    import highdicom  # noqa: F401 - so that all ways stand on the same memory
    import pydicom
    import SimpleITK  # noqa: F401

    import voxtell_dicom.series.headers
    import voxtell_dicom.series.volume  # noqa: F401

    paths = sorted(folder.glob("*.dcm"))
    pydicom.dcmread(paths[0]).pixel_array  # noqa: B018 - loads the decoders
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    array = WAYS[way](paths)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    middle = np.asarray(array)[len(paths) // 2]
    found = {
        "seconds": seconds,
        "peak_bytes": (peak - before) * 1024,
        "values": sorted({float(v) for v in middle.ravel()})[:3],
    }
    print(json.dumps({**found, "sum": float(middle.sum(dtype=np.float64)), "dtype": str(array.dtype)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measured(options.way, options.folder)
        return
    with tempfile.TemporaryDirectory(prefix="voxtell-bench-") as folder:
        write_series(Path(folder), options.slices)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(options.repeat):
            for way in WAYS:
                command = [sys.executable, __file__, "--way", way, "--folder", folder]
                environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                runs[way].append(json.loads(done.stdout.splitlines()[-1]))
    report(runs, options)


def report(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> None:
    """Print the table, or JSON by docs/json.md."""
    size = options.slices * ROWS * COLUMNS * 4
    best = {way: min(run["seconds"] for run in found) for way, found in runs.items()}
    peak = {way: max(run["peak_bytes"] for run in found) / size for way, found in runs.items()}
    ratios = {way: best[way] / best["ours"] for way in WAYS if way != "ours"}
    if len({run["sum"] for found in runs.values() for run in found}) != 1:
        raise SystemExit(f"the ways do not agree on the values: {runs}")
    if options.json:
        sizes = {"slices": options.slices, "rows": ROWS, "columns": COLUMNS, "float32_bytes": size}
        print(json.dumps({"ratios": ratios, "seconds": best, "peak_in_volumes": peak, "cpus": os.cpu_count(), **sizes}))
        return
    print(f"{options.slices} × {ROWS} × {COLUMNS} CT to float32, best of {options.repeat}, {os.cpu_count()} CPUs\n")
    print("| way | seconds | peak memory, in float32 volumes | theirs over ours |\n| --- | --- | --- | --- |")
    for way in WAYS:
        ratio = f"{ratios[way]:.2f}" if way in ratios else ""
        print(f"| {way} | {best[way]:.2f} | {peak[way]:.2f} | {ratio} |")


if __name__ == "__main__":
    main()
