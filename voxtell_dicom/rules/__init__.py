"""Which prompts run on which series: node.yaml's rules, checked, matched and explained."""

from __future__ import annotations

from voxtell_dicom.rules.check import load_config, problems
from voxtell_dicom.rules.facts import volume_facts
from voxtell_dicom.rules.match import ConditionResult, Facts, Match, label_of, match, match_volume, prompts, resolve

__all__ = [
    "ConditionResult",
    "Facts",
    "Match",
    "label_of",
    "load_config",
    "match",
    "match_volume",
    "problems",
    "prompts",
    "resolve",
    "volume_facts",
]
