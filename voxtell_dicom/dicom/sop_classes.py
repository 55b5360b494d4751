"""The families of SOP classes: images that are segmented, images that are not, and objects that are no acquired image.

UIDs: PS3.6 annex A, PS3.4 B.5. What is no acquired image starts no work unless a rule asks for its class, so a PACS
that forwards everything it stores, our results included, runs one job (docs/rules.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from pydicom.uid import UID

_STORAGE = "1.2.840.10008.5.1.4.1.1."

SINGLE_FRAME: Final = frozenset(_STORAGE + uid for uid in ("2", "4", "128"))  # CT, MR, PET
MULTI_FRAME: Final = frozenset(  # with functional groups
    _STORAGE + uid
    for uid in (
        *("2.1", "2.2", "4.1", "4.4", "130", "128.1"),  # Enhanced and Legacy Converted Enhanced
        *("13.1.1", "13.1.2"),  # X-Ray 3D Angiographic and Craniofacial: cone beam CT
    )
)
NUCLEAR_MEDICINE: Final = _STORAGE + "20"  # frames without functional groups
BREAST_TOMOSYNTHESIS: Final = _STORAGE + "13.1.3"
COLOUR_MR: Final = _STORAGE + "4.3"
MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR
_ULTRASOUND = (_STORAGE + "3", _STORAGE + "6")
_NOT_ACQUIRED = {  # class, or root of classes, under the standard's storage classes → family; the longest root decides
    "4.2": "spectroscopy",
    "7": "secondary-capture",
    "8": "presentation-state",  # retired: overlays, and the two look-up tables below
    "9": "waveform",  # ECG, audio, and the retired curves
    "10": "presentation-state",
    "11": "presentation-state",
    "30": "parametric-map",
    "66": "raw-data",  # also spatial registrations, fiducials, surfaces, tractography
    "66.4": "segmentation",
    "66.7": "segmentation",
    "66.8": "segmentation",
    "67": "real-world-value-mapping",
    "68": "surface-scan",
    "77.1.5.3": "stereometric-relationship",
    "78": "measurements",  # ophthalmic
    "79": "measurements",
    "80": "measurements",
    "81": "measurements",  # maps of thickness and topography
    "82": "measurements",
    "88": "structured-report",
    "88.59": "key-object-selection",
    "88.67": "dose-report",
    "88.68": "dose-report",
    "90": "measurements",
    "91": "annotations",
    "104": "encapsulated-document",
    "129": "waveform",  # retired: PET curves
    "131": "presentation-state",
    "200": "protocol",
    "201": "inventory",
    "481": "radiotherapy",  # structure sets, plans, doses, images, records
}
_FAMILIES: Final = {_STORAGE + root: family for root, family in _NOT_ACQUIRED.items()} | {
    "1.2.840.10008.5.1.4.34": "radiotherapy",  # delivery instructions
    "1.2.840.10008.5.1.4.38": "protocol",  # hanging protocols
    "1.2.840.10008.5.1.4.39": "protocol",  # colour palettes
    "1.2.840.10008.5.1.4.43": "implant-template",
    "1.2.840.10008.5.1.4.44": "implant-template",
    "1.2.840.10008.5.1.4.45": "implant-template",
    "1.3.12.2.1107.5.9.1": "raw-data",  # Siemens: CSA Non-Image
    "1.3.46.670589.11.0.0.12.1": "raw-data",  # Philips: MR Spectrum
    "1.3.46.670589.11.0.0.12.2": "raw-data",  # Philips: MR Series Data
    "1.3.46.670589.11.0.0.12.4": "raw-data",  # Philips: MR Examcard
}
NOT_ACQUIRED_ROOTS: Final = tuple(_FAMILIES)
_X_RAY = "an X-ray projection has no slices"
_OPTICAL = "optical images are not segmented"
_NO_VOLUME: Final = {  # class, or root of classes → why its images are no volume; the longest root decides
    _STORAGE + root: why
    for root, why in {
        "1": _X_RAY,  # computed and digital radiography, mammography, intra-oral
        "5": "this retired class says no place of its frames",  # nuclear medicine
        "12": _X_RAY,  # angiography and fluoroscopy
        "13.1.4": _X_RAY,  # breast
        "13.1.5": _X_RAY,
        "14": _OPTICAL,  # intravascular
        "77": _OPTICAL,  # endoscopy, microscopy, photography, ophthalmology
    }.items()
}


def not_acquired_family(sop_class_uid: str) -> str:
    """Return the family of a class that is no acquired image ("segmentation", "waveform" …); "" for all others.

    A class that is not known, a private one included, may be an image: it gets "".
    """
    return _of_longest_root(sop_class_uid, _FAMILIES)


def why_no_volume(sop_class_uid: str) -> str:
    """Return why images of a class that is not segmented make no volume."""
    why = _of_longest_root(sop_class_uid, _NO_VOLUME)
    return why or "only CT, MR, PET, X-ray 3D and reconstructed NM images are segmented"


def _of_longest_root(sop_class_uid: str, table: Mapping[str, str]) -> str:
    root = sop_class_uid
    while root:
        if found := table.get(root):
            return found
        root = root.rpartition(".")[0]
    return ""


def starts_work(sop_class_uid: str, requested: Collection[str] = ()) -> bool:
    """Return True if instances of a class start work.

    requested: SOP Class UIDs that rules ask for by a condition on SOPClassUID (`rules.requested_classes`).
    """
    return sop_class_uid in requested or not not_acquired_family(sop_class_uid)


def is_ultrasound(sop_class_uid: str) -> bool:
    """Return True for the ultrasound images, retired ones included."""
    return any(sop_class_uid == root or sop_class_uid.startswith(f"{root}.") for root in _ULTRASOUND)


def class_name(sop_class_uid: str) -> str:
    """Return the standard's name of a SOP class, or the UID where it has none."""
    return UID(sop_class_uid).name if sop_class_uid else "no SOP class"
