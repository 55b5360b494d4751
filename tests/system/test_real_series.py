"""Series of other people's scanners: each comes back right, frame by frame, or is refused by name. None wrong.

The rule of each series asks for "> t", t between two values that occur, so that a tenth to a half of the voxels is
above. The check decodes SEG and source with pydicom alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.system.node_process import ENDED, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.seg_check import seg_frames, source_values

pytestmark = pytest.mark.corpus
CORPUS = Path(os.environ.get("VOXTELL_DICOM_CORPUS") or "/nonexistent")
# The codes of what is refused of a series; every other series comes back.
REFUSED = {"mr_missing_slice": ["missing-slice"], "mr_enh_interrupted": ["missing-slice"]}
IMAGES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
}


def images(folder: Path) -> list[Path]:
    """The CT, MR and PET instances, classic and enhanced, of a folder that have UIDs (DIMSE sends none without)."""
    found = []
    for path in sorted(folder.glob("*.dcm")):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if ds.get("SOPClassUID") in IMAGES and ds.get("SOPInstanceUID"):
            found.append(path)
    return found


SERIES = {folder.name: files for folder in sorted(CORPUS.glob("*")) if folder.is_dir() and (files := images(folder))}


def threshold(files: list[Path]) -> float:
    """The middle of the widest gap between neighbouring values that leaves 10 to 50 % of the voxels above."""
    values = np.concatenate([frame.ravel() for frame in source_values(files).values()])
    unique, counts = np.unique(values, return_counts=True)
    above = 1 - np.cumsum(counts) / values.size
    fits = np.flatnonzero((above[:-1] >= 0.1) & (above[:-1] <= 0.5))
    if not fits.size:  # half of a PET slice is zero: take what there is
        fits = np.flatnonzero((above[:-1] >= 0.01) & (above[:-1] <= 0.6))
    best = fits[np.argmax(unique[fits + 1] - unique[fits])]
    return float((unique[best] + unique[best + 1]) / 2)


@pytest.fixture(scope="module")
def node(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    rules: list[dict[str, Any]] = []
    for name, files in SERIES.items():
        ds = pydicom.dcmread(files[0], stop_before_pixels=True)
        when = {"Modality": str(ds.Modality), "SeriesInstanceUID": str(ds.SeriesInstanceUID)}
        rules.append({"name": name, "when": when, "prompts": [f"> {threshold(files)!r}"], "send_to": ["pacs"]})
    receive = {"quiet_s": 1, "incomplete_s": 2}
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path_factory.mktemp("node"), peers=peers, rules=rules, receive=receive) as running:
        yield running


@pytest.mark.parametrize("name", SERIES)
def test_it_comes_back_right_or_is_refused_by_name(node: NodeProcess, orthanc: Orthanc, name: str) -> None:
    files = SERIES[name]
    first = pydicom.dcmread(files[0], stop_before_pixels=True)
    storescu(CORPUS / name, node.port, syntax=_syntax(first))

    def jobs() -> list[dict[str, Any]]:
        own = [job for job in node.jobs() if job["series_uid"] == first.SeriesInstanceUID]
        return own if own and all(job["state"] in ENDED for job in own) and not node.busy() else []

    ended = node.wait(jobs, what="its jobs")
    for job in ended:
        if job["state"] == "held":  # a good volume of a series that lacks another's slices: a person lets it go
            node.cli("jobs", "release", job["id"])
    ended = node.wait(jobs, what="its jobs")
    of_study = [pydicom.dcmread(BytesIO(orthanc.download(i))) for i in orthanc.instances(first.StudyInstanceUID, "SEG")]
    segs = [seg for seg in of_study if seg.ReferencedSeriesSequence[0].SeriesInstanceUID == first.SeriesInstanceUID]
    print(name, [(job["state"], job["reason"]) for job in ended], len(segs))
    assert len(segs) == sum(job["state"] == "delivered" for job in ended)
    if name == "ct_ge_tilt_varspacing":  # two runs of one stack
        (seg,) = segs
        assert {
            str(item.ReferencedSOPInstanceUID) for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        } == {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files}
    assert [job["reason"].partition(":")[0] for job in ended if job["state"] != "delivered"] == REFUSED.get(name, [])
    values, limit = source_values(files), threshold(files)
    for seg in segs:
        got = seg_frames(seg)
        (series,) = seg.ReferencedSeriesSequence
        volume = {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedInstanceSequence}
        assert {uid for uid, _ in got} <= volume
        for key, frame in values.items():
            if key in got:
                assert np.array_equal(got[key], frame > limit), key
            elif key[0] in volume and (key[0], 2) not in values:  # of an enhanced object, it may be another volume's
                assert not (frame > limit).any(), key
        assert sum(frame.sum() for frame in got.values()) > 0


def _syntax(ds: pydicom.Dataset) -> str | None:
    return "-xv" if ds.file_meta.TransferSyntaxUID.is_compressed else None
