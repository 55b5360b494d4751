"""The acceptance test on a site's own series: every volume through the whole line, the result compared frame by frame.

Series → volume → threshold engine → mask → SEG file, read back by `readback.py` (pydicom alone): each SEG frame must
equal the threshold of its own source frame, and lie where that frame lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.encode import ENCODER_REVISION, encode_seg
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.model import Engine, Found, Plan, Prompt, Request, Result, Series, Volume
from voxtell_dicom.readback import seg_frames, source_position, source_values
from voxtell_dicom.series.report import Row, rows_of
from voxtell_dicom.series.volume import load_volume, to_frames

SHARE = 0.05, 0.5  # of the voxels above the threshold: less or more proves little
SAME_PLACE_MM = 0.001
QUANTILES = (0.75, 0.65, 0.85, 0.55, 0.9, 0.6, 0.8, 0.94)
SAMPLE = 200_000  # voxels from which thresholds are proposed
Via = Callable[[Result, Path], Path]
"""Sends a SEG to a peer and fetches it back into a folder; returns the copy's path. Raises VoxtellDicomError."""


@dataclass(frozen=True)
class Verified:
    """What the test of one row came to. `threshold`: real value; `max_mm`: between SEG and source frames."""

    row: Row
    outcome: str  # exact | within | refused | set_aside | unproven | wrong
    threshold: float | None = None
    frames_compared: int = 0
    max_mm: float | None = None
    reason: str = ""
    seg: Path | None = None

    def data(self) -> dict[str, Any]:
        """As JSON-able data: the fields of `inspect`, and the outcome."""
        return {
            **self.row.data(),
            "reason": self.reason or self.row.reason,
            "outcome": self.outcome,
            "threshold": self.threshold,
            "frames_compared": self.frames_compared,
            "max_mm": self.max_mm,
        }


def verify_series(series: Series, engine: Engine, folder: Path, via: Via | None = None) -> Iterator[Verified]:
    """Verify every volume of a series. `engine`: the threshold engine; `folder` receives the SEG files."""
    for row, volume in rows_of(series):
        if volume is None:
            yield Verified(row, row.status)
            continue
        try:
            yield _verify(row, volume, engine, folder, via)
        except VoxtellDicomError as error:
            yield Verified(row, "refused", reason=f"{error.code}: {error}")


def _verify(row: Row, volume: Volume, engine: Engine, folder: Path, via: Via | None) -> Verified:
    array, volume = load_volume(volume)
    threshold = choose_threshold(array, int(np.prod(volume.grid.shape)))
    if threshold is None:
        words = "no threshold leaves 5 to 50 % of the voxels above it: nothing can be proven"
        return Verified(row, "unproven", reason=words)
    prompt = Prompt(f"> {threshold!r}", "threshold")
    request = Request(prompt.text)
    (answer,) = engine.segment(
        array, volume.spacing_zyx_mm, [request], progress=lambda _done, _all: None, cancelled=lambda: False
    )
    del array
    plan = Plan(volume.key, "verify", 0, (prompt,), ("seg",), (), engine.identity, ENCODER_REVISION)
    found = Found(prompt, to_frames(answer.mask, volume))
    result = encode_seg(plan, volume, [found], directory=folder, engine="threshold")
    if result is None:
        return Verified(row, "wrong", threshold, reason="nothing was found, but voxels lie above the threshold")
    try:
        seg = via(result, folder) if via else result.path
    except VoxtellDicomError as error:  # the peer, not the volume: nothing is proven by it
        return Verified(row, "unproven", threshold, reason=f"{error.code}: {error}", seg=result.path)
    try:
        wrong, compared, farthest = compare(seg, volume, threshold)
    except Exception as error:  # the other reader raises anything: it has proven nothing
        words = f"the other reader (pydicom) fails: {type(error).__name__}: {error}"
        return Verified(row, "unproven", threshold, reason=words, seg=result.path)
    outcome = "wrong" if wrong else "exact"
    return Verified(row, outcome, threshold, compared, farthest, "; ".join(wrong[:3]), result.path)


def choose_threshold(array: npt.NDArray[np.float32], voxels: int) -> float | None:
    """The middle between two neighbouring values that occur, with 5 to 50 % of `voxels` above; None where none fits.

    array: may hold more than `voxels` (a tilted volume's canvas), the surplus at the lowest value.
    """
    flat = array.reshape(-1)
    surplus = flat.size - voxels
    sample = np.sort(flat[:: max(1, flat.size // SAMPLE)])
    for quantile in QUANTILES:
        below = sample[int((surplus + quantile * voxels) / flat.size * (sample.size - 1))]
        threshold = _between(array, below, voxels)
        if threshold is not None:
            return threshold
    for below in np.unique(sample)[::-1]:  # rare: a few values only
        threshold = _between(array, below, voxels)
        if threshold is not None:
            return threshold
    return None


def _between(array: npt.NDArray[np.float32], below: np.float32, voxels: int) -> float | None:
    above = array > below
    if not SHARE[0] <= np.count_nonzero(above) / voxels <= SHARE[1]:
        return None
    following = np.min(array, where=above, initial=np.float32(np.inf))
    return (float(below) + float(following)) / 2


def compare(seg: Path, volume: Volume, threshold: float) -> tuple[list[str], int, float]:
    """Hold every frame of a one-segment SEG against the threshold of its source, and every source against the SEG.

    Returns what is wrong (nothing: exact), the frames compared (of the source), and the largest distance in mm.
    """
    wrong: list[str] = []
    frames = {(frame.source_uid, frame.source_frame): frame for frame in seg_frames(seg)}
    farthest = 0.0
    compared = 0
    for source in volume.frames:
        found = frames.pop((source.sop_instance_uid, source.number), None)
        expected = source_values(source.path, source.number) > threshold
        name = f"{source.sop_instance_uid} frame {source.number}"
        compared += 1
        if found is None:
            if expected.any():
                wrong.append(
                    f"{name}: {np.count_nonzero(expected)} voxels lie above the threshold, the SEG has no frame"
                )
            continue
        if found.mask.shape != expected.shape:
            wrong.append(f"{name}: the SEG frame has {found.mask.shape}, the source {expected.shape}")
        elif (found.mask != expected).any():
            wrong.append(f"{name}: {np.count_nonzero(found.mask != expected)} voxels differ")
        true = source_position(source.path, source.number)
        distance = float(np.linalg.norm(np.subtract(found.position_mm, true)))
        farthest = max(farthest, distance)
        if distance > SAME_PLACE_MM:
            wrong.append(f"{name}: the SEG frame lies {distance:.3f} mm off its source")
    wrong += [f"{uid} frame {number}: a SEG frame of no frame of the volume" for uid, number in frames]
    return wrong, compared, farthest
