"""The sentences of reasons, one template for each code. Made here, at the edge, and read by people only."""

from __future__ import annotations

from typing import Any

from voxtell_dicom.model import Reason

TEMPLATES = {
    "": "",
    "text": "{text}",
    "error": "{code}: {message}",
    "refusal": "{code}: {message}",
    "unexpected": "unexpected {kind}: {message}",
    "given-up": "given up: {workflow} ended in {status}",
    "newer-version": "a newer version of the series arrived",
    "corrected": "headers of the series were corrected before delivery; job {job} makes results that carry them",
    "other-volume": "the rule chose another volume",
    "study-not-quiet": "for its study to be quiet",
    "no-rule": "no rule matches: see `rules explain`",
    "lost-choice": "lost: {reasons}",
    "dropped-by-rule": "the rule drops a result with this finding: {findings}",
    "dropped-by-hand": "dropped by hand",
    "held": "{findings}: look at it, then `jobs release` or `jobs drop`",
    "nothing-to-send": "{nothing}: there is no object to send",
    "released-nothing": "released: there is nothing to send",
    "no-peer": "the rule names no peer in send_to; the result lies in the storage folder",
    "deliveries": "{messages}",
}


def sentence(reason: Reason) -> str:
    """Return a reason in words, "" for none. What is a list among its parameters is joined by semicolons."""
    said = {name: _in_words(value) for name, value in reason.parameters.items()}
    return TEMPLATES.get(reason.code, reason.code).format(**said)


def _in_words(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
