"""Small volumes with files behind them, masks, plans; and readers of what was encoded that are not ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from voxtell_dicom.model import Box, Found, Frame, Grid, Mask, Plan, Probabilities, Prompt, ToRas, Vector, Volume

MODEL = "voxtell-dicom/0.1.0 model/0123456789abcdef0123456789abcdef bank/00"
Bools = npt.NDArray[np.bool_]


def volume(
    folder: Path,
    shape: tuple[int, int, int] = (6, 20, 24),
    row: Vector = (1, 0, 0),
    column: Vector = (0, 1, 0),
    spacing_mm: tuple[float, float, float] = (2.5, 0.75, 0.8),
    descending: bool = False,
    shear_mm: Sequence[float] = (0, 0, 0),
    values: npt.NDArray[np.int16] | None = None,
    **attributes: Any,
) -> Volume:
    """A CT series on disk, one file per frame, and its volume. `attributes`: keywords to set, None to leave out.

    A callable attribute is asked for the value of each frame.
    """
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(row, column) * (-1 if descending else 1)
    step = normal * spacing_mm[0] + np.asarray(shear_mm, float)
    origin = np.array([-11.25, 7.5, 101.125])
    frames = []
    for index in range(shape[0]):
        x, y, z = (float(f"{value:.10g}") for value in origin + index * step)
        ds = _header(index, shape, [*row, *column], [x, y, z], spacing_mm, attributes)
        pixels = values[index] if values is not None else np.full(shape[1:], index, np.int16)
        ds.PixelData = np.ascontiguousarray(pixels, np.int16).tobytes()
        path = folder / f"{index * 7919 % 1000:03d}-{index}.dcm"  # not in the order of the frames
        ds.save_as(path, enforce_file_format=True)
        frames.append(Frame(ds.SOPInstanceUID, CTImageStorage, 1, path, (x, y, z)))
    across = (float(normal[0]), float(normal[1]), float(normal[2]))
    grid = Grid(shape, frames[0].position_mm, row, column, across, spacing_mm)
    same = ToRas((0, 1, 2), (False, False, False))
    return Volume("2.25.11", "2.25.12", "2.25.13", "CT", "", tuple(frames), grid, same, "volume-key")


def _header(
    index: int,
    shape: tuple[int, int, int],
    orientation: list[float],
    position: list[float],
    spacing_mm: tuple[float, float, float],
    attributes: dict[str, Any],
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"2.25.100{index}"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, ds.SOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.11", "2.25.12", "2.25.13"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jane", "P1", "19700101", "F"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "S1", "A1"
    ds.ReferringPhysicianName, ds.PositionReferenceIndicator = "", ""
    ds.Modality, ds.ImageType, ds.Manufacturer = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "Test"
    ds.SeriesNumber, ds.InstanceNumber, ds.PatientPosition = 4, index + 1, "HFS"
    ds.ImageOrientationPatient, ds.ImagePositionPatient = orientation, position
    ds.PixelSpacing, ds.SliceThickness = list(spacing_mm[1:]), spacing_mm[0]
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    for keyword, value in attributes.items():
        if callable(value):
            value = value(index)
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def masks(shape: tuple[int, int, int], count: int, seed: int = 0) -> list[Bools]:
    """Boxes of noise that overlap, with an empty frame inside."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        mask = np.zeros(shape, bool)
        low = [int(rng.integers(0, max(1, size // 3))) for size in shape]
        high = [int(rng.integers(size - max(1, size // 3), size)) + 1 for size in shape]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        mask[box] = rng.random(mask[box].shape) < 0.5
        if shape[0] > 4:
            mask[shape[0] // 2] = False
        made.append(mask)
    return made


def plan(texts: Sequence[str], identity: str = MODEL, **more: Any) -> Plan:
    prompts = tuple(more.pop("prompts", None) or (Prompt(text, text.capitalize()[:64]) for text in texts))
    given = {"volume_key": "volume-key", "rule": "abdomen", "rule_index": 1, "outputs": ("seg",), "send_to": ()}
    return Plan(prompts=prompts, engine_identity=identity, encoder_revision="1", **{**given, **more})


def found(plan: Plan, arrays: Sequence[Bools]) -> list[Found]:
    """The masks, with probability maps above one half inside and a slope beside them."""
    return [
        Found(prompt, Mask.from_array(array), probabilities=soft(array))
        for prompt, array in zip(plan.prompts, arrays, strict=True)
    ]


def soft(array: Bools) -> Probabilities:
    """Of a mask: 128 to 255 inside, 60 on one side."""
    inside = 128 + np.indices(array.shape).sum(axis=0) % 128
    beside = np.roll(array, 1, axis=2) & ~array
    whole: Box = ((0, array.shape[0]), (0, array.shape[1]), (0, array.shape[2]))
    return Probabilities.of(whole, np.where(array, inside, 60 * beside).astype(np.uint8))


def decoded(path: Path, volume: Volume) -> dict[int, Bools]:
    """Segment number → mask on the volume's frames: by pydicom alone, frames by their references and positions."""
    ds = pydicom.dcmread(path)
    pixels = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    assert len(pixels) == ds.NumberOfFrames == len(ds.PerFrameFunctionalGroupsSequence)
    place = {(frame.sop_instance_uid, frame.number): index for index, frame in enumerate(volume.frames)}
    result = {int(item.SegmentNumber): np.zeros(volume.grid.shape, bool) for item in ds.SegmentSequence}
    for item, frame in zip(ds.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        (source,) = item.DerivationImageSequence[0].SourceImageSequence
        index = place[str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber", 1))]
        position = [float(value) for value in item.PlanePositionSequence[0].ImagePositionPatient]
        assert np.allclose(position, volume.frames[index].position_mm, rtol=0, atol=1e-9)
        assert frame.any(), "an empty frame was written"
        result[int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)][index] = frame > 0
    return result


def dcmqi_points(path: Path, folder: Path) -> list[set[tuple[int, int, int]]]:
    """Per segment the centres of its voxels in patient space (LPS, in 1/100 mm) as dcmqi decodes them."""
    return [points for by_value in dcmqi_values(path, folder) for points in by_value.values()]


def dcmqi_values(path: Path, folder: Path) -> list[dict[int, set[tuple[int, int, int]]]]:
    """Per image that dcmqi makes: its values but 0, and the centres of the voxels that have them.

    Of a BINARY one there is an image and one value for each segment, of a FRACTIONAL one an image with its own values;
    of a label map one image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("segimage2itkimage")
    command = [str(program), "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    images = []
    for number in range(1, len(list(folder.glob("*.nrrd"))) + 1):
        image = sitk.ReadImage(str(folder / f"{number}.nrrd"))
        values = sitk.GetArrayFromImage(image)
        direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        points = {}
        for value in np.unique(values[values > 0]):
            where = np.argwhere(values == value)[:, ::-1]
            points[int(value)] = rounded(where @ direction.T + np.array(image.GetOrigin()))
        images.append(points)
    return images


def true_values(values: npt.NDArray[np.uint8], volume: Volume) -> dict[int, set[tuple[int, int, int]]]:
    """Return what `dcmqi_values` should give of a segment with these values on the volume's frames."""
    return {int(value): true_points(values == value, volume) for value in np.unique(values[values > 0])}


def true_points(mask: Bools, volume: Volume) -> set[tuple[int, int, int]]:
    """The same of a mask on the volume's frames, by each frame's own position (PS3.3 C.7.6.2.1.1)."""
    where = np.argwhere(mask)
    positions = np.array([frame.position_mm for frame in volume.frames])[where[:, 0]]
    _, rows, columns = volume.grid.spacing_mm
    down, across = np.array(volume.grid.column_cosine), np.array(volume.grid.row_cosine)
    return rounded(positions + where[:, 1:2] * down * rows + where[:, 2:3] * across * columns)


def rounded(points: npt.NDArray[np.float64]) -> set[tuple[int, int, int]]:
    return {(int(x), int(y), int(z)) for x, y, z in np.rint(points * 100)}


def dciodvfy(path: Path) -> list[str]:
    """The errors that dciodvfy finds."""
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", timeout=60)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]
