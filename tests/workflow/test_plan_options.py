"""Options are typed, and the plan keys are those of version 0.1: else every UID of every result would change."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from voxtell_dicom.model import Cleanup, Plan, PlanOptions, Prompt, Resampling, dump, load

OPTIONS: dict[str, Any] = {
    "version": 2,
    "supersedes": ("1.2.3", "1.2.4"),
    "incomplete": "a lost link; slice ä is missing",
    "probabilities": True,
    "minimum_confidence": 0.5,
    "values": "suv",
    "holes": "xor",
    "outcome": "held",
    "reasons": ("one", "two"),
    "warnings": ("w",),
}
KEYS = {  # by version 0.1, whose options were a dictionary
    "": "0099335751b25febd139b2cdfad322fb579249f5afd492d4738e2919de7bb103",
    "version": "ec95f93cd9e9f2ba9b2781083d1884c4f234ed6cfcc95fb13058e3f18e0fe2c6",
    "supersedes": "d180bb169479c3106c3edcd2a9c3177550b6675a010926fbe93b6327c4aace8f",
    "incomplete": "dbe65b3338bce40733da3179f4fff959665219f2b174172d202ee0e2d4b1b184",
    "probabilities": "b1b50fb059f347a37a519481262ea2ba7c52aa307ffec2edacd47c1acc9e13e3",
    "minimum_confidence": "88635587364758d8836cc9d3791765c97a2b7e6ebd339d4106d9868cc7f1f807",
    "values": "2dba167ee87fdeb79c18efd47ce5043ff4e2fb713f4453b754065bce3243f02e",
    "holes": "94105b7379ea0d1f2e98a258fccb371c540fb1be3d7c3cae606149309bf65aff",
    "outcome": "ebb514900e4c3fa155fbed1d53a18d76ecd58994b43b88525c4458795b18e7f8",
    "reasons": "755a2aadd12051691f8597d3cea31f616b9e887f0c9e9cf312306096d8c6acdc",
    "warnings": "1e83282ecfa7ac5a3fdf04383e3081d00ff89717f0c13c00802f615e371dcd53",
}
ALL_1024 = "34c0b29b0b6c1fdc8b1d6f6e5ed5fe59fc09faac70607d06285e0f3fda829026"  # SHA-256 over the keys, in order


def plan(**options: Any) -> Plan:
    prompts = (
        Prompt("liver", "Liver"),
        Prompt("tumour", "Tumour", "#ff0000", 0.4, Cleanup(True, True, 1.5), "g", Resampling(1.5, 0.5, 3.0), "x"),
    )
    given = ("v" * 8, "CT liver", 3, prompts, ("seg", "sr"), ("pacs",), "e", "7")
    return Plan(*given, options=PlanOptions(**options), run=1)


@pytest.mark.parametrize(("name", "key"), KEYS.items())
def test_each_option(name: str, key: str) -> None:
    assert plan(**({name: OPTIONS[name]} if name else {})).key == key


def test_every_combination() -> None:
    some = (names for count in range(len(OPTIONS) + 1) for names in itertools.combinations(OPTIONS, count))
    keys = [plan(**{name: OPTIONS[name] for name in names}).key for names in some]
    assert (len(keys), hashlib.sha256("".join(keys).encode()).hexdigest()) == (1024, ALL_1024)


def test_a_plan_that_was_stored_keeps_its_key() -> None:
    whole = plan(**OPTIONS)
    assert load(Plan, dump(whole)) == whole
    old = {**dump(plan()), "options": {"incomplete": OPTIONS["incomplete"]}}  # as 0.1 stored it
    assert load(Plan, old).key == KEYS["incomplete"]
