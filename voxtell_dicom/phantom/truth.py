"""The exact truth of a phantom: its analytic shapes sampled on the frames of a volume, as masks or as files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.errors import Refusal, UnknownPrompt
from voxtell_dicom.model import BoolArray, Grid, Volume
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import LABELS, TISSUES, Anatomy, label_mask
from voxtell_dicom.phantom.prompts import SYNONYMS
from voxtell_dicom.phantom.shapes import Lattice

EVEN_MM = 1e-6  # how far frames may lie from even steps to be sampled in one go


def truth_mask(anatomy: Anatomy, label: str, place: Volume | Grid) -> BoolArray:
    """Return where a label (or a synonym of one) lies, on the source grid: bool (frame, row, column).

    place: a volume, whose frames' own positions are used (gantry tilt included), or a plain grid. Sampled at the voxel
    centres. Raises UnknownPrompt for a word that is no label.
    """
    known = label_of(label)
    if known is None:
        raise UnknownPrompt(f"the phantom has no {label!r}; its labels are {', '.join(LABELS)}")
    if isinstance(place, Grid):
        return anatomy.mask(known, Lattice.of_grid(place))
    return np.concatenate([label_mask(_tissues(anatomy, run), known) for run in place.runs])


def label_of(prompt: str) -> str | None:
    """The label that a prompt means: itself or one of its synonyms, in any case; None for everything else."""
    word = prompt.lower()
    if word in LABELS:
        return word
    return next((label for label, synonyms in SYNONYMS.items() if word in synonyms), None)


def write_truth(anatomy: Anatomy, acquisition: Acquisition, folder: Path) -> Path:
    """Write LABEL.nii.gz (blanks become _) for each label, on the acquisition's own grid, and truth.json.

    Returns the path of truth.json: seed, acquisition, labels with file, volume_ml and center_mm, HU of the tissues, and
    the analytic shapes in painting order (LPS, mm). Raises Refusal for a tilted gantry: NIfTI holds no shear.
    """
    import SimpleITK as sitk

    if acquisition.tilt_deg:
        raise Refusal("gantry-tilt", "the truth of a tilted acquisition cannot be written as NIfTI: ask for no tilt")
    lattice = acquisition.lattice(anatomy)
    codes = anatomy.tissues(lattice)
    steps = np.asarray(lattice.steps_mm)
    spacing = np.linalg.norm(steps, axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    labels: dict[str, Any] = {}
    for label in LABELS:
        mask = label_mask(codes, label)
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing([float(s) for s in spacing[::-1]])
        image.SetDirection([float(d) for d in (steps / spacing[:, None])[::-1].T.ravel()])
        image.SetOrigin(lattice.origin_mm)
        name = label.replace(" ", "_") + ".nii.gz"
        sitk.WriteImage(image, str(folder / name), useCompression=True)
        center = np.asarray(lattice.origin_mm) + np.argwhere(mask).mean(axis=0) @ steps if mask.any() else None
        labels[label] = {
            "file": name,
            "tissues": [tissue for tissue in TISSUES if tissue in LABELS[label]],
            "voxels": int(mask.sum()),
            "volume_ml": round(float(mask.sum() * np.prod(spacing) / 1000), 3),
            "center_mm": None if center is None else [round(float(c), 2) for c in center],
        }
    content = {
        "seed": anatomy.seed,
        "coordinates": "patient LPS, mm",
        "acquisition": asdict(acquisition),
        "labels": labels,
        "hounsfield": dict(anatomy.hu),
        "noise_hu": anatomy.noise_hu,
        "shapes": [
            {"tissue": organ.tissue, "kind": type(organ.solid).__name__.lower(), **asdict(organ.solid)}  # type: ignore[call-overload]
            for organ in anatomy.organs
        ],
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _tissues(anatomy: Anatomy, volume: Volume) -> npt.NDArray[np.uint8]:
    """The tissues on the frames of a volume: in one go where they lie evenly, else each frame on its own place."""
    lattice = Lattice.of_volume(volume)
    positions = np.array([frame.position_mm for frame in volume.frames])
    even = np.asarray(lattice.origin_mm) + np.arange(len(positions))[:, None] * np.asarray(lattice.steps_mm[0])
    if np.abs(positions - even).max() < EVEN_MM:
        return anatomy.tissues(lattice)
    single = replace(lattice, shape=(1, *lattice.shape[1:]))
    frames = [anatomy.tissues(replace(single, origin_mm=frame.position_mm)) for frame in volume.frames]
    return np.concatenate(frames)
