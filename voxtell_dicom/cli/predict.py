"""`voxtell-dicom predict`: VoxTell's own command line, so that a user switches by changing the command's name."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from voxtell_dicom.cli.cases import Case, Write
    from voxtell_dicom.engine.bank import Bank
    from voxtell_dicom.engine.options import Options
    from voxtell_dicom.engine.predictor import Predictor

app = typer.Typer()
_MOST_LABELS = 255  # of a label map in 8 bits
_SHOWN = 100  # letters of what is wrong


class _WrongUse(Exception):
    """What the official command answers with a message and exit code 1."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def predict(ctx: typer.Context) -> None:
    """Segment NIfTI files (or a DICOM folder) as voxtell-predict does: same options, file names and exit codes."""
    arguments = _parser().parse_args(ctx.args)
    raise typer.Exit(run(arguments))


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code: 0 done, 1 failed or badly asked."""
    from voxtell_dicom.errors import VoxtellDicomError

    try:
        if arguments.list_embeddings:
            return _list(arguments)
        jobs = _jobs(arguments)
        written = _predict(arguments, jobs)
    except (_WrongUse, VoxtellDicomError, OSError, MemoryError, ValueError) as error:
        typer.echo(f"voxtell-dicom: {error}", err=True)
        return 1
    typer.echo(f"\nPrediction completed successfully! Wrote {written} file(s).")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voxtell-dicom predict",
        description="VoxTell on NIfTI files or a DICOM folder: free text in, masks out. Research use only.",
    )
    add = parser.add_argument
    add("-i", "--input", type=Path, nargs="+", help="one folder, or one or more files (NIfTI; or DICOM)")
    add("-o", "--output", type=Path, help="folder for the results")
    add("-m", "--model", type=Path, help="model directory [default: $VOXTELL_MODEL, else the hub's]")
    add("-p", "--prompts", nargs="+", help="prompts for every image")
    add("--jobs", help='JSON (or a file of it): [{"image": PATH, "prompts": [..]}, ..]; -i is not used')
    add("--device", default="cuda", choices=["cuda", "cpu"])
    add("--gpu", type=int, default=0, help="number of the CUDA device")
    add("--save-combined", action="store_true", help="one label map per image; later prompts overwrite")
    add("--embeddings", type=Path, help="bank of prompt vectors (.npz) [default: beside the model, else the hub's]")
    add("--no-precomputed", action="store_true", help="embed every prompt with the text model")
    add("--list-embeddings", action="store_true", help="list the bank's prompts and leave")
    add("--no-overwrite", action="store_true", help="skip images whose results are there")
    add("--verbose", action="store_true")
    ours = parser.add_argument_group("ours (docs/engine.md)").add_argument
    ours("--exact", action="store_true", help="the plain image decoder, prompt by prompt: slower")
    ours("--bfloat16", action="store_true", help="on a CPU with AVX-512 BF16: faster, and not exact")
    ours("--step", type=float, default=0.5, help="between windows, as a share of the patch [default: %(default)s]")
    ours("--skip-empty", action="store_true", help="leave out windows without a voxel of the body")
    ours("--crop-to-body", action="store_true", help="lay the windows over the body's box only")
    return parser


def _list(arguments: argparse.Namespace) -> int:
    bank = _bank(arguments, _model(arguments) if arguments.model else None)
    typer.echo(f"{len(bank)} precomputed embeddings available:\n" + "\n".join(f"  {p}" for p in bank.prompts))
    return 0


def _jobs(arguments: argparse.Namespace) -> list[tuple[Case, list[str]]]:
    from voxtell_dicom.cli.cases import cases_of

    if bool(arguments.prompts) == bool(arguments.jobs):
        raise _WrongUse("provide exactly one of -p/--prompts or --jobs")
    missing = [] if arguments.output else ["--output"]
    missing += [] if arguments.jobs or arguments.input else ["--input"]
    if missing:
        raise _WrongUse(f"the following arguments are required: {', '.join(missing)}")
    if not arguments.jobs:
        return [(case, list(arguments.prompts)) for case in cases_of(arguments.input)]
    if arguments.input:
        typer.echo("Warning: -i/--input is ignored when --jobs is given", err=True)
    jobs = []
    for entry in _entries(arguments.jobs):
        image, prompts = entry["image"], entry["prompts"]
        prompts = [prompts] if isinstance(prompts, str) else prompts
        if not isinstance(image, str):
            raise _WrongUse(f"a job's image must be a path, not {image!r}")
        if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
            raise _WrongUse(f"job for {image!r}: prompts must be a text or a list of texts, not {prompts!r}")
        if not prompts:
            raise _WrongUse(f"job for {image!r} has no prompts")
        jobs += [(case, prompts) for case in cases_of([Path(image)])]
    if not jobs:
        raise _WrongUse("no jobs to predict")
    return jobs


def _entries(text: str) -> Iterator[dict[str, Any]]:
    is_file = os.path.isfile(text)
    try:
        entries = json.loads(Path(text).read_text(encoding="utf-8-sig") if is_file else text)
    except ValueError as error:  # not UTF-8, or not JSON
        shown = text if is_file else repr(text[:_SHOWN])
        raise _WrongUse(f"--jobs {shown} is {'not JSON' if is_file else 'neither a file nor JSON'}: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _WrongUse('--jobs must be a JSON list of {"image":.., "prompts":[..]} objects')
    for entry in entries:
        if "image" not in entry or "prompts" not in entry:
            raise _WrongUse("each --jobs entry needs 'image' and 'prompts'")
        yield entry


def _predict(arguments: argparse.Namespace, jobs: Sequence[tuple[Case, list[str]]]) -> int:
    from voxtell_dicom.cli.cases import outputs_of

    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    todo = []
    names = Counter(case.name for case, _ in jobs)
    if doubled := sorted(name for name, count in names.items() if count > 1):
        typer.echo(f"Warning: several images are named {', '.join(doubled)}: later ones overwrite", err=True)
    for case, prompts in jobs:
        if arguments.save_combined and len(prompts) > _MOST_LABELS:
            raise _WrongUse(f"--save-combined takes at most {_MOST_LABELS} prompts, not {len(prompts)}")
        targets = outputs_of(case, prompts, folder, combined=arguments.save_combined)
        if arguments.no_overwrite and all(target.is_file() for target in targets):
            _say(arguments, f"Skipping {case.name} (outputs exist)")
            continue
        if len(set(targets)) < len(set(prompts)) and not arguments.save_combined:
            typer.echo(f"Warning: prompts of {case.name} share a file name; later ones overwrite", err=True)
        todo.append((case, prompts, targets))
    if not todo:
        return 0
    predictor = _load(arguments, [prompt for _, prompts, _ in todo for prompt in prompts])
    return sum(_one(arguments, predictor, *job) for job in todo)


def _one(
    arguments: argparse.Namespace, predictor: Predictor, case: Case, prompts: list[str], targets: list[Path]
) -> int:
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from voxtell_dicom.engine import keep_freed_memory
    from voxtell_dicom.errors import Refusal
    from voxtell_dicom.model import Request

    def window_done(done: int, total: int) -> None:
        keep_freed_memory()
        bar.update(task, completed=done, total=total)

    _say(arguments, f"Predicting {case.name} with prompts {prompts} ...")
    array, write = case.read()
    shape = (array.shape[0], array.shape[1], array.shape[2])
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(case.name, total=1)
        requests = [Request(prompt) for prompt in dict.fromkeys(prompts)]
        segments = predictor.segment(array, (1, 1, 1), requests, progress=window_done)
        try:
            found = {segment.request.prompt: segment.mask for segment in segments}
        except Refusal as error:
            raise _WrongUse(f"{case.path}: {error}") from error
    if arguments.save_combined:
        labels = np.zeros(shape, np.uint8)
        for number, prompt in enumerate(prompts, 1):
            mask = found[prompt]
            if mask.voxels:
                labels[mask.slices][mask.crop()] = number
        _whole(write, labels, targets[0])
    else:
        for prompt, target in zip(prompts, targets, strict=True):
            _whole(write, found[prompt].to_array(shape).view(np.uint8), target)
    return len(targets)


def _whole(write: Write, mask: npt.NDArray[np.uint8], target: Path) -> None:
    """Write all of it or nothing: --no-overwrite takes what is there for done."""
    partial = target.with_name(f".{os.getpid()}.partial.nii.gz")
    try:
        write(mask, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _load(arguments: argparse.Namespace, prompts: Sequence[str]) -> Predictor:
    import torch

    from voxtell_dicom.engine.checkpoint import load_checkpoint
    from voxtell_dicom.engine.predictor import Predictor, choose_device
    from voxtell_dicom.engine.text import complete

    wanted = "cpu" if arguments.device == "cpu" else f"cuda:{arguments.gpu}"
    if wanted != "cpu" and not torch.cuda.is_available():
        typer.echo("Warning: CUDA not available, falling back to CPU", err=True)
        wanted = "cpu"
    device = choose_device(wanted)
    directory = _model(arguments)
    _say(arguments, f"Loading VoxTell model from: {directory}")
    bank = complete(_bank(arguments, directory), prompts, device=device)
    return Predictor(load_checkpoint(directory), bank, device, _options(arguments))


def _model(arguments: argparse.Namespace) -> Path:
    """Return the model's directory. Raises _WrongUse where it holds no model, ModelError where there is none."""
    from voxtell_dicom.engine import library

    if not arguments.model and not os.environ.get(library.ENVIRONMENT):
        return library.published_model()
    directory = library.named_directory(arguments.model)
    if not (directory / "plans.json").is_file():
        raise _WrongUse(f"{directory} holds no plans.json: it is no VoxTell model directory")
    return directory


def _options(arguments: argparse.Namespace) -> Options:
    from voxtell_dicom.engine.options import Options

    return Options(**{field.name: getattr(arguments, field.name) for field in fields(Options)})


def _bank(arguments: argparse.Namespace, directory: Path | None) -> Bank:
    from voxtell_dicom.engine import library
    from voxtell_dicom.engine.bank import EMPTY, Bank, find_bank
    from voxtell_dicom.errors import ModelError

    if arguments.embeddings:
        return Bank.read(arguments.embeddings)
    if directory is not None:
        if arguments.no_precomputed:
            return EMPTY
        if beside := find_bank(directory):
            return Bank.read(beside)
    try:
        return Bank.read(library.published_bank())
    except ModelError as error:
        if directory is None:
            raise
        typer.echo(f"Note: {error}; prompts will be embedded with the text model.", err=True)
        return EMPTY


def _say(arguments: argparse.Namespace, message: str) -> None:
    if arguments.verbose:
        typer.echo(message)
