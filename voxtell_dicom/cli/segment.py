"""`voxtell-dicom segment`: a folder in, SEG objects out, with no node and no PACS."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxtell_dicom.cli.policy import FramesOfReference, MaxGap, References
from voxtell_dicom.errors import ConfigError

if TYPE_CHECKING:
    from voxtell_dicom.config import Config
    from voxtell_dicom.line.offline import Offline, Report

app = typer.Typer()


class TestEngine(StrEnum):
    """Engines for tests: their results are marked TEST - NOT FOR PATIENTS."""

    phantom = "phantom"
    threshold = "threshold"


class Output(StrEnum):
    """What is made of each volume (docs/viewers.md)."""

    seg = "seg"
    labelmap = "labelmap"
    fractional = "fractional"
    sr = "sr"
    rtstruct = "rtstruct"
    secondary = "secondary"
    overlay = "overlay"


class Profile(StrEnum):
    """For which viewer segmentations are made."""

    generic = "generic"
    ohif = "ohif"
    weasis = "weasis"
    slicer = "slicer"


class Encoding(StrEnum):
    """How the output `seg` is encoded."""

    binary = "binary"
    aligned = "aligned"
    occupancy = "occupancy"
    fractional = "fractional"
    labelmap = "labelmap"


class Syntax(StrEnum):
    """Transfer syntax of segmentations."""

    auto = "auto"
    native = "native"
    rle = "rle"
    deflated = "deflated"


class PerObject(StrEnum):
    """Segments of an object."""

    all = "all"
    disjoint = "disjoint"
    one = "one"


@app.command()
def segment(
    dicom_dir: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM files, or one file.")],
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="What to segment; may be repeated.")],
    out: Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder for the SEG objects.")],
    model: Annotated[
        Path | None, typer.Option(help="VoxTell model directory.  [default: $VOXTELL_MODEL, else the phantom engine]")
    ] = None,
    engine: Annotated[TestEngine | None, typer.Option(help="An engine for tests instead of a model.")] = None,
    bank: Annotated[
        Path | None, typer.Option(help="Prompt-embedding bank (.npz).  [default: beside the model]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0 …")] = "auto",
    name: Annotated[str, typer.Option(help="Stands in the results' series description.")] = "segment",
    output: Annotated[list[Output] | None, typer.Option(help="What to make; may be repeated.  [default: seg]")] = None,
    profile: Annotated[Profile, typer.Option(help="For which viewer (docs/viewers.md).")] = Profile.generic,
    encoding: Annotated[Encoding | None, typer.Option(help="Of the output seg.  [default: the profile's]")] = None,
    transfer_syntax: Annotated[Syntax | None, typer.Option(help="Of segmentations.  [default: the profile's]")] = None,
    segments_per_object: Annotated[
        PerObject | None, typer.Option(help="Of the segments, in an object: all, those that do not overlap, or one.")
    ] = None,
    max_gap: MaxGap = 1.5,
    frames_of_reference: FramesOfReference = References.refuse,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Segment every volume in a folder and write a DICOM SEG, or other results, for each.

    Exit code 0 also where nothing was found (the output says so), 1 where a series was refused, 2 where all were.
    """
    from voxtell_dicom.cli.scan import scan
    from voxtell_dicom.observe.logs import configure_logs

    configure_logs(level=logging.WARNING)
    policy: dict[str, Any] = {"max_gap": max_gap, "frames_of_reference": frames_of_reference.value}
    policy |= {"outputs": [each.value for each in output or [Output.seg]], "receipt": "never", "send_to": ["out"]}
    taker = {"folder": out, "profile": profile.value}
    taker |= {"segments_per_object": segments_per_object.value} if segments_per_object else {}
    taker |= {"encoding": encoding.value} if encoding else {}
    taker |= {"transfer_syntax": transfer_syntax.value} if transfer_syntax else {}
    settings = _settings(model, engine, bank, device, name, prompt, policy, taker)
    found = scan(dicom_dir)
    _mark_findings(settings)
    results: list[dict[str, Any]] = []
    damaged = {"series_uid": "", "code": "unreadable", "refused": True}
    aside: list[dict[str, Any]] = [{**damaged, "reason": reason} for reason in found.unreadable]
    with _progress() as report, _line(settings, out, report) as line:
        for each in found.series:
            made, left = line.segment(each)
            results += made
            aside += left
        summary = {
            "engine": line.identity,
            "not_for_patients": settings.model.engine is not None,
            "results": results,
            "not_processed": aside,
            "seconds": line.seconds,
        }
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _show(summary)
    for item in aside:
        word = "refused" if item["refused"] else "set aside"
        typer.echo(f"voxtell-dicom: {word} ({item['code']}): {item['reason']}", err=True)
    if not results:
        typer.echo("voxtell-dicom: no volume to segment", err=True)
        raise typer.Exit(2)
    if any(item["refused"] for item in aside):
        raise typer.Exit(1)


def _settings(
    model: Path | None,
    engine: TestEngine | None,
    bank: Path | None,
    device: str,
    name: str,
    prompts: list[str],
    policy: dict[str, Any],
    taker: dict[str, Any],
) -> Config:
    """The settings of a node that would do the same: one rule, one peer that takes it. Raises ConfigError."""
    from pydantic import ValidationError

    from voxtell_dicom.config import DEVICE, Config, PromptSettings

    if model is not None and engine is not None:
        raise ConfigError("give either --model or --engine, not both")
    if model is None and engine is None:
        named = os.environ.get("VOXTELL_MODEL")
        model, engine = (Path(named), None) if named else (None, TestEngine.phantom)
    if model is not None and not model.is_dir():
        raise ConfigError(f"the model directory {model} does not exist")
    if not 0 < len(name.strip()) <= 64:
        raise ConfigError("--name needs 1 to 64 characters")
    for text in prompts:
        if not 0 < len(text.strip()) <= 1024:
            raise ConfigError("a prompt needs 1 to 1024 characters")
    if not re.match(DEVICE, device):
        raise ConfigError(f"--device: '{device}' is not a device: auto, cpu, cuda or cuda:N")
    kind = engine.value if engine else None
    section = {"directory": model, "engine": kind, "bank": bank, "devices": [device]}
    texts = dict.fromkeys(text.strip() for text in prompts)
    rule = {"name": name, "when": {}, "prompts": [PromptSettings(text=text) for text in texts], **policy}
    try:
        return Config.model_validate({"version": 1, "model": section, "peers": {"out": taker}, "rules": [rule]})
    except ValidationError as error:  # each option is right by itself
        raise ConfigError("; ".join(str(detail["ctx"]["error"]) for detail in error.errors())) from error


def _mark_findings(settings: Config) -> None:
    from voxtell_dicom.terms.findings import finding_word

    (rule,) = settings.rules
    texts = [prompt for each in rule.prompts if finding_word(prompt := each if isinstance(each, str) else each.text)]
    if texts and settings.model.engine != "threshold":
        named = ", ".join(map(repr, texts))
        typer.echo(f"voxtell-dicom: {named}: a finding, not anatomy: expect little of it (docs/rules.md)", err=True)


@contextlib.contextmanager
def _line(settings: Config, out: Path, report: Report) -> Iterator[Offline]:
    from voxtell_dicom.errors import ConfigError
    from voxtell_dicom.line.offline import Offline
    from voxtell_dicom.rules import prompts
    from voxtell_dicom.workers.pool import Worker

    (rule,) = settings.rules
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder for results {out} cannot be made: {error.strerror}") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder for results {out} cannot be written: no permission")
    report("load the engine", 0, 1)
    worker = Worker(settings.model, settings.model.devices[0])
    try:
        with tempfile.TemporaryDirectory(prefix="voxtell-dicom-") as work:
            identity = worker.identity(600)
            line = Offline(settings, worker, identity, prompts(rule), rule.name, out, Path(work), report)
            line.check_prompts()
            yield line
    finally:
        worker.stop()


@contextlib.contextmanager
def _progress() -> Iterator[Report]:
    """A progress bar on standard error, where somebody looks at it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=1)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def _show(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for result in summary["results"]:
        title = f"series {result['series_uid']}{': ' + result['volume'] if result['volume'] else ''}"
        console.print(title, style="bold", soft_wrap=True, markup=False, highlight=False)
        table = Table("Segment", "Volume (mL)", "Voxels", "Mean probability")
        for item in result["segments"]:
            sure = "" if item["mean_probability"] is None else f"{item['mean_probability']:.2f}"
            volume = f"{item['volume_ml']:.1f}" if item["voxels"] else "nothing found"
            table.add_row(item["label"], volume, str(item["voxels"]), sure)
        console.print(table)
        for warning in result["warnings"]:
            console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
        for written in [each["file"] for each in result["files"]] or ["no object: nothing was found"]:
            console.print(written, soft_wrap=True, markup=False, highlight=False)
    if summary["not_for_patients"] and summary["results"]:
        console.print("TEST - NOT FOR PATIENTS", style="bold red")
