"""The best volume of a study for a rule: ranked by numbers of the geometry, each loss with its reason."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from voxtell_dicom.model import Volume
from voxtell_dicom.rules.facts import volume_facts
from voxtell_dicom.rules.match import Match


@dataclass(frozen=True)
class Criterion:
    """One of `config.Criterion`, a way to be better: the smaller `key` wins; `words` says the value that decided."""

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
    """A volume of the study, held against every rule by `match_volume`.

    stack: volumes of one series with equal stacks are runs of one stack of images, and are chosen together.
    """

    volume: Volume
    matches: tuple[Match, ...]
    stack: Hashable = None


@dataclass(frozen=True)
class Ranked:
    """Where a candidate stands for a rule. `lost` says why it is not chosen, without patient data; "" where it is."""

    candidate: Candidate
    match: Match
    standing: tuple[str, ...]  # its value of each criterion, in words
    lost: str = ""


def choose(rule: int, candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank the volumes of a study for a rule: those that meet it, best first, then the others.

    rule: its position in node.yaml. Of its `choose.best` the first criterion decides, the next where it is a tie (equal
    to 0.01 mm). What is left equal goes by Series Instance UID and volume name, so that it is repeatable.
    """
    ranked = [_ranked(candidate, candidate.matches[rule]) for candidate in candidates]
    standing = sorted((each for each in ranked if each.match.met), key=_order)
    if not standing:
        return ranked
    first, *others = standing
    others = [each if _one_stack(each, first) else _lost(each, first) for each in others]
    others.sort(key=lambda each: each.lost != "")  # the runs of the chosen stack stand together
    return [first, *others, *(each for each in ranked if not each.match.met)]


def as_good(volume: Volume, other: Volume, best: Sequence[str]) -> bool:
    """Whether no criterion speaks for the other volume."""
    return _numbers(volume, best) <= _numbers(other, best)


def _ranked(candidate: Candidate, match: Match) -> Ranked:
    facts = volume_facts(candidate.volume)
    words = tuple(CRITERIA[name].words(facts) for name in match.rule.choose.best)
    return Ranked(candidate, match, words, "" if match.met else f"does not meet {match.why_not}")


def _numbers(volume: Volume, best: Sequence[str]) -> tuple[float, ...]:
    facts = volume_facts(volume)
    return tuple(round(CRITERIA[name].key(facts), 2) for name in best)


def _order(ranked: Ranked) -> tuple[Any, ...]:
    volume = ranked.candidate.volume
    return (*_numbers(volume, ranked.match.rule.choose.best), volume.series_uid, volume.name)


def _one_stack(ranked: Ranked, first: Ranked) -> bool:
    one, other = ranked.candidate, first.candidate
    return one.stack is not None and (one.stack, one.volume.series_uid) == (other.stack, other.volume.series_uid)


def _lost(ranked: Ranked, first: Ranked) -> Ranked:
    mine, its = _order(ranked), _order(first)
    for position, name in enumerate(ranked.match.rule.choose.best):
        if mine[position] != its[position]:
            reason = f"{name}: {ranked.standing[position]}, the chosen one has {first.standing[position]}"
            return replace(ranked, lost=reason)
    return replace(ranked, lost="equal; the chosen one comes first by its UID")
