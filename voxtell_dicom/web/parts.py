"""A multipart/related request taken apart while it comes: one part in memory at a time (RFC 2387)."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

_HEAD = 1 << 16  # bytes that stay of a part that is too large: its file meta information names the instance


@dataclass
class ReceivedPart:
    """A part that has come. truncated: it was larger than allowed, and only its beginning is here."""

    content: bytearray = field(default_factory=bytearray, repr=False)
    type: str = ""
    truncated: bool = False


class MalformedMessage(Exception):
    """The message is no multipart message with this boundary."""


class PartReader:
    """Fed with pieces of a message; hands out the parts that have come to their end.

    largest: bytes of a part that are stored. Raises MalformedMessage where the boundary is none.
    """

    def __init__(self, boundary: str, largest: int) -> None:
        self._largest = largest
        self._part = ReceivedPart()
        self._name, self._value = bytearray(), bytearray()
        self._whole: list[ReceivedPart] = []
        self.finished = False
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"),
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._finish,
                },
            )
        except (FormParserError, ValueError) as error:
            raise MalformedMessage("the boundary is none") from error

    def feed(self, data: bytes) -> list[ReceivedPart]:
        """Take the next bytes. Returns the parts that ended with them. Raises MalformedMessage."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise MalformedMessage("a boundary or the head of a part is broken") from error
        whole, self._whole = self._whole, []
        return whole

    def _begin(self) -> None:
        self._part = ReceivedPart()

    def _header(self) -> None:
        if self._name.lower() == b"content-type":
            self._part.type = self._value.decode("latin-1")
        self._name, self._value = bytearray(), bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.truncated:
            return
        part.content += memoryview(data)[start:end]
        if len(part.content) > self._largest:
            part.truncated = True
            part.content = part.content[:_HEAD]

    def _end(self) -> None:
        self._whole.append(self._part)
        self._part = ReceivedPart()

    def _finish(self) -> None:
        self.finished = True
