"""What a rule lets through: segments of enough confidence; and what a job says where nothing was shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from voxtell_dicom.model import Found, Mask, Plan, Result

EMPTY = Mask(((0, 0), (0, 0), (0, 0)), b"", 0)


def leave_out(plan: Plan, found: Sequence[Found]) -> tuple[Found, ...]:
    """The masks, without those of a mean probability below the rule's `minimum_confidence`: these say why.

    What an engine gives no probability for (threshold) is let through.
    """
    least = plan.options.minimum_confidence or 0.0
    return tuple(_gated(item, least) for item in found)


def _gated(item: Found, least: float) -> Found:
    if not item.mask.voxels or item.mean_probability is None or item.mean_probability >= least:
        return item
    digits = next((n for n in (2, 3, 4) if round(item.mean_probability, n) < least), 6)  # not "0.50 is below 0.5"
    why = f"low confidence: mean probability {item.mean_probability:.{digits}f} is below {least:g}"
    return replace(item, mask=EMPTY, left_out=why)


def notes(found: Sequence[Found]) -> list[str]:
    """Return what was left out, as it stands among the warnings of a result."""
    return [f"{item.prompt.label}: left out, {item.left_out}" for item in found if item.left_out]


def empty(found: Sequence[Found]) -> list[str]:
    """The labels of the prompts that found nothing."""
    return [item.prompt.label for item in found if not item.mask.voxels and not item.left_out]


def confidence(found: Sequence[Found]) -> str:
    """Each segment's mean probability and share of uncertain voxels, as the job's timeline shows them."""
    said = [(item, item.mean_probability) for item in found if item.mask.voxels or item.left_out]
    return "; ".join(_one(item, mean) for item, mean in said if mean is not None)


def _one(item: Found, mean: float) -> str:
    share = "" if item.uncertain_share is None else f", {item.uncertain_share:.0%} uncertain"
    return f"{item.prompt.label} {mean:.2f}{share}{' (left out)' if item.left_out else ''}"


def nothing_shown(results: Sequence[Result], plan: Plan, empty_labels: Sequence[str]) -> str:
    """Return why a job that is done holds no segment, only a receipt; "" where it holds one."""
    if any(result.labels for result in results):
        return ""
    return nothing(len(plan.prompts), empty_labels)


def nothing(prompts: int, empty_labels: Sequence[str]) -> str:
    """Return the words for a result without a segment. prompts: how many the plan has."""
    left_out = prompts - len(empty_labels)
    if not left_out:
        return "nothing found"
    if not empty_labels:
        return "nothing shown: every segment was left out for low confidence"
    return f"nothing shown: {len(empty_labels)} found nothing, {left_out} left out for low confidence"
