"""Structured logs on standard error: one line an event, as JSON for machines or plain for people."""

from __future__ import annotations

import logging
import sys
import warnings

import structlog


def configure_logs(*, json: bool = False, level: int = logging.INFO) -> None:
    """Set up structlog and the standard library's logging for a process of ours.

    Libraries speak from WARNING up: pynetdicom, pydicom and the durable engine log identifiers and tracebacks of
    expected events (a cancellation, an aborted association) below or at that level.
    """
    for name in ("pynetdicom", "pydicom", "highdicom", "dicomweb_client", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\..*")  # their text quotes values: patient data
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
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
