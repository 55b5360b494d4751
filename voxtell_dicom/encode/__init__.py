"""Masks into DICOM objects that a PACS stores and a viewer shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from voxtell_dicom.config import Config
from voxtell_dicom.encode.seg import encode_seg
from voxtell_dicom.model import Found, Plan, Result, Volume

ENCODER_REVISION = "1"

__all__ = ["ENCODER_REVISION", "encode", "encode_seg"]


def encode(plan: Plan, volume: Volume, found: Sequence[Found], *, config: Config, directory: Path) -> list[Result]:
    """Every result object of a plan, written into `directory` once; an empty list where nothing was found.

    Raises Refusal, GridMismatch or EncodingError.
    """
    seg = encode_seg(
        plan,
        volume,
        found,
        directory=directory,
        series_number_base=config.node.series_number_base,
        engine=config.model.engine,
    )
    return [seg] if seg else []
