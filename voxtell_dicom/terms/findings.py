"""Prompts that describe a finding rather than anatomy: a model that names organs well may be poor at them.

Official VoxTell v1.1 reaches Dice 0.22 on the findings of reports (MIC-DKFZ/VoxTell, issue 11).
"""

from __future__ import annotations

import re

# Singular, or as it stands. Not "cystic" (duct), "tumorous" ("non-tumorous liver"); "stone" beside an organ.
_WORDS = (
    "abnormality", "abnormal", "abscess", "aneurysm", "ascites", "atelectasis", "bleed", "bleeding", "blood clot",
    "bronchiectasis", "calcification", "calculus", "cancer", "clot", "consolidation", "contusion", "cyst", "dilated",
    "dissection", "edema", "effusion", "embolism", "embolus", "emphysema", "enlarged", "fistula", "fluid collection",
    "fracture", "fractured", "free air", "free fluid", "gallstone", "haemorrhage", "haemothorax",
    "hemorrhage", "hemothorax", "hernia", "herniation", "fibroid", "honeycombing", "hyperintensity", "infarct",
    "infarction", "infiltrate", "inflammation", "ischaemia", "ischemia", "laceration", "lesion", "malignancy",
    "malignant", "metastasis", "metastatic", "nodule", "obstruction", "oedema", "opacity", "pathological", "plaque",
    "pneumonia", "pneumoperitoneum", "pneumomediastinum", "pneumothorax", "polyp", "pseudocyst", "stroke", "suspicious",
    "thickening", "thrombus", "tumor", "tumour", "neoplasm", "bulla", "bullae", "rupture", "atrophy", "hyperplasia",
    "dilatation", "diverticulum", "diverticula", "volvulus", "hydroureter", "endoleak", "HCC", "RCC", "PDAC",
    "IPMN", "GTV",
)  # fmt: skip
# A mass, but not how much there is of something; what ends as findings do, but for parts of the body.
_ENDED = (
    r"(?<!muscle )(?<!fat )(?<!bone )(?<!body )(?<!lean )(?<!ventricular )(?<!ventricle )(?<!myocardial )mass(?:es)?"
    r"|(?:kidney|renal|bladder|gallbladder|bile duct|salivary|ureter(?:al|ic)?) stones?"
    r"|(?!(?:stroma|stoma|coma|soma|zygoma)s?\b)[a-z]{2,}omas?"
    r"|(?!(?:anastomosis|aponeurosis|otoliths?)\b)[a-z]{3,}(?:celes?|liths?|itis|itides|osis|oses|megaly|ectasis|ectasia)"
)
_ENDINGS = {"y": "ies", "is": "es", "us": "i"}


def _plural(word: str) -> str:
    for ending, many in _ENDINGS.items():
        if word.endswith(ending):
            return word.removesuffix(ending) + many
    return word + ("es" if word.endswith(("s", "x")) else "s")


_FINDING = re.compile(rf"\b({'|'.join({*_WORDS, *map(_plural, _WORDS)})}|{_ENDED})\b", re.IGNORECASE)


def finding_word(prompt: str) -> str:
    """The word by which a prompt describes a finding ("lesions" of "liver lesions"), "" where it names anatomy."""
    found = _FINDING.search(re.sub(r"[\W_]+", " ", prompt))
    return found[0] if found else ""
