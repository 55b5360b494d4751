"""Self-check of a result: wrong side, swapped pair, cut by the edge, empty, implausible volume.

Pure functions on masks and geometry. They know anatomy only by the words of the prompts, and stay silent where words
do not tell the side of the body ("left lobe of the liver", "right ventricle": `sides`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model import Found, Mask, Vector, Volume, ras_axes
from voxtell_dicom.terms.sides import of_a_limb, plain, side_of

PAIRS = (("liver", "spleen"),)  # the first lies on the patient's right of the second
MARGIN_MM = 10.0  # how far on the wrong side the centroid must lie
BODY_MM = 140.0  # a body at least this wide has a midline: a single limb has none that means anything
CUT_MM = 350.0  # cut on both sides, only one at least this wide: the middle of a small field may be anywhere in a body
BOTH_LIMBS_MM = 300.0  # a field at least this wide shows both hips, or both shoulders
PLAUSIBLE_ML = {
    "liver": (200, 6000),
    "spleen": (15, 4000),
    "kidney": (15, 1200),
    "left kidney": (15, 1200),
    "right kidney": (15, 1200),
    "urinary bladder": (3, 2500),
    "bladder": (3, 2500),
    "aorta": (8, 1200),
    "lungs": (300, 10000),
    "left lung": (100, 5500),
    "right lung": (100, 6000),
    "pancreas": (8, 400),
    "gallbladder": (1, 500),
    "heart": (100, 3000),
    "brain": (400, 2500),
    "stomach": (10, 5000),
    "prostate": (3, 500),
}


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against a result. `kind`: a field of `config.OnWarning`; `label`: the segment's."""

    kind: str
    label: str
    message: str

    def __str__(self) -> str:
        """As it stands among the warnings of a result."""
        return f"{self.kind}: {self.message}"


def self_check(found: Sequence[Found], volume: Volume, *, midline_mm: float | None = None) -> tuple[Finding, ...]:
    """Return all findings about the segments of one result.

    found: masks on (frame, row, column) of the volume. midline_mm: `midline_of` the body (LPS x); None where it is not
    known: then no side is judged.
    """
    findings: list[Finding] = []
    across_mm = _across_mm(volume)

    @cache
    def centre_x(index: int) -> float:  # only of what has a side or a partner: each mask is unpacked for it
        return centre_mm(found[index].mask, volume)[0]

    for index, item in enumerate(found):
        label, text = item.prompt.label, _words(item)
        if not item.mask.voxels:
            findings.append(Finding("empty", label, f"{label}: nothing was found"))
            continue
        side = side_of(text)
        if side and midline_mm is not None and (across_mm >= BOTH_LIMBS_MM or not of_a_limb(text)):
            findings += _side(label, side, centre_x(index) - midline_mm)
        findings += _edge(label, item.mask, volume)
        findings += _volume(label, text, item.mask, volume)
    findings += _pairs(found, centre_x)
    return tuple(findings)


def centre_mm(mask: Mask, volume: Volume) -> Vector:
    """Return the centroid of a mask on the source frames in patient coordinates (LPS mm), a tilt included.

    Each frame counts as much as it stands for of the stack.
    """
    crop = mask.crop()
    shares = np.array(volume.frame_mm[slice(*mask.box[0])])
    in_rows = crop.sum(axis=2)
    in_frames = in_rows.sum(axis=1) * shares
    whole = float(in_frames.sum())
    row = float(shares @ in_rows @ np.arange(*mask.box[1])) / whole
    column = float(shares @ crop.sum(axis=1) @ np.arange(*mask.box[2])) / whole
    positions = np.array([frame.position_mm for frame in volume.frames[slice(*mask.box[0])]])
    grid = volume.grid
    centre = (
        (positions * in_frames[:, None]).sum(axis=0) / whole
        + row * grid.spacing_mm[1] * np.array(grid.column_cosine)
        + column * grid.spacing_mm[2] * np.array(grid.row_cosine)
    )
    return float(centre[0]), float(centre[1]), float(centre[2])


def midline_of(array_zyx: npt.NDArray[np.float32], volume: Volume) -> float | None:
    """Return the middle of a body, left to right (LPS x, mm); None for a view of a limb, one side or an inner part.

    array_zyx: on the volume's RAS grid. The body: denser than -400 HU (CT), brighter than the background else.
    """
    steps = tuple(max(1, size // 96) for size in array_zyx.shape)
    coarse = array_zyx[:: steps[0], :: steps[1], :: steps[2]]
    level = -400.0 if volume.modality == "CT" else 0.15 * float(np.percentile(coarse, 99))
    body = coarse > level
    if not body.any():
        return None
    origin, axes = ras_axes(volume)
    z, y, x = (
        np.arange(0, size, step) * axis for size, step, axis in zip(array_zyx.shape, steps, axes[0], strict=True)
    )
    across = (origin[0] + z[:, None, None] + y[:, None] + x)[body]
    low, high = np.percentile(across, (1, 99))
    columns = np.asarray(body.any(axis=1))  # (z, x): what the picture shows of the body from the front
    first, last = (float(columns[:, edge].mean()) > 0.2 for edge in (0, -1))
    if high - low < (CUT_MM if first else BODY_MM) or first != last:
        return None
    return float(across.mean())


def has_side(item: Found) -> bool:
    """Return True if the midline decides what is said of a segment."""
    return bool(item.mask.voxels and side_of(_words(item)))


def _words(item: Found) -> str:
    """Return what the segment is meant to be: the prompt, or the label where the prompt is no words (a threshold)."""
    return item.prompt.text if re.search(r"[^\W\d]", item.prompt.text) else item.prompt.label


def _across_mm(volume: Volume) -> float:
    """The width of the field from the patient's right to the left; of a joined stack, too."""
    grid, positions = volume.grid, [frame.position_mm[0] for frame in volume.frames]
    rows, columns = (size * step for size, step in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True))
    return max(positions) - min(positions) + abs(grid.column_cosine[0]) * rows + abs(grid.row_cosine[0]) * columns


def _side(label: str, side: str, towards_left: float) -> Iterator[Finding]:
    """towards_left: of the midline, in mm (LPS: x grows towards the patient's left)."""
    if (towards_left if side == "right" else -towards_left) > MARGIN_MM:
        other = "left" if side == "right" else "right"
        words = f"{label}: its centre lies {abs(towards_left):.0f} mm on the patient's {other} of the midline"
        yield Finding("laterality", label, words)


def _pairs(found: Sequence[Found], centre_x: Callable[[int], float]) -> Iterator[Finding]:
    """Left and right of one thing, and the liver on the right of the spleen. centre_x: of the segment of an index."""
    by_words = {plain(_words(item)): index for index, item in enumerate(found) if item.mask.voxels}
    pairs = [(right, left) for right, left in PAIRS if right in by_words and left in by_words]
    for words in by_words:
        if side_of(words) == "right":
            other = re.sub(r"\bright\b", "left", words)
            if other in by_words:
                pairs.append((words, other))
    for right, left in pairs:
        if centre_x(by_words[right]) > centre_x(by_words[left]):
            one, other = (found[by_words[words]].prompt.label for words in (right, left))
            why = "the picture may be mirrored, or the organs (situs inversus)" if (right, left) in PAIRS else ""
            why = why or "the two may be swapped"
            yield Finding("pair", one, f"{one} lies on the patient's left of {other}: {why}")


def _edge(label: str, mask: Mask, volume: Volume) -> Iterator[Finding]:
    names = (("first slice", "last slice"), ("upper edge", "lower edge"), ("left edge", "right edge"))
    touched = [
        name
        for (start, stop), size, (low, high) in zip(mask.box, volume.grid.shape, names, strict=True)
        for name, touches in ((low, start == 0), (high, stop == size))
        if touches
    ]
    if touched:
        yield Finding("edge", label, f"{label}: touches the {', '.join(touched)} of the volume; it may be cut off")


def _volume(label: str, text: str, mask: Mask, volume: Volume) -> Iterator[Finding]:
    limits = PLAUSIBLE_ML.get(plain(text))
    if limits is None:
        return
    ml = volume.millilitres(mask)
    cut = any(start == 0 or stop == size for (start, stop), size in zip(mask.box, volume.grid.shape, strict=True))
    if ml > limits[1] or (ml < limits[0] and not cut):
        yield Finding("volume", label, f"{label}: {ml:.1f} mL, where {limits[0]} to {limits[1]} mL are plausible")
