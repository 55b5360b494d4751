"""Masks into DICOM objects that a PACS stores and a viewer shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from voxtell_dicom.config import Config
from voxtell_dicom.encode.labelmap import encode_labelmap
from voxtell_dicom.encode.rtstruct import encode_rtstruct
from voxtell_dicom.encode.secondary import encode_receipt, encode_secondary
from voxtell_dicom.encode.seg import encode_seg
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

    The report refers to the segmentation's segments, so "sr" brings "seg" along. Raises Refusal, GridMismatch or
    EncodingError.
    """
    settings: _Settings = {
        "directory": directory,
        "series_number_base": config.node.series_number_base,
        "engine": config.model.engine,
    }
    results: list[Result | None] = []
    if {"seg", "sr"} & set(plan.outputs):
        seg = encode_seg(plan, volume, found, **settings)
        results.append(seg)
        if seg is not None and "sr" in plan.outputs:
            results.append(encode_sr(plan, volume, found, seg, **settings))
    if "labelmap" in plan.outputs:
        results.append(encode_labelmap(plan, volume, found, **settings))
    if "rtstruct" in plan.outputs:
        results.append(encode_rtstruct(plan, volume, found, **settings))
    if "secondary" in plan.outputs:
        results += encode_secondary(plan, volume, found, **settings)
    if _wants_receipt(plan, volume, found, config):
        results.append(encode_receipt(plan, volume, found, **settings))
    return [result for result in results if result is not None]


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
