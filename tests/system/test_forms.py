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


def test_a_series_of_overlays_goes_over_one_association(tmp_path: Path) -> None:
    """After a lost link only what has not arrived is sent again; so it is after `jobs retry`."""
    with ScriptedScp([0, 0, 0, "abort"]) as lossy, ScriptedScp([0, 0xA900, 0]) as strict:
        peers = {
            name: {"ae_title": "A", "host": "127.0.0.1", "port": scp.port}
            for name, scp in (("lossy", lossy), ("strict", strict))
        }
        rules = [{**CT_RULE, "outputs": ["overlay"], "receipt": "never", "send_to": list(peers)}]
        with NodeProcess(tmp_path / "node", peers=peers, rules=rules) as node:
            files = write_ct(tmp_path / "ct", slices=8)
            storescu(files, node.port)
            (job,) = node.wait_for_jobs("failed")
            assert (lossy.associations, len(lossy.attempts), len(lossy.holds)) == (2, 9, 8)
            assert (strict.associations, len(strict.attempts), len(strict.stored)) == (1, 8, 7)
            assert node.log().count("delivery delivered") == 3, "a line for each attempt, not for each image"
            table = node.cli("jobs", "show", job["id"]).stdout
            assert "overlay: 8 images of series" in " ".join(table.split())
            node.cli("jobs", "retry", job["id"])
            node.wait_for_jobs("delivered")
            assert (lossy.associations, len(lossy.attempts)) == (2, 9)
            assert (strict.associations, len(strict.attempts), len(strict.stored)) == (2, 9, 8)
            shown = json.loads(node.cli("jobs", "show", job["id"], "--json").stdout)
            states = [(row["peer"], row["attempt"], row["state"]) for row in shown["deliveries"]]
            assert states.count(("lossy", 2, "delivered")) == 5
            assert states.count(("strict", 2, "delivered")) == 1
        pages = [pydicom.dcmread(BytesIO(stored.part10())) for stored in strict.stored]
        assert sorted(ds.InstanceNumber for ds in pages) == list(range(1, 9))
        assert len({ds.SeriesInstanceUID for ds in pages}) == 1


def _name(stored: Stored) -> str:
    return str(pydicom.dcmread(BytesIO(stored.part10())).SeriesDescription)
