"""Masks and findings between the worker and the node: files that are written whole or not at all.

A mask file is `MAGIC`, the length of a JSON text (8 bytes, little endian), the text, and the bits that it refers to: as
text, the bits of twenty large masks would take longer to write and read than to compute. Version 0.1 wrote JSON alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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


MAGIC: Final = b"VOXMASK1"
BITS: Final = "$bits"  # [offset, size] in the bits of a mask file
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
    _write_masks(path, _answers.dump_python(tuple(answers)))


def load_answers(path: Path) -> tuple[Answer, ...]:
    """Read what `save_answers` wrote."""
    answers: tuple[Answer, ...] = _read_masks(path, _answers)
    return answers


def save_found(path: Path, found: Sequence[Found]) -> None:
    """Write the masks of one plan, on the source grid."""
    _write_masks(path, _found.dump_python(tuple(found)))


def load_found(path: Path) -> tuple[Found, ...]:
    """Read what `save_found` wrote."""
    found: tuple[Found, ...] = _read_masks(path, _found)
    return found


def save_findings(masks: Path, findings: Sequence[Finding]) -> None:
    """Write the findings about the masks of a job. masks: see `masks_path`."""
    _write(findings_path(masks), [_findings.dump_json(tuple(findings))])


def load_findings(masks: Path) -> tuple[Finding, ...]:
    """Read what `save_findings` wrote; empty where there is no file."""
    path = findings_path(masks)
    return _findings.validate_json(path.read_bytes()) if path.exists() else ()


def _write_masks(path: Path, items: Any) -> None:
    bits: list[bytes] = []
    size = 0

    def without_bits(value: Any) -> Any:
        nonlocal size
        if isinstance(value, bytes):
            bits.append(value)
            size += len(value)
            return {BITS: [size - len(value), len(value)]}
        if isinstance(value, dict):
            return {name: without_bits(each) for name, each in value.items()}
        return [without_bits(each) for each in value] if isinstance(value, (list, tuple)) else value

    text = json.dumps(without_bits(items)).encode()
    _write(path, [MAGIC, len(text).to_bytes(8, "little"), text, *bits])


def _read_masks(path: Path, adapter: TypeAdapter[Any]) -> Any:
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        return adapter.validate_json(content)
    start = len(MAGIC) + 8
    end = start + int.from_bytes(content[len(MAGIC) : start], "little")

    def with_bits(value: Any) -> Any:
        if isinstance(value, dict):
            if BITS in value:
                offset, size = value[BITS]
                return content[end + offset : end + offset + size]
            return {name: with_bits(each) for name, each in value.items()}
        return [with_bits(each) for each in value] if isinstance(value, list) else value

    return adapter.validate_python(with_bits(json.loads(content[start:end])))


def _write(path: Path, pieces: Sequence[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.writelines(pieces)
    temporary.replace(path)
