"""The node: wires the parts by node.yaml; start, stop. Imports no torch."""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING

import sqlalchemy as sa
import structlog

from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.dicom.headers import HeaderCache
from voxtell_dicom.errors import UnknownPrompt
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.line.plan import missing_slices
from voxtell_dicom.model import Series
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.dimse import StorageScp
from voxtell_dicom.rules import prompts
from voxtell_dicom.rules.requested_classes import requested_classes
from voxtell_dicom.workers.pool import WorkerPool
from voxtell_dicom.workflow import pipeline
from voxtell_dicom.workflow.correction import warn_of_correction
from voxtell_dicom.workflow.recovery import Leases, executor_id, lock_storage
from voxtell_dicom.workflow.retention import Retention
from voxtell_dicom.workflow.runtime import Runtime
from voxtell_dicom.workflow.watch import Watch, WatchedNode

if TYPE_CHECKING:
    from voxtell_dicom.web.server import WebServer

log = structlog.get_logger(__name__)


class Node:
    """A running node: `start` once, `stop` at the end."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock: IO[str] | None = None
        self._pool = WorkerPool(config.model, config.node.storage)
        self._archive: Archive | None = None
        self._scp: StorageScp | None = None
        self._web: WebServer | None = None

    def start(self) -> None:
        """Take the port, load the model, open the port, and only then take up unfinished work.

        Raises ConfigError (storage in use, port taken), ModelError, UnknownPrompt: then nothing runs.
        """
        config = self._config
        self._lock = lock_storage(config.node.storage)
        try:
            engine = open_database(config)
            self.jobs = JobBook(engine, config.node.storage)
            archive = self._archive = Archive(
                config.node.storage / "spool", engine, config.receive, also=requested_classes(config.rules)
            )
            headers = HeaderCache()

            def missing(series: Series) -> str:
                return missing_slices(series, headers=headers.of(series.series_uid))

            self._completion = Completion(
                archive,
                config.receive,
                config.peers,
                pipeline.submit,
                missing=missing,
                has_room=pipeline.has_room,
                on_correction=partial(warn_of_correction, self.jobs),
            )
            self._scp = StorageScp(config, archive, self._completion, record_commitment=self.jobs.record_commitment)
            self._scp.bind()
            self._bind_web(engine, archive)
            self._check_prompts()
            self._scp.start()
            if self._web:
                self._web.start()
            runtime = Runtime(config, self.jobs, self._pool, archive, headers)
            executor = executor_id(config.node.storage)
            failures = pipeline.launch(runtime, engine, executor)
            self._leases = Leases(engine, executor)
            watched = WatchedNode(
                executor,
                application_version=pipeline.APPLICATION_VERSION,
                storage=config.node.storage,
                min_free_percent=config.receive.min_free_percent,
                longest_delay_s=max(config.delivery.longest_retry_s, config.receive.quiet_s),
            )
            self._watch = Watch(self.jobs, failures, watched, given_up=pipeline.notify_of)
            self._retention = Retention(config, self.jobs, archive)
            self._leases.start()
            self._watch.start()
            self._retention.start()
            self._completion.start()
        except BaseException:
            self._undo()
            raise
        log.info("node ready", ae_title=config.node.ae_title, host=config.node.dimse.host, port=self.port)
        if config.model.engine:
            log.warning("test engine: results are marked TEST - NOT FOR PATIENTS", engine=config.model.engine)

    @property
    def port(self) -> int:
        """The DIMSE port that is open (chosen by the system where node.yaml says 0)."""
        return self._scp.port if self._scp else self._config.node.dimse.port

    def stop(self) -> bool:
        """Refuse new associations, let open ones and then steps end within their `drain_s`; stop.

        What is unfinished goes on after the next start. Returns whether all steps have ended: a thread may still hang
        on a peer that does not answer, so that only the end of the process ends it.
        """
        log.info("node stopping")
        if self._web:
            self._web.begin_stop(self._config.receive.drain_s)
        if self._scp:
            self._scp.stop(self._config.receive.drain_s)
        if self._web:
            self._web.join()
        self._completion.stop()
        self._retention.stop()
        self._watch.stop()
        self._leases.stop()
        ended = self._undo(self._config.delivery.drain_s)
        log.info("node stopped")
        return ended

    def _undo(self, drain_s: float = 0) -> bool:
        """Release what `start` took, however far it got. Returns whether all steps have ended."""
        if self._web:
            self._web.begin_stop(0)
            self._web.join()
        if self._scp:
            self._scp.stop(0)
        self._pool.stop()
        ended = pipeline.shut_down(drain_s)
        if self._archive:
            self._archive.close()
        if self._lock:
            self._lock.close()
        return ended

    def _bind_web(self, engine: sa.Engine, archive: Archive) -> None:
        """Take the port of `node.http`, if it is given. Its libraries are loaded only then."""
        if self._config.node.http is None:
            return
        from voxtell_dicom.web.server import WebServer
        from voxtell_dicom.web.services import Services

        self._web = WebServer(Services(self._config, engine, archive, self._completion, self.jobs))
        self._web.bind()

    def _check_prompts(self) -> None:
        wanted = {prompt.text: rule.name for rule in self._config.rules for prompt in prompts(rule)}
        unknown = self._pool.unknown(list(wanted))
        if unknown:
            names = ", ".join(f"{text!r} (rule {wanted[text]!r})" for text in unknown)
            raise UnknownPrompt(
                f"the engine cannot run the prompts {names}: correct node.yaml, or add them to the bank"
            )
