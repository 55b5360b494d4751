"""One rule, peers of several profiles: each gets its own form through the whole node, probabilities included."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom

from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.scripted_scp import ScriptedScp, Stored


def test_each_peer_gets_its_form_and_equal_forms_are_one_object(tmp_path: Path) -> None:
    with ScriptedScp() as plain, ScriptedScp() as same, ScriptedScp() as soft, ScriptedScp() as deflated:
        where = {name: {"ae_title": "A", "host": "127.0.0.1"} for name in ("plain", "same", "soft", "deflated")}
        for name, scp in zip(where, (plain, same, soft, deflated), strict=True):
            where[name]["port"] = scp.port  # type: ignore[assignment]
        more = {
            "same": {"profile": "slicer"},
            "soft": {"encoding": "fractional"},
            "deflated": {"transfer_syntax": "deflated"},
        }
        peers = {name: {**each, **more.get(name, {})} for name, each in where.items()}
        rules = [{**CT_RULE, "send_to": list(peers)}, {**CT_RULE, "name": "other", "send_to": ["plain"]}]
        with NodeProcess(tmp_path / "node", peers=peers, rules=rules) as node:
            storescu(write_ct(tmp_path / "ct"), node.port)
            jobs = {job["rule"]: job["id"] for job in node.wait_for_jobs("delivered", "delivered")}
            shown = json.loads(node.cli("jobs", "show", jobs["bright"], "--json").stdout)
        assert [(result["kind"], result["peers"]) for result in shown["results"]] == [
            ("seg", ["plain", "same"]),
            ("fractional", ["soft"]),
            ("seg", ["deflated"]),
        ]
        one = {
            stored.data for scp in (plain, same) for stored in scp.stored if scp is same or "bright" in _name(stored)
        }
        assert len(one) == 1, "the very same bytes"
        (mine,), (packed,) = soft.stored, deflated.stored
        binary = pydicom.dcmread(BytesIO(same.stored[0].part10()))
        fractional = pydicom.dcmread(BytesIO(mine.part10()))
        assert (fractional.SegmentationType, fractional.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
        assert np.array_equal(fractional.pixel_array, 255 * binary.pixel_array)
        assert packed.transfer_syntax_uid == "1.2.840.10008.1.2.1.99"
        inflated = pydicom.dcmread(BytesIO(packed.part10()))
        assert np.array_equal(inflated.pixel_array, binary.pixel_array)
        assert len(packed.data) < len(same.stored[0].data)


def _name(stored: Stored) -> str:
    return str(pydicom.dcmread(BytesIO(stored.part10())).SeriesDescription)
