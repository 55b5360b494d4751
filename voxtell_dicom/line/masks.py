"""Masks and findings between the worker and the node: JSON files of boxes and bits, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from voxtell_dicom.check.selfcheck import Finding
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
_findings = TypeAdapter(tuple[Finding, ...])


def masks_path(work_dir: Path, job: str) -> Path:
    """Return the path of the masks of a job."""
    return work_dir / f"{job}.found.json"


def findings_path(masks: Path) -> Path:
    """Return the path of the findings about a job's masks: beside them."""
    return masks.with_suffix(".findings")


def drop_masks(work_dir: Path, job: str) -> None:
    """Remove the masks of a job, and the findings about them."""
    masks = masks_path(work_dir, job)
    masks.unlink(missing_ok=True)
    findings_path(masks).unlink(missing_ok=True)


def save_answers(path: Path, answers: Sequence[Answer]) -> None:
    """Write the answers of one pass of the engine."""
    _write(path, _answers.dump_json(tuple(answers)))


def load_answers(path: Path) -> tuple[Answer, ...]:
    """Read what `save_answers` wrote."""
    return _answers.validate_json(path.read_bytes())


def save_found(path: Path, found: Sequence[Found]) -> None:
    """Write the masks of one plan, on the source grid."""
    _write(path, _found.dump_json(tuple(found)))


def load_found(path: Path) -> tuple[Found, ...]:
    """Read what `save_found` wrote."""
    return _found.validate_json(path.read_bytes())


def save_findings(masks: Path, findings: Sequence[Finding]) -> None:
    """Write the findings about the masks of a job. masks: see `masks_path`."""
    _write(findings_path(masks), _findings.dump_json(tuple(findings)))


def load_findings(masks: Path) -> tuple[Finding, ...]:
    """Read what `save_findings` wrote; empty where there is no file."""
    path = findings_path(masks)
    return _findings.validate_json(path.read_bytes()) if path.exists() else ()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
