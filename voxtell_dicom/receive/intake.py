"""One instance from the wire into the archive, whatever brought it: what C-STORE and STOW-RS share."""

from __future__ import annotations

from typing import Final

from pynetdicom import ALL_TRANSFER_SYNTAXES

from voxtell_dicom.archive.archive import NEW, Archive
from voxtell_dicom.archive.compare import HEADERS
from voxtell_dicom.archive.instance import Arrival, Sender
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
OUT_OF_RESOURCES: Final = 0xA700
PROCESSING_FAILURE: Final = 0x0110
# Syntaxes whose pixels lie elsewhere (JPIP) or that are live streams (SMPTE) bring no image.
_JPIP = {f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205)}
TRANSFER_SYNTAXES: Final = [
    uid for uid in ALL_TRANSFER_SYNTAXES if uid not in _JPIP and not uid.startswith("1.2.840.10008.1.2.7.")
]


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
        return self.store(self.read(data, transfer_syntax_uid, sop_class_uid, sop_instance_uid), sender)

    def read(self, data: bytes, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Arrival:
        """Read one dataset, and store nothing of it. UIDs: as the request names them. Raises Refusal."""
        return read_arrival(data, transfer_syntax_uid, sop_class_uid, sop_instance_uid, bounds=self._bounds)

    def store(self, arrival: Arrival, sender: Sender) -> str:
        """Store what was read. Returns and raises as `take`."""
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


__all__ = [
    "OUT_OF_RESOURCES",
    "PROCESSING_FAILURE",
    "STATUS",
    "TRANSFER_SYNTAXES",
    "Intake",
    "Refusal",
    "SpoolUnavailable",
]
