"""Attributes of patient and study that every result of a series repeats (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1–C.7.2.3)."""

from __future__ import annotations

from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

TYPE_2: Final = (  # written empty where the source has none
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_PATIENT: Final = (
    *("IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence", "PatientBirthTime"),
    *("SourcePatientGroupIdentificationSequence", "GroupOfPatientsIdentificationSequence"),
    *("PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "PatientAlternativeCalendar"),
    *("QualityControlSubject", "StrainDescription", "StrainNomenclature", "StrainStockSequence"),
    *("StrainAdditionalInformation", "StrainCodeSequence", "GeneticModificationsSequence", "OtherPatientNames"),
    *("OtherPatientIDsSequence", "EthnicGroupCodeSequence", "PatientSpeciesDescription", "PatientSpeciesCodeSequence"),
    *("PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson"),
    *("ResponsiblePersonRole", "ResponsibleOrganization", "PatientComments", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified"),
)
_TRIAL_SUBJECT: Final = (
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
    *("IssuerOfClinicalTrialProtocolID", "OtherClinicalTrialProtocolIDsSequence", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "IssuerOfClinicalTrialSiteID", "ClinicalTrialSubjectID"),
    *("IssuerOfClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "IssuerOfClinicalTrialSubjectReadingID"),
    *("ClinicalTrialProtocolEthicsCommitteeName", "ClinicalTrialProtocolEthicsCommitteeApprovalNumber"),
)
_STUDY: Final = (
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName"),
    *("ConsultingPhysicianIdentificationSequence", "StudyDescription", "ProcedureCodeSequence", "PhysiciansOfRecord"),
    *("PhysiciansOfRecordIdentificationSequence", "NameOfPhysiciansReadingStudy"),
    *("PhysiciansReadingStudyIdentificationSequence", "ReferencedStudySequence", "RequestingService"),
    *("RequestingServiceCodeSequence", "ReasonForPerformedProcedureCodeSequence"),
)
_PATIENT_STUDY: Final = (
    *("AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize"),
    *("PatientSizeCodeSequence", "PatientBodyMassIndex", "MeasuredAPDimension", "MeasuredLateralDimension"),
    *("PatientWeight", "MedicalAlerts", "Allergies", "Occupation", "SmokingStatus", "AdditionalPatientHistory"),
    *("PregnancyStatus", "LastMenstrualDate", "PatientSexNeutered", "ReasonForVisit", "ReasonForVisitCodeSequence"),
    *("AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription"),
    *("IssuerOfServiceEpisodeIDSequence", "PatientState"),
)
_TRIAL_STUDY: Final = (
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription", "LongitudinalTemporalOffsetFromEvent"),
    *("LongitudinalTemporalEventType", "ClinicalTrialTimePointTypeCodeSequence", "IssuerOfClinicalTrialTimePointID"),
    "ConsentForClinicalTrialUseSequence",
)
PATIENT_AND_STUDY: Final = (*TYPE_2, *_PATIENT, *_TRIAL_SUBJECT, *_STUDY, *_PATIENT_STUDY, *_TRIAL_STUDY)

# Written, empty if need be, where an attribute of the first column is there (types 2 and 2C of these modules).
_NEEDED_WITH: Final = (
    (("ClinicalTrialSponsorName",), ("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName")),
    (("ClinicalTrialTimePointDescription",), ("ClinicalTrialTimePointID",)),
    (
        ("PatientSpeciesDescription", "PatientSpeciesCodeSequence"),
        (
            *("PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence"),
            *("ResponsiblePerson", "ResponsibleOrganization", "PatientSexNeutered"),
        ),
    ),
)


def copy_subject(ds: Dataset, header: Dataset) -> None:
    """Write the patient's and the study's attributes of a source header into a result, what is needed empty."""
    for keyword in PATIENT_AND_STUDY:
        if header.get(keyword):
            ds[keyword] = header[keyword]
        elif keyword in TYPE_2:
            _write_empty(ds, keyword)
    for owners, needed in _NEEDED_WITH:
        if any(header.get(owner) for owner in owners):
            for keyword in needed:
                if not ds.get(keyword):
                    _write_empty(ds, keyword)


def _write_empty(ds: Dataset, keyword: str) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    ds.add_new(tag, dictionary_VR(tag), [] if dictionary_VR(tag) == "SQ" else "")
