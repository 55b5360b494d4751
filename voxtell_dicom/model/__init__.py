"""The frozen values that travel through the house, one room to the next. No I/O.

All are plain dataclasses that pydantic's TypeAdapter turns into JSON and back (`dump`, `load`). Patient coordinates are
DICOM's: LPS, millimetres. The RAS grid is nibabel's sense: axes (z, y, x) run towards Superior, Anterior, Right.
"""

from voxtell_dicom.model.engine import Cancelled, Engine, Progress, Request, RunReport, Segment
from voxtell_dicom.model.mask import PROBABILITY_FLOOR, BoolArray, Box, ByteArray, Mask, Probabilities
from voxtell_dicom.model.plan import Cleanup, Plan, PlanOptions, Prompt, Resampling
from voxtell_dicom.model.reason import Reason
from voxtell_dicom.model.receiving import Receiving
from voxtell_dicom.model.result import Found, Outcome, Result
from voxtell_dicom.model.serial import canonical_digest, dump, load
from voxtell_dicom.model.states import DeliveryState, JobState
from voxtell_dicom.model.volume import (
    Assembly,
    Frame,
    Grid,
    Instance,
    Series,
    SetAside,
    ToRas,
    Vector,
    Volume,
    on_source_axes,
    ras_axes,
)

__all__ = [
    "PROBABILITY_FLOOR",
    "Assembly",
    "BoolArray",
    "Box",
    "ByteArray",
    "Cancelled",
    "Cleanup",
    "DeliveryState",
    "Engine",
    "Found",
    "Frame",
    "Grid",
    "Instance",
    "JobState",
    "Mask",
    "Outcome",
    "Plan",
    "PlanOptions",
    "Probabilities",
    "Progress",
    "Prompt",
    "Reason",
    "Receiving",
    "Request",
    "Resampling",
    "Result",
    "RunReport",
    "Segment",
    "Series",
    "SetAside",
    "ToRas",
    "Vector",
    "Volume",
    "canonical_digest",
    "dump",
    "load",
    "on_source_axes",
    "ras_axes",
]
