"""Several rules that want the same series share one pass of the engine."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pydicom

from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from voxtell_dicom.engine import phantom_directory
from voxtell_dicom.engine.plans import read_plans
from voxtell_dicom.engine.windows import windows_over
from voxtell_dicom.phantom import demo_acquisition, torso, write_series

PROMPTS = {"abdomen": ["liver"], "urology": ["left kidney", "right kidney"], "chest": ["lungs", "liver"]}


def test_three_rules_for_one_series_are_one_pass_and_three_results(orthanc: Orthanc, tmp_path: Path) -> None:
    rules = [
        {"name": name, "when": {"Modality": "CT"}, "prompts": prompts, "send_to": ["pacs"]}
        for name, prompts in PROMPTS.items()
    ]
    files = write_series(torso(5), demo_acquisition(5), tmp_path / "ct")
    source = pydicom.dcmread(files[0])
    peers = {"pacs": orthanc.dimse_settings}
    with NodeProcess(tmp_path / "node", peers=peers, rules=rules, engine="phantom") as node:
        storescu(files, node.port)
        jobs = node.wait_for_jobs("delivered", "delivered", "delivered", timeout_s=120)
        assert {job["rule"] for job in jobs} == set(PROMPTS)
        passes = node.read("SELECT 1 FROM workflow_status WHERE name = 'segment'")
        notes = [row["detail"] for row in node.read("SELECT detail FROM voxtell_stage WHERE stage = 'segment'")]
    assert len(passes) == 1
    found = []
    for instance in orthanc.wait_for(3, study_uid=source.StudyInstanceUID):
        seg = pydicom.dcmread(BytesIO(orthanc.download(instance)))
        found.append(sorted(prompt_of(item.SegmentLabel) for item in seg.SegmentSequence))
    assert sorted(found) == sorted(sorted(prompts) for prompts in PROMPTS.values())
    # The run report, the same for all three: the encoder saw each window once, though four prompts were asked.
    assert notes == notes[:1] * 3
    shape = (len(files), source.Rows, source.Columns)
    windows = len(windows_over(shape, read_plans(phantom_directory()).patch_size))
    assert windows > 1
    assert re.fullmatch(rf"{windows} windows, each encoded once, on cpu, peak \d+\.\d GiB host", notes[0]), notes[0]


def prompt_of(label: str) -> str:
    return label.removesuffix(" TEST - NOT FOR PATIENTS").lower()
