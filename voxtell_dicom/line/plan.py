"""From a series to plans: assemble, match the rules, have decoded what a rule wants."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from voxtell_dicom.config import Config, Rule
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.errors import Refusal
from voxtell_dicom.line.load import MissingRuns, headers_of, load_runs
from voxtell_dicom.model import Assembly, Plan, PlanOptions, Series, SetAside, Volume, canonical_digest
from voxtell_dicom.rules import Match, match_volume
from voxtell_dicom.series.geometry import GAP, widest_gap
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.joined import gaps_between, stacks_of
from voxtell_dicom.series.split import SEVERAL_REFERENCES

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Planned:
    """A volume with the plans that one pass of the engine will serve, and where the arrays of its runs lie."""

    volume: Volume
    plans: tuple[Plan, ...]
    arrays: tuple[Path, ...]  # one for each of `volume.runs`


@dataclass(frozen=True)
class FailedCondition:
    """A condition of a rule that a volume does not meet: what is wanted, and what was found. All are short words."""

    volume: str
    rule: str
    subject: str  # a DICOM keyword, or a fact
    wanted: str
    found: str


def failed_conditions_of(volume: str, matches: Iterable[Match]) -> list[FailedCondition]:
    """Return the first condition that each rule of scope series fails by."""
    return [
        FailedCondition(volume, match.rule.name, failed[0].keyword, failed[0].wanted, failed[0].found)
        for match in matches
        if match.rule.scope == "series" and (failed := match.failed)
    ]


@dataclass(frozen=True)
class Planning:
    """What a series came to: the volumes to segment, and why the rest is not."""

    planned: tuple[Planned, ...]
    set_aside: tuple[SetAside, ...]  # what is not part of a volume, or was refused
    unmatched: tuple[Volume, ...]  # volumes that no rule of scope series wants
    failed_conditions: tuple[FailedCondition, ...]  # of those, by volume and rule
    volumes: int  # how many there are in all


def facts_of(series: Series) -> dict[str, Any]:
    """Return the facts that rules may use beside DICOM keywords."""
    return {"instances": len(series.instances), "calling_ae": series.calling_ae, "called_ae": series.called_ae}


def match_series(series: Series, rules: Sequence[Rule], headers: HeaderSource) -> tuple[Assembly, list[list[Match]]]:
    """Assemble the volumes of a series and match each with all rules. Raises Refusal where no part can be trusted."""
    accept = any(rule.frames_of_reference == "accept" for rule in rules)
    max_gap = max((rule.max_gap for rule in rules), default=GAP)
    assembly = assemble(series, max_gap, "accept" if accept else "refuse", headers)
    facts = facts_of(series)
    return assembly, [match_volume(rules, volume, headers_of(volume, headers), facts) for volume in assembly.volumes]


@dataclass(frozen=True)
class PlanContext:
    """Arguments of planning that are the same for all rules. soft_peers: see `soft_peers`; work_dir: for arrays."""

    engine_identity: str
    encoder_revision: str
    work_dir: Path
    soft_peers: Collection[str] = ()
    headers: HeaderSource = field(default_factory=HeaderSource)

    def plan_for(self, found: Match, volume: Volume, options: PlanOptions) -> Plan:
        """Return the plan of a rule that matched a volume; see `plan_for`."""
        return plan_for(found, volume, self.engine_identity, self.encoder_revision, options, self.soft_peers)


def plan_series(
    series: Series,
    rules: Sequence[Rule],
    context: PlanContext,
    options: PlanOptions,
) -> Planning:
    """Plan a series: assemble volumes, match rules, decode the matched volumes and write their arrays for the worker.

    Rules of scope study are left to `study.py`. options: of the plans, by the series alone (see `Plan.options`).
    Raises Refusal where the series as a whole cannot be trusted (patients or studies mixed).
    """
    assembly, every = match_series(series, rules, context.headers)
    volumes = assembly.volumes
    matches = [[found for found in some if found.rule.scope == "series" and found.met] for some in every]
    planned: dict[tuple[str, str], Planned] = {}
    refused: list[SetAside] = []
    for (positions, values), wishes in _wishes(volumes, matches, rules, refused):
        loaded, failed = load_runs(
            [volumes[position] for position in positions], context.work_dir, values, context.headers
        )
        refused += failed.values()
        if loaded is None:
            continue
        volume, arrays = loaded
        plans = []
        for found, missing in wishes:
            gone = missing_runs(assembly, volume, found.rule.max_gap) | codes_of(missing) | codes_of(failed)
            own = with_missing(for_rule(options, series, found.rule, context.headers), gone)
            plans.append(context.plan_for(found, volume, own))
        before = planned.get((volume.key, values))
        planned[volume.key, values] = Planned(volume, (*(before.plans if before else ()), *plans), arrays)
    unmatched = [volume for some, volume in zip(matches, volumes, strict=True) if not some]
    failed_conditions = [
        each for some, volume, all_of_it in zip(matches, volumes, every, strict=True) if not some
        for each in failed_conditions_of(volume.name, all_of_it)
    ]  # fmt: skip
    set_aside = (*assembly.set_aside, *refused)
    return Planning(tuple(planned.values()), set_aside, tuple(unmatched), tuple(failed_conditions), len(volumes))


_Wishes = list[tuple[Match, MissingRuns]]  # of rules for the same runs, and what is missing of the stack for each


def _wishes(
    volumes: Sequence[Volume], matches: Sequence[Sequence[Match]], rules: Sequence[Rule], refused: list[SetAside]
) -> Iterable[tuple[tuple[tuple[int, ...], str], _Wishes]]:
    """Return what each rule wants: which volumes (the runs of one stack together), and which values of them.

    What a rule refuses of them is added to `refused`. Rules that want the same are served by one pass.
    """
    wishes: dict[tuple[tuple[int, ...], str], _Wishes] = {}
    for index, rule in enumerate(rules):
        chosen = sorted(_chosen(index, volumes, matches))
        _say_choice(rule, index, chosen, volumes, matches)
        against = {position: item for position in chosen if (item := refused_by(rule, volumes[position]))}
        refused += against.values()
        positions = tuple(position for position in chosen if position not in against)
        if positions:
            found = next(found for found in matches[positions[0]] if found.index == index)
            missing = {volumes[position].name: item for position, item in against.items()}
            wishes.setdefault((positions, rule.values), []).append((found, missing))
    return sorted(wishes.items(), key=lambda wish: wish[0][0])


def missing_runs(assembly: Assembly, volume: Volume, max_gap: float = GAP) -> dict[str, str]:
    """Return what is missing of a volume's stack: runs that were refused, by name and code, and what lies between runs.

    max_gap: the widest gap that is bridged, in parts of the spacing.
    """
    refused = {item.run: item.code for item in assembly.set_aside if item.stack and item.stack == volume.stack}
    return refused | dict.fromkeys(gaps_between(volume.parts, max_gap), "missing-slice")


def codes_of(missing: MissingRuns) -> dict[str, str]:
    """Return the code of each refusal."""
    return {name: item.code for name, item in missing.items()}


def with_missing(options: PlanOptions, missing: Mapping[str, str]) -> PlanOptions:
    """Return the options of a plan whose result is incomplete: they name the missing runs of its stack, and why.

    missing: the names of the runs, with the codes of their refusals.
    """
    said = [f"{name} is not in the result ({code})" for name, code in missing.items()]
    return replace(options, incomplete="; ".join(filter(None, [options.incomplete, *said])))


def for_rule(options: PlanOptions, series: Series, rule: Rule, headers: HeaderSource | None = None) -> PlanOptions:
    """Return the options of a plan of a rule: where only slices are missing that the rule bridges, it is complete."""
    said = options.incomplete
    if not said or rule.max_gap <= GAP or said != missing_slices(series, GAP, headers):
        return options
    if missing_slices(series, rule.max_gap, headers):
        return options
    return replace(options, incomplete="")


def refused_by(rule: Rule, volume: Volume) -> SetAside | None:
    """Return why a rule refuses a volume that another accepts: a slice is missing, or frames of reference differ."""
    uids = tuple(dict.fromkeys(frame.sop_instance_uid for frame in volume.frames))
    gap = widest_gap(volume) if volume.frames[-1].plane is not None else 0.0
    if max(rule.max_gap, GAP) * (1 + 1e-6) < gap:
        words = f"a gap of {gap:.2f} times the spacing, where rule {rule.name!r} allows {rule.max_gap:g} (max_gap)"
        reason = f"Image Position (Patient) (0020,0032) of series {volume.series_uid}: {words}"
        return SetAside("missing-slice", reason, uids, refused=True, rule=rule.name)
    if volume.warnings_of(SEVERAL_REFERENCES) and rule.frames_of_reference == "refuse":
        words = f"several values of Frame of Reference UID (0020,0052), which rule {rule.name!r} refuses"
        reason = f"series {volume.series_uid}: {words} (frames_of_reference)"
        return SetAside(SEVERAL_REFERENCES, reason, uids, refused=True, rule=rule.name)
    return None


def _chosen(rule: int, volumes: Sequence[Volume], matches: Sequence[Sequence[Match]]) -> set[int]:
    """Of several volumes of one series that meet a rule: the largest, then the first; all its runs. Their positions."""
    met = [{i for i in stack if any(found.index == rule for found in matches[i])} for stack in stacks_of(volumes)]
    return max(met, key=lambda some: sum(int(np.prod(volumes[i].grid.shape)) for i in some), default=set())


def _say_choice(
    rule: Rule, index: int, chosen: Sequence[int], volumes: Sequence[Volume], matches: Sequence[Sequence[Match]]
) -> None:
    """Log which volume a rule takes where it meets several."""
    met = [position for position, some in enumerate(matches) if any(found.index == index for found in some)]
    if others := [volumes[position].name for position in met if position not in chosen]:
        taken = [volumes[position].name for position in chosen]
        series_uid, because = volumes[chosen[0]].series_uid, "the largest, then the first"
        log.info("rule takes one of several volumes", rule=rule.name, series_uid=series_uid, volumes=taken,
                 others=others, because=because)  # fmt: skip


def plan_for(
    found: Match,
    volume: Volume,
    engine_identity: str,
    encoder_revision: str,
    options: PlanOptions,
    soft_peers: Collection[str] = (),
) -> Plan:
    """Return the plan of a rule for a volume that met it and has its key."""
    options = replace(  # each decides what the result holds, hence its UID
        options,
        probabilities=options.probabilities or bool(set(soft_peers) & set(found.rule.send_to)),
        minimum_confidence=found.rule.minimum_confidence or options.minimum_confidence,
        values=found.rule.values if found.rule.values != "stored" else options.values,
        holes=found.rule.holes if found.rule.holes != "keyhole" else options.holes,
    )
    return Plan(
        volume_key=volume.key,
        rule=found.rule.name,
        rule_index=found.index,
        prompts=found.prompts,
        outputs=tuple(found.rule.outputs),
        send_to=tuple(found.rule.send_to),
        engine_identity=engine_identity,
        encoder_revision=encoder_revision,
        options=options,
    )


def soft_peers(config: Config) -> frozenset[str]:
    """Return the peers that take segmentations as probabilities, which the engine computes by request only."""
    return frozenset(name for name, peer in config.peers.items() if peer.encoding == "fractional")


def wants_probabilities(plan: Plan) -> bool:
    """Return whether a plan's results need the probability of each voxel: an output, or what one of its peers takes."""
    return "fractional" in plan.outputs or plan.options.probabilities


def missing_slices(series: Series, max_gap: float = GAP, headers: HeaderSource | None = None) -> str:
    """Return why slices seem to be missing from a series, "" where none is: then it waits before it is complete."""
    try:
        assembly = assemble(series, max_gap, headers=headers)
    except Refusal:
        return ""  # wrong in another way: waiting would not help
    return next((item.reason for item in assembly.set_aside if item.code == "missing-slice"), "")


def job_id(*parts: Any) -> str:
    """Return a short, deterministic name for a job: 16 hex digits."""
    return canonical_digest(list(parts))[:16]
