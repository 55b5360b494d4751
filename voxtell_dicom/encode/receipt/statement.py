"""What a receipt says, before it has a form: words on a page (`receipt_page.py`) or items of a report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common import provenance
from voxtell_dicom.model import Plan

# What is said of a prompt begins with one of these.
FOUND, NOT_FOUND, LEFT_OUT, NOT_SEARCHED, NO_RESULT = "found", "NOT FOUND", "LEFT OUT", "not searched", "no result"

_LONG_DIGEST = re.compile(r"[0-9a-f]{16,}")  # a page shows its beginning; the whole stands in Algorithm Parameters


@dataclass(frozen=True)
class Statement:
    """What was searched and what came of it, without patient data.

    `series`: number and description, "" where the source has neither. `heading`: its name and the outcome in words.
    `prompts`: (label, what became of it). `problems`: what speaks against the result, or why there is none.
    """

    rule: str
    series: str
    series_uid: str
    images: str
    heading: tuple[str, str]
    prompts: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    maker: provenance.Maker
    written: datetime

    @property
    def lines(self) -> list[str]:
        """The words, line by line."""
        name, outcome = self.heading
        width = max((len(label) for label, _ in self.prompts), default=0)
        return [
            f"Rule        {self.rule}",
            *([f"Series      {self.series}"] if self.series else []),
            f"Series UID  {self.series_uid}",
            f"Images      {self.images}",
            f"{name:<12}{outcome}",
            "",
            *(f"  {label:<{width}}  {said}" for label, said in self.prompts),
            "",
            *(f"! {problem}" for problem in self.problems),
            f"Engine      {self.maker.name} {self.maker.version}",
            f"Program     {_LONG_DIGEST.sub(lambda match: match[0][:12], self.maker.identity)}",
            f"Time        {self.written:%Y-%m-%d %H:%M:%S %z}",
        ]


@dataclass(frozen=True)
class ReceiptContent:
    """A statement with what an object needs besides. `header`: of a source instance; `instances`: what it is about.

    `text`: what it repeats of the header, undecoded.
    """

    statement: Statement
    source: common.Source
    header: Dataset
    description: str
    instances: tuple[tuple[str, str], ...]  # SOP class, SOP instance
    text: Dataset
    series_number_base: int = 1000

    def identity(self, plan: Plan, kind: str) -> common.Identity:
        """Return what `objects.identify` writes into a receipt of `kind`."""
        return common.Identity(
            plan=plan,
            maker=self.statement.maker,
            source=self.source,
            header=self.header,
            text=self.text,
            kind=kind,
            description=self.description,
            series_number_base=self.series_number_base,
            texts=tuple(self.statement.lines),
        )


def series_name(header: Dataset) -> str:
    """Return which series it is, as a radiologist names it."""
    names = [str(header.get(keyword) or "").strip() for keyword in ("SeriesNumber", "SeriesDescription")]
    shown = ", ".join(" ".join(name.split()) for name in names if name)
    return shown.replace("\N{REPLACEMENT CHARACTER}", "?")


def now() -> datetime:
    """When a statement is made."""
    return datetime.now().astimezone()
