"""Match rules with a series that made no volume: by its headers, as far as these tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.config import Rule
from voxtell_dicom.dicom.attributes import get
from voxtell_dicom.rules.facts import contrast, kernel_family, plane
from voxtell_dicom.rules.match import Facts, Match, match


def would_match(rules: Sequence[Rule], headers: Sequence[Dataset], facts: Facts) -> list[Match]:
    """Return the rules that the headers of a refused series meet. facts: of the series.

    Conditions on a volume hold where the headers do not contradict them: nobody can tell the coverage of a stack that
    is none.
    """
    known = {name: values.pop() for name, values in _known(headers).items() if len(values) == 1}
    matches = match(rules, headers, {**facts, "volume": known})
    return [found for found in matches if all(_may_hold(item.keyword, item.met, known) for item in found.conditions)]


def _may_hold(keyword: str, met: bool, known: dict[str, Any]) -> bool:
    whole, _, fact = keyword.partition(".")
    return met or (whole == "volume" and fact not in known)


def _known(headers: Sequence[Dataset]) -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = {}
    for header in headers:
        cosines = _numbers(get(header, "ImageOrientationPatient"))
        values: dict[str, Any] = {
            "modality": str(get(header, "Modality") or ""),
            "contrast": contrast(header),
            "kernel": kernel_family(header),
        }
        for name, keyword in (("rows", "Rows"), ("columns", "Columns")):
            if isinstance(size := get(header, keyword), int):
                values[name] = size
        if len(cosines) == 6:
            values["plane"] = plane((cosines[0], cosines[1], cosines[2]), (cosines[3], cosines[4], cosines[5]))
        for name, value in values.items():
            found.setdefault(name, set()).add(value)
    return found


def _numbers(value: Any) -> list[float]:
    """Return the numbers of a value; [] where one is none, which may be why the series is refused."""
    try:
        return [float(part) for part in value or []]
    except (TypeError, ValueError):
        return []
