"""The self-check between `segment` and `publish`: what speaks against a result, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxtell_dicom.check.selfcheck import Finding, has_side, midline_of, self_check
from voxtell_dicom.model import Found, Volume

SEVERITY = ("deliver", "hold", "drop")


def check(found: Sequence[Found], volume: Volume, arrays: Sequence[Path]) -> tuple[Finding, ...]:
    """The findings about the masks of one plan. arrays: those of the volume's runs, as the worker got them.

    The midline of a stack is that of its runs, each as long as it is; a run that shows none says nothing.
    """
    midline = _midline_mm(volume, arrays) if any(has_side(item) for item in found) else None
    return self_check(found, volume, midline_mm=midline)


def _midline_mm(volume: Volume, arrays: Sequence[Path]) -> float | None:
    midlines = [
        (midline, len(run.frames) * run.grid.spacing_mm[0])
        for run, array in zip(volume.runs, arrays, strict=True)
        if array.exists() and (midline := midline_of(np.load(array, mmap_mode="r"), run)) is not None
    ]
    length = sum(share for _, share in midlines)
    return sum(at * share for at, share in midlines) / length if midlines else None


def without(findings: Sequence[Finding], found: Sequence[Found]) -> tuple[Finding, ...]:
    """The findings, without those about segments that are left out: they speak of what nobody is shown."""
    shown = {item.prompt.label for item in found if not item.left_out}
    left_out = {item.prompt.label for item in found if item.left_out} - shown  # labels may repeat
    return tuple(finding for finding in findings if finding.label not in left_out)


def noted(volume: Volume, findings: Sequence[Finding], notes: Sequence[str] = ()) -> Volume:
    """The volume with the findings and notes among its warnings, as the encoder and the job's record take them.

    What is empty is named by the result itself.
    """
    said = [str(finding) for finding in findings if finding.kind != "empty"]
    return replace(volume, warnings=tuple(dict.fromkeys((*volume.warnings, *said, *notes))))


def verdict(findings: Sequence[Finding], on_warning: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the action for the result ("deliver", "hold" or "drop": the severest), and the findings that say why."""
    worst = max((on_warning[finding.kind] for finding in findings), key=SEVERITY.index, default="deliver")
    why = tuple(str(finding) for finding in findings if on_warning[finding.kind] == worst)
    return worst, why if worst != "deliver" else ()
