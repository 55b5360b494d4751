"""The phantom's CT series rewritten as MR Image or PET Image Storage, valid to dciodvfy: same geometry, own modules.

Only what a SOP class asks for is set (PS3.3 A.4, A.21); the stored values stay, so the truth masks hold for all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom.legacy
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, PositronEmissionTomographyImageStorage

MODALITIES = ("CT", "MR", "PT")
_CONVERTERS = {
    "CT": highdicom.legacy.LegacyConvertedEnhancedCTImage,
    "MR": highdicom.legacy.LegacyConvertedEnhancedMRImage,
    "PT": highdicom.legacy.LegacyConvertedEnhancedPETImage,
}
_CT_ONLY = ("KVP", "AcquisitionNumber", "RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter")
_MR: dict[str, Any] = {
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "NONE"],
    "ScanningSequence": "SE",
    "SequenceVariant": "NONE",
    "ScanOptions": "",
    "MRAcquisitionType": "2D",
    "RepetitionTime": "600",
    "EchoTime": "12",
    "EchoTrainLength": "1",
    "MagneticFieldStrength": "1.5",
}
_PT: dict[str, Any] = {
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "Units": "BQML",
    "CountsSource": "EMISSION",
    "SeriesType": ["WHOLE BODY", "IMAGE"],
    "CorrectedImage": ["DECY", "ATTN", "SCAT"],
    "DecayCorrection": "START",
    "CollimatorType": "NONE",
    "ReconstructionMethod": "OSEM",
    "RescaleIntercept": "0",
    "PatientWeight": "75",
    "FrameReferenceTime": "30000",
    "ActualFrameDuration": "60000",
    "DecayFactor": "1",
    "AcquisitionTime": "120010",
}
DOSE_BQ, HALF_LIFE_S, WAITED_S = 300e6, 6586.2, 3600


def rewrite(paths: Sequence[Path], modality: str) -> None:
    """Rewrite a CT series of the phantom in place as `modality`; CT stays as it is."""
    if modality == "CT":
        return
    for path in paths:
        ds = pydicom.dcmread(path)
        for keyword in (*_CT_ONLY, "WindowWidth", "GantryDetectorTilt"):
            if keyword in ds:
                delattr(ds, keyword)
        for keyword, value in (_MR if modality == "MR" else _PT).items():
            setattr(ds, keyword, value)
        ds.SOPClassUID = MRImageStorage if modality == "MR" else PositronEmissionTomographyImageStorage
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.Modality = modality
        if modality == "PT":
            _positron(ds, len(paths))
        ds.save_as(path, enforce_file_format=True)


def merge(paths: Sequence[Path], modality: str) -> None:
    """Put a series of single-frame files into one multi-frame object, as highdicom converts it (PS3.3 A.70 to A.72)."""
    slices = [pydicom.dcmread(path) for path in paths]
    for ds in slices:
        ds.WindowCenter = ds.get("WindowCenter", "40")  # without them the Frame VOI LUT is not valid
        ds.WindowWidth = ds.get("WindowWidth", "400")
    merged = _CONVERTERS[modality](
        slices,
        series_instance_uid=slices[0].SeriesInstanceUID,
        series_number=slices[0].SeriesNumber,
        sop_instance_uid=f"{slices[0].SOPInstanceUID}.1"[:64],
        instance_number=1,
    )
    del merged.ReferencedSeriesSequence  # without an instance in it
    for path in paths:
        path.unlink()
    merged.save_as(paths[0])


def _positron(ds: Dataset, count: int) -> None:
    ds.NumberOfSlices, ds.ImageIndex = count, ds.InstanceNumber
    ds.BitsStored, ds.HighBit = 16, 15
    ds.RescaleSlope = str(1 + int(ds.InstanceNumber) % 3)  # differs from slice to slice, as scanners write it
    nuclide, drug = _code("77004003", "SCT", "^18^Fluorine"), Dataset()
    drug.RadionuclideCodeSequence = [nuclide]
    drug.RadiopharmaceuticalStartTime, drug.RadionuclideTotalDose = "110000", str(int(DOSE_BQ))
    drug.RadionuclideHalfLife = str(HALF_LIFE_S)
    drug.RadiopharmaceuticalCodeSequence = [_code("35321007", "SCT", "Fluorodeoxyglucose F^18^")]
    ds.RadiopharmaceuticalInformationSequence = [drug]
    del ds.PatientPosition  # not beside the sequence (PS3.3 C.7.3.1)
    ds.PatientOrientationCodeSequence = [_code("102538003", "SCT", "recumbent")]
    ds.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [_code("40199007", "SCT", "supine")]
    ds.PatientGantryRelationshipCodeSequence = [_code("102540001", "SCT", "headfirst")]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
