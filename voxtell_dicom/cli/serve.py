"""`voxtell-dicom serve`: run the node until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from logging import getLevelNamesMapping
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()

LogLevel = Literal["debug", "info", "warning", "error"]


@app.command()
def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="node.yaml of the node.")] = Path("config/node.yaml"),
    log_json: Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")] = False,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", envvar="VOXTELL_DICOM_LOG_LEVEL", help="Log from this level up.")
    ] = "info",
) -> None:
    """Receive series, segment them by the rules, deliver the results. Stops on SIGTERM or Ctrl-C, losing nothing."""
    from voxtell_dicom.config.paths import refuse_storage_of_0_1
    from voxtell_dicom.config.secrets import check_secrets
    from voxtell_dicom.node import Node
    from voxtell_dicom.observe.logs import configure_logs
    from voxtell_dicom.rules import load_config

    configure_logs(json=log_json, level=getLevelNamesMapping()[log_level.upper()])
    settings = load_config(config)
    refuse_storage_of_0_1(config)
    check_secrets(settings)
    node = Node(settings)
    stop_requested = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_requested.set())
    node.start()
    ended = False
    try:
        while not stop_requested.wait(timeout=1):  # the signal may reach another thread, which does not end this wait
            pass
    finally:
        ended = node.stop()
    if not ended:  # the interpreter would wait for threads that hang on a peer; all that counts is on disk
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
