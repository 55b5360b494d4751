"""`verify --baseline`: the real model on reference series, its masks held against stored ones, after each upgrade.

The folder holds `baseline.json`: what was segmented, by which versions, and every mask (box and bits), so that a
changed one is judged by its Dice, not only by its digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from voxtell_dicom.encode import ENCODER_REVISION
from voxtell_dicom.errors import Refusal
from voxtell_dicom.line.segment import found_for, segment_in_process
from voxtell_dicom.model import Engine, Mask, Plan, Prompt, Series, canonical_digest, dump, load
from voxtell_dicom.series.report import rows_of
from voxtell_dicom.series.volume import load_volume

FILE = "baseline.json"


@dataclass(frozen=True)
class Segmented:
    """One prompt on one volume of the reference series, on its source frames."""

    series_uid: str
    volume: str
    volume_key: str
    prompt: str
    mask: Mask

    @property
    def digest(self) -> str:
        """SHA-256 of box and bits."""
        return canonical_digest(dump(self.mask))


@dataclass(frozen=True)
class Compared:
    """A mask of now beside the stored one. outcome: same | close | changed | new | missing."""

    series_uid: str
    volume: str
    prompt: str
    outcome: str
    dice: float | None
    voxels: int
    voxels_before: int | None


def segment(series: Sequence[Series], engine: Engine, prompts: Sequence[str]) -> Iterator[Segmented]:
    """Every prompt on every volume of the reference series, in one pass for each volume."""
    wanted = tuple(Prompt(prompt, prompt) for prompt in prompts)
    for each in series:
        for _, volume in rows_of(each):
            if volume is None:
                continue
            array, volume = load_volume(volume)
            plan = Plan(volume.key, "baseline", 0, wanted, (), (), engine.identity, ENCODER_REVISION)
            found = found_for(plan, volume, segment_in_process(plan, [(volume, array)], engine))
            for item in found:
                yield Segmented(volume.series_uid, volume.name, volume.key, item.prompt.text, item.mask)


def write(folder: Path, found: Sequence[Segmented], identity: str, versions: dict[str, str]) -> Path:
    """Store a baseline: the masks, the engine's identity, all versions, and the date."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "engine": identity,
        "versions": versions,
        "masks": [{**dump(each), "digest": each.digest} for each in found],
    }
    path = folder / FILE
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def read(folder: Path) -> tuple[dict[str, Any], list[Segmented]]:
    """A stored baseline: its file's content, and the masks. Raises Refusal where it is damaged."""
    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    masks = []
    for item in content["masks"]:
        digest = item.pop("digest")
        mask = load(Segmented, item)
        if mask.digest != digest:
            raise Refusal(
                "baseline", f"{folder / FILE}: the mask of {mask.prompt!r} is not what was stored", mask.series_uid
            )
        masks.append(mask)
    return content, masks


def compare(before: Sequence[Segmented], now: Sequence[Segmented], min_dice: float) -> list[Compared]:
    """Hold masks against the stored ones, by volume key and prompt; a Dice of `min_dice` or more is close."""
    stored = {(mask.volume_key, mask.prompt): mask for mask in before}
    found: list[Compared] = []
    for mask in now:
        old = stored.pop((mask.volume_key, mask.prompt), None)
        if old is None:
            outcome, score = "new", None
        elif old.digest == mask.digest:
            outcome, score = "same", 1.0
        else:
            score = dice(old.mask, mask.mask)
            outcome = "close" if score >= min_dice else "changed"
        before_voxels = None if old is None else old.mask.voxels
        found.append(
            Compared(mask.series_uid, mask.volume, mask.prompt, outcome, score, mask.mask.voxels, before_voxels)
        )
    for old in stored.values():
        found.append(Compared(old.series_uid, old.volume, old.prompt, "missing", None, 0, old.mask.voxels))
    return found


def dice(one: Mask, other: Mask) -> float:
    """Dice of two masks on the same grid; 1 where both are empty."""
    total = one.voxels + other.voxels
    if not total:
        return 1.0
    return 2 * float(np.count_nonzero(one.crop() & other.within(one.box))) / total
