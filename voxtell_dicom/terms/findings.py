"""Words of findings, as opposed to anatomy: the one definition, of rules and of codes.

A model that names organs well may be poor at findings: official VoxTell v1.1 reaches Dice 0.22 on those of reports
(MIC-DKFZ/VoxTell, issue 11).
"""

from __future__ import annotations

import re

from voxtell_dicom.terms.word_lists import alternatives, whole_words, words

_ENDINGS = {"y": "ies", "is": "es", "us": "i"}


def _plural(word: str) -> str:
    for ending, many in _ENDINGS.items():
        if word.endswith(ending):
            return word.removesuffix(ending) + many
    return word + ("es" if word.endswith(("s", "x")) else "s")


_FINDING = whole_words(*words("finding"), *map(_plural, words("finding")), *alternatives("finding"))


def finding_word(prompt: str) -> str:
    """Return the word by which a prompt describes a finding ("lesions" of "liver lesions"); "" for anatomy."""
    found = _FINDING.search(re.sub(r"[\W_]+", " ", prompt))
    return found[0] if found else ""
