"""Probabilities as a FRACTIONAL segmentation: the very values, by pydicom and highdicom, and what the object says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from tests.encode import made
from voxtell_dicom.config import Config
from voxtell_dicom.encode import OutputContext, encode, output_context
from voxtell_dicom.encode.common.profiles import Form
from voxtell_dicom.encode.seg.segmentation import encode_segmentation
from voxtell_dicom.errors import EncodingError
from voxtell_dicom.model import Found

TEXTS = ("liver", "nothing", "left kidney")
FRACTIONAL = Form("fractional", "rle")


def config(**peer: Any) -> Config:
    peers = {"pacs": {"folder": "out", **peer}}
    return Config.model_validate({"version": 1, "model": {"directory": "voxtell"}, "peers": peers})


@pytest.mark.parametrize("matrix", [(21, 23), (16, 16)])
@pytest.mark.parametrize("shear", [(0, 0, 0), (0, 1.2, 0)])
def test_every_value_comes_back(tmp_path: Path, matrix: tuple[int, int], shear: tuple[float, float, float]) -> None:
    volume = made.volume(tmp_path / "s", shape=(6, *matrix), shear_mm=shear)
    plan = made.plan(TEXTS)
    arrays = made.masks(volume.grid.shape, 3)
    arrays[1][:] = False
    found = made.found(plan, arrays)
    found[1] = replace(found[1], probabilities=found[0].probabilities)  # probable here and there, above it nowhere
    (result,) = encode_segmentation(OutputContext(plan, volume, found, directory=tmp_path), FRACTIONAL)
    assert (result.kind, result.labels, result.empty) == ("fractional", ("Liver", "Left kidney"), ("Nothing",))
    wanted = [made.soft(arrays[index]).to_array(volume.grid.shape) for index in (0, 2)]
    assert any(((values > 0) & (values < 128)).any() for values in wanted)

    ds = pydicom.dcmread(result.path)
    read = [np.zeros(volume.grid.shape, np.uint8) for _ in wanted]
    place = {frame.sop_instance_uid: index for index, frame in enumerate(volume.frames)}
    for groups, frame in zip(ds.PerFrameFunctionalGroupsSequence, ds.pixel_array, strict=True):
        index = place[str(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)]
        position = [float(value) for value in groups.PlanePositionSequence[0].ImagePositionPatient]
        assert np.allclose(position, volume.frames[index].position_mm)
        read[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1][index] = frame
    assert all(np.array_equal(one, other) for one, other in zip(read, wanted, strict=True))

    seg = highdicom.seg.segread(result.path)
    uids = [frame.sop_instance_uid for frame in volume.frames]
    pixels = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True, rescale_fractional=True)
    assert np.allclose(pixels.transpose(3, 0, 1, 2) * 255, np.stack(wanted), atol=1e-3)

    assert (ds.SegmentationType, ds.SegmentationFractionalType, ds.MaximumFractionalValue) == (
        "FRACTIONAL",
        "PROBABILITY",
        255,
    )
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.SegmentsOverlap) == (8, 8, 7, "YES")
    assert ds.ContentDescription == "Probability (0 below 0.05) by text prompt, rule abdomen"
    assert made.dciodvfy(result.path) == []


def test_it_goes_beside_the_masks_or_in_their_place(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS, outputs=("seg", "fractional", "sr"), send_to=("pacs",))
    found = made.found(plan, made.masks(volume.grid.shape, 3))
    kinds = [
        result.kind
        for result in encode(output_context(plan, volume, found, config=config(), directory=tmp_path / "a"), config())
    ]
    assert kinds == ["seg", "sr", "fractional"]
    made_there = encode(
        output_context(plan, volume, found, config=config(encoding="fractional"), directory=tmp_path / "b"),
        config(encoding="fractional"),
    )
    assert [result.kind for result in made_there] == ["fractional", "sr"]
    report = pydicom.dcmread(made_there[1].path)
    assert made_there[0].sop_instance_uid in str(report.CurrentRequestedProcedureEvidenceSequence)
    assert made.dciodvfy(made_there[1].path) == []


def test_without_probabilities_it_is_refused(tmp_path: Path) -> None:
    volume = made.volume(tmp_path / "s")
    plan = made.plan(TEXTS)
    arrays = made.masks(volume.grid.shape, 3)
    found = [Found(item.prompt, item.mask) for item in made.found(plan, arrays)]
    with pytest.raises(EncodingError, match="no probabilities of Liver, Nothing, Left kidney"):
        encode_segmentation(OutputContext(plan, volume, found, directory=tmp_path), FRACTIONAL)
