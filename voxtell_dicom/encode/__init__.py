"""Masks into DICOM objects that a PACS stores and a viewer shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from voxtell_dicom.config import Config
from voxtell_dicom.encode.rtstruct import encode_rtstruct
from voxtell_dicom.encode.seg import encode_seg
from voxtell_dicom.encode.sr import encode_sr
from voxtell_dicom.model import Found, Plan, Result, Volume

ENCODER_REVISION = "1"

__all__ = ["ENCODER_REVISION", "encode", "encode_rtstruct", "encode_seg", "encode_sr"]


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
    if "rtstruct" in plan.outputs:
        results.append(encode_rtstruct(plan, volume, found, **settings))
    return [result for result in results if result is not None]
