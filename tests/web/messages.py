"""DICOMweb requests made by hand: multipart messages, right ones and wrong ones."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import requests
from pydicom.dataset import Dataset

from tests.system.node_process import NodeProcess

FAILED, REFERENCED, OTHERS, REASON, SOP = "00081198", "00081199", "0008119A", "00081197", "00081155"


def part10(dataset: Dataset) -> bytes:
    """Return a dataset as a file."""
    with io.BytesIO() as file:
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()


def message(parts: Iterable[bytes], boundary: str = "", kind: str = "application/dicom") -> tuple[bytes, str]:
    """Return a multipart/related message and its Content-Type."""
    mark = boundary or uuid.uuid4().hex
    body = b"".join(b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (mark.encode(), kind.encode(), one) for one in parts)
    return body + b"--%s--\r\n" % mark.encode(), f'multipart/related; type="{kind}"; boundary={mark}'


def root(node: NodeProcess) -> str:
    """Return the root of a node's DICOMweb."""
    return f"http://127.0.0.1:{node.http_port}/dicomweb"


def store(
    node: NodeProcess, parts: Iterable[bytes], study: str = "", headers: Mapping[str, str] | None = None
) -> requests.Response:
    """Store by STOW-RS."""
    body, content_type = message(parts)
    url = f"{root(node)}/studies/{study}".rstrip("/")
    return requests.post(url, data=body, headers={"Content-Type": content_type, **(headers or {})}, timeout=60)


def items(answer: requests.Response, tag: str) -> list[dict[str, Any]]:
    """Return the items of a sequence in the answer to a store request."""
    found: list[dict[str, Any]] = answer.json().get(tag, {}).get("Value", [])
    return found


def parts_of(answer: requests.Response) -> list[tuple[str, bytes]]:
    """Return the parts of a multipart answer: Content-Type and content of each."""
    boundary = answer.headers["Content-Type"].rpartition("boundary=")[2].strip('"').encode()
    found = []
    for part in answer.content.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n"))
        found.append((lines["Content-Type"], content[:-2]))
    return found
