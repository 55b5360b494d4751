"""The C-STORE response that is packed by hand has the bytes of pynetdicom's."""

from __future__ import annotations

import pytest
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from voxtell_dicom.network.association_loops import pack_store_response


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
