"""Media types: what a request accepts, and messages of several parts (PS3.18 section 8.6, 8.7)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fastapi import HTTPException, Request
from fastapi.responses import StreamingResponse
from python_multipart.multipart import parse_options_header

DICOM, OCTETS = "application/dicom", "application/octet-stream"
JSON, XML = "application/dicom+json", "application/dicom+xml"
MULTIPART = "multipart/related"
_RANGE = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
_MOST_RANGES = 64


@dataclass(frozen=True)
class Accepted:
    """One entry of Accept. type: of the parts, where the message has several."""

    type: str
    multipart: bool = False
    syntax: str = ""  # transfer-syntax: a UID, "*", or "" for the default of the type
    quality: float = 1.0
    parameters: Mapping[str, str] = field(default_factory=dict)

    def takes(self, type_: str) -> bool:
        """Return whether it takes parts, or a whole message, of a media type."""
        return self.type in ("*/*", type_) or (self.type.endswith("/*") and type_.startswith(self.type[:-1]))


def accepted(request: Request) -> list[Accepted]:
    """Return what a request accepts, the preferred first; everything where it says nothing.

    The query parameter `accept` counts before the header (PS3.18 section 8.3.3.1).
    """
    given = request.query_params.getlist("accept") or request.headers.getlist("accept") or ["*/*"]
    found = [_accepted(entry) for entry in _RANGE.findall(",".join(given))[:_MOST_RANGES] if entry.strip()]
    return sorted((entry for entry in found if entry.quality > 0), key=lambda entry: -entry.quality)


def _accepted(entry: str) -> Accepted:
    main, options = parse_options_header(entry.strip())
    name = main.decode("latin-1").lower()
    parameters = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in options.items()}
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        quality = 0.0
    inner = parameters.get("type", "*/*").lower() if name == MULTIPART else name
    return Accepted(inner, name == MULTIPART, parameters.get("transfer-syntax", ""), quality, parameters)


def not_acceptable(what: str) -> HTTPException:
    """Return the answer to a request that accepts nothing of what there is."""
    return HTTPException(406, f"nothing that the request accepts can be given; there is {what}")


def json_or_xml(request: Request) -> str:
    """Return whether a request wants the JSON or the XML model, JSON where it takes both. Raises HTTPException (406).

    XML goes in one message for each dataset, in multipart/related; answers to STOW-RS are one dataset.
    """
    for entry in accepted(request):
        if not entry.multipart and (entry.takes(JSON) or entry.type == "application/json"):
            return JSON
        if entry.takes(XML):
            return XML
    raise not_acceptable(f"{JSON} and {XML}")


@dataclass(frozen=True)
class Part:
    """A part of a message: its media type with parameters, its content in pieces, other headers."""

    type: str
    content: Iterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


def multipart(parts: Iterator[Part], type_: str) -> StreamingResponse:
    """Return a message of several parts, which are made while it is sent."""
    boundary = uuid.uuid4().hex
    content_type = f'{MULTIPART}; type="{type_}"; boundary={boundary}'
    return StreamingResponse(_message(parts, boundary), headers={"Content-Type": content_type})


def _message(parts: Iterator[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        extra = "".join(f"{name}: {value}\r\n" for name, value in part.headers.items())
        yield f"--{boundary}\r\nContent-Type: {part.type}\r\n{extra}\r\n".encode("latin-1")
        yield from part.content
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
