"""`voxtell-dicom init`: write a commented node.yaml for this site, and make the folders it names."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from voxtell_dicom.cli import fail

app = typer.Typer()

TEST_ENGINES = ("phantom", "threshold")

TEMPLATE = """\
# yaml-language-server: $schema=node.schema.json
#
# The settings of this node. After a change:  voxtell-dicom check -c {path}
# Start it with:                              voxtell-dicom serve -c {path}
# Relative paths are relative to this file.
version: 1

node:
  ae_title: {ae_title}                     # how senders must call us (16 characters at most, capitals count)
  dimse: {{host: {host}, port: {port}}}      # C-STORE and C-ECHO; 127.0.0.1 keeps it on this machine
  # http: {{host: 127.0.0.1, port: 8080}}    # DICOMweb, health and metrics; without this line nothing listens
  storage: {storage}
  # database: postgresql://user@host/name   # default: an SQLite file in the storage

receive:
  quiet_s: 30                              # a series is complete when nothing more has come for so long
  incomplete_s: 600                        # the same after an aborted transfer, or where slices are missing
  # accept_unknown: true                   # take series from AE titles that are not under `peers`

model:
{model}

peers:                                     # who may send to us, and where results go
  pacs:
    ae_title: {pacs_ae}
    host: {pacs_host}
    port: {pacs_port}
    quiet_s: 10                            # instead of receive.quiet_s: a PACS sends a series whole
  # scanner: {{ae_title: CT1}}               # may send; nothing is sent to it
  # archive: {{dicomweb: "https://pacs.example/dicom-web", token_env: ARCHIVE_TOKEN}}

rules:                                     # `voxtell-dicom rules explain DICOM_DIR -c {path}` tries them on a series
  - name: CT
    when:                                  # all must hold, for every slice
      Modality: CT                         # any DICOM keyword: a value, a list of values, or a condition:
      instances: {{at_least: 20}}            # at_least, at_most, equals, one_of, matches, absent
      # SeriesDescription: {{matches: "(?i)abd|liver"}}
      # SliceThickness: {{at_most: 5}}       # millimetres
      # calling_ae: [CT1, PACS]
    prompts:
{prompts}
    send_to: [pacs]
"""


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("config/node.yaml"),
    ae_title: Annotated[str | None, typer.Option(help="Our AE title.")] = None,
    port: Annotated[int | None, typer.Option(help="Our DICOM port.")] = None,
    pacs_ae: Annotated[str | None, typer.Option(help="AE title of the PACS.")] = None,
    pacs_host: Annotated[str | None, typer.Option(help="Host name or address of the PACS.")] = None,
    pacs_port: Annotated[int | None, typer.Option(help="DICOM port of the PACS.")] = None,
    model: Annotated[
        str | None, typer.Option(help="VoxTell model directory; or 'phantom' or 'threshold' for tests.")
    ] = None,
    storage: Annotated[
        Path | None, typer.Option(help="Folder for what is received.  [default: data beside it]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write node.yaml and make its folders. Asks for what no flag says, where somebody is there to answer."""
    if path.exists() and not force:
        typer.echo(f"voxtell-dicom: {path} exists already; --force overwrites it", err=True)
        raise typer.Exit(2)
    answers = {
        "ae_title": _ask("Our AE title", ae_title, "VOXTELL"),
        "port": _ask("Our DICOM port", port, 11112),
        "pacs_ae": _ask("AE title of the PACS", pacs_ae, "ORTHANC"),
        "pacs_host": _ask("Host of the PACS", pacs_host, "127.0.0.1"),
        "pacs_port": _ask("DICOM port of the PACS", pacs_port, 4242),
        "model": _ask("Model directory, or 'phantom' for a test", model, os.environ.get("VOXTELL_MODEL", "phantom")),
    }
    folder = (storage or path.parent / "data").resolve()
    text = node_yaml(path, folder, **answers)
    _write(path, text, folder)
    typer.echo(f"wrote {path} and node.schema.json beside it (for editors); storage {folder}")
    if answers["model"] in TEST_ENGINES:
        typer.echo(f"the {answers['model']} engine is a TEST, NOT FOR PATIENTS; for VoxTell set model.directory")
    elif not (Path(answers["model"]) / "plans.json").is_file():
        typer.echo(f"there is no plans.json in {answers['model']} yet: put the VoxTell model there before `serve`")
    typer.echo(f"next: tell the PACS about {answers['ae_title']}, port {answers['port']}; then")
    typer.echo(f"  voxtell-dicom check -c {path}\n  voxtell-dicom serve -c {path}")


def node_yaml(path: Path, storage: Path, *, model: str, pacs_host: str, **answers: Any) -> str:
    """The text of node.yaml. Raises ConfigError where an answer makes it wrong (an AE title that is too long …)."""
    from voxtell_dicom import config, rules

    if model in TEST_ENGINES:
        engine = (
            f"  engine: {model}                        # TEST, NOT FOR PATIENTS; VoxTell: directory: /path/to/model"
        )
    else:
        engine = f"  directory: {_quoted(Path(model).resolve())}\n  devices: [auto]"
    prompts = ["> 300"] if model == "threshold" else ["liver", "spleen", "right kidney", "left kidney"]
    lines = [f"      - {_quoted(prompt) if '>' in prompt else prompt}" for prompt in prompts]
    if model != "threshold":
        lines.append("      # a finding needs `experimental: true` in its rule:")
        lines.append('      # - {text: liver lesion, label: Liver lesion, color: "#e6399b", threshold: 0.5}')
    text = TEMPLATE.format(
        path=path,
        host="127.0.0.1" if _on_this_machine(pacs_host) else "0.0.0.0",
        pacs_host=_quoted(pacs_host),
        storage=_quoted(storage),
        model=engine,
        prompts="\n".join(lines),
        **{name: _quoted(value) if isinstance(value, str) else value for name, value in answers.items()},
    )
    source = config.Source(text, str(path))
    source.refuse([*config.problems(source), *rules.problems(source)])
    return text


def _write(path: Path, text: str, storage: Path) -> None:
    from voxtell_dicom.config import json_schema

    try:
        storage.mkdir(mode=0o700, parents=True, exist_ok=True)  # patient data: for this user alone
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        schema = json.dumps(json_schema(), indent=2, ensure_ascii=False)
        path.with_name("node.schema.json").write_text(schema + "\n", encoding="utf-8")
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None


def _ask(question: str, answer: Any, default: Any) -> Any:
    if answer is not None:
        return answer
    return typer.prompt(question, default=default) if sys.stdin.isatty() else default


def _quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a YAML string


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
