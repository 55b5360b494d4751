"""The spool is the truth: what a restart finds on disk, read back from the heads of the files."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import structlog

from voxtell_dicom.archive.journal import Journal
from voxtell_dicom.archive.kept import End, SeriesRecord
from voxtell_dicom.archive.part10 import read_facts

log = structlog.get_logger(__name__)


def rebuild(series_folder: Path) -> dict[str, SeriesRecord]:
    """Every series under `series_folder`, by Series Instance UID. Raises OSError.

    A file that is none of ours is left where it is and named in the log; an empty folder is removed.
    """
    found: dict[str, SeriesRecord] = {}
    for folder in sorted(path for path in series_folder.iterdir() if path.is_dir()):
        record = SeriesRecord(folder)
        series_uid = ""
        for path in folder.glob("*.dcm"):
            try:
                facts = read_facts(path)
            except (ValueError, TypeError, KeyError, struct.error) as error:
                log.error("not a file of the spool: left alone", folder=folder.name, file=path.name, error=str(error))
                continue
            record.facts[facts.sop_instance_uid] = facts
            record.sizes[facts.sop_instance_uid] = path.stat().st_size
            series_uid = facts.series_uid
        if record.facts:
            record.replay(_ends(folder))
            found[series_uid] = record
        else:
            with suppress(OSError):  # not empty: it holds what was left alone
                folder.rmdir()
    return found


def _ends(folder: Path) -> list[End]:
    return [End(**line) for line in Journal(folder / "associations.jsonl").read_json()]
