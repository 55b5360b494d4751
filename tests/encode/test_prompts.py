"""What people of all countries type, and the labels of public data sets: their codes, or none."""

from __future__ import annotations

import pytest

from voxtell_dicom.terms.terminology import Term, term_of

STRUCTURE, ABNORMAL = "Anatomical Structure", "Morphologically Abnormal Structure"
TISSUE, OBJECT, SUBSTANCE = "Tissue", "Physical object", "Body Substance"


def told(term: Term) -> tuple[str, str, str]:
    """Type, side and region in the words of their meanings."""
    side = term.laterality.meaning if term.laterality else ""
    return term.type.meaning, side, term.region.meaning if term.region else ""


@pytest.mark.parametrize(
    ("prompt", "kind", "side"),
    [
        # sides: letters, abbreviations, Latin, "-sided", a dash, twice
        ("L kidney", "Kidney", "Left"),
        ("kidney (L)", "Kidney", "Left"),
        ("kidney_r", "Kidney", "Right"),
        ("Lt kidney", "Kidney", "Left"),
        ("RT kidney", "Kidney", "Right"),
        ("rt. lung", "Lung", "Right"),
        ("Kidney - Left", "Kidney", "Left"),
        ("Lung - Right - upper lobe", "Upper lobe of lung", "Right"),
        ("ren sinister", "Kidney", "Left"),
        ("arteria carotis communis dextra", "Common carotid artery", "Right"),
        ("left kidney and right kidney", "Kidney", "Right and left"),
        ("the patient's left adrenal gland", "Adrenal gland", "Left"),
        ("the patient's kidney", "Kidney", ""),
        ("lung, right;", "Lung", "Right"),
        ("upper lobes", "Upper lobe of lung", "Right and left"),
        ("hips", "Hip", "Right and left"),
        # structures that name a side themselves
        ("heart_atrium_left", "Left atrium", ""),
        ("right ventricle of the heart", "Right ventricle", ""),
        ("atrial_appendage_left", "Left auricular appendage", ""),
        ("left colic flexure", "Splenic flexure of colon", ""),
        ("left portal vein", "Left Main Branch of Portal Vein", ""),
        ("left thyroid lobe", "Left lobe of thyroid", ""),
        ("left_coronary_cusp", "Left cusp of aortic valve", ""),
        # vertebrae, discs, segments of the liver
        ("Th12", "T12 vertebra", ""),
        ("D12", "T12 vertebra", ""),
        ("L 5", "L5 vertebra", ""),
        ("vertebrae_S1", "S1 vertebra", ""),
        ("lumbar vertebrae", "Lumbar vertebra", ""),
        ("vertebrae_body", "Vertebral body", ""),
        ("intervertebral disk L4/5", "L4/L5 disc", ""),
        ("L5-S1 disc", "L5/S1 disc", ""),
        ("liver segment VIII", "Couinaud hepatic segment VIII", ""),
        ("segment 4 of the liver", "Couinaud hepatic segment IV", ""),
        ("liver_segment_1", "Couinaud hepatic segment I", ""),
        # labels of data sets (TotalSegmentator, AMOS, HaN-Seg and AAPM TG-263, PROSTATEx)
        ("iliac_vena_left", "Iliac vein", "Left"),
        ("clavicula_right", "Clavicle", "Right"),
        ("autochthon_left", "Deep muscle of back", "Left"),
        ("lateral_rectus_muscle_right", "Lateral rectus muscle", "Right"),
        ("masseter_left", "Masseter muscle", "Left"),
        ("pectoralis_major_right", "Pectoralis major muscle", "Right"),
        ("ventricle_temporal_horn_left", "Inferior horn of lateral ventricle", "Left"),
        ("Parotid_L", "Parotid gland", "Left"),
        ("A_Carotid_R", "Carotid Artery", "Right"),
        ("OpticChiasm", "Optic chiasm", ""),
        ("Glnd_Submand_L", "Submandibular gland", "Left"),
        ("SpinalCord", "Spinal cord", ""),
        ("PZ", "Peripheral zone of the prostate", ""),
        # names beside the standard's own
        ("celiac trunk", "Truncus coeliacus", ""),
        ("main portal vein", "Portal vein", ""),
        ("pancreatic head", "Head of pancreas", ""),
        ("bladder wall", "Wall of urinary bladder", ""),
        ("renal cortex", "Cortex of kidney", ""),
        ("insular cortex", "Insula", ""),
        ("pons", "Pons", ""),
        ("testicles", "Testis", "Right and left"),
        ("uterine cervix", "Cervix", ""),
        ("left femoral neck", "Neck of femur", "Left"),
        ("cor", "Heart", ""),
    ],
)
def test_anatomy(prompt: str, kind: str, side: str) -> None:
    term = term_of(prompt)
    assert told(term) == (kind, side, "")
    assert term.category.meaning == STRUCTURE


@pytest.mark.parametrize(
    ("prompt", "kind", "side", "region"),
    [
        ("left-sided kidney cyst", "Cyst", "Left", "Kidney"),
        ("tumor on the left side", "Neoplasm", "Left", ""),
        ("tumor in left atrium", "Neoplasm", "", "Left atrium"),
        ("thrombus in the left ventricle", "Thrombus", "", "Left ventricle"),
        ("nodule in the right middle lobe", "Nodule", "", "Middle lobe of right lung"),
        ("mass in the left thyroid lobe", "Mass", "", "Left lobe of thyroid"),
        ("lesion in liver segment 8", "Lesion", "", "Couinaud hepatic segment VIII"),
        ("pulmonary metastases", "Neoplasm, Secondary", "", "Lung"),
        ("abdominal aortic aneurysm", "Aneurysm", "", "Abdominal aorta"),
        ("left MCA aneurysm", "Aneurysm", "Left", "Middle Cerebral Artery"),
        ("intracerebral_hemorrhage", "Hemorrhage", "", "Brain"),
        ("haemangioma of the liver", "Hemangioma", "", "Liver"),
        ("uterine fibroids", "Leiomyoma", "", "Uterus"),
        ("pituitary adenoma", "Adenoma", "", "Pituitary"),
        ("portal vein thrombosis", "Thrombus", "", "Portal vein"),
        ("rectal cancer", "Neoplasm", "", "Rectum"),
        ("nasopharyngeal carcinoma", "Neoplasm", "", "Nasopharynx"),
        ("pelvic mass", "Mass", "", "Pelvis"),
        ("lesion in vertebra T2", "Lesion", "", "T2 vertebra"),
        ("T12 metastasis", "Neoplasm, Secondary", "", "T12 vertebra"),
        ("C6 lesion", "Lesion", "", "C6 vertebra"),
    ],
)
def test_findings(prompt: str, kind: str, side: str, region: str) -> None:
    term = term_of(prompt)
    assert told(term) == (kind, side, region)
    assert term.category.meaning == ABNORMAL


@pytest.mark.parametrize(
    ("prompt", "category", "kind", "side", "region"),
    [
        ("lung_vessels", TISSUE, "Blood Vessel", "", "Lung"),
        ("catheter in the right atrium", OBJECT, "Catheter", "", "Right atrium"),
        ("left ureter stent", OBJECT, "Stent", "Left", "Ureter"),
        ("pacemaker leads", OBJECT, "Cardiac pacemaker lead", "", ""),
        ("IVC filter", OBJECT, "Vena cava filter", "", ""),
        ("ascites", SUBSTANCE, "Ascitic fluid", "", ""),
    ],
)
def test_what_is_neither(prompt: str, category: str, kind: str, side: str, region: str) -> None:
    term = term_of(prompt)
    assert (term.category.meaning, *told(term)) == (category, kind, side, region)


STRUCTURES = (
    # a wall, a floor, a table, a suture and a wing of the body are not those of a house, a shop or a bird
    *("stomach wall", "aortic wall", "floor of pelvis", "orbital floor", "skull table", "skull suture", "iliac wing"),
    *("wing", "end plate of L3", "eustachian tube", "neural tube"),
    # more than one thing, or all but one of them
    *("kidney + tumor", "kidney & tumor", "kidney/tumor", "liver with tumor", "liver and spleen"),
    *("liver;tumor", "liver | lesion", "kidney\ncyst"),
    *("liver without tumor", "tumor-free liver", "kidney excluding cyst", "non-tumorous liver"),
    *("left lung and right kidney", "ribs 3-5", "vertebrae T1-T12", "liver > 300", "~liver"),
    # words of other scripts and languages must not fall out of what is understood
    *("肝臓 lung", "нет liver", "ohne Leber", "sin riñón", "left 腎", "rein gauche"),
    # what there is one of has no side
    *("L spine", "left aortic arch", "left pons", "left third ventricle", "right L4/L5 disc"),
    # "left" and "right" that are no sides
    *("what is left of the liver", "liver left after resection", "bright spot", "upright"),
    *("left bundle", "left heart", "left side of the liver", "left side"),
    # what a word may mean twice: a node of the cystic duct, a segment of what, half of a thing, a letter
    *("cystic lymph node", "S1", "D2", "segment 7", "liver segment 4a", "transition zone", "media", "line", "axis"),
    *("perfusion", "caudate lobe", "LA", "livr", "T13 vertebra"),
    # how much of it there is
    *("left ventricle mass", "left ventricular mass", "myocardial mass", "body mass", "muscle mass", "bone mass"),
)
ABNORMALITIES = (
    *("liver - tumor", "liver, tumor", "cyst, left kidney"),  # a tumour in it, what the tumour leaves of it, or both
    "nodule in the left middle lobe",
    *("T2 lesion", "T3 tumor", "C6 aneurysm", "body tumor"),  # a weighting, a stage, a segment of the carotid; of what
    *("disc herniation", "honeycombing", "pneumoperitoneum", "fractured ribs", "aortic stenosis"),
    *("tumeur du foie", "Lebermetastasen", "lésion hépatique", "quiste renal", "Nierenzyste", "frattura costale"),
    *("HCC", "appendicolith", "hydrocele", "pancreatic duct dilatation"),
)
OBJECTS = (
    *("hip joint replacement", "dental fillings", "nasogastric tube", "PICC line", "biopsy needle", "VP shunt"),
    "foreign body in the esophagus",
)


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        *((prompt, STRUCTURE) for prompt in STRUCTURES),
        *((prompt, ABNORMAL) for prompt in ABNORMALITIES),
        *((prompt, OBJECT) for prompt in OBJECTS),
    ],
)
def test_what_is_private_and_of_which_category(prompt: str, category: str) -> None:
    term = term_of(prompt)
    assert term.private
    assert (term.category.meaning, term.laterality, term.region) == (category, None, None)
