"""GDCM as a plugin of pydicom, each frame decoded in a child process: a broken one ends the child, not us.

The children also decode side by side, which GDCM does not do in one process (it holds Python's lock all the time).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Final, cast

from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

LABEL: Final = "gdcm-apart"
LENGTH = 8  # bytes of the length before an answer

DECODER_DEPENDENCIES = dict.fromkeys((JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), ("python-gdcm>=3.0.24",))
"""Asked for by pydicom, as is `is_available`."""


def is_available(uid: UID) -> bool:
    """Return True if frames of a transfer syntax are decoded here."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """The stored values of one frame, as its Bits Allocated (0028,0100) say. Raises ValueError where it is broken."""
    task = {
        "syntax": str(runner.transfer_syntax),
        "rows": runner.rows,
        "columns": runner.columns,
        "allocated": runner.bits_allocated,
        "stored": runner.bits_stored,
        "signed": runner.pixel_representation,
        "samples": runner.samples_per_pixel,
        "photometric": str(runner.photometric_interpretation),
        "planar": runner.planar_configuration if runner.samples_per_pixel > 1 else 0,
        "length": len(src),
    }
    for fresh in (False, True):  # one that waited may leave just now; that a new one ends is the frame's doing
        with suppress(OSError), _borrowed(fresh) as child:
            answer = child.ask(json.dumps(task).encode(), src)
            expected = runner.frame_length(unit="bytes")
            if len(answer) != expected:
                words = f"{len(answer)} bytes, where {expected} are expected" if answer else "broken or cut short"
                raise ValueError(f"the frame is {words}")
            return answer
    raise ValueError("the frame is broken: the decoder ended")


class _Child:
    """One process that decodes frames, one after the other (`gdcm_process.py`)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voxtell_dicom.dicom.codecs.gdcm_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # GDCM says there that 12 bits are not 8
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # -m must not look in the folder where we were started
        )

    def ask(self, task: bytes, frame: bytes) -> bytes:
        """The decoded frame, empty where it is broken. Raises OSError where the process ended."""
        write, read = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        write.write(task + b"\n" + frame)
        write.flush()
        length = read.read(LENGTH)
        answer = read.read(int.from_bytes(length, "little"))
        if len(length) < LENGTH or len(answer) < int.from_bytes(length, "little"):
            raise BrokenPipeError("the decoder ended")
        return answer

    def end(self) -> None:
        """Close its pipes, which ends it."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                cast(IO[bytes], pipe).close()
        self.process.wait()


_idle: list[_Child] = []


def _waiting() -> _Child:
    """A child that waits for work; a new one where none does: all end when no request came for a while."""
    while True:
        try:
            child = _idle.pop()
        except IndexError:
            return _Child()
        if child.process.poll() is None:
            return child
        child.end()


@contextmanager
def _borrowed(fresh: bool) -> Iterator[_Child]:
    child = _Child() if fresh else _waiting()
    try:
        yield child
    except OSError:
        child.end()
        raise
    except BaseException:
        _idle.append(child)
        raise
    _idle.append(child)
