"""An instance on its way into the archive, and who brings it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sender:
    """The association (or HTTP request) that brings instances."""

    association: str  # unique over restarts
    calling_ae: str
    called_ae: str
    address: str = ""  # host:port of the peer
    opened: float = 0.0  # seconds since the epoch
    implementation: str = ""  # Implementation Class UID and Version Name that the peer gave


@dataclass(frozen=True)
class Arrival:
    """A whole, readable dataset and what of it the archive must know. `data` is the dataset as sent, no file meta."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
    transfer_syntax_uid: str
    digest: str  # SHA-256 of `data`
    own: bool  # made by this program: Manufacturer or Contributing Equipment
    images_in_acquisition: int  # (0020,1002), 0 where absent
    frames: int  # (0028,0008), 1 where absent
    data: bytes = field(repr=False)
    header: bytes = field(default=b"", repr=False)  # the elements before the pixels, inflated
