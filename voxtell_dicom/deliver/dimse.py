"""C-STORE SCU (PS3.4 Annex B): the very bytes of the file, over one association for all results of a delivery."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from voxtell_dicom.config import Peer
from voxtell_dicom.deliver.outcomes import DUPLICATE, REFUSED, State, meaning, of_store_status, outcome
from voxtell_dicom.deliver.spooled import patience_s
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.network.associations import AssociationRequest, NotOpened, NotOpenedReason, open_association

log = logging.getLogger(__name__)

_STUDY_ROOT_FIND: Final = UID("1.2.840.10008.5.1.4.1.2.2.1")
LOST: Final = "lost link"
CONTEXT: Final = "context refused"
_NO_CONNECTION: Final = "no connection"


def deliver_all(results: Sequence[Result], peer: Peer, *, calling_ae: str, name: str) -> list[Outcome]:
    """Send each result to the DIMSE peer; one Outcome per result, in order, by contracts § 4.

    calling_ae: our AE title; name: the peer's name in node.yaml, for the messages. A peer that does not answer is given
    up after `patience_s`. Raises ConfigError if the peer has no address.
    """
    outcomes: dict[int, Outcome] = {}
    ready: list[tuple[int, Result, PresentationContext]] = []
    for index, result in enumerate(results):
        try:
            syntax = pydicom.dcmread(result.path, specific_tags=[], stop_before_pixels=True).file_meta.TransferSyntaxUID
        except (OSError, InvalidDicomError, AttributeError) as error:
            todo = "run 'jobs rerun' to make it anew"
            outcomes[index] = outcome(
                "failed", "unreadable", f"{result.path}: {type(error).__name__}", result, name, todo=todo
            )
        else:
            ready.append((index, result, build_context(result.sop_class_uid, syntax)))
    if ready:
        contexts = list({(c.abstract_syntax, c.transfer_syntax[0]): c for _, _, c in ready}.values())
        opened = _open(peer, calling_ae, contexts)
        if isinstance(opened, _Failure):
            for index, result, _ in ready:
                refused = opened.status == CONTEXT
                outcomes[index] = outcome(
                    opened.state, opened.status, opened.what, result, name, todo=opened.todo, refused=refused
                )
        else:
            lost = False
            try:
                for message_id, (index, result, context) in enumerate(ready, 1):
                    if lost or not opened.is_established:
                        what = "the association ended before its turn"
                        outcomes[index] = outcome("retry", LOST, what, result, name)
                        continue
                    outcomes[index] = _store(opened, message_id, result, context, peer, calling_ae, name)
                    lost = outcomes[index].status == LOST
            finally:
                _close(opened)
    return [outcomes[index] for index in range(len(results))]


@dataclass(frozen=True)
class _Failure:
    """The outcome that a failed association has for everything that was to be sent over it."""

    state: State
    status: str
    what: str
    todo: str = ""


def _open(peer: Peer, calling_ae: str, contexts: list[PresentationContext]) -> Association | _Failure:
    """Return an established association, or what becomes of the results that wait for it."""
    opened = open_association(peer, AssociationRequest(calling_ae, contexts, peer.timeout_s))
    if not isinstance(opened, NotOpened):
        return opened
    address = f"{peer.ae_title} at {peer.host}:{peer.port}"
    match opened.reason:
        case NotOpenedReason.NAME_NOT_RESOLVED:
            return _Failure("retry", _NO_CONNECTION, f"{peer.host}: {opened.detail}")
        case NotOpenedReason.NO_CONNECTION:
            return _Failure("retry", _NO_CONNECTION, f"nothing listens at {peer.host}:{peer.port}")
        case NotOpenedReason.NO_ANSWER:
            said = f": {opened.detail}" if opened.detail else ""
            return _Failure("retry", LOST, f"{address} does not answer the association request, or aborts it{said}")
        case NotOpenedReason.TLS_REFUSED:
            todo = "fix certificate, CA or profile on the side that the message names ('tls' of the peer)"
            return _Failure("failed", "TLS refused", f"{address}: {opened.detail}", todo)
        case NotOpenedReason.REJECTED_TRANSIENT:
            return _Failure("retry", "rejected (transient)", f"{address} answers: {opened.detail}")
        case NotOpenedReason.REJECTED_PERMANENT:
            todo = _rejection_advice(opened.rejection, peer, calling_ae)
            return _Failure("failed", "rejected (permanent)", f"{address} answers: {opened.detail}", todo)
        case NotOpenedReason.CONTEXTS_REFUSED:
            return _Failure("failed", CONTEXT, f"{address} accepts none of {_names(contexts)}", _allow(contexts))


def _rejection_advice(rejection: tuple[int, int], peer: Peer, calling_ae: str) -> str:
    """Return what to do about a permanent rejection, by its Source and Reason/Diag. (PS3.8 Table 9-21)."""
    match rejection:
        case (1, 3):
            return f"let the peer know our AE title {calling_ae}"
        case (1, 7):
            return f"the peer does not answer to the AE title {peer.ae_title}: correct its 'ae_title' in node.yaml"
        case (1, 2) | (2, 2):
            return f"what listens at {peer.host}:{peer.port} does not speak this version of DICOM: check host and port"
        case _:
            return f"find out from the peer's log why it rejects {calling_ae}"


def _names(contexts: Sequence[PresentationContext]) -> str:
    return ", ".join(sorted({c.abstract_syntax.name for c in contexts if c.abstract_syntax is not None}))


def _allow(contexts: Sequence[PresentationContext]) -> str:
    syntaxes = ", ".join(sorted({c.transfer_syntax[0].name for c in contexts}))
    return f"let the peer accept this SOP class in {syntaxes}"


def _store(
    association: Association,
    message_id: int,
    result: Result,
    context: PresentationContext,
    peer: Peer,
    calling_ae: str,
    name: str,
) -> Outcome:
    wanted = (context.abstract_syntax, context.transfer_syntax[0])
    if wanted not in {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}:
        what = f"the peer does not accept {_names([context])}"
        return outcome("failed", CONTEXT, what, result, name, todo=_allow([context]), refused=True)
    try:
        association.dimse_timeout = patience_s(result, peer)
        answer = association.send_c_store(result.path, msg_id=message_id)
    except RuntimeError:  # the association ended between the check above and the request
        answer = Dataset()
    except OSError as error:
        return outcome("failed", "unreadable", f"{result.path}: {error.strerror}", result, name)
    if "Status" not in answer:
        what = f"the link was lost or no answer came within {peer.timeout_s:g} s"
        return outcome("retry", LOST, what, result, name)
    status = int(answer.Status)
    # The peer's comment may quote patient data, so it is kept out of the message, which is logged.
    log.debug("C-STORE %s: %04X %s", result.sop_instance_uid, status, answer.get("ErrorComment", ""))
    if status == DUPLICATE:
        return _look_up(result, peer, calling_ae, name)
    state, warning = of_store_status(status)
    refused = status in REFUSED
    return outcome(state, f"{status:04X}", meaning(status), result, name, warning=warning, refused=refused)


def _look_up(result: Result, peer: Peer, calling_ae: str, name: str) -> Outcome:
    """Ask by C-FIND (Study Root, IMAGE level; PS3.4 C.4.1) whether the object that the peer calls a duplicate is there.

    It is ours, and one UID never has two contents (contracts § 1): where it is there, it is delivered.
    """
    status, what = f"{DUPLICATE:04X}", meaning(DUPLICATE)
    model = build_context(_STUDY_ROOT_FIND)
    opened = _open(peer, calling_ae, [model])
    if isinstance(opened, _Failure):
        if opened.state == "retry":
            return outcome("retry", status, f"{what}, and the look-up met: {opened.status}", result, name)
        what = f"{what}, and the peer does not let us look it up ({opened.status})"
        return outcome("failed", status, what, result, name, todo="look there, or allow us C-FIND")
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = result.study_uid
    query.SeriesInstanceUID = result.series_uid
    query.SOPInstanceUID = result.sop_instance_uid
    found, code = False, 0
    try:
        for answer, identifier in opened.send_c_find(query, _STUDY_ROOT_FIND):
            if "Status" not in answer:
                return outcome("retry", status, f"{what}, and the link was lost at the look-up", result, name)
            code = int(answer.Status)
            found |= identifier is not None and identifier.get("SOPInstanceUID") == result.sop_instance_uid
    finally:
        _close(opened)
    if found:
        return outcome("delivered", status, "it is there already (C-FIND)", result, name)
    if code == 0:
        return outcome("failed", status, f"{what}, yet C-FIND does not show it", result, name)
    if 0xA700 <= code <= 0xA7FF:
        return outcome("retry", status, f"{what}, and C-FIND answers {code:04X}", result, name)
    return outcome("failed", status, f"{what}, and C-FIND answers {code:04X}", result, name)


def _close(association: Association) -> None:
    if association.is_established:
        association.release()
