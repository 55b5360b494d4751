"""Match rules with a series: every condition with what it wants, what was found, and whether it is met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.config import Codes, Condition, PromptSettings, Rule
from voxtell_dicom.dicom.own_objects import is_own
from voxtell_dicom.dicom.sop_classes import class_name, starts_work
from voxtell_dicom.model import Cleanup, Prompt, Resampling, Volume
from voxtell_dicom.rules.conditions import holds, parse, wanted
from voxtell_dicom.rules.facts import volume_facts
from voxtell_dicom.rules.keywords import Subject, subject, volume_subject
from voxtell_dicom.rules.lookup import FrameNumbers, Values, in_words, values_by_tag

Facts = Mapping[str, Any]  # instances, calling_ae, called_ae; volume: a mapping of the facts of one volume


@dataclass(frozen=True)
class ConditionResult:
    """One condition of a rule, held against a series. `found` may hold patient data: show it, never log it.

    `keyword`: a DICOM keyword, or the fact of the series or volume (``calling_ae``, ``volume.plane``).
    """

    keyword: str
    wanted: str
    found: str
    met: bool


@dataclass(frozen=True)
class Match:
    """One rule held against a series. `index` is its position in node.yaml; `prompts` are resolved for the plan."""

    rule: Rule
    index: int
    met: bool
    conditions: tuple[ConditionResult, ...]
    prompts: tuple[Prompt, ...]

    @property
    def failed(self) -> tuple[ConditionResult, ...]:
        """Return the conditions that are not met."""
        return tuple(condition for condition in self.conditions if not condition.met)

    @property
    def why_not(self) -> str:
        """Return the keywords of the conditions that are not met, without values: fit for a log."""
        return ", ".join(condition.keyword for condition in self.failed)


def match_volume(rules: Sequence[Rule], volume: Volume, headers: Sequence[Dataset], facts: Facts) -> list[Match]:
    """Hold each rule against one volume: `match` on its frames alone, with the facts of its geometry.

    headers: one dataset per instance of the volume, pixels not needed, in any order. facts: of the series.
    """
    frames: dict[str, list[int]] = {}
    for frame in volume.frames:
        frames.setdefault(frame.sop_instance_uid, []).append(frame.number)
    known = volume_facts(volume, headers[0] if headers else None)
    return match(rules, headers, {**facts, "volume": known}, frames)


def match(
    rules: Sequence[Rule], headers: Sequence[Dataset], facts: Facts, frames: FrameNumbers | None = None
) -> list[Match]:
    """Hold each rule against the headers of a series; one Match per rule, in their order.

    headers: one dataset per instance, pixels not needed. A condition must hold for every frame (of multi-frame
    instances: of `frames`, by default all); where an attribute has several values, for any of them. facts: see `Facts`.
    The rules must have passed `rules.load_config`.
    """
    facts = {"instances": len(headers), **facts}
    conditions = [list(_conditions(rule)) for rule in rules]
    tags = {about.tag for each in conditions for about, _ in each if about.tag is not None}
    counts = values_by_tag(headers, sorted(tags), frames)
    classes = Counter(str(header.get("SOPClassUID", "")) for header in headers)
    own = any(is_own(header) for header in headers)
    matches = []
    for index, (rule, each) in enumerate(zip(rules, conditions, strict=True)):
        results = [_result(about, condition, counts, facts) for about, condition in each]
        results += _starts_no_work(classes, own, requested="SOPClassUID" in rule.when)
        met = bool(headers) and all(condition.met for condition in results)
        matches.append(Match(rule, index, met, tuple(results), prompts(rule)))
    return matches


def prompts(rule: Rule) -> tuple[Prompt, ...]:
    """Return the prompts of a rule with their labels, colours, thresholds and what is done to their masks."""
    resampling = Resampling(**rule.resample.model_dump()) if rule.resample else None
    return tuple(replace(resolve(prompt), resampling=resampling) for prompt in rule.prompts)


def resolve(prompt: str | PromptSettings) -> Prompt:
    """Return one prompt as it is run and shown; a missing label is the text (`label_of`)."""
    if isinstance(prompt, str):
        return Prompt(prompt.strip(), label_of(prompt))
    text = prompt.text.strip()
    return Prompt(
        text,
        prompt.label or label_of(text),
        prompt.color,
        prompt.threshold,
        Cleanup(prompt.fill_holes, prompt.largest_component, prompt.minimum_ml),
        prompt.exclusive_group,
        codes=_codes(prompt.codes),
    )


def _codes(codes: str | Codes | None) -> str:
    return codes.model_dump_json() if isinstance(codes, Codes) else (codes or "").strip()


def label_of(text: str, limit: int = 64) -> str:
    """Return the text with a capital first letter, cut at a word to the 64 characters of a Segment Label (LO)."""
    words = " ".join(text.replace("\\", "/").split())  # a backslash separates values in LO
    if len(words) > limit:
        head = words[:limit]
        words = head[: head.rindex(" ")] if " " in head and words[limit] != " " else head
        words = words.rstrip(" ,;:-")
    return words[:1].upper() + words[1:]


def _conditions(rule: Rule) -> Iterator[tuple[Subject, Condition]]:
    for name, raw in rule.when.items():
        if name == "volume":
            for fact, inner in raw.items():
                yield (about := volume_subject(fact)), parse(inner, about)
        else:
            yield (about := subject(name)), parse(raw, about)
    for fact, raw in rule.choose.where.items():
        yield (about := volume_subject(fact)), parse(raw, about)


def _result(
    about: Subject, condition: Condition, counts: Mapping[int, Counter[Values]], facts: Facts
) -> ConditionResult:
    found = _fact(about.name, facts) if about.tag is None else counts[about.tag]
    met = bool(found) and all(holds(condition, values, about) for values in found)
    return ConditionResult(about.name, wanted(condition), in_words(found), met)


def _fact(name: str, facts: Facts) -> Counter[Values]:
    whole, _, part = name.partition(".")
    value = facts.get(whole)
    if part and isinstance(value, Mapping):
        value = value.get(part)
    return Counter([() if value is None or value == "" else (value,)])


def _starts_no_work(classes: Counter[str], own: bool, requested: bool) -> list[ConditionResult]:
    if own:
        return [ConditionResult("source", "not a result of this software", "made by voxtell-dicom", False)]
    other = [uid for uid in classes if not starts_work(uid)]
    if other and not requested:
        wanted_words = "an image, unless the rule asks for the class"
        return [ConditionResult("SOPClassUID", wanted_words, class_name(other[0]), False)]
    return []
