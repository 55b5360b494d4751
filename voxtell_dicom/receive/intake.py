"""One instance from the wire into the archive, whatever brought it: what C-STORE and STOW-RS share."""

from __future__ import annotations

from voxtell_dicom.archive.archive import NEW, Archive
from voxtell_dicom.archive.compare import HEADERS
from voxtell_dicom.archive.instance import Sender
from voxtell_dicom.config import Bounds
from voxtell_dicom.errors import Refusal, SpoolUnavailable
from voxtell_dicom.receive.arrival import read_arrival
from voxtell_dicom.receive.completion import Completion

# Failure Reason and C-STORE status of a refusal (PS3.4 Table B.2-1: A9xx mismatch, Cxxx cannot understand).
STATUS = {
    "sop-mismatch": 0xA900,
    "unreadable": 0xC000,
    "no-identity": 0xC001,
    "instance-conflict": 0xC002,
    "series-conflict": 0xC003,
    "too-large": 0xC004,
}


class Intake:
    """Reads and stores, and has the completion look in time."""

    def __init__(self, archive: Archive, completion: Completion, bounds: Bounds | None = None) -> None:
        self._archive, self._completion, self._bounds = archive, completion, bounds or Bounds()

    def take(
        self,
        data: bytes,
        transfer_syntax_uid: str,
        sender: Sender,
        *,
        sop_class_uid: str = "",
        sop_instance_uid: str = "",
    ) -> str:
        """Store one dataset (without file meta). Returns what `Archive.store` returns; then it is on disk.

        Raises Refusal with a code of `STATUS`, or SpoolUnavailable (A700: the sender keeps it and tries again).
        """
        arrival = read_arrival(data, transfer_syntax_uid, sop_class_uid, sop_instance_uid, bounds=self._bounds)
        try:
            verdict = self._archive.store(arrival, sender)
        except SpoolUnavailable:
            self._archive.note_unstored(arrival.series_uid, arrival.sop_instance_uid)
            raise
        except Refusal as refusal:
            if refusal.code == "series-conflict":  # of another patient or study: what is left is not the series
                self._archive.note_unstored(arrival.series_uid, arrival.sop_instance_uid)
            raise
        if verdict in (NEW, HEADERS):
            self._completion.stored()
        return verdict


__all__ = ["STATUS", "Intake", "Refusal", "SpoolUnavailable"]
