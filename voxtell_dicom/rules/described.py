"""Prompts that describe a finding rather than anatomy: a model that names organs well may be poor at them.

Official VoxTell v1.1 reaches Dice 0.22 on the findings of reports (MIC-DKFZ/VoxTell, issue 11).
"""

from __future__ import annotations

import re

# Singular, or as it stands. Not "cystic" (duct), not "stone" (hard to tell from a name).
_WORDS = (
    "abnormality", "abscess", "adenoma", "aneurysm", "ascites", "atelectasis", "calcification", "cancer", "carcinoma",
    "consolidation", "contusion", "cyst", "dissection", "edema", "effusion", "embolism", "embolus", "emphysema",
    "fibrosis", "fracture", "glioma", "haemangioma", "haematoma", "haemorrhage", "hemangioma", "hematoma", "hemorrhage",
    "hernia", "infarct", "infarction", "lesion", "lymphoma", "malignancy", "meningioma", "metastasis", "metastatic",
    "nodule", "oedema", "opacity", "plaque", "pneumonia", "pneumothorax", "polyp", "sarcoma", "stenosis", "stroke",
    "thrombosis", "thrombus", "tumor", "tumour",
)  # fmt: skip
_ENDINGS = {"y": "ies", "is": "es", "us": "i"}


def _plural(word: str) -> str:
    for ending, many in _ENDINGS.items():
        if word.endswith(ending):
            return word.removesuffix(ending) + many
    return word + ("es" if word.endswith(("s", "x")) else "s")


_FINDING = re.compile(rf"\b({'|'.join({*_WORDS, *map(_plural, _WORDS)})})\b", re.IGNORECASE)


def finding_word(prompt: str) -> str:
    """The word by which a prompt describes a finding ("lesions" of "liver lesions"), "" where it names anatomy."""
    found = _FINDING.search(prompt)
    return found[0] if found else ""
