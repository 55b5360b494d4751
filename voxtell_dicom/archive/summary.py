"""Summaries of series, as the index has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SeriesSummary:
    """A series in the archive, for completion, retention, studies and lists. Times: seconds since the epoch."""

    series_uid: str
    study_uid: str
    version: str  # of the instances that start work; "" where none does
    starts: int  # instances that start work
    others: int  # instances that never do (contracts § 3)
    frames: int  # of the instances that start work
    images_in_acquisition: int  # largest (0020,1002), 0 where absent
    calling_ae: str  # who sent the newest instance
    called_ae: str
    first_arrived: float
    last_arrived: float
    handed_on: bool  # this version was handed on
    bytes: int


@dataclass(frozen=True)
class Links:
    """The associations that brought new instances to a series since it was last handed on."""

    open: bool  # one is still open
    ended: float  # when the last one ended, 0.0 where none has
    lost: bool  # one broke, and none opened later brought instances and was released
