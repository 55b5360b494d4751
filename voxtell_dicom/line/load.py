"""The arrays that the worker is given: the runs that a rule wants, decoded, each in a file of its own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from voxtell_dicom.dicom.functional_groups import frame_header
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.suv import suv_factor
from voxtell_dicom.encode.common.frame_values import USERS
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Plan, SetAside, Volume, canonical_digest
from voxtell_dicom.series.joined import joined
from voxtell_dicom.series.volume import load_volume

MissingRuns = dict[str, SetAside]  # by the name of a run, why it was refused


def headers_of(volume: Volume, headers: HeaderSource | None = None) -> list[Dataset]:
    """The headers of a volume's instances, each once, in frame order."""
    paths = dict.fromkeys(frame.path for frame in volume.frames)
    source = headers or HeaderSource()
    return [source(path) for path in paths]


def load_runs(
    runs: Sequence[Volume], work_dir: Path, values: str = "stored", headers: HeaderSource | None = None
) -> tuple[tuple[Volume, tuple[Path, ...]] | None, MissingRuns]:
    """Decode the runs of a stack, or the one volume that it is.

    Returns the (joined) volume with its key and the files that hold the arrays of its runs, None where none could be
    decoded; and the runs that were refused: the volume is then made of the others.
    """
    loaded: list[tuple[Volume, Path]] = []
    refused: MissingRuns = {}
    for run in runs:
        try:
            loaded.append(load_array(run, work_dir, values, runs, headers))
        except Refusal as refusal:
            refused[run.name] = SetAside(refusal.code, str(refusal), (refusal.uid,), refused=True)
    if refused and loaded:  # the arrays are named by the runs that are joined
        for _, array in loaded:
            array.unlink(missing_ok=True)
        again, more = load_runs([run for run in runs if run.name not in refused], work_dir, values, headers)
        return again, {**refused, **more}
    if not loaded:
        return None, refused
    return (joined([volume for volume, _ in loaded]), tuple(array for _, array in loaded)), refused


def arrays_of(work_dir: Path, volume: Volume, values: str) -> tuple[Path, ...]:
    """Return where the RAS arrays of a volume's runs lie; the runs have their keys. values: as in `PlanOptions`."""
    return tuple(_array_path(work_dir, run, values, volume.runs) for run in volume.runs)


def used_by_outputs(plan: Plan) -> bool:
    """Return True if the outputs of a plan need the values of its arrays, and the arrays hold them (not SUV)."""
    return plan.options.values == "stored" and bool(USERS & set(plan.outputs))


def _array_path(work_dir: Path, run: Volume, values: str, runs: Sequence[Volume]) -> Path:
    """A run has a file for each result that it is part of: each is dropped when its own pass is done."""
    frames = [f"{other.frames[0].sop_instance_uid} {other.frames[0].number}" for other in runs]
    joint = f"-{canonical_digest(frames)[:12]}" if len(frames) > 1 else ""
    return work_dir / (f"{run.key}{joint}.npy" if values == "stored" else f"{run.key}{joint}-{values}.npy")


def load_array(
    volume: Volume,
    work_dir: Path,
    values: str = "stored",
    runs: Sequence[Volume] = (),
    headers: HeaderSource | None = None,
) -> tuple[Volume, Path]:
    """Decode a regular volume: returns it with its key, and the file that holds its RAS array for the worker.

    values: as in `PlanOptions`. runs: those it is joined with, itself among them. Raises Refusal, also (``suv``) where
    the headers do not allow SUV.
    """
    factor = _suv_factor(volume, headers) if values == "suv" else None
    array, volume = load_volume(volume, headers)
    path = _array_path(work_dir, volume, values, runs)
    if not path.exists():
        if factor is not None:
            array *= np.float32(factor)
        work_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{uuid.uuid4().hex}.npy")  # two rules of two series may want the same volume
        np.save(temporary, array)
        temporary.replace(path)
    return volume, path


def _suv_factor(volume: Volume, headers: HeaderSource | None) -> float:
    """The one factor to SUV of all slices."""
    by_uid = {str(header.SOPInstanceUID): header for header in headers_of(volume, headers)}
    places = [(frame.sop_instance_uid, frame.number) for frame in volume.frames]
    factors = [(suv_factor(frame_header(by_uid[uid], number)), uid) for uid, number in places]
    (least, one), (most, other) = min(factors), max(factors)
    if most > least * (1 + 1e-4):
        words = f"SUV factors {least:g} and {most:g}: Patient Weight (0010,1030), dose, units or times differ"
        raise Refusal("suv", f"{one} and {other}: {words}", one)
    return least
