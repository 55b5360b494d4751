"""Masks between the worker and the node: a JSON file of boxes and bits, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from voxtell_dicom.model import Found, Mask, Probabilities, Request


@dataclass(frozen=True)
class Answer:
    """The engine's answer to one request, on the RAS grid."""

    request: Request
    mask: Mask
    mean_probability: float | None = None
    uncertain_share: float | None = None
    probabilities: Probabilities | None = None


_answers = TypeAdapter(tuple[Answer, ...])
_found = TypeAdapter(tuple[Found, ...])


def masks_path(work_dir: Path, job: str) -> Path:
    """Where the masks of a job lie from `segment` on."""
    return work_dir / f"{job}.found.json"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def save_answers(path: Path, answers: Sequence[Answer]) -> None:
    """Write what the engine answered."""
    _write(path, _answers.dump_json(tuple(answers)))


def load_answers(path: Path) -> tuple[Answer, ...]:
    """The inverse of `save_answers`."""
    return _answers.validate_json(path.read_bytes())


def save_found(path: Path, found: Sequence[Found]) -> None:
    """Write the masks of one plan, on the source grid."""
    _write(path, _found.dump_json(tuple(found)))


def load_found(path: Path) -> tuple[Found, ...]:
    """The inverse of `save_found`."""
    return _found.validate_json(path.read_bytes())
