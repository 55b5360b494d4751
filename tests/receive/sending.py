"""Senders: DCMTK's programs, and pynetdicom where a sender must misbehave."""

from __future__ import annotations

import copy
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE


def storescu(port: int, files: list[Path], *options: str, calling: str = "CT1") -> subprocess.CompletedProcess[str]:
    """Send by DCMTK; goes on after a failure (the answers are in stderr)."""
    command = ["storescu", "-v", "-nh", "-aet", calling, "-aec", "VOXTELL", *options, "127.0.0.1", str(port)]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=60, check=False)


def echoscu(port: int, calling: str = "CT1", called: str = "VOXTELL") -> subprocess.CompletedProcess[str]:
    command = ["echoscu", "-aet", calling, "-aec", called, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def encode(dataset: Dataset, syntax: str | None = None) -> bytes:
    """The dataset as it goes over the wire, in its own transfer syntax or in a native one."""
    uid = UID(syntax or dataset.file_meta.TransferSyntaxUID)
    if not uid.is_little_endian:  # pydicom leaves swapping 16-bit pixels to the caller
        dataset = copy.deepcopy(dataset)
        dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).byteswap().tobytes()
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = uid.is_implicit_VR, uid.is_little_endian
    write_dataset(stream, dataset)
    return stream.getvalue()


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@contextmanager
def association(port: int, datasets: list[Dataset], calling: str = "CT1") -> Iterator[Association]:
    """An open association with a context for each kind of dataset; released at the end, unless it has ended."""
    ae = AE(calling)
    pairs = {(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in datasets}
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]
    link = ae.associate("127.0.0.1", port, ae_title="VOXTELL", contexts=contexts)
    assert link.is_established
    try:
        yield link
    finally:
        if link.is_established:
            link.release()
        ae.shutdown()


def send(link: Association, dataset: Dataset, mangle: Callable[[bytes], bytes] = lambda data: data) -> Dataset:
    """C-STORE, the bytes changed by `mangle` on the way; the answer with Status and ErrorComment."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    request.AffectedSOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    request.DataSet = BytesIO(mangle(encode(dataset)))
    context = next(
        cx
        for cx in link.accepted_contexts
        if cx.abstract_syntax == dataset.SOPClassUID and cx.transfer_syntax[0] == dataset.file_meta.TransferSyntaxUID
    )
    assert context.context_id is not None
    link._reactor_checkpoint.clear()
    while not link._is_paused:
        pass
    link.dimse.send_msg(request, context.context_id)
    _, answer = link.dimse.get_msg(block=True)
    link._reactor_checkpoint.set()
    found = Dataset()
    assert answer is not None, "no answer"
    found.Status = answer.Status
    found.ErrorComment = getattr(answer, "ErrorComment", None) or ""
    return found
