"""Command sets of C-STORE messages read and packed by hand: pydicom takes longer for them than we for the instance.

Only plain messages are: the elements that PS3.7 section 9.3.1 names, each once and valid. All others are pynetdicom's.
"""

from __future__ import annotations

import re
from struct import Struct, error
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

_HEAD: Final = Struct("<HHL")  # Implicit VR Little Endian, PS3.7 section 6.3.1
_NUMBER: Final = Struct("<HHLH")
_LENGTH: Final = Struct("<HHLL")
_C_STORE_RQ: Final = 0x0001
_C_STORE_RSP: Final = 0x8001
_NO_DATA_SET: Final = 0x0101
_WHOLE_COMMAND: Final = 0x03  # Message Control Header, PS3.8 section E.2
_UID: Final = re.compile(rb"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+\0?")
_REQUIRED: Final = frozenset({0x0002, 0x0100, 0x0110, 0x0700, 0x0800, 0x1000})
_OPTIONAL: Final = frozenset({0x0000})  # of a C-MOVE's sub-operation there are more: those are pynetdicom's


class StoreRequest(DIMSEMessage):
    """A C-STORE request whose command set is read; its dataset is yet to come."""

    request: C_STORE

    def message_to_primitive(self) -> C_STORE:
        """Return the request with the dataset that has come."""
        self.request.DataSet = self.data_set
        self.request._context_id = self.context_id
        return self.request


def take_store_request(primitive: P_DATA) -> StoreRequest | None:
    """Return the plain C-STORE request that begins with a P-DATA, None where there is none; take its command off."""
    values: list[Any] = primitive.presentation_data_value_list
    if not values or len(values[0][1]) > 512 or values[0][1][0] != _WHOLE_COMMAND:
        return None
    context_id, command = values[0]
    request = read_store_request(bytes(command[1:]))
    if request is None:
        return None
    message = DIMSEMessage()
    message.__class__ = StoreRequest
    assert isinstance(message, StoreRequest)
    message.context_id, message.request = context_id, request
    del values[0]
    return message


def read_store_request(command: bytes) -> C_STORE | None:
    """Return the request in a command set, None where it is not a plain C-STORE-RQ that has a dataset."""
    found: dict[int, bytes] = {}
    offset = 0
    try:
        while offset < len(command):
            group, number, length = _HEAD.unpack_from(command, offset)
            offset += _HEAD.size + length
            if group or number in found or offset > len(command):
                return None
            found[number] = command[offset - length : offset]
    except error:
        return None
    if found.keys() - _OPTIONAL != _REQUIRED:
        return None
    kind, message_id, priority, data_set = (_number(found[number]) for number in (0x0100, 0x0110, 0x0700, 0x0800))
    uids = found[0x0002], found[0x1000]
    if kind != _C_STORE_RQ or message_id < 0 or priority not in (0, 1, 2) or data_set in (-1, _NO_DATA_SET):
        return None
    if not all(len(uid) <= 64 and _UID.fullmatch(uid) for uid in uids):
        return None
    request = C_STORE()
    request._message_id, request._priority = message_id, priority
    request._affected_sop_class_uid, request._affected_sop_instance_uid = map(_uid, uids)
    return request


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little") if len(value) == 2 else -1


def _uid(value: bytes) -> UID:
    return UID(value.rstrip(b"\0").decode("ascii"), validation_mode=0)  # it was checked


def pack_store_response(response: C_STORE) -> bytes:
    """Return the command set of a C-STORE-RSP without error fields (PS3.7 section 9.3.1.2), group length included."""
    elements = b"".join(
        (
            _packed_uid(0x0002, response.AffectedSOPClassUID),
            _NUMBER.pack(0, 0x0100, 2, _C_STORE_RSP),
            _NUMBER.pack(0, 0x0120, 2, response.MessageIDBeingRespondedTo),
            _NUMBER.pack(0, 0x0800, 2, _NO_DATA_SET),
            _NUMBER.pack(0, 0x0900, 2, response.Status),
            _packed_uid(0x1000, response.AffectedSOPInstanceUID),
        )
    )
    return _LENGTH.pack(0, 0, 4, len(elements)) + elements


def _packed_uid(number: int, uid: str | None) -> bytes:
    if uid is None:
        return b""
    value = uid.encode("ascii")
    value += b"\0" * (len(value) % 2)
    return _HEAD.pack(0, number, len(value)) + value
