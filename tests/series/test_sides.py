"""Which prompts tell a side of the body: those that do are judged, all others are left alone."""

from __future__ import annotations

import pytest

from voxtell_dicom.terms.sides import of_a_limb, plain, side_of

LEFT = (
    *("left kidney", "kidney_left", "kidney_l", "L kidney", "Lt kidney", "kidney (L)", "Kidney - Left"),
    *("left-sided pleural effusion", "the patient's left adrenal gland", "lymph nodes of the left axilla"),
    *("rib_left_1", "left 3rd and 4th rib", "upper lobe of the left lung", "left lung without tumor"),
    *("tumor on the left", "left subdural hematoma", "left MCA infarct", "left thyroid lobe", "left thalamus"),
    *("left common carotid artery", "left renal artery", "left iliac vein", "left femur", "psoas_major_left"),
    *("left maxillary sinus", "left eyeball", "left parotid gland", "left temporal lobe", "rectus_abdominis_left"),
)
UNTOLD = (
    # the heart and what begins at the midline, or crosses it
    *("left atrium", "heart_atrium_left", "right ventricle", "left ventricular myocardium", "left atrial appendage"),
    *("right coronary artery", "left anterior descending artery", "left circumflex artery", "left coronary cusp"),
    *("left bundle branch", "right aortic arch", "left brachiocephalic vein", "left innominate vein"),
    *("left renal vein", "left renal veins", "left pulmonary arteries", "right pulmonary veins", "left gastric artery"),
    # the brain's ventricles move with its midline
    "left lateral ventricle",
    # sides of an organ
    *(
        "left lobe of liver",
        "right hepatic vein",
        "left portal vein",
        "left hepatic duct",
        "left lobe",
        "left hemiliver",
    ),
    *("left lateral section", "right half of the bladder", "left colic flexure"),
    # airways, spine, crura
    *("left main bronchus", "left paratracheal lymph node", "left L5 nerve root", "right pedicle", "right crus"),
    # a head turned by 15 degrees carries the nose's half across, by 30 an optic nerve
    *("nasal_cavity_left", "left optic nerve", "medial_rectus_muscle_left", "left frontal sinus", "left vocal cord"),
    *("left palatine tonsil", "upper left central incisor"),
    # what may lie anywhere
    *("left colon", "right sigmoid colon"),
    *("left ovary", "left ovarian cyst", "right testicle", "left inguinal hernia", "left kidney transplant"),
    *("left hand", "right forearm", "left foot", "right ankle"),
    # no side of the body, or two
    *("left of the spine", "tumor right of the aorta", "right side of the body", "shift to the left"),
    *("kidney left over", "tissue left after surgery", "the node right behind the carotid", "right angle"),
    *(
        "left and right kidney",
        "left kidney, right kidney",
        "bright spot",
        "upright",
        "L 5",
        "kidney",
        "Rt and lt lung",
    ),
)


@pytest.mark.parametrize("words", LEFT)
def test_a_side_is_told(words: str) -> None:
    assert side_of(words) == "left"
    mirrored = words.replace("left", "right").replace("Left", "Right").replace("Lt", "Rt").replace("L", "R")
    assert side_of(mirrored.replace("_l", "_r")) == "right" or "MCA" in words


@pytest.mark.parametrize("words", UNTOLD)
def test_no_side_is_told(words: str) -> None:
    assert side_of(words) == ""


def test_words_are_compared_in_one_form() -> None:
    assert plain("Kidney_L") == plain("kidney (left)") == "kidney left"
    assert plain("  Left   KIDNEY ") == plain("Lt. kidney") == "left kidney"


def test_a_limb_has_a_middle_of_its_own() -> None:
    assert all(map(of_a_limb, ("left femur", "right knee", "humerus_left", "left thigh muscles", "hip_right")))
    assert not any(map(of_a_limb, ("left kidney", "left lung", "right breast")))
