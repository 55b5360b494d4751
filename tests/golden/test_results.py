"""Pin the result objects: their UIDs, and their bytes by SHA-256, of every output kind.

The sources are scans of the phantom, the masks its truth. Clock, time zone and program versions are held still
(`environment.py`); nothing else of a file is changed. The pixels of drawn pages have a digest of their own beside that
of the bytes before them: they depend on matplotlib's and FreeType's versions, and are compared only where those are the
stored ones. A value that is meant to change needs a line in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pydicom
import pytest

from tests.encode import made, modalities
from tests.golden.conftest import Golden
from tests.golden.environment import NOW, drawing_libraries
from tests.series.slices import series_in
from voxtell_dicom.config import Config, Rule
from voxtell_dicom.encode import Notice, encode, encode_notice, in_other_form, output_context
from voxtell_dicom.model import Found, Plan, Prompt, Result, Volume
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.truth import truth_mask
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume

pytestmark = pytest.mark.usefixtures("fixed")

OUTPUTS = get_args(get_args(Rule.model_fields["outputs"].annotation)[0])
DRAWN = ("secondary", "overlay", "receipt")
# What is searched → the structure that stands for it: a code, no code (and within the first), a laterality, nothing.
SEARCHED = {
    "liver": "liver",
    "something with no code": "liver lesion",
    "left kidney": "left kidney",
    "gallbladder": "",
}
CT = Acquisition(slice_spacing_mm=16.0, pixel_spacing_mm=(6.0, 6.0))
SCANS: dict[str, tuple[str, Acquisition, tuple[str, ...], dict[str, Any]]] = {
    "CT": ("CT", CT, OUTPUTS, {"pacs": {"folder": "pacs"}}),
    "CT for other peers": (
        "CT",
        CT,
        ("seg", "sr", "labelmap", "rtstruct"),
        {
            "ohif": {"folder": "ohif", "profile": "ohif"},
            "bytes": {"folder": "bytes", "encoding": "occupancy", "segments_per_object": "one"},
            "frames": {"folder": "frames", "empty_frames": True, "frames_per_object": 20},
            "xor": {"folder": "xor", "holes": "xor"},
        },
    ),
    "PET": ("PT", replace(CT, plane="coronal", descending=True), ("seg", "sr"), {"pacs": {"folder": "pacs"}}),
    "MR, oblique": (
        "MR",
        Acquisition(turn_deg=(12.0, -17.0, 8.0), slice_spacing_mm=14.0, pixel_spacing_mm=(5.0, 7.0)),
        ("fractional", "sr", "rtstruct"),
        {"pacs": {"folder": "pacs", "encoding": "labelmap"}},
    ),
    "CT, tilted": ("CT", replace(CT, tilt_deg=12.0), ("seg", "labelmap", "rtstruct"), {"pacs": {"folder": "pacs"}}),
}


def volume_of(modality: str, scan: Acquisition, folder: Path) -> tuple[Volume, list[Path]]:
    """Return the volume of a scan of the phantom, with its key, and the files."""
    files = write_series(torso(5), scan, folder)
    modalities.rewrite(files, modality)
    (volume,) = assemble(series_in(folder)).volumes
    return load_volume(volume)[1], files


def found_of(plan: Plan, volume: Volume) -> list[Found]:
    """Return the truth of each prompt, with probabilities."""
    anatomy = torso(5)
    masks = [truth_mask(anatomy, label or "liver", volume) & bool(label) for label in SEARCHED.values()]
    found = made.found(plan, masks)
    return [replace(item, mean_probability=0.93, uncertain_share=0.02) if item.mask.voxels else item for item in found]


def stored_of(result: Result) -> dict[str, Any]:
    """Return what is pinned of a result."""
    data = result.path.read_bytes()
    ds = pydicom.dcmread(result.path)
    assert hashlib.sha256(data).hexdigest() == result.digest
    assert ds.InstanceCreationDate == f"{NOW:%Y%m%d}", "the clock is not held still: see tests/golden/environment.py"
    assert ds.SOPInstanceUID == result.sop_instance_uid
    assert ds.SeriesInstanceUID == result.series_uid
    before = data.removesuffix(ds.PixelData) if result.kind in DRAWN else data
    assert (len(before) < len(data)) == (result.kind in DRAWN)
    return {
        "kind": result.kind,
        "peers": list(result.peers),
        "sop_class_uid": result.sop_class_uid,
        "sop_instance_uid": result.sop_instance_uid,
        "series_uid": result.series_uid,
        "labels": list(result.labels),
        "empty": list(result.empty),
        "sha256": hashlib.sha256(before).hexdigest(),
    }


def pixels_of(results: Sequence[Result]) -> dict[str, str]:
    """Return the digest of all drawn pixels of each kind."""
    digests: dict[str, Any] = {}
    for result in results:
        if result.kind in DRAWN:
            digests.setdefault(result.kind, hashlib.sha256()).update(pydicom.dcmread(result.path).PixelData)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def assert_stored(golden: Golden, name: str, results: Sequence[Result]) -> None:
    """Compare results, and their drawn pixels where the libraries that drew them are the stored ones."""
    golden(name, [stored_of(result) for result in results])
    if pixels := pixels_of(results):
        golden(f"{name}: pixels by {drawing_libraries()}", pixels, optional=True)


@pytest.mark.parametrize("name", SCANS)
def test_results(name: str, golden: Golden, tmp_path: Path) -> None:
    """Every object of a scan, for each peer; the receipt in both forms."""
    modality, scan, outputs, peers = SCANS[name]
    volume, _ = volume_of(modality, scan, tmp_path / "source")
    prompts = tuple(Prompt(text, text.capitalize()) for text in SEARCHED)
    plan = Plan(volume.key, "golden", 1, prompts, outputs, tuple(peers), made.MODEL, "1")
    rule = {"name": "golden", "when": {"Modality": modality}, "prompts": list(SEARCHED), "receipt": "always"}
    config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "peers": peers, "rules": [rule]})
    results = encode(
        output_context(plan, volume, found_of(plan, volume), config=config, directory=tmp_path / "results"), config
    )
    results += [other for result in results if (other := in_other_form(result))]
    assert_stored(golden, name, results)


def test_receipts_of_work_without_a_result(golden: Golden, tmp_path: Path) -> None:
    volume, files = volume_of("CT", CT, tmp_path / "source")
    notice = Notice("failed", ("engine: no memory",), (("Liver", "no result"),), volume.study_uid, volume.series_uid,
                    tuple(files))  # fmt: skip
    receipt = encode_notice(made.plan(["liver"]), notice, directory=tmp_path / "results", engine="phantom")
    other = in_other_form(receipt)
    assert other is not None
    assert_stored(golden, "receipts without a result", [receipt, other])
