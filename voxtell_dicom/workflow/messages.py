"""Messages of the durable engine: versioned, and references only. The values they refer to are in the job book.

Each message is JSON on the way (`written`) and is read by `read`, also as version 0.1 wrote it (``v`` 1): a database
may hold work that was queued before an upgrade.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.jobs.deliveries import by_peer, receipts_due
from voxtell_dicom.line.plan import job_id
from voxtell_dicom.model import Result, Series, load

FORMAT = 2
Written = dict[str, Any]


@dataclass(frozen=True)
class ProcessMessage:
    """A complete version of a series."""

    series_uid: str
    version: str

    @property
    def id(self) -> str:
        """The workflow id: the same version starts nothing twice."""
        return f"process:{job_id(self.series_uid, self.version)}"

    def written(self) -> Written:
        """Return the message as JSON."""
        return {"v": FORMAT, **asdict(self)}

    @classmethod
    def read(cls, data: Written) -> ProcessMessage:
        """Return a message from JSON. Of v 1, which held the series itself: see `series_of_v1`."""
        about = data["series"] if data["v"] == 1 else data
        return cls(about["series_uid"], about["version"])


def series_of_v1(data: Written) -> Series | None:
    """Return the series that a message of v 1 holds; None for a newer one, whose series is in the job book."""
    return load(Series, data["series"]) if data["v"] == 1 and "series" in data else None


@dataclass(frozen=True)
class SegmentMessage:
    """The jobs that one pass of the engine serves; they are of one volume."""

    jobs: tuple[str, ...]
    folder: str = ""  # of the arrays, below the node's work folder: "study" for those of rules of scope study
    again: str = ""  # tells a pass that `jobs retry` asks for from the first

    @property
    def id(self) -> str:
        """The workflow id."""
        return f"segment:{job_id(*self.jobs)}" + (f":{self.again}" if self.again else "")

    def written(self) -> Written:
        """Return the message as JSON, with its id."""
        return {"v": FORMAT, "id": self.id, "jobs": list(self.jobs), "folder": self.folder, "again": self.again}

    @classmethod
    def read(cls, data: Written) -> SegmentMessage:
        """Return a message from JSON. v 1 held the volume, the plans and where the arrays are."""
        if data["v"] != 1:
            return cls(tuple(data["jobs"]), data["folder"], data["again"])
        planned = data["planned"]
        arrays = planned["arrays"] if "arrays" in planned else [planned["array"]]
        folder = "study" if any(Path(array).parent.name == "study" for array in arrays) else ""
        return cls(tuple(data["jobs"]), folder, data["id"].removeprefix(f"segment:{job_id(*data['jobs'])}").lstrip(":"))


@dataclass(frozen=True)
class PublishMessage:
    """A job whose masks are there. The format is that of version 0.1."""

    job: str

    def written(self) -> Written:
        """Return the message as JSON."""
        return {"v": FORMAT, "job": self.job}

    @classmethod
    def read(cls, data: Written) -> PublishMessage:
        """Return a message from JSON."""
        return cls(data["job"])


@dataclass(frozen=True)
class DeliverMessage:
    """One attempt to send objects of one series to one peer."""

    job: str
    uids: tuple[str, ...]  # SOP Instance UIDs
    peer: str
    attempt: int = 1
    notice: bool = False  # they are the receipt of a job without a result

    @property
    def id(self) -> str:
        """The workflow id of the attempt."""
        return f"deliver:{self.uids[0]}:{self.peer}:{self.attempt}"

    def next(self) -> DeliverMessage:
        """Return the next attempt."""
        return replace(self, attempt=self.attempt + 1)

    def written(self) -> Written:
        """Return the message as JSON."""
        return {"v": FORMAT, **asdict(self), "uids": list(self.uids)}

    @classmethod
    def read(cls, data: Written) -> DeliverMessage:
        """Return a message from JSON. v 1 held the first Result, and the UIDs of `more`."""
        if data["v"] == 1:
            uids = (data["result"]["sop_instance_uid"], *data.get("more", ()))
            return cls(data["job"], uids, data["peer"], data["attempt"], bool(data.get("notice")))
        return cls(data["job"], tuple(data["uids"]), data["peer"], data["attempt"], data["notice"])


@dataclass(frozen=True)
class NotifyMessage:
    """Whose receipts are looked at: jobs, a series version, or a study. One of them is set."""

    jobs: tuple[str, ...] = ()
    series_uid: str = ""
    version: str = ""
    study_uid: str = ""

    def written(self) -> Written:
        """Return the message as JSON."""
        return {"v": FORMAT, **asdict(self), "jobs": list(self.jobs)}

    @classmethod
    def read(cls, data: Written) -> NotifyMessage:
        """Return a message from JSON. v 1 had one key: jobs, series (the whole), study."""
        if data["v"] != 1:
            return cls(tuple(data["jobs"]), data["series_uid"], data["version"], data["study_uid"])
        series = data.get("series") or {"series_uid": "", "version": ""}
        return cls(tuple(data.get("jobs", ())), series["series_uid"], series["version"], data.get("study", ""))


@dataclass(frozen=True)
class StudyMessage:
    """One attempt to look at one state of a study. The keys are those of version 0.1."""

    study_uid: str
    state: str  # digest of the versions of its series
    again: str = ""  # why one more look at a state is due
    attempt: int = 0

    @property
    def id(self) -> str:
        """The workflow id of the attempt."""
        return f"study:{self.state}{self.again}:{self.attempt}"

    def next(self) -> StudyMessage:
        """Return the next attempt at the same state."""
        return replace(self, attempt=self.attempt + 1)

    def written(self) -> Written:
        """Return the message as JSON."""
        return {"v": FORMAT, **asdict(self)}

    @classmethod
    def read(cls, data: Written) -> StudyMessage:
        """Return a message from JSON."""
        return cls(data["study_uid"], data["state"], data["again"], data["attempt"])


def deliveries(job: str, results: Iterable[Result], send_to: Sequence[str]) -> list[DeliverMessage]:
    """Return the first attempts to send the results of a job, for every series and peer of its own."""
    return [DeliverMessage(job, uids, peer) for uids, peer in by_peer(results, send_to)]


def notices(jobs: JobBook, job: str) -> list[DeliverMessage]:
    """Return the next attempts to send the receipts of a job without a result, where they have not arrived."""
    return [DeliverMessage(job, (uid,), peer, attempt, True) for uid, peer, attempt in receipts_due(jobs, job)]
