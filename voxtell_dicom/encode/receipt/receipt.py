"""The receipt: by it a radiologist can tell "nothing found" from "never ran". A page, or a report of the same words.

Both forms are written at once, because a peer may refuse the one, and what they are made of is gone by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataset import Dataset

from voxtell_dicom.encode.capture.capture import instances_of
from voxtell_dicom.encode.common import objects as common
from voxtell_dicom.encode.common import provenance, words
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.common.part10 import write_once
from voxtell_dicom.encode.receipt import page as receipt_page
from voxtell_dicom.encode.receipt import report as receipt_report
from voxtell_dicom.encode.receipt.statement import (
    FOUND,
    LEFT_OUT,
    NOT_FOUND,
    ReceiptContent,
    Statement,
    now,
    series_name,
)
from voxtell_dicom.files import sha256_of
from voxtell_dicom.model import Found, Plan, Result, Volume

KINDS: Final = {"secondary": receipt_page.KIND, "sr": receipt_report.KIND}  # of a rule's `receipt_as`
RECEIPTS: Final = tuple(KINDS.values())
_BUILDERS: Final[Mapping[str, Callable[[Plan, ReceiptContent], Dataset]]] = {
    receipt_page.KIND: receipt_page.receipt_page,
    receipt_report.KIND: receipt_report.receipt_report,
}


def encode_receipt(context: OutputContext, form: str = "secondary") -> Result:
    """What was searched, what was found and what was not, with versions and time. form: a rule's `receipt_as`."""

    def content() -> ReceiptContent:
        header, volume = context.sources().newest, context.volume
        statement = statement_of(context.plan, context.maker, volume, context.found, header)
        said, base = context.description(receipt_page.KIND), context.series_number_base
        return ReceiptContent(statement, volume, header, said, tuple(instances_of(volume)), context.text, base)

    return context.with_labels(write_receipt(context.plan, content, form=form, directory=context.directory))


def write_receipt(plan: Plan, content: Callable[[], ReceiptContent], *, form: str, directory: Path) -> Result:
    """Write a receipt in every form that does not exist yet. The Result of `form` says where the other lies."""
    paths = {kind: common.path_of(plan, kind, directory) for kind in RECEIPTS}
    missing = [kind for kind, path in paths.items() if not path.exists()]
    said = content() if missing else None
    for kind in missing:
        if said is not None:
            write_once(paths[kind], _BUILDERS[kind](plan, said), text=said.text)
    (other,) = (path for kind, path in paths.items() if kind != KINDS[form])
    return _read(paths[KINDS[form]], KINDS[form], other)


def in_other_form(receipt: Result) -> Result | None:
    """The same receipt, for a peer that refuses this one. None where there is no other: an older version wrote it."""
    if receipt.other is None or not receipt.other.exists():
        return None
    (kind,) = (kind for kind in RECEIPTS if kind != receipt.kind)
    other = _read(receipt.other, kind, receipt.path)
    return replace(other, labels=receipt.labels, empty=receipt.empty, warnings=receipt.warnings)


def _read(path: Path, kind: str, other: Path) -> Result:
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    return replace(common.result_of(ds, kind, path, sha256_of(path)), other=other)


def statement_of(
    plan: Plan, maker: provenance.Maker, volume: Volume, found: Sequence[Found], header: Dataset
) -> Statement:
    """Return what a result says of itself. header: of a source instance."""
    spacing = " and ".join(dict.fromkeys(f"{run.grid.spacing_mm[0]:.2f}" for run in volume.runs))
    name = f", {volume.name}" if volume.name else ""
    count = sum(1 for item in found if item.mask.voxels)
    return Statement(
        plan.rule,
        series_name(header),
        volume.series_uid,
        f"{len(volume.frames)} {volume.modality}, {spacing} mm apart{name}",
        ("Found", f"{count} of {len(found)}"),
        tuple((item.prompt.label, _became(item, volume)) for item in found),
        tuple(common.problems_of(plan, volume)),
        maker,
        now(),
    )


def _became(item: Found, volume: Volume) -> str:
    if not item.mask.voxels:
        return f"{LEFT_OUT}, {item.left_out}" if item.left_out else NOT_FOUND
    sure = words.confidence(item.mean_probability, None)
    return f"{words.named_volume(FOUND, volume.millilitres(item.mask))}{sure and ', '}{sure}"
