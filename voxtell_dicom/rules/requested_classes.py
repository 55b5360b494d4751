"""The SOP classes that rules ask for, by a condition on SOPClassUID, although they are no acquired images."""

from __future__ import annotations

from collections.abc import Sequence

from voxtell_dicom.config import Rule
from voxtell_dicom.dicom.library_internals import uid_of_keyword
from voxtell_dicom.dicom.sop_classes import NOT_ACQUIRED_ROOTS, starts_work
from voxtell_dicom.rules.conditions import holds, parse
from voxtell_dicom.rules.keywords import subject

KEYWORD = "SOPClassUID"


def requested_classes(rules: Sequence[Rule]) -> frozenset[str]:
    """Return the UIDs of the classes that start no work by themselves and that a rule's condition lets in."""
    about = subject(KEYWORD)
    conditions = [parse(rule.when[KEYWORD], about) for rule in rules if KEYWORD in rule.when]
    held_back = [uid for uid in {*uid_of_keyword().values(), *NOT_ACQUIRED_ROOTS} if not starts_work(uid)]
    return frozenset(uid for uid in held_back if any(holds(condition, [uid], about) for condition in conditions))
