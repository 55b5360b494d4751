"""The prompts for what the phantom has. What else the model was trained on: `tools/phantom_prompts.py`."""

from __future__ import annotations

from collections.abc import Mapping

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "body": ("whole body", "patient body", "torso", "trunk"),
    "left lung": ("lung left", "left pulmonary"),
    "right lung": ("lung right", "right pulmonary"),
    "lungs": ("lung", "both lungs", "pulmonary"),
    "liver": ("hepatic", "hepar", "liver parenchyma", "whole liver"),
    "liver lesion": ("liver tumour", "liver tumor", "hepatic lesion", "hepatic tumor", "liver metastasis"),
    "spleen": ("splenic", "lien"),
    "left kidney": ("kidney left", "left renal"),
    "right kidney": ("kidney right", "right renal"),
    "spine": ("vertebrae", "vertebral column", "spinal column", "backbone"),
    "aorta": ("aortic", "abdominal aorta"),
    "urinary bladder": ("bladder", "vesica urinaria", "bladder urinary"),
}
"""Prompts for what the phantom has: its labels, each with synonyms."""
