"""The made-up vectors that stand for the words that the phantom model was trained on.

The vectors are random numbers drawn from the text itself: a concept has one, its synonyms lie near it. They have the
shape and the file format of the real text model's, and say nothing about it.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from voxtell_dicom.phantom.prompts import SYNONYMS

EMBEDDING_DIM = 2560
SYNONYM_NOISE = 0.35

ABSENT: tuple[str, ...] = (
    "brain", "heart", "pancreas", "prostate", "uterus", "stomach", "gallbladder", "thyroid gland", "trachea",
    "oesophagus", "esophagus", "femur", "skull", "adrenal gland", "kidney tumour", "lung nodule", "pleural effusion",
    "colon", "duodenum", "portal vein",
)  # fmt: skip
"""Prompts for what the phantom does not have: a mask of these is an error."""


def vector_of(text: str) -> npt.NDArray[np.float32]:
    """The made-up vector of a prompt (2560 values, about standard normal): the same on every machine."""
    text = text.lower()
    for concept, synonyms in SYNONYMS.items():
        if text in synonyms:
            near = _draw(concept) + np.float32(SYNONYM_NOISE) * _draw(text)
            return (near / np.float32(np.sqrt(1 + SYNONYM_NOISE**2))).astype(np.float32)
    return _draw(text)


def bank() -> tuple[list[str], npt.NDArray[np.float16]]:
    """Labels and vectors (N, 2560) of every prompt, in the form of an official embedding bank."""
    texts = [text for concept, synonyms in SYNONYMS.items() for text in (concept, *synonyms)] + list(ABSENT)
    return texts, np.stack([vector_of(text) for text in texts]).astype(np.float16)


def _draw(text: str) -> npt.NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(EMBEDDING_DIM, np.float32)
