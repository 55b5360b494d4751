"""`check` and `health` where TLS is set, and what node.yaml refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.receive.receiving import Receiver
from tests.system.peers.ports import free_port
from tests.tls.authority import Authority, Pair
from voxtell_dicom.cli import app


def run(command: str, folder: Path, dimse: dict[str, Any], peers: dict[str, Any] | None = None, *more: str) -> Result:
    path = folder / "node.yaml"
    settings = {"version": 1, "node": {"dimse": dimse}, "model": {"engine": "threshold"}, "peers": peers or {}}
    path.write_text(json.dumps(settings))
    return CliRunner().invoke(app, [command, "-c", str(path), *more])


def certificates(done: Result) -> dict[str, tuple[str, str]]:
    found = json.loads(done.stdout)["checks"]
    return {each["peer"]: (each["state"], each["message"]) for each in found if each["kind"] == "certificate"}


def test_check_names_what_ends_soon_and_what_cannot_be_used(tmp_path: Path, authority: Authority, ours: Pair) -> None:
    soon, late = authority.issue("soon", days=12.5), authority.issue("late", days=-2)
    here = {"host": "127.0.0.1", "port": free_port(), "timeout_s": 1}
    peers = {
        "soon": {"ae_title": "A", **here, "tls": {"ca": str(authority.ca), **soon.settings}},
        "late": {"ae_title": "B", **here, "tls": late.settings},
        "wrong": {"ae_title": "C", **here, "tls": {"certificate": str(ours.certificate), "key": str(soon.key)}},
    }
    soon.key.write_bytes(authority.issue("third", number=13).key.read_bytes())
    done = run("check", tmp_path, {"tls": {"certificate": "node.pem", "key": "node.key"}}, peers, "--json")
    assert done.exit_code == 1
    found = certificates(done)
    assert found["node.dimse.tls"][0] == "ok"
    assert found["node.dimse.tls"][1].startswith("can be used, until 20")
    assert found["late (TLS)"][0] == "failed"
    assert "late.pem expired on" in found["late (TLS)"][1]
    assert found["soon (TLS)"] == (
        "failed",
        f"{soon.key} is not the key of {soon.certificate}: give the two that belong together",
    )
    assert found["wrong (TLS)"][0] == "failed"


@pytest.mark.parametrize("demand", ["none", "require"])
def test_health_reaches_a_node_that_speaks_tls_only(
    receiver: Callable[..., Receiver], authority: Authority, tmp_path: Path, demand: str
) -> None:
    pair = authority.issue("short", days=5.5, host="elsewhere.example")
    tls = {**pair.settings, "ca": str(authority.ca), "client_certificates": demand}
    node = receiver(tls=tls, accept_unknown=True)
    done = run("health", tmp_path, {"port": node.port, "tls": tls})
    assert done.exit_code == 0, done.output
    assert f"VOXTELL@127.0.0.1:{node.port} answers; {pair.certificate} expires on" in done.output
    assert "in 5 days: renew it" in done.output
    node.close()
    assert run("health", tmp_path, {"port": node.port, "tls": tls}).exit_code == 1


@pytest.mark.parametrize(
    ("dimse", "peer", "said"),
    [
        ({"tls": {"certificate": "a"}}, {}, "'key'"),
        ({"tls": {"certificate": "a", "key": "b", "client_certificates": "require"}}, {}, "needs 'ca'"),
        ({"tls": {"certificate": "a", "key": "b", "subjects": ["CN=x"]}}, {}, "needs 'client_certificates: require'"),
        ({"tls": {"certificate": "a", "key": "b", "port": 104}, "port": 104}, {}, "is a port beside 'port'"),
        ({"tls": {"certificate": "a", "key": "b", "profile": "ssl3"}}, {}, "bcp195-modified"),
        ({}, {"ae_title": "A", "certificate_subject": "CN=x"}, "needs node.dimse.tls"),
        ({}, {"ae_title": "A", "certificate_subject": "x"}, "certificate_subject"),
        ({}, {"ae_title": "A", "addresses": ["10.0.0.1/8"]}, "has host bits set"),
        ({}, {"ae_title": "A", "addresses": ["pacs.example"]}, "no range of addresses like 10.1.0.0/16"),
        ({}, {"folder": "x", "addresses": ["10.0.0.0/8"]}, "need the 'ae_title'"),
        ({}, {"ae_title": "A", "tls": {}}, "a peer with 'host' and 'port'"),
        (
            {},
            {"ae_title": "A", "host": "h", "port": 1, "tls": {"name": "a", "subject": "CN=b"}},
            "'name' or 'subject', not both",
        ),
        ({}, {"ae_title": "A", "host": "h", "port": 1, "tls": {"key": "a"}}, "'certificate' and 'key' go together"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, dimse: dict[str, Any], peer: dict[str, Any], said: str
) -> None:
    done = run("check", tmp_path, dimse, {"p": peer} if peer else {})
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
