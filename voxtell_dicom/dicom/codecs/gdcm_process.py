"""A child of `isolated.py`: encoded frames come in on standard input, their stored values go out on standard output.

A request is a line of JSON and the frame's bytes; an answer its length (8 bytes, little endian) and its bytes, none
where the frame is broken. The process ends with its input, or when no request came for a while.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import gdcm

PATIENCE_S = 60.0


def decoded(task: dict[str, Any], frame: bytes) -> bytes:
    """The stored values of a frame, little endian; empty where GDCM cannot read it."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((task["columns"], task["rows"], 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.GetPIType(task["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if task["samples"] > 1:
        image.SetPlanarConfiguration(task["planar"])
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(task["syntax"])))
    stored = task["stored"]
    image.SetPixelFormat(gdcm.PixelFormat(task["samples"], task["allocated"], stored, stored - 1, task["signed"]))
    values = image.GetBuffer()  # bytes as text; None where it cannot be read
    return b"" if values is None else values.encode("utf-8", "surrogateescape")


def main() -> None:
    """Answer requests until standard input closes."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints
    requests = sys.stdin.buffer
    while select.select([requests], [], [], PATIENCE_S)[0] and (line := requests.readline()):
        task = json.loads(line)
        frame = requests.read(task["length"])
        if len(frame) < task["length"]:
            return
        values = decoded(task, frame)
        answers.write(len(values).to_bytes(8, "little") + values)
        answers.flush()


if __name__ == "__main__":
    main()
