"""The acceptance test on a site's own series: every volume through the whole line, the result compared frame by frame.

Series → volume → threshold engine → mask → SEG file, read back by `readback.py` (pydicom alone): each SEG frame must
equal the threshold of its own source frame, and lie where that frame lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxtell_dicom.config import Config
from voxtell_dicom.encode import ENCODER_REVISION
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.line.publish import judge, publish
from voxtell_dicom.line.segment import found_for, segment_in_process
from voxtell_dicom.model import Engine, Plan, Prompt, Result, Series, Volume
from voxtell_dicom.series.geometry import GAP
from voxtell_dicom.series.joined import joined, stacks_of
from voxtell_dicom.series.report import Row, rows_of
from voxtell_dicom.series.volume import FloatArray, load_volume
from voxtell_dicom.verify.readback import seg_frames, source_position, source_values

SHARE = 0.05, 0.5  # of the voxels above the threshold: less or more proves little
SAME_PLACE_MM = 0.001
QUANTILES = (0.75, 0.65, 0.85, 0.55, 0.9, 0.6, 0.8, 0.94)
SAMPLE = 200_000  # voxels from which thresholds are proposed
THRESHOLD = Config.model_validate({"version": 1, "model": {"engine": "threshold"}})  # of a node that would do the same
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


def verify_series(
    series: Series,
    engine: Engine,
    folder: Path,
    via: Via | None = None,
    *,
    max_gap: float = GAP,
    frames_of_reference: str = "refuse",
) -> Iterator[Verified]:
    """Verify every volume of a series, the runs of a stack joined in one SEG.

    engine: the threshold engine; folder receives the SEG files; max_gap, frames_of_reference: as in a rule.
    """
    rows = list(rows_of(series, max_gap, frames_of_reference))
    volumes = [(row, volume) for row, volume in rows if volume is not None]
    for positions in stacks_of([volume for _, volume in volumes]):
        yield from _verify([volumes[position] for position in positions], engine, folder, via)
    for row, volume in rows:
        if volume is None:
            yield Verified(row, row.status)


def _verify(stack: Sequence[tuple[Row, Volume]], engine: Engine, folder: Path, via: Via | None) -> Iterator[Verified]:
    """One regular volume, or the runs of a stack: each has a threshold of its own, hence a segment."""
    loaded: list[tuple[Row, Volume, FloatArray, float]] = []
    for row, volume in stack:
        try:
            array, keyed = load_volume(volume)
        except VoxtellDicomError as error:
            yield _refused(row, error)
            continue
        threshold = choose_threshold(array, int(np.prod(keyed.grid.shape)))
        if threshold is None:
            words = "no threshold leaves 5 to 50 % of the voxels above it: nothing can be proven"
            yield Verified(row, "unproven", reason=words)
        else:
            loaded.append((row, keyed, array, threshold))
    if not loaded:
        return
    try:
        seg, volume, segments = _segmented(loaded, engine, folder)
    except VoxtellDicomError as error:
        yield from (_refused(row, error) for row, *_ in loaded)
        return
    except Exception as error:  # a fault of ours: a series that was taken must come out as a SEG
        words = f"the line fails: {type(error).__name__}: {error}"
        yield from (Verified(row, "wrong", threshold, reason=words) for row, _, _, threshold in loaded)
        return
    copy, lost = (seg.path if seg else None), ""
    try:
        copy = via(seg, folder) if via and seg else copy
    except VoxtellDicomError as error:  # the peer, not the volume: nothing is proven by it
        lost = f"{error.code}: {error}"
    for row, run, _, threshold in loaded:
        if seg is None or copy is None or threshold not in segments:
            yield Verified(row, "wrong", threshold, reason="nothing was found, but voxels lie above the threshold")
        elif lost:
            yield Verified(row, "unproven", threshold, reason=lost, seg=seg.path)
        else:
            try:
                wrong, farthest = compare(copy, volume, threshold, segments[threshold])
            except Exception as error:  # the other reader raises anything: nothing is proven by it
                words = f"pydicom alone cannot read it: {type(error).__name__}: {error}"
                yield Verified(row, "unproven", threshold, reason=words, seg=seg.path)
                continue
            outcome = "wrong" if wrong else "exact"
            yield Verified(row, outcome, threshold, len(run.frames), farthest, "; ".join(wrong[:3]), seg.path)


def _refused(row: Row, error: VoxtellDicomError) -> Verified:
    """Return what was taken for a volume by its headers, and then could not be used."""
    return Verified(replace(row, status="refused", code=error.code, reason=str(error)), "refused")


def _segmented(
    loaded: Sequence[tuple[Row, Volume, FloatArray, float]], engine: Engine, folder: Path
) -> tuple[Result | None, Volume, dict[float, int]]:
    """The SEG of the volume, the volume (of several runs the joined one), and the segment number of each threshold."""
    thresholds = list(dict.fromkeys(threshold for *_, threshold in loaded))
    prompts = tuple(Prompt(f"> {threshold!r}", "threshold") for threshold in thresholds)
    volume = joined([run for _, run, _, _ in loaded])
    arrays = {run.key: array for _, run, array, _ in loaded}
    plan = Plan(volume.key, "verify", 0, prompts, ("seg",), (), engine.identity, ENCODER_REVISION)
    found = found_for(plan, volume, segment_in_process(plan, [(run, arrays[run.key]) for run in volume.runs], engine))
    results = publish(judge(plan, volume, found), config=THRESHOLD, directory=folder).results
    result = results[0] if results else None
    shown = [threshold for threshold, item in zip(thresholds, found, strict=True) if item.mask.voxels]
    return result, volume, {threshold: number for number, threshold in enumerate(shown, 1)}


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


def compare(seg: Path, volume: Volume, threshold: float, segment: int = 1) -> tuple[list[str], float]:
    """Hold every frame of a segment against the threshold of its source, and every source against the segment.

    volume: the whole source, of several runs the joined one. Returns what is wrong (nothing: exact), and the largest
    distance in mm.
    """
    wrong: list[str] = []
    frames = {(frame.source_uid, frame.source_frame): frame for frame in seg_frames(seg) if frame.segment == segment}
    farthest = 0.0
    for source in volume.frames:
        found = frames.pop((source.sop_instance_uid, source.number), None)
        expected = source_values(source.path, source.number) > threshold
        name = f"{source.sop_instance_uid} frame {source.number}"
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
    return wrong, farthest
