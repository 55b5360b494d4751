"""The node's side of the worker processes: start, drive, cancel, restart. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import structlog

from voxtell_dicom.config import Model
from voxtell_dicom.errors import ModelError, VoxtellDicomError
from voxtell_dicom.line.segment import WorkCancelled
from voxtell_dicom.model import Progress

UNKNOWN_S = 1800.0  # the text model may have to be loaded, from a slow disk into a CPU's memory

log = structlog.get_logger(__name__)


class WorkerDied(VoxtellDicomError):
    """The worker process ended in the middle of its work; the step is tried again with a new one."""

    code = "worker-died"


class WorkerRefused(VoxtellDicomError):
    """The worker answered with an error; trying again would not help. `code` is the engine's."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class NodeStopping(BaseException):
    """The node stops while a step still needs a worker.

    No Exception, so that no step takes it for a failure: nothing is recorded, and the step runs again after the start.
    """


def _engine_arguments(model: Model) -> str:
    return json.dumps(
        {
            "directory": str(model.directory) if model.directory else None,
            "kind": model.engine,
            "bank": str(model.bank) if model.bank else None,
            "text_model": model.text_model,
            "exact": model.exact,
            "bfloat16": model.bfloat16,
            **model.windows.model_dump(),
        }
    )


class Worker:
    """One worker process for one device. Thread-safe; one request at a time is the pool's business."""

    def __init__(self, model: Model, device: str) -> None:
        self._ready: Future[str] = Future()
        self._pending: dict[str, tuple[Future[dict[str, Any]], Progress | None]] = {}
        self._lock = threading.Lock()
        self._gone = False
        command = [sys.executable, "-m", "voxtell_dicom.workers.worker"]
        command += ["--model", _engine_arguments(model), "--device", device]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # -m must not look in the folder where the node was started
        )
        threading.Thread(target=self._read, name="worker-reader", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the worker process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return whether the process runs and listens. A dying one closes its pipes some time before it has ended."""
        return not self._gone and self._process.poll() is None

    def identity(self, timeout_s: float) -> str:
        """Wait until the model is loaded. Raises ModelError where it cannot be, WorkerDied where the process ended."""
        return self._ready.result(timeout_s)

    def submit(self, op: str, *, progress: Progress | None = None, **fields: Any) -> tuple[str, Future[dict[str, Any]]]:
        """Send a request. Returns its id and the future of its answer."""
        task_id = uuid.uuid4().hex
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            self._pending[task_id] = (future, progress)
        try:
            self._send({"op": op, "id": task_id, **fields})
        except OSError as error:
            self._fail_all(WorkerDied(f"worker process {self.pid} is gone: {error}"))
        return task_id, future

    def cancel(self, task_id: str) -> None:
        """Ask for a cancellation: it takes effect before the next window."""
        with contextlib.suppress(OSError):
            self._send({"op": "cancel", "id": task_id})

    def stop(self, timeout_s: float = 5) -> None:
        """Close its input, which ends it; kill it where that does not help."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "ready" in message:
                self._ready.set_result(message["ready"])
            elif "fatal" in message:
                self._ready.set_exception(ModelError(message["fatal"]))
            else:
                self._answer(message)
        self._gone = True
        code = self._process.wait()
        self._fail_all(WorkerDied(f"worker process {self.pid} ended with status {code}"))

    def _answer(self, message: dict[str, Any]) -> None:
        with self._lock:
            future, progress = self._pending.get(message["id"], (None, None))
            if "progress" not in message:
                self._pending.pop(message["id"], None)
        if future is None:
            return
        if "progress" in message:
            if progress:
                try:
                    progress(*message["progress"])
                except Exception as error:  # whatever the listener meets, a full disk for one: read on
                    log.warning("progress could not be noted", pid=self.pid, reason=str(error))
        elif "error" in message:
            future.set_exception(WorkerRefused(message["error"], message["code"]))
        elif message.get("cancelled"):
            future.set_exception(WorkCancelled("cancelled"))
        else:
            future.set_result(message["done"])

    def _fail_all(self, error: WorkerDied) -> None:
        self._gone = True
        with self._lock:
            pending, self._pending = self._pending, {}
        if not self._ready.done():
            self._ready.set_exception(error)
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(error)


class WorkerPool:
    """One worker per configured device, restarted where one has died."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._free: queue.Queue[tuple[str, Worker | None]] = queue.Queue()
        self._workers: set[Worker] = set()
        self._identity: str | None = None
        self._stopping = False
        for device in model.devices:
            self._free.put((device, None))

    @property
    def size(self) -> int:
        """Return how many series can be segmented at once."""
        return len(self._model.devices)

    @contextlib.contextmanager
    def borrow(self, *, timeout_s: float = 600) -> Iterator[Worker]:
        """A worker with its model loaded, for one piece of work. Starts one where none runs yet.

        Raises ModelError where the model cannot be loaded; NodeStopping, also from within, once the pool was stopped.
        """
        device, worker = self._free.get()
        try:
            if self._stopping:
                raise NodeStopping
            if worker is None or not worker.alive:
                if worker is not None:
                    self._workers.discard(worker)
                worker = Worker(self._model, device)
                self._workers.add(worker)
                log.info("worker started", device=device, pid=worker.pid)
            self._identity = worker.identity(timeout_s)
            yield worker
        except WorkerDied:
            if self._stopping:  # it was ended with the pool: no fault of the work's
                raise NodeStopping from None
            raise
        finally:
            self._free.put((device, worker))

    def identity(self) -> str:
        """The engine's identity; waits for the first worker to be ready. Raises ModelError, WorkerDied."""
        if self._identity is None:
            with self.borrow() as worker:
                return worker.identity(0)
        return self._identity

    def unknown(self, prompts: Sequence[str]) -> list[str]:
        """Those prompts that the engine cannot run."""
        with self.borrow() as worker:
            _, future = worker.submit("unknown", prompts=list(prompts))
            return list(future.result(UNKNOWN_S)["unknown"])

    def pids(self) -> list[int]:
        """Of the worker processes that run."""
        return [worker.pid for worker in self._workers if worker.alive]

    def stop(self) -> None:
        """End all worker processes."""
        self._stopping = True
        for worker in tuple(self._workers):
            worker.stop()
