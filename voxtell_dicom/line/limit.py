"""How long a pass of the engine may take: `max_minutes` of the rules that it serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from voxtell_dicom.config import Rule
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Plan

CODE = "segmentation-timeout"


@dataclass(frozen=True)
class Limit:
    """How long a pass may take, and which rule says so."""

    rule: str
    minutes: float
    spent_s: float = 0.0  # of it, by earlier attempts

    @property
    def seconds(self) -> float:
        """Seconds that are left of it, at least 0."""
        return max(self.minutes * 60 - self.spent_s, 0.0)

    def less(self, spent_s: float) -> Limit:
        """The same limit after so many seconds."""
        return replace(self, spent_s=spent_s)

    def reached(self, done: int, total: int, series_uid: str) -> Refusal:
        """Return what is said when it is over; done, total: windows, 0 of 0 where none was begun."""
        how_far = f"{done} of {total} windows were done" if total else "no window was done"
        return Refusal(
            CODE,
            f"the model took longer than the {self.minutes:g} min that rule {self.rule!r} allows (max_minutes): "
            f"{how_far}, and the worker was stopped",
            series_uid,
        )


def limit_of(rules: Sequence[Rule], plans: Sequence[Plan]) -> Limit:
    """The shortest limit of the rules that a pass serves; the default's for a rule that node.yaml has no more."""
    default = float(Rule.model_fields["max_minutes"].default)
    minutes = {rule.name: rule.max_minutes for rule in rules}
    return min((Limit(plan.rule, minutes.get(plan.rule, default)) for plan in plans), key=lambda limit: limit.minutes)
