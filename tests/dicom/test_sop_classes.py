"""One list of what is no acquired image, for receiving, rules and series."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from voxtell_dicom.config import Rule
from voxtell_dicom.dicom.library_internals import uid_of_keyword
from voxtell_dicom.dicom.sop_classes import MULTI_FRAME, SINGLE_FRAME, is_ultrasound, not_acquired_family, starts_work
from voxtell_dicom.rules import match
from voxtell_dicom.series.classify import set_aside_by_class

NOT_ACQUIRED = {  # 0.1 took the marked ones for work: † in receiving, ‡ in rules
    "TwelveLeadECGWaveformStorage": "waveform",  # †
    "RawDataStorage": "raw-data",  # †
    "EncapsulatedPDFStorage": "encapsulated-document",  # †
    "RTPlanStorage": "radiotherapy",  # †
    "RTDoseStorage": "radiotherapy",  # †
    "RTImageStorage": "radiotherapy",  # †
    "RTStructureSetStorage": "radiotherapy",
    "RTBeamsDeliveryInstructionStorage": "radiotherapy",  # † ‡
    "SpatialRegistrationStorage": "raw-data",  # †
    "RealWorldValueMappingStorage": "real-world-value-mapping",  # †
    "MRSpectroscopyStorage": "spectroscopy",  # † ‡
    "ParametricMapStorage": "parametric-map",  # † ‡
    "SegmentationStorage": "segmentation",
    "ComprehensiveSRStorage": "structured-report",
    "KeyObjectSelectionDocumentStorage": "key-object-selection",
    "XRayRadiationDoseSRStorage": "dose-report",
    "GrayscaleSoftcopyPresentationStateStorage": "presentation-state",
    "SecondaryCaptureImageStorage": "secondary-capture",
    "MultiFrameTrueColorSecondaryCaptureImageStorage": "secondary-capture",
    "CTDefinedProcedureProtocolStorage": "protocol",  # † ‡
}


@pytest.mark.parametrize(("keyword", "family"), NOT_ACQUIRED.items())
def test_no_room_takes_it_for_work(keyword: str, family: str) -> None:
    header = Dataset()
    header.Modality, header.SOPInstanceUID, header.SOPClassUID = "CT", "2.25.1", uid_of_keyword()[keyword]
    assert not starts_work(header.SOPClassUID)
    assert starts_work(header.SOPClassUID, {header.SOPClassUID})
    assert match([Rule(name="r", when={"Modality": "CT"}, prompts=["liver"])], [header], {})[0].why_not == "SOPClassUID"
    aside = set_aside_by_class(header)
    assert aside is not None
    assert (aside.code, aside.refused) == (family, False)


def test_the_vendors_raw_data_is_none_and_another_private_class_may_be_an_image() -> None:
    assert not starts_work("1.3.12.2.1107.5.9.1")
    assert not starts_work("1.3.46.670589.11.0.0.12.4")
    assert starts_work("1.3.46.670589.11.0.0.12.40")
    assert starts_work("1.2.3.4")


def test_images_start_work_be_they_segmented_or_refused() -> None:
    images = [uid for word, uid in uid_of_keyword().items() if "ImageStorage" in word and not not_acquired_family(uid)]
    assert {*SINGLE_FRAME, *MULTI_FRAME, uid_of_keyword()["ComputedRadiographyImageStorage"]} < {*images}
    assert all(map(starts_work, images))
    assert is_ultrasound(uid_of_keyword()["UltrasoundMultiFrameImageStorage"])
    assert not is_ultrasound(uid_of_keyword()["SecondaryCaptureImageStorage"])
