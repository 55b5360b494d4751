"""The best volume of a study for a rule: ranked by numbers of the geometry, each loss with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.config import Rule
from voxtell_dicom.model import Volume
from voxtell_dicom.rules.facts import volume_facts
from voxtell_dicom.rules.match import Facts, Match, match_volume


@dataclass(frozen=True)
class Criterion:
    """One way to be better: the smaller `key` wins; `words` says the value that decided."""

    key: Callable[[Mapping[str, Any]], float]
    words: Callable[[Mapping[str, Any]], str]


CRITERIA: Mapping[str, Criterion] = {
    "thinnest": Criterion(
        lambda facts: facts["spacing_mm"], lambda facts: f"{facts['spacing_mm']:g} mm between slices"
    ),
    "most slices": Criterion(lambda facts: -facts["slices"], lambda facts: f"{facts['slices']} slices"),
    "longest": Criterion(lambda facts: -facts["coverage_mm"], lambda facts: f"{facts['coverage_mm']:g} mm covered"),
    "finest pixels": Criterion(lambda facts: facts["pixel_mm"], lambda facts: f"{facts['pixel_mm']:g} mm pixels"),
    "largest": Criterion(
        lambda facts: -facts["slices"] * facts["rows"] * facts["columns"],
        lambda facts: f"{facts['slices']} × {facts['rows']} × {facts['columns']} voxels",
    ),
}


@dataclass(frozen=True)
class Candidate:
    """A volume of the study, the headers of its instances (no pixels), and the facts of its series."""

    volume: Volume
    headers: tuple[Dataset, ...]
    facts: Facts


@dataclass(frozen=True)
class Ranked:
    """Where a candidate stands. `lost` says why it is not the chosen one; "" for that one."""

    candidate: Candidate
    match: Match
    standing: tuple[str, ...]  # its value of each criterion, in words
    lost: str = ""


def choose(rule: Rule, index: int, candidates: Sequence[Candidate], best: Sequence[str]) -> list[Ranked]:
    """Rank the volumes of a study for a rule: those that meet it, best first, then the others.

    index: the rule's position in node.yaml. best: names of `CRITERIA`, the first decides, the next where it is a tie
    (equal to 0.01 mm). What is left equal goes by Series Instance UID and volume name, so that it is repeatable.
    """
    ranked = [_ranked(rule, index, candidate, best) for candidate in candidates]
    standing = sorted((each for each in ranked if each.match.met), key=lambda each: _order(each, best))
    if not standing:
        return ranked
    first, *others = standing
    return [first, *(_lost(each, first, best) for each in others), *(each for each in ranked if not each.match.met)]


def _ranked(rule: Rule, index: int, candidate: Candidate, best: Sequence[str]) -> Ranked:
    (found,) = match_volume([rule], candidate.volume, candidate.headers, candidate.facts)
    facts = volume_facts(candidate.volume)
    words = tuple(CRITERIA[name].words(facts) for name in best)
    return Ranked(candidate, replace(found, index=index), words, "" if found.met else f"does not meet {found.why_not}")


def _order(ranked: Ranked, best: Sequence[str]) -> tuple[Any, ...]:
    volume = ranked.candidate.volume
    facts = volume_facts(volume)
    return (*(round(CRITERIA[name].key(facts), 2) for name in best), volume.series_uid, volume.name)


def _lost(ranked: Ranked, first: Ranked, best: Sequence[str]) -> Ranked:
    mine, its = _order(ranked, best), _order(first, best)
    for position, name in enumerate(best):
        if mine[position] != its[position]:
            reason = f"{name}: {ranked.standing[position]}, the chosen one has {first.standing[position]}"
            return replace(ranked, lost=reason)
    return replace(ranked, lost="equal; the chosen one comes first by its UID")
