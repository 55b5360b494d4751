"""Masks into DICOM objects that a PACS stores and a viewer shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from voxtell_dicom.config import Config
from voxtell_dicom.encode.profiles import form_of, forms_of, takers
from voxtell_dicom.encode.rtstruct import encode_rtstruct
from voxtell_dicom.encode.secondary import encode_receipt, encode_secondary
from voxtell_dicom.encode.seg import encode_seg, encode_segmentation, settled
from voxtell_dicom.encode.sr import encode_sr
from voxtell_dicom.model import Found, Plan, Result, Volume

ENCODER_REVISION = "2"

__all__ = ["ENCODER_REVISION", "encode", "encode_seg"]


class _Settings(TypedDict):
    directory: Path
    series_number_base: int
    engine: str | None


def encode(plan: Plan, volume: Volume, found: Sequence[Found], *, config: Config, directory: Path) -> list[Result]:
    """Every result object that `plan.outputs` asks for, written into `directory` once; none where nothing was found.

    Segmentations are made in the form that each peer takes; peers of the same form share one object (`Result.peers`).
    The report refers to the segmentation's segments, so "sr" brings "seg" along. Raises Refusal, GridMismatch or
    EncodingError.
    """
    settings: _Settings = {
        "directory": directory,
        "series_number_base": config.node.series_number_base,
        "engine": config.model.engine,
    }
    results: dict[str, Result] = {}
    for profile, peers in takers(plan, config).items():
        for form in forms_of(plan.outputs, profile, volume.grid.shape[1:]):
            made = encode_segmentation(plan, volume, found, form, **settings)
            if made and "sr" in plan.outputs and form == form_of("seg", profile, volume.grid.shape[1:]):
                made.append(encode_sr(plan, volume, found, made, form=settled(form, found, volume), **settings))
            for result in made:
                others = results[result.sop_instance_uid].peers if result.sop_instance_uid in results else ()
                results[result.sop_instance_uid] = replace(result, peers=(*others, *peers))
    shared: list[Result | None] = []
    if "rtstruct" in plan.outputs:
        shared.append(encode_rtstruct(plan, volume, found, **settings))
    if "secondary" in plan.outputs:
        shared += encode_secondary(plan, volume, found, **settings)
    if _wants_receipt(plan, volume, found, config):
        shared.append(encode_receipt(plan, volume, found, **settings))
    to_all = [replace(result, peers=plan.send_to) for result in shared if result is not None]
    return [*results.values(), *to_all]


def _wants_receipt(plan: Plan, volume: Volume, found: Sequence[Found], config: Config) -> bool:
    """The rule's `receipt`: always, on_problem (something was not found, or there are warnings) or never.

    `empty: report` asks for one where a prompt found nothing, whatever `receipt` says.
    """
    rule = next((rule for rule in config.rules if rule.name == plan.rule), None)
    if rule is None:
        return False
    missed = any(not item.mask.voxels for item in found)
    problem = missed or bool(volume.warnings) or bool({"incomplete", "warnings"} & plan.options.keys())
    reported = rule.empty == "report" and any(not item.mask.voxels and not item.left_out for item in found)
    return rule.receipt == "always" or (rule.receipt == "on_problem" and problem) or reported
