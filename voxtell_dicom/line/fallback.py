"""Fallback: encode another object in the place of one that a peer refuses.

In the place of a segmentation, what the peer's `fallback` says; in that of a receipt, the same in its other form. It
has UIDs of its own and is encoded once, as every result is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from voxtell_dicom.config import Config
from voxtell_dicom.encode import RECEIPTS, SEGMENTATIONS, OutputContext, encode_instead, in_other_form, profile_of
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.model import Result

REPLACEABLE = (*SEGMENTATIONS, *RECEIPTS)  # kinds of results for which there may be another encoding


@dataclass(frozen=True)
class Replacement:
    """Objects to send in the place of a refused one; if there are none, `reason` says why, and what to do."""

    results: tuple[Result, ...] = ()
    reason: str = ""


def segmentation_fallback(
    refused: Result, peer: str, tried: Collection[str], context: OutputContext | None, config: Config
) -> Replacement:
    """Encode the next form of the peer's `fallback` in the place of a refused segmentation.

    tried: SOP Instance UIDs of what the peer has refused before. context: what the plan's results are encoded from,
    None where its masks are gone.
    """
    if not profile_of(config.peers.get(peer)).fallback:
        return Replacement(reason="or give the peer a 'fallback' (docs/viewers.md) and run 'jobs rerun'")
    if context is None:
        return Replacement(reason="or run 'jobs rerun': the masks, of which its fallback is made, are gone")
    try:
        made = encode_instead(context, refused.kind, peer, {*tried, refused.sop_instance_uid}, config)
    except VoxtellDicomError as error:
        return Replacement(reason=f"its fallback could not be made: {error.code}: {error}")
    return Replacement(tuple(made), "" if made else "and nothing is left of the peer's 'fallback'")


def receipt_fallback(refused: Result, peer: str, tried: Collection[str]) -> Replacement:
    """Return the other form of a refused receipt, for this peer; see `segmentation_fallback`."""
    other = in_other_form(refused)
    if other is None or other.sop_instance_uid in tried:
        return Replacement(reason=f"peer '{peer}' takes receipts neither as Secondary Capture nor as Basic Text SR")
    return Replacement((replace(other, peers=(peer,)),))
