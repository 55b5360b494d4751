"""The process that segments: a long-lived child of the node, one per device, with the model loaded.

It speaks JSON lines on standard input and output, arrays go as files. It leaves when its input closes, so that it
never outlives the node. This is the only module that imports the engine.

Requests: ``{"op": "segment", "id", "array", "spacing_zyx_mm", "requests": [model.Request…], "out", "within_s"}``,
``{"op": "unknown", "id", "prompts"}``, ``{"op": "cancel", "id"}``.
Answers: ``{"ready": identity}`` once, then by id ``{"progress": [done, total]}`` … and one of ``{"done": …}`` (of a
segmentation: the voxels of each mask, and model.RunReport as ``run``, null where the engine does not count),
``{"cancelled": true}``, ``{"error": message, "code"}``.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxtell_dicom.engine import keep_freed_memory, open_engine, return_freed_memory, worker_environment
from voxtell_dicom.engine.soft import with_probabilities
from voxtell_dicom.errors import OutOfMemory, UnknownPrompt, VoxtellDicomError
from voxtell_dicom.line.masks import Answer, save_answers
from voxtell_dicom.model import Engine, Request, Segment, dump, load
from voxtell_dicom.retry import NO_SPACE, no_space


class _Wire:
    """Writes answers, one JSON line each, whole even when two threads write."""

    def __init__(self) -> None:
        # The protocol keeps the real standard output for itself: whatever a library prints goes to standard error.
        self._stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps(message) + "\n")
            self._stream.flush()


def _segment(engine: Engine, task: dict[str, Any], wire: _Wire, cancelled: set[str]) -> None:
    requests = [load(Request, item) for item in task["requests"]]
    unknown = engine.unknown([request.prompt for request in requests])
    if unknown:
        raise UnknownPrompt(f"the model knows no prompt {', '.join(map(repr, unknown))}")
    array = np.load(task["array"], mmap_mode="r")

    def progress(done: int, total: int) -> None:
        keep_freed_memory()  # not before the first window is done
        wire.send(id=task["id"], progress=[done, total])

    def pass_of(some: Sequence[Request]) -> Iterator[Segment]:
        return engine.segment(
            array,
            tuple(task["spacing_zyx_mm"]),
            some,
            progress=progress,
            cancelled=lambda: task["id"] in cancelled,
            within_s=task.get("within_s"),
        )

    answers = [
        Answer(
            request=soft.segment.request,
            mask=soft.segment.mask,
            mean_probability=soft.segment.mean_probability,
            uncertain_share=soft.segment.uncertain_share,
            probabilities=soft.probabilities,
        )
        for soft in with_probabilities(pass_of, requests)
    ]
    if task["id"] in cancelled:
        wire.send(id=task["id"], cancelled=True)
        return
    save_answers(Path(task["out"]), answers)
    run = dump(engine.last_run) if engine.last_run else None
    wire.send(id=task["id"], done={"voxels": [answer.mask.voxels for answer in answers], "run": run})


def _code(error: Exception) -> str:
    """Return what the node goes by: whether there is use in another try."""
    if isinstance(error, MemoryError):
        return OutOfMemory.code
    return NO_SPACE if no_space(error) else "crash"


def _read(tasks: queue.Queue[dict[str, Any] | None], cancelled: set[str]) -> None:
    try:
        for line in sys.stdin:
            task = json.loads(line)
            if task["op"] == "cancel":
                cancelled.add(task["id"])
            else:
                tasks.put(task)
    finally:  # the node is gone, in the middle of a line perhaps: leave at once, whatever is being computed
        os._exit(0)


def _in_engine_environment() -> None:
    """Start over with the environment that the engine wants: some of it is read once, at the start."""
    wanted = {name: value for name, value in worker_environment().items() if name not in os.environ}
    if wanted:
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, "-m", "voxtell_dicom.workers.worker", *sys.argv[1:]])


def main() -> None:
    """Load the engine, then serve requests until standard input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="JSON of the model section of node.yaml")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    _in_engine_environment()
    wire = _Wire()
    tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
    cancelled: set[str] = set()
    threading.Thread(target=_read, args=(tasks, cancelled), daemon=True).start()
    try:
        engine = open_engine(**json.loads(arguments.model), device=arguments.device)
    except VoxtellDicomError as error:
        wire.send(fatal=str(error), code=error.code)
        sys.exit(2)
    wire.send(ready=engine.identity)
    while (task := tasks.get()) is not None:
        try:
            if task["op"] == "segment":
                _segment(engine, task, wire, cancelled)
            elif task["op"] == "unknown":
                wire.send(id=task["id"], done={"unknown": engine.unknown(task["prompts"])})
        except VoxtellDicomError as error:
            wire.send(id=task["id"], error=str(error), code=error.code)
        except Exception as error:
            traceback.print_exc()
            wire.send(id=task["id"], error=f"{type(error).__name__}: {error}", code=_code(error))
        return_freed_memory()


if __name__ == "__main__":
    main()
