"""The headers of a volume's source instances: identity from the newest, the same in all, or refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import text
from voxtell_dicom.dicom.elements import drop_broken
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.identity import CODES, require_one_value
from voxtell_dicom.errors import EncodingError, Refusal
from voxtell_dicom.model import Volume


@dataclass(frozen=True)
class Sources:
    """What encoding needs of the source instances.

    `newest` is the whole header of the instance that arrived last; `positions` the Image Position (Patient) of each
    frame of the volume as decimal strings, the source's own wherever it has them; `lossy` the ratios and methods of
    lossy compression that any instance names.
    """

    newest: Dataset
    positions: tuple[str, ...]
    lossy: bool
    lossy_ratio: tuple[float, ...] = ()
    lossy_method: tuple[str, ...] = ()


def read_sources(volume: Volume, source: HeaderSource) -> Sources:
    """Check the headers of a volume's instances against one another, and return what encoding needs of them.

    Raises Refusal (``mixed-patients``, ``mixed-studies``, ``mixed-series``) where identity differs within the series,
    EncodingError where a file no longer holds the frame that the volume was made of.
    """
    headers = {path: source(path) for path in _paths(volume)}
    _check_same(list(headers.values()), volume.series_uid)
    newest = source.copy(newest_path(volume))
    complete_header(newest)
    if str(newest.StudyInstanceUID) != volume.study_uid:
        raise Refusal(
            "mixed-studies",
            f"series {volume.series_uid}: Study Instance UID (0020,000D) is now {newest.StudyInstanceUID}, "
            f"it was {volume.study_uid} when the volume was made",
            volume.series_uid,
        )
    positions = []
    for frame in volume.frames:
        header = headers[frame.path]
        if str(header.SOPInstanceUID) != frame.sop_instance_uid:
            raise EncodingError(f"{frame.sop_instance_uid}: its file now holds instance {header.SOPInstanceUID}")
        positions.append(_position(header, frame.position_mm, frame.sop_instance_uid))
    lossy = [header for header in headers.values() if str(header.get("LossyImageCompression", "")) == "01"]
    example = lossy[0] if lossy else Dataset()
    return Sources(
        newest,
        tuple(positions),
        bool(lossy),
        tuple(float(v) for v in _values(example.get("LossyImageCompressionRatio"))),
        tuple(str(v) for v in _values(example.get("LossyImageCompressionMethod"))),
    )


def newest_path(volume: Volume) -> Path:
    """Return the file of the instance that arrived last."""
    return max(_paths(volume), key=lambda path: path.stat().st_mtime_ns)


def _paths(volume: Volume) -> list[Path]:
    return list(dict.fromkeys(frame.path for frame in volume.frames))


def complete_header(header: Dataset) -> None:
    """Remove from a source's header what must not stand in results that carry it, and fill in what they need.

    Values that their VR does not allow go, here and in all items. So do sequences without items (none of those that
    are carried may be empty), and an empty character set. Where identity was removed, how is type 1C (PS3.3 C.7.1.1).
    """
    drop_broken(header)
    for element in [element for element in header if element.VR == "SQ" and not element.value]:
        del header[element.tag]
    if not header.get("SpecificCharacterSet"):
        header.pop("SpecificCharacterSet", None)
    said = header.get("DeidentificationMethodCodeSequence") or header.get("DeidentificationMethod")
    if str(header.get("PatientIdentityRemoved", "")).strip() == "YES" and not said:
        header.DeidentificationMethod = "not stated in the source"


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def _check_same(headers: list[Dataset], series_uid: str) -> None:
    for keyword in CODES:
        values = [(text(header, "SOPInstanceUID"), text(header, keyword)) for header in headers]
        require_one_value(series_uid, keyword, values, advice="correct the series and send it again")


def _position(header: Dataset, position_mm: tuple[float, float, float], uid: str) -> str:
    """The decimal string of a frame's position: the source's own, after checking that it is the volume's."""
    own = header.get("ImagePositionPatient") if int(header.get("NumberOfFrames") or 1) == 1 else None
    if own is None or len(own) != 3:  # multi-frame: it lies in the functional groups, which the series room has read
        return "\\".join(decimal(value) for value in position_mm)
    if any(abs(float(a) - b) > 1e-6 * max(1.0, abs(b)) for a, b in zip(own, position_mm, strict=True)):
        raise EncodingError(
            f"{uid}: Image Position (Patient) (0020,0032) is {[float(v) for v in own]}, the volume says {position_mm}"
        )
    return "\\".join(str(getattr(value, "original_string", None) or decimal(float(value))).strip() for value in own)


def decimal(value: float) -> str:
    """A DS value: at most 16 characters, as exact as they allow (PS3.5 6.2)."""
    written = repr(float(value))
    if len(written) <= 16 and "e" not in written:
        return written.removesuffix(".0")
    for digits in range(16, 0, -1):
        written = f"{value:.{digits}g}"
        if len(written) <= 16:
            return written
    raise EncodingError(f"{value} cannot be written as a decimal string of 16 characters")
