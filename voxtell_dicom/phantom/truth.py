"""The exact truth of a phantom: analytic shapes sampled where someone asks, as masks, as files, or as an engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.errors import GridMismatch, Refusal, UnknownPrompt
from voxtell_dicom.model import BoolArray, Cancelled, Grid, Mask, Progress, Request, Segment, Vector, Volume
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import LABELS, TISSUES, Anatomy, label_mask
from voxtell_dicom.phantom.prompts import ABSENT, SYNONYMS
from voxtell_dicom.phantom.shapes import Lattice

EVEN_MM = 1e-6  # how far frames may lie from even steps to be sampled in one go


def truth_mask(anatomy: Anatomy, label: str, place: Volume | Grid) -> BoolArray:
    """Where a label (or a synonym of one) lies, on the source grid: bool (frame, row, column).

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


class TruthEngine:
    """An engine that knows the answer: it samples the anatomy on one volume's grid. For tests; needs no model.

    It implements `voxtell_dicom.model.Engine`. An engine is given arrays only, so this one is made for a volume; what
    it is given must have that volume's shape. Prompts for what the phantom lacks give empty masks.
    """

    identity = "voxtell-dicom/phantom-truth 1"

    def __init__(self, anatomy: Anatomy, volume: Volume) -> None:
        self._volume = volume
        codes = _on_canvas(_tissues(anatomy, volume), volume).transpose(volume.to_ras.axes)
        self._codes = np.flip(codes, tuple(axis for axis, flip in enumerate(volume.to_ras.flips) if flip))

    def unknown(self, prompts: Sequence[str]) -> list[str]:
        """Those that mean nothing to the phantom: no label, no synonym, none of the absent organs that it knows."""
        return [prompt for prompt in prompts if label_of(prompt) is None and prompt.lower() not in ABSENT]

    def segment(
        self,
        array_zyx: npt.NDArray[np.float32],
        spacing_zyx_mm: Vector,
        requests: Sequence[Request],
        *,
        progress: Progress = lambda _done, _total: None,
        cancelled: Cancelled = lambda: False,
        within_s: float | None = None,  # noqa: ARG002 - it is never slow
    ) -> Iterator[Segment]:
        """See `Engine.segment`. Raises GridMismatch where shape or spacing are not the volume's."""
        same = np.allclose(spacing_zyx_mm, self._volume.spacing_zyx_mm, atol=1e-3)
        if array_zyx.shape != self._volume.shape_zyx or not same:
            raise GridMismatch(
                f"the truth was made for {self._volume.shape_zyx} voxels of {self._volume.spacing_zyx_mm} mm, "
                f"but asked for {array_zyx.shape} of {spacing_zyx_mm} mm"
            )
        for done, request in enumerate(requests, 1):
            if cancelled():
                return
            label = label_of(request.prompt)
            mask = Mask.from_array(label_mask(self._codes, label) if label else np.zeros(array_zyx.shape, bool))
            yield Segment(request, mask.box, mask.packed_bits, mask.voxels, 1.0 if mask.voxels else None, 0.0)
            progress(done, len(requests))


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


def _on_canvas(codes: npt.NDArray[np.uint8], volume: Volume) -> npt.NDArray[np.uint8]:
    """Frames where the engine sees them: moved by whole pixels where a tilt is undone, air (0) around them."""
    if volume.canvas == volume.grid.shape:
        return codes
    canvas = np.zeros(volume.canvas, codes.dtype)
    rows, columns = volume.grid.shape[1:]
    for plane, moved, frame in zip(codes, canvas, volume.frames, strict=True):
        down, along = frame.shift_px
        moved[down : down + rows, along : along + columns] = plane
    return canvas
