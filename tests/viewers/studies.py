"""Studies for a viewer: a series, our own encoder's SEG of it, and the truth of each segment on each instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom

from tests.series.stacks import joined_stack, write_stack
from tests.system.seg_check import source_values
from voxtell_dicom.cli.folder import series_in
from voxtell_dicom.config import Peer, load_config
from voxtell_dicom.encode import ENCODER_REVISION, encode, output_context
from voxtell_dicom.model import BoolArray, Found, Mask, Plan, Prompt, Volume
from voxtell_dicom.phantom import Acquisition, demo_acquisition, torso, truth_mask, write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import with_key


@dataclass(frozen=True)
class Study:
    """files: the source series and its SEG. truth: by segment number, by SOP Instance UID, bool (row, column).

    opens: a part of the SEG's series description, where the study has several.
    """

    uid: str
    files: tuple[Path, ...]
    labels: tuple[str, ...]
    truth: dict[int, dict[str, BoolArray]]
    order: tuple[str, ...]  # SOP Instance UIDs of the source, along the stack
    opens: str = ""

    def part(self, opens: str, numbers: Sequence[int]) -> Study:
        """The study with one of its SEGs, which holds these segments under numbers from 1."""
        truth = {place: self.truth[number] for place, number in enumerate(numbers, 1)}
        return replace(self, opens=opens, truth=truth, labels=tuple(self.labels[number - 1] for number in numbers))


def phantom_study(
    folder: Path,
    labels: Sequence[str],
    *,
    seed: int = 0,
    shape: tuple[int, int] | None = None,
    profile: str = "generic",
) -> Study:
    """A torso and the SEG of its true masks. The truth is sampled from the shapes where the writer put the pixels.

    profile: that of the peer for which the SEG is made.
    """
    anatomy, acquisition = torso(seed), demo_acquisition(seed)
    if shape:
        frames, _, _ = acquisition.lattice(anatomy).shape
        acquisition = replace(acquisition, shape=(frames, *shape))
    files = write_series(anatomy, acquisition, folder / "series")
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]
    lattice = acquisition.lattice(anatomy)
    truth = {
        number: dict(zip(uids, anatomy.mask(label, lattice), strict=True)) for number, label in enumerate(labels, 1)
    }
    volume = _volume(folder / "series")
    masks = [truth_mask(anatomy, label, volume) for label in labels]
    segs = _encode(volume, labels, masks, folder / "seg", profile)
    return Study(volume.study_uid, (*files, *segs), tuple(labels), truth, tuple(uids))


def stack_study(folder: Path, labels: Sequence[str], frames: Sequence[int], *, seed: int = 0) -> Study:
    """A torso scanned in 4 mm, of which these frames are left: a stack whose spacing changes, and its one SEG."""
    anatomy = torso(seed)
    acquisition = Acquisition(pixel_spacing_mm=(6.0, 6.0))
    files = write_stack(anatomy, acquisition, frames, folder / "series")
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]
    lattice = acquisition.lattice(anatomy)
    masks = [anatomy.mask(label, lattice)[list(frames)] for label in labels]
    truth = {number: dict(zip(uids, mask, strict=True)) for number, mask in enumerate(masks, 1)}
    volume = joined_stack(folder / "series")
    assert [frame.sop_instance_uid for frame in volume.frames] == uids
    segs = _encode(volume, labels, masks, folder / "seg")
    return Study(volume.study_uid, (*files, *segs), tuple(labels), truth, tuple(uids))


def threshold_study(series: Path, limit: float, folder: Path) -> Study:
    """A real series and the SEG of what lies above a limit (HU). The truth is read with pydicom alone."""
    files = sorted(series.glob("*.dcm"))
    truth = {uid: values > limit for (uid, _), values in source_values(files).items()}
    volume = _volume(series)
    uids = tuple(frame.sop_instance_uid for frame in volume.frames)
    segs = _encode(volume, [f"> {limit:g}"], [np.stack([truth[uid] for uid in uids])], folder / "seg")
    return Study(volume.study_uid, (*files, *segs), (f"> {limit:g}",), {1: truth}, uids)


def _volume(folder: Path) -> Volume:
    (series,) = series_in(folder)
    (volume,) = assemble(series).volumes
    return with_key(volume)


def _encode(
    volume: Volume, labels: Sequence[str], masks: Sequence[BoolArray], folder: Path, profile: str = "generic"
) -> list[Path]:
    prompts = tuple(Prompt(label, label.capitalize()) for label in labels)
    plan = Plan(
        volume_key=volume.key,
        rule="viewer test",
        rule_index=0,
        prompts=prompts,
        outputs=("seg",),
        send_to=("viewer",),
        engine_identity="phantom truth",
        encoder_revision=ENCODER_REVISION,
    )
    config = load_config(Path(__file__).parents[2] / "config" / "node.yaml")
    config = config.model_copy(
        update={"peers": {"viewer": Peer.model_validate({"folder": folder, "profile": profile})}}
    )
    found = [Found(prompt, Mask.from_array(mask)) for prompt, mask in zip(prompts, masks, strict=True)]
    return [
        result.path for result in encode(output_context(plan, volume, found, config=config, directory=folder), config)
    ]
