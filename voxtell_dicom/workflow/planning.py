"""From a series to plans: assemble, match the rules, decode what a rule wants, write its array for the worker."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from voxtell_dicom.config import Rule
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Assembly, Plan, Series, SetAside, Volume, canonical_digest
from voxtell_dicom.rules import Match, match_volume
from voxtell_dicom.series.geometry import GAP, widest_gap
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.runs import stacks_of
from voxtell_dicom.series.split import SEVERAL_REFERENCES
from voxtell_dicom.series.volume import load_volume
from voxtell_dicom.suv import suv_factor


@dataclass(frozen=True)
class Planned:
    """A volume with the plans that one pass of the engine will serve, and where its array lies."""

    volume: Volume
    plans: tuple[Plan, ...]
    array: Path


@dataclass(frozen=True)
class Planning:
    """What a series came to: the volumes to segment, and why the rest is not."""

    planned: tuple[Planned, ...]
    set_aside: tuple[SetAside, ...]  # what is not part of a volume, or was refused
    unmatched: tuple[Volume, ...]  # volumes that no rule of scope series wants
    volumes: int  # how many there are in all


def headers_of(volume: Volume) -> list[pydicom.Dataset]:
    """The headers of a volume's instances, each once, in frame order."""
    paths = dict.fromkeys(frame.path for frame in volume.frames)
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]


def facts_of(series: Series) -> dict[str, Any]:
    """The facts that rules may ask for beside DICOM keywords."""
    return {"instances": len(series.instances), "calling_ae": series.calling_ae, "called_ae": series.called_ae}


def match_series(series: Series, rules: Sequence[Rule]) -> tuple[Assembly, list[list[Match]]]:
    """Headers → volumes, each held against all rules. Raises Refusal where the series as a whole cannot be trusted."""
    accept = any(rule.frames_of_reference == "accept" for rule in rules)
    max_gap = max((rule.max_gap for rule in rules), default=GAP)
    assembly = assemble(series, max_gap, "accept" if accept else "refuse")
    facts = facts_of(series)
    return assembly, [match_volume(rules, volume, headers_of(volume), facts) for volume in assembly.volumes]


def plan_series(
    series: Series,
    rules: Sequence[Rule],
    *,
    engine_identity: str,
    encoder_revision: str,
    work_dir: Path,
    options: dict[str, Any],
) -> Planning:
    """Headers → volumes → rules; decode the volumes that a rule wants, and write their arrays for the worker.

    Rules of scope study are left to `study.py`.
    Raises Refusal where the series as a whole cannot be trusted (patients or studies mixed).
    """
    assembly, every = match_series(series, rules)
    matches = [[found for found in some if found.rule.scope == "series" and found.met] for some in every]
    chosen = [_chosen(index, assembly.volumes, matches) for index in range(len(rules))]
    planned: list[Planned] = []
    refused: list[SetAside] = []
    for position, volume in enumerate(assembly.volumes):
        met = [found for found in matches[position] if position in chosen[found.index]]
        against = [refused_by(found.rule, volume) for found in met]
        refused += [item for item in against if item]
        met = [found for found, item in zip(met, against, strict=True) if item is None]
        for values in dict.fromkeys(found.rule.values for found in met):
            try:
                keyed, array = load_array(volume, work_dir, values)
            except Refusal as refusal:
                refused.append(SetAside(refusal.code, str(refusal), (refusal.uid,), refused=True))
                continue
            wanting = [found for found in met if found.rule.values == values]
            plans = [plan_for(found, keyed, engine_identity, encoder_revision, options) for found in wanting]
            planned.append(Planned(keyed, tuple(plans), array))
    unmatched = [volume for some, volume in zip(matches, assembly.volumes, strict=True) if not some]
    return Planning(tuple(planned), (*assembly.set_aside, *refused), tuple(unmatched), len(assembly.volumes))


def refused_by(rule: Rule, volume: Volume) -> SetAside | None:
    """Why a rule refuses a volume that another rule accepts: a slice is missing, or frames of reference differ."""
    uids = tuple(dict.fromkeys(frame.sop_instance_uid for frame in volume.frames))
    gap = widest_gap(volume) if volume.frames[-1].plane is not None else 0.0
    if max(rule.max_gap, GAP) * (1 + 1e-6) < gap:
        words = f"a gap of {gap:.2f} times the spacing, where rule {rule.name!r} allows {rule.max_gap:g} (max_gap)"
        reason = f"Image Position (Patient) (0020,0032) of series {volume.series_uid}: {words}"
        return SetAside("missing-slice", reason, uids, refused=True)
    several = next((said for said in volume.warnings if said.startswith(f"{SEVERAL_REFERENCES}:")), "")
    if several and rule.frames_of_reference == "refuse":
        words = f"several values of Frame of Reference UID (0020,0052), which rule {rule.name!r} refuses"
        reason = f"series {volume.series_uid}: {words} (frames_of_reference)"
        return SetAside(SEVERAL_REFERENCES, reason, uids, refused=True)
    return None


def _chosen(rule: int, volumes: Sequence[Volume], matches: Sequence[Sequence[Match]]) -> set[int]:
    """Of several volumes of one series that meet a rule: the largest, then the first; all its runs. Their positions."""
    met = [{i for i in stack if any(found.index == rule for found in matches[i])} for stack in stacks_of(volumes)]
    return max(met, key=lambda some: sum(int(np.prod(volumes[i].grid.shape)) for i in some), default=set())


def plan_for(
    found: Match, volume: Volume, engine_identity: str, encoder_revision: str, options: dict[str, Any]
) -> Plan:
    """What a rule wants of a volume that met it and has its key."""
    if found.rule.minimum_confidence:  # it decides what the result holds, hence its UID
        options = {**options, "minimum_confidence": found.rule.minimum_confidence}
    if found.rule.values != "stored":  # so does what the model is given
        options = {**options, "values": found.rule.values}
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


def values_of(plan: Plan) -> str:
    """What the model is given for a plan: ``stored`` (rescaled values) or ``suv`` (SUVbw, g/mL)."""
    return str(plan.options.get("values", "stored"))


def array_path(work_dir: Path, volume: Volume, values: str) -> Path:
    """Where the RAS array of a volume with its key lies; `values` as in `values_of`."""
    return work_dir / (f"{volume.key}.npy" if values == "stored" else f"{volume.key}-{values}.npy")


def load_array(volume: Volume, work_dir: Path, values: str = "stored") -> tuple[Volume, Path]:
    """Decode a volume: returns it with its key, and the file that holds its RAS array for the worker.

    values: as in `values_of`. Raises Refusal (``suv``) where the headers do not allow SUV.
    """
    factor = _suv_factor(volume) if values == "suv" else None
    array, volume = load_volume(volume)
    path = array_path(work_dir, volume, values)
    if not path.exists():
        if factor is not None:
            array *= np.float32(factor)
        work_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{uuid.uuid4().hex}.npy")  # two rules of two series may want the same volume
        np.save(temporary, array)
        temporary.replace(path)
    return volume, path


def _suv_factor(volume: Volume) -> float:
    """The one factor to SUV of all slices."""
    factors = [(suv_factor(header), str(header.SOPInstanceUID)) for header in headers_of(volume)]
    (least, one), (most, other) = min(factors), max(factors)
    if most > least * (1 + 1e-4):
        words = f"SUV factors {least:g} and {most:g}: Patient Weight (0010,1030), dose, units or times differ"
        raise Refusal("suv", f"{one} and {other}: {words}", one)
    return least


def missing_slices(series: Series) -> str:
    """Why slices are thought to be missing from a series, "" where none is: then it waits before it is complete."""
    try:
        assembly = assemble(series)
    except Refusal:
        return ""  # wrong in another way: waiting would not mend it
    return next((item.reason for item in assembly.set_aside if item.code == "missing-slice"), "")


def accession_of(volume: Volume) -> str:
    """The accession number in the newest headers of a volume, "" where there is none."""
    header = pydicom.dcmread(volume.frames[0].path, stop_before_pixels=True, specific_tags=["AccessionNumber"])
    return str(header.get("AccessionNumber", "") or "")


def job_id(*parts: Any) -> str:
    """A short, deterministic name for a job: 16 hex digits."""
    return canonical_digest(list(parts))[:16]


def with_run(plan: Plan, run: int) -> Plan:
    """The plan as a new run: same work, new UIDs."""
    return replace(plan, run=run)
