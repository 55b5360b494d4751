"""Structured logs on standard error: one line an event, as JSON for machines or plain for people."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any, Final

import structlog

# Of pynetdicom, what a peer's bytes can make it say, tracebacks included: a line of ours says what became of them.
_ABOUT_BYTES: Final = (
    "dimse",
    "dimse_messages",
    "dimse_primitives",
    "dsutils",
    "dul",
    "fsm",
    "pdu",
    "pdu_items",
    "utils",
)


def configure_logs(*, json: bool = False, level: int = logging.INFO) -> None:
    """Set up structlog and the standard library's logging for a process of ours.

    Libraries speak from WARNING up: pynetdicom, pydicom and the durable engine log identifiers and tracebacks of
    expected events (a cancellation, an aborted association) below or at that level.
    """
    for name in ("pynetdicom", "pydicom", "highdicom", "dicomweb_client", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _ABOUT_BYTES:
        logging.getLogger(f"pynetdicom.{name}").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\..*")  # their text quotes values: patient data
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        escape_controls,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    # The libraries' lines in the same shape: a reader of JSON lines meets nothing else.
    handler = logging.StreamHandler(sys.stderr)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    named: list[structlog.types.Processor] = [structlog.stdlib.add_logger_name, *shared]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[remove, renderer], foreign_pre_chain=named))
    logging.getLogger("voxtell_dicom").setLevel(level)  # parts of ours that log by the standard library
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def escape_controls(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Escape what a terminal or a reader of lines would act on: what a peer sends must forge no line.

    A traceback keeps its lines, each of them indented, so that none looks like an entry of the log.
    """
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own
            event[key] = _lines(value) if key in ("exception", "stack") else _escaped(value)
    return event


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_escaped(one) for one in value]
    return value if value is None or isinstance(value, int | float) else _escaped(str(value))


def printable(text: str) -> str:
    """Return text in which a terminal finds nothing to act on: other characters are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _lines(text: Any) -> str:
    return "\n".join(f"    {_escaped(line)}" for line in str(text).split("\n"))
