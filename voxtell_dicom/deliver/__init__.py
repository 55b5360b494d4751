"""The last room: a result, as the bytes that lie in the spool, to a peer. Knows no torch.

`deliver` chooses the way by the kind of the peer: a folder, DICOMweb (STOW-RS) or DIMSE (C-STORE). It never raises for
what a peer, a link or a setting does wrong: that is an Outcome, with one clear sentence (contracts § 4). Delivery is
idempotent: the SOP Instance UID is made from the content, and the bytes of a UID never change.
"""

from __future__ import annotations

from collections.abc import Sequence

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver import dicomweb, dimse, folder
from voxtell_dicom.deliver.outcomes import outcome
from voxtell_dicom.deliver.spooled import broken
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.model import Outcome, Result

__all__ = ["deliver", "deliver_all"]


def deliver(result: Result, peer: Peer, *, calling_ae: str, name: str) -> Outcome:
    """Send one result. calling_ae: our AE title (DIMSE); name: the peer's name in node.yaml, for the message."""
    return deliver_all([result], peer, calling_ae=calling_ae, name=name)[0]


def deliver_all(results: Sequence[Result], peer: Peer, *, calling_ae: str, name: str) -> list[Outcome]:
    """Send several results to one peer, over one association or HTTP session. One Outcome per result, in order."""
    outcomes = [broken(result, name) for result in results]
    whole = [result for result, failure in zip(results, outcomes, strict=True) if failure is None]
    try:
        sent = iter(_send(whole, peer, calling_ae, name))
    except ConfigError as error:
        todo = "fix the peer in node.yaml or the node's environment"
        sent = iter([outcome("failed", "settings", str(error), result, name, todo=todo) for result in whole])
    return [failure or next(sent) for failure in outcomes]


def _send(results: Sequence[Result], peer: Peer, calling_ae: str, name: str) -> list[Outcome]:
    if not results:
        return []
    if peer.folder is not None:
        return folder.deliver_all(results, peer, name=name)
    if peer.dicomweb is not None:
        return dicomweb.deliver_all(results, peer, name=name)
    return dimse.deliver_all(results, peer, calling_ae=calling_ae, name=name)
