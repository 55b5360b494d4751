"""Every row of contracts § 4 as an administrator sees it in `jobs`: one series, one peer for each answer."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.scripted_scp import ScriptedScp, Step
from tests.system.peers.scripted_stow import Answer, ScriptedStow, failed, referenced

OVER_DIMSE: dict[str, tuple[Step, list[str]]] = {
    "success": (0x0000, ["delivered 0000"]),
    "coerced": (0xB000, ["delivered B000 warning"]),
    "discarded": (0xB006, ["delivered B006 warning"]),
    "mismatch": (0xB007, ["delivered B007 warning"]),
    "duplicate": (0x0111, ["failed 0111"]),  # it says so, yet C-FIND shows nothing
    "full": (0xA700, ["retry A700", "delivered 0000"]),
    "busy": ("reject transient", ["retry rejected (transient)", "delivered 0000"]),
    "abort": ("abort", ["retry lost link", "delivered 0000"]),
    "drop": ("drop", ["retry lost link", "delivered 0000"]),
    "other class": (0xA900, ["failed A900"]),
    "nonsense": (0xC000, ["failed C000"]),
    "no class": (0x0122, ["failed 0122"]),
    "no context": ("refuse context", ["failed context refused"]),
    "stranger": ("reject permanent", ["failed rejected (permanent)"]),
}
OVER_STOW: dict[str, tuple[int | Answer, list[str]]] = {
    "web success": (Answer(200, referenced), ["delivered HTTP 200"]),
    "web warning": (Answer(202, lambda uid: referenced(uid, 0xB000)), ["delivered HTTP 202 warning"]),
    "web conflict": (409, ["failed HTTP 409"]),
    "web slow": (408, ["retry HTTP 408", "delivered HTTP 200"]),
    "web early": (425, ["retry HTTP 425", "delivered HTTP 200"]),
    "web many": (429, ["retry HTTP 429", "delivered HTTP 200"]),
    "web down": (503, ["retry HTTP 503", "delivered HTTP 200"]),
    "web refused": (400, ["failed HTTP 400"]),
    "web failed": (Answer(200, lambda uid: failed(uid, 0xA900)), ["failed HTTP 200"]),
}


def test_every_answer_has_its_outcome_in_jobs(tmp_path: Path) -> None:
    peers: dict[str, dict[str, Any]] = {}
    scripted: dict[str, ScriptedScp] = {}
    with ExitStack() as stack:
        for name, (step, _) in OVER_DIMSE.items():
            scripted[name] = stack.enter_context(ScriptedScp([step], ae_title=name.upper()))
            peers[name] = {"ae_title": name.upper(), "host": "127.0.0.1", "port": scripted[name].port, "timeout_s": 60}
        for name, (answer, _) in OVER_STOW.items():
            server = stack.enter_context(ScriptedStow([answer]))
            peers[name] = {"dicomweb": server.url, "timeout_s": 60}
        rule = {**CT_RULE, "send_to": list(peers)}
        node = stack.enter_context(NodeProcess(tmp_path / "node", peers=peers, rules=[rule]))
        storescu(write_ct(tmp_path / "ct"), node.port)
        (job,) = node.wait_for_jobs("failed")  # of its many peers, some never get it

        wanted = {name: outcomes for name, (_, outcomes) in (*OVER_DIMSE.items(), *OVER_STOW.items())}
        assert deliveries(node, job["id"]) == wanted

        # The causes are mended: the same object goes to those that have not got it, and to nobody else.
        before = {name: len(scp.attempts) for name, scp in scripted.items()}
        node.cli("jobs", "retry", job["id"])
        node.wait_for_jobs("delivered")
        after = deliveries(node, job["id"])
        assert all(outcomes[-1].startswith("delivered") for outcomes in after.values())
        done = [name for name, outcomes in wanted.items() if outcomes[-1].startswith("delivered")]
        assert {name: after[name] for name in done} == {name: wanted[name] for name in done}
        assert all(len(scp.attempts) == before[name] for name, scp in scripted.items() if name in done)
        bytes_sent = {stored.data for scp in scripted.values() for stored in scp.attempts}
        assert len(bytes_sent) == 1, "one UID never has two contents"


def deliveries(node: NodeProcess, job: str) -> dict[str, list[str]]:
    """Per peer, the attempts in order, as `jobs show --json` gives them."""
    shown = json.loads(node.cli("jobs", "show", job, "--json").stdout)["deliveries"]
    found: dict[str, list[str]] = {}
    for row in sorted(shown, key=lambda row: (row["peer"], row["attempt"])):
        words = [row["state"], row["status"], *(["warning"] if row["warning"] else [])]
        found.setdefault(row["peer"], []).append(" ".join(words))
    return found
