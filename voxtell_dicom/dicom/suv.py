"""The factor from the rescaled values of a PET image to SUV by body weight (PS3.3 C.8.9.1; QIBA's SUV pseudo-code).

SUVbw (g/mL) = activity concentration (Bq/mL) × body weight (g) / injected activity, decayed to the time that the image
is corrected to (Bq). Pure: one header in, one number out, or a Refusal that names the tag. Of multi-frame objects, the
header is that of one frame (`suv_frames.py`).
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from math import expm1, isfinite, log
from typing import Any, NoReturn

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import DA, DT, TM

from voxtell_dicom.errors import Refusal

WEIGHT_KG = (0.3, 500.0)
DOSE_BQ = (1e5, 2e10)  # what is written in MBq lies below
HALF_LIFE_S = (60.0, 1e6)  # rubidium-82 to iodine-124
DATELESS_HALF_LIFE_S = 6 * 3600.0  # of what lives longer, a time without a date may be of another day
WAIT_S, WAIT_HALF_LIVES = 6 * 3600.0, 4.0  # longest from injection to scan: the longer of the two
NO_DAY = date(2000, 1, 1)


def suv_factor(header: Dataset) -> float:
    """Return what rescaled values are multiplied with to be SUVbw in g/mL. header: of one PET image, pixels not needed.

    Raises Refusal (``suv``) naming the attribute that is missing or implausible.
    """
    if header.get("Modality") not in (None, "", "PT"):
        _refuse(header, "Modality", header.Modality, "SUV is of PET (PT)")
    units = str(header.get("Units") or "")
    if units == "GML":
        kind = str(header.get("SUVType") or "BW")  # PS3.3 C.8.9.1: body weight where absent
        return 1.0 if kind == "BW" else _refuse(header, "SUVType", kind, "not by body weight (BW)")
    to_bqml = 1.0
    if units == "CNTS":
        if suv := _philips(header, 0x00):
            return suv
        to_bqml = _philips(header, 0x09)
        if not to_bqml:
            words = "Philips' SUV Scale Factor (7053,1000) or Activity Concentration Scale Factor (7053,1009) is needed"
            _refuse(header, "Units", units, words)
    elif units != "BQML":
        _refuse(header, "Units", units, "BQML, GML, or CNTS with Philips' factors is needed")
    return to_bqml * _by_weight(header)


def _by_weight(header: Dataset) -> float:
    """From Bq/mL, by weight and injected activity."""
    corrected = header.get("CorrectedImage") or ()
    for correction in ("DECY", "ATTN"):
        if correction not in ([corrected] if isinstance(corrected, str) else list(corrected)):
            _refuse(header, "CorrectedImage", corrected, f"{correction} is not among the corrections")
    drugs: Any = header.get("RadiopharmaceuticalInformationSequence") or ()
    if len(drugs) != 1:
        _refuse(header, "RadiopharmaceuticalInformationSequence", f"{len(drugs)} items", "one item is needed")
    drug: Dataset = drugs[0]
    weight_g = 1000 * _number(header, header, "PatientWeight", WEIGHT_KG, "kg")
    dose = _number(header, drug, "RadionuclideTotalDose", DOSE_BQ, "Bq")
    decay = str(header.get("DecayCorrection") or "")
    if decay == "ADMIN":
        return weight_g / dose
    if decay != "START":
        _refuse(header, "DecayCorrection", decay, "START or ADMIN is needed")
    half_life = _number(header, drug, "RadionuclideHalfLife", HALF_LIFE_S, "s")
    return float(weight_g / (dose * 2 ** (-_waited(header, drug, half_life) / half_life)))


def _philips(header: Dataset, offset: int) -> float:
    """One of Philips' factors for counts; 0 where it is missing or none."""
    try:
        value = header.private_block(0x7053, "Philips PET Private Group")[offset].value
        factor = float(value.decode("ascii") if isinstance(value, bytes) else value)
    except (KeyError, TypeError, ValueError):
        return 0.0
    return factor if isfinite(factor) and factor > 0 else 0.0


def _corrected_to(header: Dataset, half_life: float) -> datetime:
    """The time that the image is decay corrected to: the stated one, else the start of the scan.

    Series Time says when that was, unless it is of a derived series, later than its acquisition. Then GE's own element
    tells, else the moment within a frame at which the decaying activity has its mean (QIBA, for Siemens).
    """
    if header.get("DecayCorrectionDateTime"):
        return _instant(header, header, "DecayCorrectionDateTime")
    start = _moment(header, "SeriesDate", "SeriesTime")
    acquired = _moment(header, "AcquisitionDate", "AcquisitionTime")
    if not (header.get("SeriesDate") and header.get("AcquisitionDate")):
        acquired = datetime.combine(start.date(), acquired.time())
    if start <= acquired:
        return start
    ge = _ge_scan(header)
    if ge is not None:
        return ge
    try:
        reference_s = float(header.FrameReferenceTime) / 1000
        duration_s = float(header.ActualFrameDuration) / 1000
    except (AttributeError, TypeError, ValueError):
        reference_s = duration_s = 0.0
    if not (reference_s > 0 and duration_s > 0):
        words = "after Acquisition Time (0008,0032), and neither GE's scan time (0009,100D) nor Frame Reference Time "
        _refuse(header, "SeriesTime", header.SeriesTime, words + "(0054,1300) and Actual Frame Duration (0018,1242)")
    decay = log(2) * duration_s / half_life
    mean_s = duration_s / decay * log(decay / -expm1(-decay))
    return acquired + timedelta(seconds=mean_s - reference_s)


def _ge_scan(header: Dataset) -> datetime | None:
    """GE's PET scan date and time; None where it is missing or none."""
    try:
        value = header.private_block(0x0009, "GEMS_PETD_01")[0x0D].value
        found: datetime | None = DT(value.decode("ascii").strip(" \0") if isinstance(value, bytes) else str(value))
    except (KeyError, TypeError, ValueError):
        return None
    return None if found is None else found.replace(tzinfo=None)


def _instant(header: Dataset, place: Dataset, keyword: str) -> datetime:
    """A date and time as the other times of the header count it: local to where Timezone Offset From UTC says."""
    found: datetime = _parsed(header, place, keyword, DT)
    offset = str(header.get("TimezoneOffsetFromUTC") or "")
    if found.tzinfo is not None and re.fullmatch(r"[+-]\d{4}", offset):
        minutes = (int(offset[1:3]) * 60 + int(offset[3:])) * (-1 if offset[0] == "-" else 1)
        found = found.astimezone(timezone(timedelta(minutes=minutes)))
    return found.replace(tzinfo=None)


def _waited(header: Dataset, drug: Dataset, half_life: float) -> float:
    """Seconds from injection to the time that the image is decay corrected to."""
    start = _corrected_to(header, half_life)
    keyword = "RadiopharmaceuticalStartDateTime"
    if drug.get(keyword):
        injected = _instant(header, drug, keyword)
    else:
        keyword = "RadiopharmaceuticalStartTime"
        if half_life > DATELESS_HALF_LIFE_S:
            _refuse(header, keyword, drug.get(keyword), "without a date, for a nuclide that lives for days")
        injected = datetime.combine(start.date(), _parsed(header, drug, keyword, TM))
        if injected > start:
            injected -= timedelta(days=1)  # before midnight
    waited: float = (start - injected).total_seconds()
    if not 0 <= waited <= max(WAIT_S, WAIT_HALF_LIVES * half_life):
        _refuse(header, keyword, drug.get(keyword), f"{waited / 3600:.1f} h before the scan")
    return waited


def _moment(header: Dataset, day: str, time: str) -> datetime:
    of_day = _parsed(header, header, time, TM)
    return datetime.combine(_parsed(header, header, day, DA) if header.get(day) else NO_DAY, of_day)


def _parsed(header: Dataset, place: Dataset, keyword: str, kind: Any) -> Any:
    try:
        value = kind(str(place.get(keyword) or ""))
    except ValueError:
        value = None
    return value if value else _refuse(header, keyword, place.get(keyword), "not a valid date or time")


def _number(header: Dataset, place: Dataset, keyword: str, bounds: tuple[float, float], unit: str) -> float:
    try:
        value = float(place.get(keyword))
    except (TypeError, ValueError):
        value = float("nan")
    if not bounds[0] <= value <= bounds[1]:
        _refuse(header, keyword, place.get(keyword), f"{bounds[0]:g} to {bounds[1]:g} {unit} is plausible")
    return value


def _refuse(header: Dataset, keyword: str, value: Any, why: str) -> NoReturn:
    tag = Tag(tag_for_keyword(keyword) or 0)
    uid = str(header.get("SOPInstanceUID") or "")
    shown = "missing" if value in (None, "") else f"{value}"
    raise Refusal("suv", f"{uid}: {dictionary_description(tag)} {tag} is {shown}: {why}".removeprefix(": "), uid)
