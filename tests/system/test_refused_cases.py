"""Every refused case of the corpus through a whole node: its job says why, in state refused, and the next ones go on.

What the receiver does not take is refused to the sender; the rest of such a series is not delivered without a person.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import SegmentationStorage

from tests.series import multiframe_cases, strange_cases  # noqa: F401 - add their cases
from tests.series.cases import CASES, Case
from tests.system.node_process import ENDED, NodeProcess
from tests.system.peers.dcmtk import storescu

MODALITIES = ["CT", "MR", "PT", "CR", "DX", "MG", "NM", "OPT", "XA"]
RULE = {"name": "all", "when": {"Modality": MODALITIES}, "prompts": ["> 300"], "send_to": ["out"]}
SYNTAX = {"cut-jpeg-2000": "-xv", "cut-jpeg-ls": "-xt", "cut-rle": "-xr"}
BREAST = ("breast-tomosynthesis", "breast-projection")
# storescu offers these classes only where it is told to offer what its files need.
SYNTAX |= {case.name: "-R" for case in CASES if case.name.startswith("x-ray-3d-") or case.name in BREAST}
# The spool takes the first of two contents of a UID, and refuses the other to its sender: a whole series is left.
FIRST_COUNTS = {"conflicting-instance", "conflicting-rescale"}
# Of two patients or studies in one series, the first is kept, what is left of the series is held. Nor is an image
# without pixels taken.
HELD = {"patients", "studies", "patient-id-case"}
LEFT = {"no-pixels": "missing-slice"}
# No context is negotiated for a private class; secondary captures never start work (contracts § 3).
NO_JOB = {"private-class", "multi-frame-capture"}
REFUSED = [case for case in CASES if case.refused]
GOOD = [
    case for case in CASES if case.name in ("axial", "x-ray-3d-angiographic", "x-ray-3d-craniofacial", "nm-negative")
]


def write(case: Case, number: int, folder: Path) -> str:
    """Write a case under UIDs of its own (equal ones would be one instance to the node); returns the series' UID."""
    case.write(folder)
    for path in folder.iterdir():
        data = path.read_bytes().replace(b"2.25.1234567890.", b"2.25.77777%05d." % number)
        path.write_bytes(data.replace(b"1.2.826.0.1.3680043.8.498.", b"1.2.826.0.1.3680043.8.%03d." % number))
    return f"2.25.77777{number:05d}.2"


def test_every_refused_case(tmp_path: Path) -> None:
    receive = {"quiet_s": 0.5, "incomplete_s": 0.7}
    peers = {"out": {"folder": str(tmp_path / "out")}}
    uids: dict[str, str] = {}
    with NodeProcess(tmp_path / "node", peers=peers, rules=[RULE], receive=receive) as node:
        for number, case in enumerate([*REFUSED, *GOOD]):
            uids[case.name] = write(case, number, tmp_path / case.name)
            storescu(tmp_path / case.name, node.port, syntax=SYNTAX.get(case.name, "-nh"), check=False)
        expected = len(REFUSED) + len(GOOD) - len(NO_JOB)

        def ended() -> list[dict[str, Any]]:
            jobs = node.jobs()
            all_there = len({job["series_uid"] for job in jobs}) == expected
            return jobs if all_there and all(job["state"] in ENDED for job in jobs) and not node.busy() else []

        jobs = node.wait(ended, what="all jobs", timeout_s=120)
        log = node.log()
    for case in [*REFUSED, *GOOD]:  # a busy machine may cut one in two: the job of the first part is cancelled
        mine = [job for job in jobs if job["series_uid"] == uids[case.name] and job["state"] != "cancelled"]
        states = {job["state"] for job in mine}
        if case.name in NO_JOB:
            assert not mine, case.name
        elif case in GOOD or case.name in FIRST_COUNTS:
            assert states == {"delivered"}, (case.name, mine)
        elif case.name in HELD:
            assert states == {"held"}, (case.name, mine)
            assert "could not be stored" in mine[0]["reason"]
        else:
            # What can be segmented of a series that lacks something is held as incomplete.
            assert states == ({"refused", "held"} if case.handled else {"refused"}), (case.name, mine)
            mine = [job for job in mine if job["state"] == "refused"]
            codes = {job["reason"].partition(":")[0] for job in mine}
            assert codes <= {*case.refused, LEFT.get(case.name, "")}, (case.name, mine)
            assert all(re.search(r"\b(2\.25|1\.2)\.[0-9.]{10}", job["reason"]) for job in mine), case.name  # the UID
            tagged = [job for job in mine if not job["reason"].startswith("single-slice")]
            assert all(re.search(r"\([0-9A-F]{4},[0-9A-F]{4}\)", job["reason"]) for job in tagged), mine
    sent = [pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID for path in (tmp_path / "out").glob("*.dcm")]
    assert sent.count(SegmentationStorage) == len(GOOD) + len(FIRST_COUNTS)  # the others are receipts, which say why
    assert "Traceback" not in log
