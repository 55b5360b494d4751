"""One condition: read from node.yaml, checked for sense, and held against the values of an attribute."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from voxtell_dicom.config import Condition
from voxtell_dicom.config.source import nearest
from voxtell_dicom.dicom.library_internals import uid_of_keyword
from voxtell_dicom.rules.keywords import Subject
from voxtell_dicom.rules.patterns import UnsupportedPattern, compile_pattern

Scalar = str | int | float
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


class BadCondition(ValueError):
    """A condition that makes no sense; the message says what to write instead."""


def parse(raw: Any, subject: Subject) -> Condition:
    """Return the condition beside a keyword: a value, a list, or a mapping of conditions. Raises BadCondition."""
    if raw is None:
        raise BadCondition("has no value; to ask for an absent attribute write {absent: true}")
    if isinstance(raw, dict):
        condition = _mapping(raw)
    elif isinstance(raw, list):
        condition = _mapping({"one_of": raw})
    else:
        condition = _mapping({"equals": raw})
    _check(condition, subject)
    return condition


def holds(condition: Condition, values: Sequence[Any], subject: Subject) -> bool:
    """Return True if the condition holds for an attribute with these values (none: absent or empty).

    One value that meets it is enough; `not_matches` holds if the pattern is found in none of them.
    """
    if condition.absent is not None and condition.absent != (not values):
        return False
    if condition.not_matches is not None:
        pattern = compile_pattern(condition.not_matches)
        if any(pattern.found_in(str(value).strip()) for value in values):
            return False
    if condition.absent is True or not set(_comparisons(condition)) - {"not_matches"}:
        return True
    return any(_value_holds(condition, value, subject) for value in values)


def wanted(condition: Condition) -> str:
    """Return the condition in words: ``at least 30``, ``one of CT, MR``, ``matches (?i)liver``."""
    words = {"equals": "", "one_of": "one of ", "matches": "matches ", "not_matches": "does not match "}
    words |= {"at_least": "at least ", "at_most": "at most "}
    parts = [f"{words[name]}{_words(getattr(condition, name))}" for name in _comparisons(condition)]
    if condition.absent is not None:
        parts.insert(0, "absent" if condition.absent else "present")
    return " and ".join(parts)


def _comparisons(condition: Condition) -> list[str]:
    names = ("equals", "one_of", "matches", "not_matches", "at_least", "at_most")
    return [name for name in names if getattr(condition, name) is not None]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _mapping(raw: dict[str, Any]) -> Condition:
    for key, value in raw.items():
        if key not in Condition.model_fields:
            hint = nearest(str(key), Condition.model_fields) or f"; known: {', '.join(Condition.model_fields)}"
            raise BadCondition(f"unknown condition '{key}'{hint}")
        for item in value if isinstance(value, list) else [value]:
            if key != "absent" and (isinstance(item, bool) or not isinstance(item, str | int | float)):
                raise BadCondition(
                    f"'{key}' needs words or numbers, and YAML reads {item!r} here; put the value in quotes"
                )
    try:
        condition = Condition.model_validate(raw)
    except ValidationError as error:
        detail = error.errors()[0]
        raise BadCondition(f"'{detail['loc'][0]}': {detail['msg'][0].lower()}{detail['msg'][1:]}") from error
    if not _comparisons(condition) and condition.absent is None:
        raise BadCondition(f"is empty; write a value or one of {', '.join(Condition.model_fields)}")
    return condition


def _check(condition: Condition, subject: Subject) -> None:
    comparisons = _comparisons(condition)
    if condition.absent and comparisons:
        raise BadCondition(f"'absent: true' and '{comparisons[0]}' can never hold together")
    if subject.kind == "sequence" and comparisons:
        raise BadCondition("is a sequence; only {absent: true} or {absent: false} can be asked of it")
    for name in ("at_least", "at_most"):
        if name in comparisons and subject.kind not in ("number", "age"):
            raise BadCondition(f"'{name}' needs a number, and {subject.name} is text")
    if condition.at_least is not None and condition.at_most is not None and condition.at_least > condition.at_most:
        raise BadCondition(f"at_least {condition.at_least:g} is more than at_most {condition.at_most:g}")
    for name in ("matches", "not_matches"):
        pattern = getattr(condition, name)
        try:
            if pattern is not None:
                compile_pattern(pattern)
        except UnsupportedPattern as error:
            raise BadCondition(f"'{name}: {pattern}' {error}") from error
    for value in _values(condition):
        _check_value(value, subject)


def _values(condition: Condition) -> list[Scalar]:
    single = [] if condition.equals is None else [condition.equals]
    return [*single, *(condition.one_of or [])]


def _check_value(value: Scalar, subject: Subject) -> None:
    if subject.kind in ("number", "age"):
        if math.isnan(number(value, subject.kind)):
            raise BadCondition(f"'{value}' is not a number, and {subject.name} holds numbers")
    elif not isinstance(value, str):
        raise BadCondition(f"{subject.name} is text, and YAML reads a number here; put it in quotes")
    elif "\\" in value and subject.kind in ("code", "text"):
        one, *_ = (part for part in value.split("\\") if part)
        raise BadCondition(f"'{value}': values are compared one by one; write one of them, such as {one}, or a list")
    elif subject.values and value not in subject.values:
        raise BadCondition(f"'{value}' is not one of {', '.join(subject.values)}{nearest(value, subject.values)}")
    elif subject.kind == "code" and value != value.upper():
        raise BadCondition(f"'{value}': {subject.name} is written in capitals (VR CS); did you mean '{value.upper()}'?")
    elif subject.kind == "uid" and not re.fullmatch(r"[0-9.]+", value) and value not in uid_of_keyword():
        raise BadCondition(f"'{value}' is neither a UID nor the keyword of one{nearest(value, uid_of_keyword())}")


def _value_holds(condition: Condition, value: Any, subject: Subject) -> bool:
    choices = [_equal(value, choice, subject) for choice in condition.one_of or []]
    if condition.equals is not None and not _equal(value, condition.equals, subject):
        return False
    if condition.one_of is not None and not any(choices):
        return False
    if condition.matches is not None and not compile_pattern(condition.matches).found_in(str(value).strip()):
        return False
    # "not >=" rather than "<": a value that is no number is NaN and meets neither
    if condition.at_least is not None and not number(value, subject.kind) >= condition.at_least:
        return False
    return condition.at_most is None or number(value, subject.kind) <= condition.at_most


def _equal(value: Any, choice: Scalar, subject: Subject) -> bool:
    if subject.kind in ("number", "age"):
        return math.isclose(number(value, subject.kind), number(choice, subject.kind), rel_tol=1e-6)
    if subject.kind == "uid":
        choice = uid_of_keyword().get(str(choice), choice)
    return str(value).strip() == str(choice).strip()


def number(value: Any, kind: str) -> float:
    """Return the value as a number; an age (``045Y``, ``006M``) in years. NaN where it is none."""
    text = str(value).strip()
    if kind == "age" and (age := re.fullmatch(r"(\d{1,3})([YMWD])", text)):
        return int(age[1]) * _YEARS[age[2]]
    try:
        return float(text)
    except ValueError:
        return math.nan
