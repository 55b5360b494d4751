"""The node: wires the parts by node.yaml; start, stop. Imports no torch."""

from __future__ import annotations

from typing import IO

import structlog

from voxtell_dicom.archive.database import open_database
from voxtell_dicom.archive.spool import Spool
from voxtell_dicom.config import Config
from voxtell_dicom.errors import UnknownPrompt
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.line.plan import missing_slices
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.dimse import StorageScp
from voxtell_dicom.rules import prompts
from voxtell_dicom.rules.asked import asked_classes
from voxtell_dicom.workers.pool import WorkerPool
from voxtell_dicom.workflow import pipeline
from voxtell_dicom.workflow.recovery import Leases, executor_id, lock_storage
from voxtell_dicom.workflow.retention import Retention
from voxtell_dicom.workflow.runtime import Runtime, Spooled
from voxtell_dicom.workflow.watch import Watch

log = structlog.get_logger(__name__)


class Node:
    """A running node: `start` once, `stop` at the end."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock: IO[str] | None = None
        self._pool = WorkerPool(config.model)
        self._spool: Spool | None = None

    def start(self) -> None:
        """Load the model, take up unfinished work, and open the port.

        Raises ConfigError (storage in use, port taken), ModelError, UnknownPrompt: then nothing runs.
        """
        config = self._config
        self._lock = lock_storage(config.node.storage)
        try:
            self._check_prompts()
            engine = open_database(config)
            self.jobs = JobBook(engine, config.node.storage)
            spool = self._spool = Spool(config.node.storage / "spool", config.receive, also=asked_classes(config.rules))
            self._completion = Completion(spool, config.receive, config.peers, pipeline.submit, missing=missing_slices)
            spooled = Spooled(spool.overview, spool.series, self._completion.being_sent)
            runtime = Runtime(config, self.jobs, self._pool, spool.remember_own, spool.current_version, spooled)
            executor = executor_id(config.node.storage)
            pipeline.launch(runtime, engine, executor)
            self._leases = Leases(engine, executor)
            self._watch = Watch(
                self.jobs,
                executor,
                application_version=pipeline.APPLICATION_VERSION,
                storage=config.node.storage,
                min_free_percent=config.receive.min_free_percent,
                given_up=pipeline.notify_of,
            )
            self._retention = Retention(config, self.jobs, spool)
            self._scp = StorageScp(config, spool, self._completion)
            self._leases.start()
            self._watch.start()
            self._retention.start()
            self._completion.start()
            self._scp.start()
        except BaseException:
            self._undo()
            raise
        log.info("node ready", ae_title=config.node.ae_title, host=config.node.dimse.host, port=self.port)
        if config.model.engine:
            log.warning("test engine: results are marked TEST - NOT FOR PATIENTS", engine=config.model.engine)

    @property
    def port(self) -> int:
        """The DIMSE port that is open (chosen by the system where node.yaml says 0)."""
        return self._scp.port

    def stop(self, drain_s: int = 10) -> None:
        """Refuse new associations, let steps end for `drain_s` seconds, stop. The rest goes on after the next start."""
        log.info("node stopping")
        self._scp.stop()
        self._completion.stop()
        self._retention.stop()
        self._watch.stop()
        self._leases.stop()
        self._undo(drain_s)
        log.info("node stopped")

    def _undo(self, drain_s: int = 0) -> None:
        """Let go of what `start` took, whatever it got to."""
        self._pool.stop()
        pipeline.shut_down(drain_s)
        if self._spool:
            self._spool.close()
        if self._lock:
            self._lock.close()

    def _check_prompts(self) -> None:
        wanted = {prompt.text: rule.name for rule in self._config.rules for prompt in prompts(rule)}
        unknown = self._pool.unknown(list(wanted))
        if unknown:
            names = ", ".join(f"{text!r} (rule {wanted[text]!r})" for text in unknown)
            raise UnknownPrompt(f"the engine cannot run the prompts {names}: mend node.yaml, or add them to the bank")
