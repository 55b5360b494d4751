"""A peer that refuses a SOP class or a transfer syntax: what it gets instead, and what the job and the log say."""

from __future__ import annotations

import json
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import StoreScp, storescu
from tests.system.peers.orthanc import Orthanc
from tests.system.peers.scripted_scp import LABEL_MAP, ScriptedScp
from tests.system.peers.scripted_stow import Answer, ScriptedStow, failed

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
CHAIN = ["native", "seg", "rtstruct"]
EXPLICIT, IMPLICIT, RLE = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(RLELossless)
# name → what the peer takes, its fallback, (kind, transfer syntax, state) of each delivery in order.
TAKES: dict[str, tuple[dict[str, list[str]] | None, list[str], list[tuple[str, str, str]]]] = {
    "all": (None, CHAIN, [("labelmap", RLE, "delivered")]),
    "not rle": ({LABEL_MAP: [EXPLICIT]}, CHAIN, [("labelmap", RLE, "replaced"), ("labelmap", EXPLICIT, "delivered")]),
    "seg alone": ({SEG: [EXPLICIT]}, ["seg"], [("labelmap", RLE, "replaced"), ("seg", EXPLICIT, "delivered")]),
    "contours": (
        {RTSTRUCT: [IMPLICIT]},
        CHAIN,
        [
            ("labelmap", RLE, "replaced"),
            ("labelmap", EXPLICIT, "replaced"),
            ("seg", EXPLICIT, "replaced"),
            ("rtstruct", IMPLICIT, "delivered"),
        ],
    ),
    "no fallback": ({SEG: [EXPLICIT]}, [], [("labelmap", RLE, "failed")]),
    "nothing": (
        {SR: [EXPLICIT]},
        ["native", "seg"],
        [("labelmap", RLE, "replaced"), ("labelmap", EXPLICIT, "replaced"), ("seg", EXPLICIT, "failed")],
    ),
}


def test_each_peer_gets_the_first_that_it_takes(tmp_path: Path) -> None:
    peers: dict[str, dict[str, Any]] = {}
    scripted: dict[str, ScriptedScp] = {}
    with ExitStack() as stack:
        for name, (takes, fallback, _) in TAKES.items():
            scp = scripted[name] = stack.enter_context(ScriptedScp(ae_title=name.upper(), only=takes))
            peers[name] = {"ae_title": scp.ae_title, "host": "127.0.0.1", "port": scp.port, "fallback": fallback}
        stow = stack.enter_context(ScriptedStow([Answer(409, lambda uid: failed(uid, 0x0122)), 415]))
        peers["web"] = {"dicomweb": stow.url, "fallback": CHAIN}
        other = stack.enter_context(ScriptedStow([Answer(200, lambda uid: failed(uid, 0xC122))]))
        peers["web syntax"] = {"dicomweb": other.url, "fallback": CHAIN}
        statuses = stack.enter_context(ScriptedScp([0x0122, 0x0124]))
        peers["statuses"] = {"ae_title": "S", "host": "127.0.0.1", "port": statuses.port, "fallback": CHAIN}
        rule = {**CT_RULE, "outputs": ["labelmap"], "send_to": list(peers)}
        node = stack.enter_context(NodeProcess(tmp_path / "node", peers=peers, rules=[rule]))
        storescu(write_ct(tmp_path / "ct"), node.port)
        (job,) = node.wait_for_jobs("failed")  # two of its peers take nothing

        shown = json.loads(node.cli("jobs", "show", job["id"], "--json").stdout)
        wanted = {name: deliveries for name, (_, _, deliveries) in TAKES.items()}
        chain = [("labelmap", RLE, "replaced"), ("labelmap", EXPLICIT, "replaced"), ("seg", EXPLICIT, "delivered")]
        wanted |= {"web": chain, "statuses": chain}
        wanted["web syntax"] = [("labelmap", RLE, "replaced"), ("labelmap", EXPLICIT, "delivered")]
        assert deliveries_of(shown) == wanted

        said = {row["peer"]: row["message"] for row in shown["deliveries"] if row["state"] == "failed"}
        assert said.keys() == {"no fallback", "nothing"}
        assert "give the peer a 'fallback'" in said["no fallback"]
        assert "nothing is left of the peer's 'fallback'" in said["nothing"]
        for row in shown["deliveries"]:
            if row["state"] == "replaced":
                assert "is refused by peer" in row["message"]
                assert row["message"] in shown["reason"], "the job says it"
                assert row["message"] in node.log(), "and so does the log"

        # One UID never has two contents, and each object went to all its peers as the very same bytes.
        contents: dict[str, set[bytes]] = {}
        for scp in (*scripted.values(), statuses):
            for stored in scp.attempts:
                contents.setdefault(stored.sop_instance_uid, set()).add(stored.data)
        assert len(contents) == 4, "a label map, the same in native form, a segmentation, a structure set"
        assert all(len(some) == 1 for some in contents.values())
        assert scripted["contours"].stored[0].sop_class_uid == RTSTRUCT
        (last,) = scripted["seg alone"].stored
        assert pydicom.dcmread(BytesIO(last.part10())).SegmentationType == "BINARY"

        # What did not arrive is tried again, what was replaced is not.
        before = {name: len(scp.attempts) for name, scp in scripted.items()}
        node.cli("jobs", "retry", job["id"])
        node.wait_for_jobs("failed")
        assert {name: len(scp.attempts) for name, scp in scripted.items()} == before


def deliveries_of(shown: dict[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """Per peer (kind, transfer syntax, state) of its deliveries, in order of time."""
    kinds = {result["sop_instance_uid"]: result for result in shown["results"]}
    found: dict[str, list[tuple[str, str, str]]] = {}
    for row in sorted(shown["deliveries"], key=lambda row: row["at"]):
        result = kinds[row["sop_instance_uid"]]
        assert row["peer"] in result["peers"]
        syntax = str(pydicom.dcmread(result["path"], stop_before_pixels=True).file_meta.TransferSyntaxUID)
        found.setdefault(row["peer"], []).append((result["kind"], syntax, row["state"]))
    return found


PAGE = "1.2.840.10008.5.1.4.1.1.7"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
HELD = {"name": "held", "prompts": ["> 9000"], "empty": "hold"}
# peer → what it takes
RECEIVERS = {"no pages": (SEG, REPORT), "no reports": (SEG, PAGE), "neither": (SEG,)}


def test_a_receipt_that_is_refused_goes_in_its_other_form_and_fails_no_result(tmp_path: Path) -> None:
    peers: dict[str, dict[str, Any]] = {}
    scripted: dict[str, ScriptedScp] = {}
    with ExitStack() as stack:
        for name, takes in RECEIVERS.items():
            scp = ScriptedScp(ae_title=name.upper(), only={uid: [EXPLICIT] for uid in takes})
            scripted[name] = stack.enter_context(scp)
            peers[name] = {"ae_title": scp.ae_title, "host": "127.0.0.1", "port": scp.port}
        always = {**CT_RULE, "receipt": "always", "send_to": list(peers)}
        rules = [
            {**always, "name": "page"},
            {**always, "name": "report", "receipt_as": "sr"},
            {**always, "name": "empty", "prompts": ["> 9000"], "send_to": ["no pages", "neither"]},
            {**always, **HELD, "send_to": ["no pages", "neither"]},
        ]
        node = stack.enter_context(NodeProcess(tmp_path / "node", peers=peers, rules=rules))
        storescu(write_ct(tmp_path / "ct"), node.port)
        jobs = {job["rule"]: job for job in node.wait_for_jobs("delivered", "delivered", "failed", "held")}
        shown = {rule: json.loads(node.cli("jobs", "show", job["id"], "--json").stdout) for rule, job in jobs.items()}
        page, report, neither = "receipt", "receipt_sr", scripted["neither"]
        for rule, first, second, taker in (("page", page, report, "no pages"), ("report", report, page, "no reports")):
            assert shown[rule]["state"] == "delivered"
            sent = receipts_of(shown[rule])
            (other,) = {"no pages", "no reports"} - {taker}
            assert sent[taker] == [(first, "replaced"), (second, "delivered")]
            assert sent[other] == [(first, "delivered")]
            assert sent["neither"] == [(first, "replaced"), (second, "refused")]
            said = "peer 'neither' takes receipts neither as Secondary Capture nor as Basic Text SR (context refused)"
            assert f"{said}: its results go without a receipt" in shown[rule]["reason"]
        assert {stored.sop_class_uid for stored in neither.stored} == {SEG}
        assert len(neither.stored) == 2

        # Where the receipt is all there is, nothing of the work is there without it.
        assert receipts_of(shown["empty"]) == {
            "no pages": [(page, "replaced"), (report, "delivered")],
            "neither": [(page, "replaced"), (report, "failed")],
        }
        assert "nothing tells there what became of the work" in shown["empty"]["reason"]

        def told() -> dict[str, Any]:
            sent = receipts_of(json.loads(node.cli("jobs", "show", jobs["held"]["id"], "--json").stdout))
            return sent if sum(map(len, sent.values())) == 4 else {}

        assert node.wait(told, what="notices") == receipts_of(shown["empty"])
        words = [pydicom.dcmread(BytesIO(stored.part10())) for stored in scripted["no pages"].stored]
        assert sum("[held]" in ds.SeriesDescription for ds in words if ds.SOPClassUID == REPORT) == 1

        # A peer that has learnt to take them gets the receipt by `jobs retry`; what it has it does not get again.
        neither.only = {uid: [EXPLICIT] for uid in (SEG, REPORT)}
        node.cli("jobs", "retry", jobs["page"]["id"])
        node.wait_for_jobs("delivered", "delivered", "failed", "held")
        again = node.wait(
            lambda: [stored for stored in neither.stored if stored.sop_class_uid == REPORT], what="the receipt"
        )
        assert len(again) == 1
        assert len(neither.stored) == 3


def receipts_of(shown: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Per peer (kind, state) of the last attempt at each form of the receipt, in order of time."""
    kinds = {each["sop_instance_uid"]: each["kind"] for each in (*shown["results"], *shown["notices"])}
    found: dict[str, list[tuple[str, str]]] = {}
    for row in sorted(shown["deliveries"], key=lambda row: row["at"]):
        if kinds[row["sop_instance_uid"]].startswith("receipt"):
            found.setdefault(row["peer"], []).append((kinds[row["sop_instance_uid"]], row["state"]))
    return found


STORESCP = f"""
[[TransferSyntaxes]]
[Plain]
TransferSyntax1 = {EXPLICIT}
TransferSyntax2 = {IMPLICIT}
[[PresentationContexts]]
[OldArchive]
PresentationContext1 = {SEG}\\Plain
PresentationContext2 = {SR}\\Plain
[[Profiles]]
[Default]
PresentationContexts = OldArchive
"""


def test_storescp_of_dcmtk_that_knows_no_label_map(tmp_path: Path) -> None:
    """The report is made anew, on the segmentation that took the label map's place."""
    (tmp_path / "old.cfg").write_text(STORESCP)
    with StoreScp(tmp_path / "stored", "-xf", str(tmp_path / "old.cfg"), "Default") as storescp:
        peers = {
            "old": {
                "ae_title": "OLD",
                "host": "127.0.0.1",
                "port": storescp.port,
                "encoding": "labelmap",
                "fallback": ["seg"],
            }
        }
        rule = {**CT_RULE, "outputs": ["seg", "sr"], "send_to": ["old"]}
        with NodeProcess(tmp_path / "node", peers=peers, rules=[rule]) as node:
            storescu(write_ct(tmp_path / "ct"), node.port)
            (job,) = node.wait_for_jobs("delivered")
            assert "LABELMAP" in job["reason"]
            assert "is refused by peer 'old' (context refused); in its place goes SEG" in job["reason"]
            assert not list((node.storage / "work").iterdir()), "masks are dropped once all has arrived"
        stored = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, storescp.files)}
    (seg,) = (ds for ds in stored.values() if ds.SOPClassUID == SEG)
    assert seg.SegmentationType == "BINARY"
    reports = [ds for ds in stored.values() if ds.SOPClassUID == SR]
    referred = {
        str(item.ReferencedSOPInstanceUID)
        for ds in reports
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert str(seg.SOPInstanceUID) in referred


@pytest.mark.parametrize("way", ["dimse", "dicomweb"])
def test_orthanc_that_knows_no_label_map(tmp_path: Path, way: str) -> None:
    """Orthanc 1.10 takes no label map by C-STORE, and any object by STOW-RS."""
    with Orthanc(tmp_path / "orthanc") as orthanc:
        where = orthanc.peer() if way == "dimse" else orthanc.web_peer()
        settings = where.model_dump(exclude_defaults=True, mode="json") | {"fallback": ["native", "seg"]}
        rule = {**CT_RULE, "outputs": ["labelmap"]}
        with NodeProcess(tmp_path / "node", peers={"pacs": settings}, rules=[rule]) as node:
            storescu(write_ct(tmp_path / "ct"), node.port)
            (job,) = node.wait_for_jobs("delivered")
            shown = json.loads(node.cli("jobs", "show", job["id"], "--json").stdout)
            states = [(kind, state) for kind, _, state in deliveries_of(shown)["pacs"]]
        if way == "dicomweb":
            assert states == [("labelmap", "delivered")]
        else:
            assert states == [("labelmap", "replaced"), ("labelmap", "replaced"), ("seg", "delivered")]
