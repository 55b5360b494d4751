"""One patient, one study, no empty UIDs: what must hold before the geometry of a series is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import text
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import SetAside
from voxtell_dicom.series.header import FrameHeader

UIDS = (
    ("SOPClassUID", "SOP Class UID (0008,0016)"),
    ("SOPInstanceUID", "SOP Instance UID (0008,0018)"),
    ("StudyInstanceUID", "Study Instance UID (0020,000D)"),
    ("SeriesInstanceUID", "Series Instance UID (0020,000E)"),
)


def refuse_empty_uids(ds: Dataset, where: str) -> SetAside | None:
    """Refuses an instance one of whose identifying UIDs is absent or empty. `where` names it if its own UID cannot."""
    empty = [words for keyword, words in UIDS if not text(ds, keyword)]
    if not empty:
        return None
    sop = text(ds, "SOPInstanceUID")
    return SetAside("empty-uid", f"{sop or where}: {', '.join(empty)} is empty", (sop,) if sop else (), refused=True)


def check_identity(frames: Sequence[FrameHeader]) -> None:
    """Raises Refusal where the frames of one series are not of one patient, one study and one series."""
    if not frames:
        return
    uid = frames[0].series_uid
    for code, what, values in (
        ("mixed-patients", "Patient ID (0010,0020)", sorted({frame.patient_id for frame in frames})),
        ("mixed-patients", "Issuer of Patient ID (0010,0021)", sorted({frame.patient_id_issuer for frame in frames})),
        ("mixed-studies", "Study Instance UID (0020,000D)", sorted({frame.study_uid for frame in frames})),
        ("mixed-series", "Series Instance UID (0020,000E)", sorted({frame.series_uid for frame in frames})),
    ):
        if len(values) > 1:
            shown = f": {', '.join(values[:3])}" if code != "mixed-patients" else ""  # no patient data in logs
            raise Refusal(code, f"series {uid}: {len(values)} different values of {what}{shown}", uid)
