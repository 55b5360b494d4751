"""What the spool knows of a series: its instances, and how the associations that brought them ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from voxtell_dicom.archive.part10 import Facts
from voxtell_dicom.dicom.identity import series_version
from voxtell_dicom.model import Instance, Series


def name_of(uid: str) -> str:
    """File or folder name for a UID: a hash, since a UID is chosen by whoever sends it."""
    return hashlib.sha256(uid.encode()).hexdigest()[:40]


@dataclass(frozen=True)
class Kept:
    """A series in the spool, for completion, retention and lists. Times are seconds since the epoch."""

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
    lost: bool  # an association broke, and none opened later has sent to this series and ended well
    taken: bool  # this version was handed on
    bytes: int


@dataclass(frozen=True)
class End:
    """How an association that stored into a series ended."""

    association: str
    opened: float
    ended: float
    released: bool


@dataclass
class SeriesRecord:
    """The live record of one series. Guarded by the spool's lock."""

    folder: Path
    facts: dict[str, Facts] = field(default_factory=dict)  # by SOP Instance UID
    sizes: dict[str, int] = field(default_factory=dict)
    lost_at: float = 0.0

    def path(self, sop_instance_uid: str) -> Path:
        """Where an instance lies."""
        return self.folder / f"{name_of(sop_instance_uid)}.dcm"

    def note(self, end: End) -> None:
        """A broken association makes the series doubtful; one that opened later and was released clears it."""
        if not end.released:
            self.lost_at = max(self.lost_at, end.ended)
        elif end.opened > self.lost_at:
            self.lost_at = 0.0

    def replay(self, ends: list[End]) -> None:
        """Rebuild from disk. An association whose end was never written was cut off by our own crash: lost."""
        known = {end.association for end in ends}
        open_ends: dict[str, End] = {}
        for fact in self.facts.values():
            if fact.association not in known:
                last = open_ends.get(fact.association)
                ended = max(fact.arrived, last.ended if last else 0.0)
                open_ends[fact.association] = End(fact.association, fact.opened, ended, False)
        for end in sorted([*ends, *open_ends.values()], key=lambda end: end.ended):
            self.note(end)

    def starting(self, starts: Callable[[Facts], bool]) -> list[Facts]:
        """Instances that start work, by SOP Instance UID."""
        return [fact for _, fact in sorted(self.facts.items()) if starts(fact)]

    def series(self, chosen: list[Facts], incomplete: str = "") -> Series:
        """The version made of `chosen`, which must not be empty."""
        newest = max(chosen, key=lambda fact: fact.arrived)
        instances = tuple(
            Instance(
                fact.sop_instance_uid,
                fact.sop_class_uid,
                fact.series_uid,
                fact.study_uid,
                self.path(fact.sop_instance_uid),
                fact.transfer_syntax_uid,
                fact.digest,
            )
            for fact in chosen
        )
        version = series_version(fact.sop_instance_uid for fact in chosen)
        return Series(
            newest.study_uid,
            newest.series_uid,
            version,
            instances,
            newest.calling_ae,
            newest.called_ae,
            incomplete,
        )

    def kept(self, chosen: list[Facts], taken: Callable[[str, str], bool]) -> Kept:
        """A summary; the record must hold at least one instance."""
        facts = list(self.facts.values())
        newest = max(facts, key=lambda fact: fact.arrived)
        version = series_version(fact.sop_instance_uid for fact in chosen)
        return Kept(
            newest.series_uid,
            newest.study_uid,
            version,
            len(chosen),
            len(facts) - len(chosen),
            sum(fact.frames for fact in chosen),
            max((fact.images_in_acquisition for fact in chosen), default=0),
            newest.calling_ae,
            newest.called_ae,
            min(fact.arrived for fact in facts),
            newest.arrived,
            bool(self.lost_at),
            taken(newest.series_uid, version),
            sum(self.sizes.values()),
        )
