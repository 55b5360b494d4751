"""Why a job is in its state: a code and parameters. The sentence is made where a person reads it (`jobs.sentences`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reason:
    """A code of `jobs.sentences.TEMPLATES` and what its sentence names. The empty code: there is nothing to say."""

    code: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)  # JSON-able

    def __bool__(self) -> bool:
        return bool(self.code)


def text(sentence: str) -> Reason:
    """Return a reason of which only the sentence is known: a job of version 0.1, or a text made elsewhere."""
    return Reason("text", {"text": sentence}) if sentence else Reason()
