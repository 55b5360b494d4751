"""`voxtell-dicom health`: does the node of this node.yaml answer on this machine? For containers and monitoring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxtell_dicom.cli import fail

if TYPE_CHECKING:
    from voxtell_dicom.config import Config

app = typer.Typer()

LONGEST_S = 10.0
LOOPBACK = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # how to reach what listens on every address


@app.command()
def health(
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="VOXTELL_DICOM_CONFIG", help="node.yaml of the node.")
    ] = Path("config/node.yaml"),
) -> None:
    """Ask the node on this machine by C-ECHO. Exit 0 if it answers, 1 if not, 2 if node.yaml is wrong."""
    from voxtell_dicom.config import load_config

    typer.echo(_answer(load_config(config)))


def _answer(settings: Config) -> str:
    """Return one line that says how the node answered. Raises typer.Exit where it did not."""
    from pynetdicom import build_context
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    from voxtell_dicom.config import Peer
    from voxtell_dicom.network.associations import AssociationRequest, NotOpened, NotOpenedReason, open_association
    from voxtell_dicom.network.tls import expiries, own_certificate

    node, tls = settings.node, settings.node.dimse.tls
    host, port = LOOPBACK.get(node.dimse.host, node.dimse.host), node.dimse.port
    where = f"{node.ae_title}@{host}:{port}"
    own = own_certificate(tls) if tls is not None and tls.port is None else None
    peer = Peer(ae_title=node.ae_title, host=host, port=port, tls=own)
    soon = "".join(f"; {sentence}" for expiry in (expiries(tls) if tls else []) if (sentence := expiry.in_words()))
    # The title of a known caller: else the node would log a rejection at each look.
    calling = next((known.ae_title for known in settings.peers.values() if known.ae_title), node.ae_title)
    association = open_association(peer, AssociationRequest(calling, [build_context(Verification)], LONGEST_S))
    if isinstance(association, NotOpened):
        if association.reason in (NotOpenedReason.REJECTED_PERMANENT, NotOpenedReason.REJECTED_TRANSIENT):
            return f"{where} answers: it rejects {calling} ({association.detail}){soon}"
        if association.reason is NotOpenedReason.TLS_REFUSED:
            return f"{where} answers, and lets our own certificate make no TLS ({association.detail}){soon}"
        raise fail(f"{where} does not answer: is the node running? Its log says more (node.dimse in node.yaml)")
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if status.get("Status") != 0x0000:
        raise fail(f"{where} does not answer C-ECHO: look at the log of the node")
    return f"{where} answers{soon}"
