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
from voxtell_dicom.encode.common import provenance
from voxtell_dicom.encode.common.part10 import write_once
from voxtell_dicom.encode.common.sources import read_sources
from voxtell_dicom.encode.receipt import page as receipt_page
from voxtell_dicom.encode.receipt import report as receipt_report
from voxtell_dicom.encode.receipt.statement import FOUND, LEFT_OUT, NOT_FOUND, Statement, Told, now, series_name
from voxtell_dicom.files import sha256_of
from voxtell_dicom.model import Found, Plan, Result, Volume

KINDS: Final = {"secondary": receipt_page.KIND, "sr": receipt_report.KIND}  # of a rule's `receipt_as`
RECEIPTS: Final = tuple(KINDS.values())
_MADE: Final[Mapping[str, Callable[[Plan, Told, int], Dataset]]] = {
    receipt_page.KIND: receipt_page.receipt_page,
    receipt_report.KIND: receipt_report.receipt_report,
}


def encode_receipt(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    directory: Path,
    series_number_base: int = 100,
    engine: str | None = None,
    form: str = "secondary",
) -> Result:
    """What was searched, what was found and what was not, with versions and time. form: a rule's `receipt_as`."""

    def told() -> Told:
        maker = provenance.maker_of(plan, engine)
        header = read_sources(volume).newest
        statement = statement_of(plan, maker, volume, found, header)
        said = common.describe(plan, maker, volume, found)
        return Told(statement, volume, header, said, tuple(instances_of(volume)))

    result = write_receipt(plan, told, form=form, directory=directory, series_number_base=series_number_base)
    return common.telling(result, found, volume)


def write_receipt(
    plan: Plan, told: Callable[[], Told], *, form: str, directory: Path, series_number_base: int
) -> Result:
    """Write a receipt in every form, or take what is there already. The Result of `form` knows where the other lies."""
    paths = {kind: common.path_of(plan, kind, directory) for kind in RECEIPTS}
    lacking = [kind for kind, path in paths.items() if not path.exists()]
    words = told() if lacking else None
    for kind in lacking:
        if words is not None:
            write_once(paths[kind], _MADE[kind](plan, words, series_number_base))
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
    return replace(common.written(ds, kind, path, sha256_of(path)), other=other)


def statement_of(
    plan: Plan, maker: provenance.Maker, volume: Volume, found: Sequence[Found], header: Dataset
) -> Statement:
    """What a result says of itself. header: of a source instance."""
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
    sure = "" if item.mean_probability is None else f", mean probability {item.mean_probability:.2f}"
    return f"{FOUND}, {volume.millilitres(item.mask):.1f} mL{sure}"
