"""Which SOP classes that never start work by themselves a rule asks for, by a condition on SOPClassUID."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom._uid_dict import UID_dictionary

from voxtell_dicom.config import Rule
from voxtell_dicom.rules.conditions import holds, parse
from voxtell_dicom.rules.keywords import subject
from voxtell_dicom.rules.never import not_an_image

KEYWORD = "SOPClassUID"


def asked_classes(rules: Sequence[Rule]) -> frozenset[str]:
    """The UIDs of those classes that any rule's condition on SOPClassUID lets in (contracts § 3)."""
    about = subject(KEYWORD)
    conditions = [parse(rule.when[KEYWORD], about) for rule in rules if KEYWORD in rule.when]
    held_back = [uid for uid in UID_dictionary if not_an_image(uid)]
    return frozenset(uid for uid in held_back if any(holds(condition, [uid], about) for condition in conditions))
