"""The best volume of a study for a rule: ranked by numbers of the geometry, each loss with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """A volume of the study, held against every rule by `match_volume`."""

    volume: Volume
    matches: tuple[Match, ...]

    @property
    def stack(self) -> tuple[str, str]:
        """The same for the runs of one stack: those that meet a rule are one choice."""
        return self.volume.series_uid, self.volume.stack or self.volume.name


@dataclass(frozen=True)
class Ranked:
    """Where a candidate stands for a rule. `lost` says why it is not chosen, without patient data; "" where it is."""

    candidate: Candidate
    match: Match
    standing: tuple[str, ...]  # its value of each criterion, in words
    numbers: tuple[float, ...]  # and as they are compared: the smaller is the better
    lost: str = ""


def choose(rule: int, candidates: Sequence[Candidate]) -> list[Ranked]:
    """Rank the volumes of a study for a rule: those that meet it, best first, then the others.

    rule: its position in node.yaml. Of its `choose.best` the first criterion decides, the next where it is a tie (equal
    to 0.01 mm). What is left equal goes by Series Instance UID and volume name, so that it is repeatable. The runs of
    one stack that meet the rule stand as one: their slices and coverage added up, their mean spacing.
    """
    met = [candidate for candidate in candidates if candidate.matches[rule].met]
    stacks: dict[tuple[str, str], list[Volume]] = {}
    for candidate in met:
        stacks.setdefault(candidate.stack, []).append(candidate.volume)
    ranked = sorted((_ranked(each, each.matches[rule], stacks[each.stack]) for each in met), key=_order)
    others = [_ranked(each, each.matches[rule], [each.volume]) for each in candidates if not each.matches[rule].met]
    if not ranked:
        return others
    first = ranked[0]
    ranked = [each if each.candidate.stack == first.candidate.stack else _lost(each, first) for each in ranked]
    ranked.sort(key=lambda each: each.lost != "")  # the runs of the chosen stack stand together
    return [*ranked, *others]


def as_good(volume: Volume, other: Volume, best: Sequence[str]) -> bool:
    """Return True if no criterion speaks for the other volume."""
    return _numbers(volume_facts(volume), best) <= _numbers(volume_facts(other), best)


def _ranked(candidate: Candidate, match: Match, stack: Sequence[Volume]) -> Ranked:
    facts, best = _facts(stack), match.rule.choose.best
    words = tuple(CRITERIA[name].words(facts) for name in best)
    lost = "" if match.met else f"does not meet {match.why_not}"
    return Ranked(candidate, match, words, _numbers(facts, best), lost)


def _facts(stack: Sequence[Volume]) -> dict[str, Any]:
    """The facts of runs of one stack together, or of the one volume that it is."""
    each = [volume_facts(volume) for volume in stack]
    if len(each) == 1:
        return each[0]
    slices, coverage = (sum(facts[name] for facts in each) for name in ("slices", "coverage_mm"))
    return {**each[0], "slices": slices, "coverage_mm": round(coverage, 3), "spacing_mm": round(coverage / slices, 4)}


def _numbers(facts: Mapping[str, Any], best: Sequence[str]) -> tuple[float, ...]:
    return tuple(round(CRITERIA[name].key(facts), 2) for name in best)


def _order(ranked: Ranked) -> tuple[Any, ...]:
    volume = ranked.candidate.volume
    return (*ranked.numbers, volume.series_uid, volume.name)


def _lost(ranked: Ranked, first: Ranked) -> Ranked:
    mine, its = ranked.numbers, first.numbers
    for position, name in enumerate(ranked.match.rule.choose.best):
        if mine[position] != its[position]:
            reason = f"{name}: {ranked.standing[position]}, the chosen one has {first.standing[position]}"
            return replace(ranked, lost=reason)
    return replace(ranked, lost="equal; the chosen one comes first by its UID")
