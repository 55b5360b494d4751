"""The attributes that tell the volumes of one series apart, where the vendors write them.

Each value is text made comparable (numbers to four significant digits after the point), "" where it is absent.
Functional groups are looked up by the standard's names (PS3.3 C.7.6.16, C.8.13 to C.8.15), private elements only
under their creator.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import Lookup, number

PRINCIPAL = (
    "kind",
    "echo_time",
    "b_value",
    "gradient",
    "inversion_time",
    "temporal",
    "label",
    "cardiac_phase",
    "kernel",
    "stack",
    "reconstruction",
    "flip_angle",
    "thickness",
    "contrast",
)
"""Attributes that distinguish volumes by themselves, in the order in which they are tried."""

REFERENCE = "reference"
"""The number of the frame of reference, where those of a series are not accepted as one: slices of two of them that
lie across each other are no neighbours."""

RESOLVING = (
    "image_type",
    "frame_time",
    "echo_number",
    "energy",
    "percent",
    "acquisition",
    "coil",
    "scan_options",
    "sequence_name",
    "description",
    "dimension",
)
"""Attributes that only resolve coincident positions: they may differ from slice to slice of one volume."""

TIMES = ("trigger_time", "acquisition_time", "content_time", "instance_number")
"""Attributes that order coincident frames: the first of each position makes the first volume, and so on."""

BLOCKS = range(0x10, 0x20)  # of private creators: the vendors' own elements stand in the first ones
PLACES = (0x00200032, 0x00209057)  # Image Position (Patient), In-Stack Position Number

KINDS = {
    "M": "magnitude",
    "MAG": "magnitude",
    "MAGNITUDE": "magnitude",
    "M_FFE": "magnitude",
    "M_SE": "magnitude",
    "M_IR": "magnitude",
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "PHASE_MAP": "phase",
    "P_FFE": "phase",
    "P_SE": "phase",
    "R": "real",
    "REAL": "real",
    "R_FFE": "real",
    "R_IR": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
    "I_FFE": "imaginary",
    "FIELD_MAP": "field map",
    "B0": "field map",
    "B0 MAP": "field map",
    "W": "water",
    "WATER": "water",
    "F": "fat",
    "FAT": "fat",
    "IP": "in phase",
    "IN_PHASE": "in phase",
    "OP": "opposed phase",
    "OPP_PHASE": "opposed phase",
    "OUT_PHASE": "opposed phase",
    "FF": "fat fraction",
    "FAT_FRACTION": "fat fraction",
    "ADC": "ADC",
    "FA": "FA",
    "TRACEW": "trace",
    "T1 MAP": "T1 map",
    "T2 MAP": "T2 map",
    "T2_STAR MAP": "T2* map",
    "R2_STAR MAP": "R2* map",
    "VELOCITY MAP": "velocity",
    "V": "velocity",
    "SUB": "subtraction",
    "SUBTRACTION": "subtraction",
    "MEAN": "mean",
    "DIFFUSION": "",
}


def _rounded(value: object) -> str:
    found = number(value)
    return "" if found is None else f"{round(found, 3):g}"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\\".join(str(part) for part in value)
    return str(value)


def _kind(image_type: tuple[str, ...], look: Lookup) -> str:
    """Magnitude, phase, water, fat …: from Image Type (Frame Type) after its second value, and complex component."""
    words = [KINDS[word.upper()] for word in image_type[2:] if KINDS.get(word.upper())]
    component = _text(look("ComplexImageComponent")).upper()
    if component not in ("", "MIXED", "MAGNITUDE") or (component == "MAGNITUDE" and not words):
        words.append(component.lower())
    return " ".join(dict.fromkeys(words))


def _ge_kind(ds: Dataset) -> str:
    """GE's image kind (0043,xx2F), where Image Type does not tell: 0 magnitude, 1 phase, 2 real, 3 imaginary."""
    value = number(_private(ds, 0x0043, "GEMS_PARM_01", 0x2F))
    return {0: "magnitude", 1: "phase", 2: "real", 3: "imaginary"}.get(int(value), "") if value is not None else ""


def _private(ds: Dataset, group: int, creator: str, offset: int) -> object:
    present = ds.keys()
    if not any((group << 16) + block in present for block in BLOCKS):  # quick where there is nothing private: the rule
        return None
    try:
        return ds.private_block(group, creator)[offset].value
    except Exception:  # absent, or not what its VR allows
        return None


def _double(value: object) -> object:
    """A double that came as bytes, because its VR got lost on the way; anything else as it is."""
    return struct.unpack("<d", value)[0] if isinstance(value, bytes) and len(value) == 8 else value


def _percent(look: Lookup) -> str:
    """The respiratory or cardiac phase of a 4-D scan as its percentage, where it stands in a comment or description."""
    for keyword in ("ImageComments", "SeriesDescription", "AcquisitionComments"):
        match = re.search(r"(\d+(?:\.\d+)?) ?%", _text(look(keyword)))
        if match:
            return _rounded(match.group(1))
    return ""


def _b_value(ds: Dataset, look: Lookup) -> str:
    """Standard attribute, then Siemens, GE (offset by 1e9 where flagged), Philips, UIH; last names and comments."""
    candidates = (
        look("DiffusionBValue"),
        _private(ds, 0x0019, "SIEMENS MR HEADER", 0x0C),
        _private(ds, 0x0043, "GEMS_PARM_01", 0x39),
        _private(ds, 0x2001, "Philips Imaging DD 001", 0x03),
        _double(_private(ds, 0x0065, "Image Private Header", 0x09)),
    )
    for candidate in candidates:
        value = number(candidate)
        if value is not None and value >= 0:
            return f"{round(value % 1e9 if value >= 1e9 else value, 3):g}"
    match = re.search(r"_b(\d+)(?:t|#\d+)?$", _text(look("SequenceName")))
    match = match or re.match(r"b ?= ?(\d+)\b", _text(look("ImageComments")))  # Toshiba, Canon: b=800(0.5,0.5,0.7)
    return match.group(1) if match else ""


def _gradient(ds: Dataset, look: Lookup) -> str:
    parts = [_private(ds, 0x0019, "GEMS_ACQU_01", offset) for offset in (0xBB, 0xBC, 0xBD)]
    philips = [_private(ds, 0x2005, "Philips MR Imaging DD 001", offset) for offset in (0xB0, 0xB1, 0xB2)]
    for value in (
        look("DiffusionGradientOrientation"),
        _private(ds, 0x0019, "SIEMENS MR HEADER", 0x0E),
        None if None in parts else [number(part) for part in parts],
        None if None in philips else [number(part) for part in philips],
        _private(ds, 0x0065, "Image Private Header", 0x37),
    ):
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) == 3:
            return "\\".join(f"{round(float(part), 3) + 0.0:g}" for part in value)
    return ""


def _label(ds: Dataset, look: Lookup) -> str:
    """What arterial spin labelling did before the image: ASL Context, or Philips's word, in a frame of its own item."""
    philips = "Philips MR Imaging DD 005"
    within = _private(ds, 0x2005, philips, 0x0F)
    items = list(within) if isinstance(within, Sequence) and not isinstance(within, (str, bytes)) else []
    said = look("ASLContext") or next(filter(None, (_private(one, 0x2005, philips, 0x29) for one in (ds, *items))), "")
    return _text(said).strip().lower()


def _dimension(look: Lookup) -> str:
    """The Dimension Index Values (0020,9157) of a frame, but for those of its place in a stack (PS3.3 C.7.6.17)."""
    values, dimensions = look("DimensionIndexValues"), look("DimensionIndexSequence")
    indices = [values] if isinstance(values, int) else list(values or ())
    if not dimensions or len(indices) != len(dimensions):
        return ""
    pointers = [dimension.get("DimensionIndexPointer") for dimension in dimensions]
    return "\\".join(str(index) for index, pointer in zip(indices, pointers, strict=True) if pointer not in PLACES)


def _acquisition(look: Lookup) -> str:
    return _text(look("AcquisitionNumber")) or _text(look("FrameAcquisitionNumber"))


def distinguishing(ds: Dataset, image_type: tuple[str, ...], look: Lookup) -> tuple[tuple[str, str], ...]:
    """All distinguishing attributes of one frame that have a value.

    ds: where private elements stand (the instance, or a frame's functional groups); look: see `Lookup`.
    """
    found = {
        "kind": _kind(image_type, look) or _ge_kind(ds),
        "echo_time": _rounded(look("EffectiveEchoTime")) or _rounded(look("EchoTime")),
        "b_value": _b_value(ds, look),
        "gradient": _gradient(ds, look),
        "inversion_time": _rounded(look("InversionTime")) or _rounded(look("InversionTimes")),
        "temporal": _text(look("TemporalPositionIdentifier")) or _text(look("TemporalPositionIndex")),
        "label": _label(ds, look),
        "cardiac_phase": _rounded(look("NominalPercentageOfCardiacPhase"))
        or _rounded(look("NominalCardiacTriggerDelayTime")),
        "kernel": _text(look("ConvolutionKernel")),
        "stack": _text(look("StackID")),
        "reconstruction": _text(look("ReconstructionIndex")),
        "flip_angle": _rounded(look("FlipAngle")),
        "thickness": _rounded(look("SliceThickness")),
        "contrast": _text(look("ContrastBolusAgent")),
        "image_type": "\\".join(image_type),
        "frame_time": _rounded(look("FrameReferenceTime")),
        "echo_number": _text(look("EchoNumbers")),
        "energy": _rounded(look("KVP")) + _text(look("MonoenergeticEnergyEquivalent")),
        "acquisition": _acquisition(look),
        "percent": _rounded(look("NominalPercentageOfRespiratoryPhase")) or _percent(look),
        "coil": _text(look("ReceiveCoilName")),
        "scan_options": _text(look("ScanOptions")),
        "sequence_name": _text(look("SequenceName")),
        "description": _text(look("SeriesDescription")),
        "dimension": _dimension(look),
        "trigger_time": _rounded(look("TriggerTime")),
        "acquisition_time": _text(look("FrameAcquisitionDateTime"))
        or _text(look("AcquisitionDateTime"))
        or _text(look("AcquisitionDate")) + _text(look("AcquisitionTime")),
        "content_time": _text(look("ContentTime")),
        "instance_number": _text(look("InstanceNumber")),
    }
    return tuple((name, value) for name, value in found.items() if value)
