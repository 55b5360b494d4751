"""Masks into DICOM objects that a PACS stores and a viewer shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from voxtell_dicom.config import Config, Rule
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode.capture.overlay import encode_overlay
from voxtell_dicom.encode.capture.secondary import encode_secondary
from voxtell_dicom.encode.common.context import OutputContext
from voxtell_dicom.encode.common.profiles import (
    SEGMENTATIONS,
    Form,
    Profile,
    fallback_form,
    form_of,
    forms_of,
    profile_of,
    takers,
)
from voxtell_dicom.encode.receipt.notice import Notice, encode_notice
from voxtell_dicom.encode.receipt.receipt import RECEIPTS, encode_receipt, in_other_form
from voxtell_dicom.encode.report.sr import encode_sr
from voxtell_dicom.encode.rtstruct.structure_set import encode_rtstruct
from voxtell_dicom.encode.seg.segmentation import encode_seg, encode_segmentation, settled
from voxtell_dicom.model import Found, Plan, Result, Volume

ENCODER_REVISION = "3"

__all__ = [
    "ENCODER_REVISION",
    "RECEIPTS",
    "SEGMENTATIONS",
    "Notice",
    "OutputContext",
    "encode",
    "encode_instead",
    "encode_notice",
    "encode_seg",
    "in_other_form",
    "output_context",
    "profile_of",
]


def encode(context: OutputContext, config: Config, minor: Collection[str] = ()) -> list[Result]:
    """Every result object that `plan.outputs` asks for, written once; none where nothing was found.

    Segmentations and structure sets are made as each peer takes them; what is the same for several is one object
    (`Result.peers`). The report refers to the segmentation's segments, so "sr" brings "seg" along. minor: those of the
    volume's warnings that alone are no reason for a receipt. Raises Refusal, GridMismatch or EncodingError.
    """
    plan, volume, matrix = context.plan, context.volume, context.volume.grid.shape[1:]
    segmentations: list[Result] = []
    structures: list[Result] = []
    for profile, peers in takers(plan, config).items():
        for form in forms_of(plan.outputs, profile, matrix):
            reported = "sr" in plan.outputs and form == form_of("seg", profile, matrix)
            segmentations += [replace(result, peers=peers) for result in _segmented(context, form, reported)]
        if "rtstruct" in plan.outputs:
            structures += [replace(result, peers=peers) for result in _structures(context, profile)]
    shared: list[Result] = []
    if "secondary" in plan.outputs:
        shared += encode_secondary(context)
    if "overlay" in plan.outputs:
        shared += encode_overlay(context)
    rule = next((rule for rule in config.rules if rule.name == plan.rule), None)
    if rule and _wants_receipt(rule, plan, set(volume.warnings) - set(minor), context.found):
        shared.append(encode_receipt(context, rule.receipt_as))
    to_all = [replace(result, peers=plan.send_to) for result in shared]
    return [*_each_once([*segmentations, *structures]), *to_all]


def encode_instead(
    context: OutputContext, kind: str, peer: str, refused: Collection[str], config: Config
) -> list[Result]:
    """What the peer's `fallback` has in the place of a refused segmentation of `kind`; nothing where all is refused.

    refused: SOP Instance UIDs that the peer has refused. A report is made anew for what it refers to. Raises as
    `encode`.
    """
    matrix, outputs = context.volume.grid.shape[1:], context.plan.outputs
    profile = profile_of(config.peers.get(peer))
    for word in profile.fallback:
        if word == "rtstruct":
            made = _structures(context, profile)
        elif word == "secondary":
            made = encode_secondary(context)
        elif word == "overlay":
            made = encode_overlay(context)
        else:
            form = fallback_form(word, kind, profile, matrix)
            made = _segmented(context, form, "sr" in outputs and kind == form_of("seg", profile, matrix).kind)
        if made and not {result.sop_instance_uid for result in made} & set(refused):
            return [replace(result, peers=(peer,)) for result in made]
    return []


def output_context(
    plan: Plan,
    volume: Volume,
    found: Sequence[Found],
    *,
    config: Config,
    directory: Path,
    headers: HeaderSource | None = None,
) -> OutputContext:
    """Return the context of a plan's outputs, with the settings of node.yaml."""
    base, engine = config.node.series_number_base, config.model.engine
    return OutputContext(plan, volume, found, directory, base, engine, headers or HeaderSource())


def _each_once(results: Sequence[Result]) -> list[Result]:
    """The same object for several peers as one result, for all of them."""
    once: dict[str, Result] = {}
    for result in results:
        others = once[result.sop_instance_uid].peers if result.sop_instance_uid in once else ()
        once[result.sop_instance_uid] = replace(result, peers=(*others, *result.peers))
    return list(once.values())


def _segmented(context: OutputContext, form: Form, reported: bool) -> list[Result]:
    """The segmentations in a form, and the report on them."""
    made = encode_segmentation(context, form)
    if made and reported:
        made.append(encode_sr(context, made, settled(form, context)))
    return made


def _structures(context: OutputContext, profile: Profile) -> list[Result]:
    structure_set = encode_rtstruct(context, profile.holes)
    return [structure_set] if structure_set else []


def _wants_receipt(rule: Rule, plan: Plan, warnings: Collection[str], found: Sequence[Found]) -> bool:
    """The rule's `receipt`: always, on_problem (something was not found, or there are warnings) or never.

    `empty: report` asks for one where a prompt found nothing, whatever `receipt` says.
    """
    missed = any(not item.mask.voxels for item in found)
    problem = missed or bool(warnings) or bool(plan.options.incomplete or plan.options.warnings)
    reported = rule.empty == "report" and any(not item.mask.voxels and not item.left_out for item in found)
    return rule.receipt == "always" or (rule.receipt == "on_problem" and problem) or reported
