"""Publish: gate what was found, decide what the rule does with it, encode it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxtell_dicom.check import findings, gates
from voxtell_dicom.check.selfcheck import Finding
from voxtell_dicom.config import Config, OnWarning, Rule
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode import encode, output_context
from voxtell_dicom.model import Found, Plan, Result, Volume

RELEASED = "held for a person to look at before it was sent"  # among the warnings of a result that was held


@dataclass(frozen=True)
class Judged:
    """The input of the encoder for a plan, and the action of its rule.

    volume: with findings and notes among its warnings. minor: the warnings that alone are no reason for a receipt.
    action: ``deliver``, ``hold`` or ``drop``; reasons: the sentences that say why it is not delivered.
    """

    plan: Plan
    volume: Volume
    found: tuple[Found, ...]
    minor: tuple[str, ...]
    action: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """The encoded objects of a plan. empty: labels of prompts that found nothing; warnings: of volume and objects."""

    results: tuple[Result, ...]
    empty: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    against: Sequence[Finding] = (),
    rules: Sequence[Rule] | None = None,
) -> Judged:
    """Leave out what the rule's confidence gate stops, and decide by the findings what becomes of the rest.

    found: one per prompt of the plan, on the source grid. against: the findings of the self-check. rules: those of
    node.yaml, where a missing one has the default `on_warning`; None: nobody waits for a decision, all is delivered.
    """
    shown = gates.leave_out(plan, found)
    relevant = findings.without(against, shown)
    nothing_found = not any(item.mask.voxels for item in shown)
    action, reasons = _verdict(plan, relevant, rules, nothing_found) if rules is not None else ("deliver", ())
    notes = gates.notes(shown) + ([RELEASED] if action == "hold" else [])
    noted = findings.noted(volume, relevant, notes)
    return Judged(plan, noted, shown, _minor(noted, against), action, reasons)


def publish(
    judged: Judged,
    *,
    config: Config,
    directory: Path,
    headers: HeaderSource | None = None,
    arrays: Sequence[Path] = (),
) -> Published:
    """Encode the objects of a plan into `directory`, once. Raises Refusal, GridMismatch or EncodingError.

    arrays: those of the volume's runs, where they are still here: then nothing is decoded again.
    """
    volume, found = judged.volume, judged.found
    context = output_context(judged.plan, volume, found, config=config, directory=directory, headers=headers)
    results = encode(replace(context, arrays=arrays), config, judged.minor)
    empty = tuple(gates.empty(found))
    warnings = dict.fromkeys((*volume.warnings, *(text for result in results for text in result.warnings)))
    if not results:
        warnings.pop(RELEASED, None)
    return Published(tuple(replace(result, empty=empty) for result in results), empty, tuple(warnings))


def _minor(volume: Volume, against: Sequence[Finding]) -> tuple[str, ...]:
    """Warnings that alone are no problem: most scans cut an aorta, and some archives compress all that they keep."""
    cut = [str(finding) for finding in against if finding.kind == "edge"]
    return (*cut, *volume.warnings_of("lossy"))


def _verdict(
    plan: Plan, against: Sequence[Finding], rules: Sequence[Rule], nothing_found: bool
) -> tuple[str, tuple[str, ...]]:
    """Return what the rule does with the result, and why; see `Judged`."""
    rule = next((rule for rule in rules if rule.name == plan.rule), None)
    on_warning = (rule.on_warning if rule else OnWarning()).model_dump()
    if rule and rule.empty == "hold" and on_warning["empty"] == "deliver":
        on_warning["empty"] = "hold"
    action, reasons = findings.verdict(against, on_warning)
    of_incomplete = on_warning["incomplete"] if plan.options.incomplete else "deliver"
    if findings.SEVERITY.index(of_incomplete) <= findings.SEVERITY.index(action):
        return action, reasons
    if of_incomplete == "hold" and nothing_found:
        return "deliver", ()  # no segment depends on the missing slices
    return of_incomplete, (f"the series is incomplete ({plan.options.incomplete})",)
