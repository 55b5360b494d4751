"""Check the whole node.yaml: what config finds wrong, and what stands under ``when``, in one report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from voxtell_dicom import config
from voxtell_dicom.config import Config, Problem, Source
from voxtell_dicom.config.source import Loc, nearest
from voxtell_dicom.rules.conditions import BadCondition, parse
from voxtell_dicom.rules.keywords import Subject, UnknownSubject, subject, volume_subject
from voxtell_dicom.terms.findings import finding_word


def load_config(path: Path | str) -> Config:
    """Read node.yaml and check all of it. Raises ConfigError naming each problem with file, line and word."""
    source = Source.read(Path(path))
    source.refuse([*config.problems(source), *problems(source)])
    return config.settings_of(source)


def problems(source: Source) -> list[Problem]:
    """Return all that is wrong with the conditions and prompts of the rules, also of a file that is wrong elsewhere."""
    rules = source.data.get("rules")
    found: list[Problem] = []
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        name = rule.get("name", index)
        if isinstance(rule.get("when"), dict):
            found += _rule_problems(source, rule["when"], ("rules", index, "when"), name)
        choose = rule.get("choose")
        if isinstance(choose, dict) and isinstance(choose.get("where"), dict):
            found += _volume_problems(source, choose["where"], ("rules", index, "choose", "where"), name)
        found += _finding_problems(source, rule, index, name)
    return found


def _rule_problems(source: Source, when: dict[str, Any], loc: tuple[str | int, ...], name: object) -> Iterator[Problem]:
    for key, raw in when.items():
        if key == "volume" and isinstance(raw, dict):
            yield from _volume_problems(source, raw, (*loc, key), name)
        elif key == "volume":
            yield Problem(source.line([*loc, key]), f"rule '{name}': volume: needs facts, such as {{plane: axial}}")
        else:
            yield from _condition_problems(source, str(key), raw, (*loc, key), name, subject)
    modality = when.get("Modality")
    misspelt = any(str(key) not in ("Modality", "volume") and nearest(str(key), ["Modality"]) for key in when)
    if (modality is None and not misspelt) or (isinstance(modality, dict) and "absent" in modality):
        message = f"rule '{name}': a condition on Modality is required (such as Modality: CT)"
        yield Problem(source.line(loc), message)


def _finding_problems(source: Source, rule: dict[str, Any], index: int, name: object) -> Iterator[Problem]:
    """Yield prompts that describe a finding, in a rule that does not say that it is an experiment."""
    model = source.data.get("model")
    prompts = rule.get("prompts")
    if rule.get("experimental") is True or (isinstance(model, dict) and model.get("engine") == "threshold"):
        return
    for position, prompt in enumerate(prompts if isinstance(prompts, list) else []):
        text = str(prompt.get("text") if isinstance(prompt, dict) else prompt)
        if word := finding_word(text):
            message = f"rule '{name}': '{text}' describes a finding ({word}), not anatomy: models are poor at these"
            message += " (docs/rules.md); give the rule 'experimental: true', or take the prompt out"
            yield Problem(source.line(["rules", index, "prompts", position]), message)


def _volume_problems(
    source: Source, facts: dict[str, Any], loc: tuple[str | int, ...], name: object
) -> Iterator[Problem]:
    for fact, raw in facts.items():
        yield from _condition_problems(source, str(fact), raw, (*loc, fact), name, volume_subject)


def _condition_problems(
    source: Source, key: str, raw: Any, loc: Loc, rule: object, about: Callable[[str], Subject]
) -> Iterator[Problem]:
    try:
        parse(raw, about(key))
    except UnknownSubject as error:
        yield Problem(source.line(loc), f"rule '{rule}': {error}")
    except BadCondition as error:
        yield Problem(source.line(loc), f"rule '{rule}': {key}: {error}")
