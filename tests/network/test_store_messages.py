"""C-STORE messages that are read and packed by hand are those of pynetdicom."""

from __future__ import annotations

from io import BytesIO

import pytest
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from voxtell_dicom.network.store_messages import pack_store_response, read_store_request


@pytest.mark.parametrize("status", [0x0000, 0xB007, 0xA700])
@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "2.25." + "9" * 38, None])
@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2", "1.2", None])
def test_the_bytes_are_those_of_pynetdicom(status: int, instance: str | None, sop_class: str | None) -> None:
    response = C_STORE()
    response.MessageID = response.MessageIDBeingRespondedTo = 65535
    response.AffectedSOPClassUID, response.AffectedSOPInstanceUID = sop_class, instance
    response.Status = status
    message = C_STORE_RSP()
    message.primitive_to_message(response)
    assert pack_store_response(response) == encode(message.command_set, True, True)


READ = ("MessageID", "Priority", "AffectedSOPClassUID", "AffectedSOPInstanceUID")


def request_command(**changes: object) -> tuple[C_STORE, bytes]:
    """Return a request with some attributes changed, and its command set as pynetdicom encodes it."""
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.34"
    request.DataSet = BytesIO(b"\0\0")
    for name, value in changes.items():
        setattr(request, name, value)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    return request, encode(message.command_set, True, True) or b""


@pytest.mark.parametrize("changes", [{}, {"MessageID": 65535, "Priority": 0}, {"AffectedSOPInstanceUID": "2.25.1"}])
def test_a_plain_request_reads_as_pynetdicom_reads_it(changes: dict[str, object]) -> None:
    request, command = request_command(**changes)
    found = read_store_request(command)
    assert found is not None
    for name in READ:
        assert getattr(found, name) == getattr(request, name), name


@pytest.mark.parametrize(
    "changes",
    [
        {"DataSet": None},
        {"MoveOriginatorApplicationEntityTitle": "PACS", "MoveOriginatorMessageID": 3},
        {"AffectedSOPInstanceUID": "1.2.034"},
    ],
)
def test_other_requests_are_left_to_pynetdicom(changes: dict[str, object]) -> None:
    assert read_store_request(request_command(**changes)[1]) is None


def test_no_damaged_request_is_read_as_another_one() -> None:
    command = request_command()[1]
    for end in range(len(command)):
        assert read_store_request(command[:end]) is None
    for place in range(len(command)):
        for bit in range(8):
            damaged = bytearray(command)
            damaged[place] ^= 1 << bit
            found = read_store_request(bytes(damaged))
            if found is not None:  # the bit was one of a value
                message = DIMSEMessage()
                fragment = P_DATA()
                fragment.presentation_data_value_list.append((1, b"\x03" + bytes(damaged)))
                message.decode_msg(fragment)
                theirs = message.message_to_primitive()
                for name in READ:
                    assert getattr(found, name) == getattr(theirs, name), (place, bit, name)
