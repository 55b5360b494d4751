"""A series that is arriving."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Receiving:
    """A series of which instances arrived and that has not been handed on."""

    series_uid: str
    study_uid: str
    instances: int  # received so far
    calling_ae: str  # who sends it
    since: float  # arrival of the first instance, seconds since 1970
    open: bool = False  # an association that brought instances is still open
