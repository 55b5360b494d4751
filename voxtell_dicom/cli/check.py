"""`voxtell-dicom check`: is node.yaml right, is the model there, and do the peers answer?"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxtell_dicom.cli.peers import Answer
    from voxtell_dicom.config import Config
    from voxtell_dicom.engine.bank import Bank

app = typer.Typer()

WEIGHTS = ("model.safetensors", "fold_0/checkpoint_final.pth")  # either: an imported model, or an official one


@app.command()
def check(
    config: Annotated[Path, typer.Option("--config", "-c", help="node.yaml of the node.")] = Path("config/node.yaml"),
    load_model: Annotated[
        bool, typer.Option("--load-model", help="Load the model, too, and check that it can run every prompt.")
    ] = False,
    send_test_seg: Annotated[
        str | None, typer.Option(metavar="PEER", help="Send a marked test SEG (of a phantom) to this peer, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Check node.yaml and ask each peer whether it is there. Exit 1 if one does not answer, 2 if the file is wrong."""
    from voxtell_dicom.cli.peers import ask
    from voxtell_dicom.config.secrets import check_secrets
    from voxtell_dicom.observe.logs import configure_logs
    from voxtell_dicom.rules import load_config

    configure_logs(level=logging.WARNING)
    settings = load_config(config)
    check_secrets(settings)
    answers = [
        _model(settings),
        _storage(settings),
        *_certificates(settings),
        *(ask(name, peer, settings.node.ae_title) for name, peer in settings.peers.items()),
    ]
    bank = _bank(settings)
    answers += [*_findings(settings), *_outside_bank(settings, config, bank)]
    if load_model:
        answers.append(_prompts(settings, bank))
    if send_test_seg is not None:
        from voxtell_dicom.cli.connection import send_test_seg as send

        answers.append(send(send_test_seg, settings))
    if as_json:
        report = {"config": str(config), "rules": len(settings.rules), "checks": [asdict(answer) for answer in answers]}
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(f"{config}: right; {len(settings.rules)} rules, {len(settings.peers)} peers")
        _show(answers)
    if any(answer.state == "failed" for answer in answers):
        raise typer.Exit(1)


def _model(settings: Config) -> Answer:
    from voxtell_dicom.cli.peers import Answer

    directory = settings.model.directory
    if directory is None:
        return Answer("model", "engine", str(settings.model.engine), "ok", "TEST - NOT FOR PATIENTS", 0)
    if not (directory / "plans.json").is_file():
        return Answer("model", "directory", str(directory), "failed", "there is no plans.json in it", 0)
    if not any((directory / name).is_file() for name in WEIGHTS):
        return Answer(
            "model", "directory", str(directory), "failed", f"there is neither {' nor '.join(WEIGHTS)} in it", 0
        )
    return Answer("model", "directory", str(directory), "ok", "is there", 0)


def _storage(settings: Config) -> Answer:
    """Return if the storage folder can be made and written, and how much of its disk is free. Makes nothing."""
    from voxtell_dicom.cli.peers import Answer

    folder = settings.node.storage
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        state, message = "failed", f"cannot be made: {there} is no folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        state, message = "failed", f"cannot be written: no permission for {there}"
    else:
        state, message = "ok", f"{shutil.disk_usage(there).free / 1e9:.0f} GB free"
    return Answer("storage", "folder", str(folder), state, message, 0)


def _certificates(settings: Config) -> Iterator[Answer]:
    """Yield a line for each setting of TLS: whether its files can be used, and what expires soon."""
    from voxtell_dicom.cli.peers import Answer
    from voxtell_dicom.config.tls_settings import ServerTls
    from voxtell_dicom.errors import ConfigError
    from voxtell_dicom.network.tls import client_context, expiries, server_context

    peers = [(f"{name} (TLS)", peer.tls) for name, peer in settings.peers.items() if peer.tls is not None]
    for name, tls in [("node.dimse.tls", settings.node.dimse.tls), *peers]:
        if tls is None:
            continue
        place = str(tls.certificate or tls.ca or "the CAs of this system")
        try:
            if isinstance(tls, ServerTls):
                server_context(tls)
            else:
                client_context(tls)
            ends = expiries(tls)
        except ConfigError as error:
            yield Answer(name, "certificate", place, "failed", str(error), 0)
            continue
        soon = [sentence for expiry in ends if (sentence := expiry.in_words())]
        state = "failed" if any(expiry.days_left() < 0 for expiry in ends) else "ok"
        first = min((expiry.at for expiry in ends), default=None)
        good = f"can be used, until {first:%Y-%m-%d}" if first else "can be used"
        yield Answer(name, "certificate", place, state, "; ".join(soon) or good, 0)


def _findings(settings: Config) -> list[Answer]:
    """A line for each rule that has prompts which describe a finding."""
    from voxtell_dicom.cli.peers import Answer
    from voxtell_dicom.rules import prompts
    from voxtell_dicom.terms.findings import finding_word

    found = []
    for rule in settings.rules:
        texts = [prompt.text for prompt in prompts(rule) if finding_word(prompt.text)]
        if texts and settings.model.engine != "threshold":
            message = f"experimental, findings rather than anatomy: {', '.join(texts)}"
            found.append(Answer(rule.name, "rule", "-", "ok", message, 0))
    return found


def _bank(settings: Config) -> Bank | None:
    """Return the prompts whose vectors the node will have, None where that is not known without loading the engine."""
    from voxtell_dicom.engine.bank import Bank, find_bank

    model = settings.model
    path = model.bank or (find_bank(model.directory) if model.directory and model.directory.is_dir() else None)
    return Bank.read(path) if path else None


def _outside_bank(settings: Config, config: Path, bank: Bank | None) -> Iterator[Answer]:
    """Yield a line for each prompt that the bank does not hold: it fails where no text model is set."""
    from voxtell_dicom.cli.peers import Answer
    from voxtell_dicom.config.source import Source
    from voxtell_dicom.rules import prompts

    if bank is None:
        return
    source = Source.read(config)
    for index, rule in enumerate(settings.rules):
        for number, prompt in enumerate(prompts(rule)):
            if prompt.text in bank:
                continue
            place = f"{config}:{source.line(('rules', index, 'prompts', number))}"
            if settings.model.text_model:
                message = f"{prompt.text!r} is not in the bank: the text model embeds it when the node starts"
                yield Answer(rule.name, "prompt", place, "ok", message, 0)
            else:
                near = bank.nearest(prompt.text)
                hint = f"; near it: {', '.join(near)}" if near else ""
                yield Answer(rule.name, "prompt", place, "failed", f"{prompt.text!r} is not in the bank{hint}", 0)


def _prompts(settings: Config, bank: Bank | None) -> Answer:
    """Return whether the engine loads, and can run every prompt of every rule."""
    from voxtell_dicom.cli.peers import Answer
    from voxtell_dicom.errors import VoxtellDicomError
    from voxtell_dicom.rules import prompts
    from voxtell_dicom.workers.pool import WorkerPool

    began, identity = time.monotonic(), ""
    texts = list(dict.fromkeys(prompt.text for rule in settings.rules for prompt in prompts(rule)))
    pool = WorkerPool(settings.model)
    try:
        identity = pool.identity()
        unknown = pool.unknown(texts)
        state = "failed" if unknown else "ok"
        message = "; ".join(_named(settings, bank, text) for text in unknown) or f"can run all {len(texts)}"
    except VoxtellDicomError as error:
        state, message = "failed", str(error)
    finally:
        pool.stop()
    return Answer("prompts", "engine", identity, state, message, round(1000 * (time.monotonic() - began)))


def _named(settings: Config, bank: Bank | None, text: str) -> str:
    """Return an unknown prompt with the rules that have it and the nearest words of the bank."""
    from voxtell_dicom.rules import prompts

    rules = [rule.name for rule in settings.rules if text in [prompt.text for prompt in prompts(rule)]]
    near = bank.nearest(text) if bank else []
    hint = f", near it: {', '.join(near)}" if near else ""
    return f"unknown: {text!r} (rule {', '.join(map(repr, rules))}){hint}"


def _show(answers: list[Answer]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in ("What", "How", "Where", "State", "", "ms")))
    colors = {"ok": "green", "failed": "bold red", "skipped": "dim"}
    for answer in answers:
        state = f"[{colors[answer.state]}]{answer.state}[/]"
        table.add_row(answer.peer, answer.kind, answer.address, state, answer.message, str(answer.milliseconds))
    console = Console()
    if not console.is_terminal:  # a file or a pipe: rich would cut it into 80 columns
        console.width = 1000
    console.print(table)
