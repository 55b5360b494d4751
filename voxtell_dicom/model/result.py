"""What came of a plan: masks, the objects that were encoded, and what became of sending them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxtell_dicom.model.mask import Mask, Probabilities
from voxtell_dicom.model.plan import Prompt


@dataclass(frozen=True)
class Found:
    """What one prompt of a plan gave: a mask on the source grid (frame, row, column), empty where nothing was found.

    `left_out`: why what was found is not shown; its mask is empty then, too.
    """

    prompt: Prompt
    mask: Mask
    mean_probability: float | None = None
    uncertain_share: float | None = None
    left_out: str = ""
    probabilities: Probabilities | None = None  # where the plan wants them, on the same grid


@dataclass(frozen=True)
class Result:
    """One encoded object as it lies in the spool; every delivery sends these very bytes."""

    kind: str  # "seg", …
    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    path: Path
    digest: str  # SHA-256 of the file
    labels: tuple[str, ...]  # of the segments it holds
    empty: tuple[str, ...] = ()  # labels of prompts that found nothing
    warnings: tuple[str, ...] = ()
    segments: tuple[int, ...] = ()  # of each segment, the position of its prompt in the plan
    peers: tuple[str, ...] = ()  # to which it is sent; none named: all of the plan's
    other: Path | None = None  # of a receipt: the same in its other form, for a peer that refuses this one


@dataclass(frozen=True)
class Outcome:
    """What a delivery attempt came to (contracts § 4)."""

    # "delivered" | "retry" | "failed" | "replaced" (refused, and another object is sent in its place) | "refused" (a
    # receipt that the peer takes in no form: no failure of the result that it goes with)
    state: str
    status: str  # "0000", "A700", "HTTP 409", "no connection", …
    message: str = ""
    warning: bool = False
    refused: bool = False  # the peer takes no object of this SOP class, or not in this transfer syntax
    detail: str = ""  # what the peer said besides: stored, never logged, as it may name the patient
