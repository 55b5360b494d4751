"""`voxtell-dicom model`: the model directories of this machine, and the prompts that they know."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxtell_dicom.errors import ModelError

if TYPE_CHECKING:
    from voxtell_dicom.engine.bank import Bank
    from voxtell_dicom.engine.library import ModelInfo

app = typer.Typer(no_args_is_help=True, help="Import, check and describe VoxTell models; make banks of prompts.")

Models = Annotated[Path, typer.Option("--models", help="Folder that holds model directories.")]
Directory = Annotated[
    Path | None, typer.Argument(help="Model directory.  [default: $VOXTELL_MODEL]", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FOLDER = Path("models")
TEXT_MODEL = "VOXTELL_TEXT_MODEL"


@app.command("list")
def list_(models: Models = FOLDER, as_json: AsJson = False) -> None:
    """List the model directories in a folder."""
    from voxtell_dicom.engine.library import inspect_model, list_models

    infos = []
    for directory in list_models(models):
        try:
            infos.append(inspect_model(directory))
        except ModelError as error:  # the others are there all the same
            typer.echo(f"broken: {error}", err=True)
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in infos], indent=2))
        return
    for info in infos:
        typer.echo(f"{info.name}  {info.digest[:16]}  {info.prompts} prompts  {info.licence}  {info.directory}")
    if not list_models(models):
        typer.echo(f"no model in {models}: 'voxtell-dicom model import DIRECTORY' or 'voxtell-dicom model download'")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Official model directory, or a hub snapshot that holds one.")],
    models: Models = FOLDER,
    name: Annotated[str | None, typer.Option(help="Name of the new directory.  [default: the source's]")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a model, convert its weights to safetensors once, and record where they came from and their licence."""
    from voxtell_dicom.engine.library import import_model

    _show(import_model(source, models, name), as_json)


@app.command()
def download(models: Models = FOLDER, as_json: AsJson = False) -> None:
    """Fetch the official model and its bank from the Hugging Face Hub, and import it."""
    from voxtell_dicom.engine.library import download_model

    _show(download_model(models), as_json)


@app.command()
def info(directory: Directory = None, as_json: AsJson = False) -> None:
    """Say what a model directory holds."""
    from voxtell_dicom.engine.library import inspect_model, named_directory

    _show(inspect_model(named_directory(directory)), as_json)


@app.command()
def verify(directory: Directory = None) -> None:
    """Read all of a model directory and say what is wrong with it. Exit code 1 where something is."""
    from voxtell_dicom.engine.library import named_directory, verify_model

    where = named_directory(directory)
    wrong = verify_model(where)
    for line in wrong:
        typer.echo(line, err=True)
    if wrong:
        raise typer.Exit(1)
    typer.echo(f"{where}: whole")


@app.command()
def prompts(
    word: Annotated[str | None, typer.Argument(help="Only prompts with this word in them.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model directory.  [default: $VOXTELL_MODEL]")] = None,
    bank: Annotated[Path | None, typer.Option(help="A bank (.npz) instead of the model's.")] = None,
    text_model: Annotated[
        str | None,
        typer.Option(envvar=TEXT_MODEL, help="For the nearest by meaning, too: a name on the hub, or a local folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the prompts of a bank; for a word that is not in it, the nearest ones: by spelling, and by meaning."""
    known = _bank(bank, model)
    found = [prompt for prompt in known.prompts if word is None or word.lower() in prompt]
    near: list[str] = []
    alike: list[tuple[str, float]] = []
    if word is not None and not found:
        near = known.nearest(word)
        alike = _alike(known, word, text_model) if text_model else []
    if as_json:
        meant = [{"prompt": prompt, "cosine": round(cosine, 4)} for prompt, cosine in alike]
        typer.echo(json.dumps({"prompts": found, "nearest": near, "nearest_by_vector": meant}))
        return
    if word is not None and not found:
        said = [f"no prompt with {word!r} in the bank"]
        said += [f"near it: {', '.join(near)}"] if near else []
        said += [f"by meaning: {', '.join(f'{p} ({c:.2f})' for p, c in alike)}"] if alike else []
        typer.echo("; ".join(said), err=True)
        raise typer.Exit(1)
    typer.echo("\n".join(found))


@app.command()
def embed(
    out: Annotated[Path, typer.Option("--out", "-o", help="Bank to write (.npz); one that is there is added to.")],
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="A prompt; may be repeated.")] = None,
    from_config: Annotated[Path | None, typer.Option(help="Take the prompts of the rules in this node.yaml.")] = None,
    text_model: Annotated[
        str, typer.Option(envvar=TEXT_MODEL, help="Name on the hub, or a local folder.")
    ] = "Qwen/Qwen3-Embedding-4B",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0 …")] = "auto",
) -> None:
    """Embed prompts with the text model and write a bank, so that a node needs no text model at run time."""
    from voxtell_dicom.engine.bank import EMPTY, Bank
    from voxtell_dicom.engine.predictor import choose_device
    from voxtell_dicom.engine.text import complete

    wanted = list(prompt or []) + (_configured(from_config) if from_config else [])
    if not wanted:
        raise ModelError("no prompts: give -p PROMPT, or --from-config node.yaml")
    if out.is_dir():
        raise ModelError(f"{out} is a directory: name the bank to write in it")
    before = Bank.read(out) if out.is_file() else EMPTY
    after = complete(before, wanted, text_model, choose_device(device))
    out.parent.mkdir(parents=True, exist_ok=True)
    after.write(out)
    typer.echo(f"{out}: {len(after)} prompts, {len(after) - len(before)} new")


def _alike(known: Bank, word: str, text_model: str) -> list[tuple[str, float]]:
    from voxtell_dicom.engine.predictor import choose_device
    from voxtell_dicom.engine.text import TextModel

    with TextModel(text_model, choose_device("auto")) as text:
        return known.nearest_by_vector(text.embed([word])[0])


def _configured(path: Path) -> list[str]:
    from voxtell_dicom.config import load_config

    rules = load_config(path).rules
    return [prompt if isinstance(prompt, str) else prompt.text for rule in rules for prompt in rule.prompts]


def _bank(bank: Path | None, model: Path | None) -> Bank:
    from voxtell_dicom.engine.bank import Bank, find_bank
    from voxtell_dicom.engine.library import named_directory

    if bank is not None:
        return Bank.read(bank)
    directory = named_directory(model)
    beside = find_bank(directory)
    if beside is None:
        raise ModelError(f"{directory} has no bank of prompts: make one with 'voxtell-dicom model embed'")
    return Bank.read(beside)


def _show(info: ModelInfo, as_json: bool) -> None:
    data: dict[str, Any] = asdict(info)
    if as_json:
        typer.echo(json.dumps(data, indent=2))
        return
    for key, value in data.items():
        if value != "":
            shown = " × ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            typer.echo(f"{key.replace('_', ' '):14} {shown}")
