"""Headers of instances: in the instance's row until its version is handed on, then in one pack per version.

A pack, ``<version>.headers`` beside the instances, is deflated JSON: for each SOP Instance UID its transfer syntax and
the base64 of the dataset's bytes before the pixels. It is written once and named by its version. Rows whose headers
were corrected since have bytes of their own again, which count.
"""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import sqlalchemy as sa
import structlog
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from voxtell_dicom.archive import tables
from voxtell_dicom.archive.naming import series_prefix
from voxtell_dicom.archive.part10 import read_header
from voxtell_dicom.archive.store import Store
from voxtell_dicom.model import Series

_PARSED_VERSIONS = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Header:
    """The bytes of a dataset before its pixels, inflated, and the transfer syntax in which it was sent."""

    transfer_syntax: str
    data: bytes

    def parse(self) -> Dataset:
        """Return the dataset; values are decoded when they are read."""
        syntax = UID(self.transfer_syntax)
        little = syntax.is_little_endian or syntax == DeflatedExplicitVRLittleEndian
        dataset = read_dataset(BytesIO(self.data), syntax.is_implicit_VR, little)
        dataset.set_original_encoding(syntax.is_implicit_VR, little, dataset.get("SpecificCharacterSet"))
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID")
        return dataset


class Headers:
    """Reads and packs headers; the last few versions stay parsed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._parsed: OrderedDict[tuple[str, tuple[str, ...]], dict[str, Dataset]] = OrderedDict()

    def of_series(self, connection: sa.Connection, series: Series) -> Mapping[str, Dataset]:
        """Return the headers of the instances of a series version that are here, by SOP Instance UID."""
        rows = self._rows(connection, series.series_uid)
        wanted = [one.sop_instance_uid for one in series.instances if one.sop_instance_uid in rows]
        key = (series.version, tuple(rows[uid].digest for uid in wanted))
        with self._lock:
            if key in self._parsed:
                self._parsed.move_to_end(key)
                return self._parsed[key]
        parsed = {uid: header.parse() for uid, header in self._raw({uid: rows[uid] for uid in wanted}).items()}
        with self._lock:
            self._parsed[key] = parsed
            while len(self._parsed) > _PARSED_VERSIONS:
                self._parsed.popitem(last=False)
        return parsed

    def write_version(self, engine: sa.Engine, series: Series) -> dict[str, str]:
        """Write the pack of a version. Returns the digest of each instance whose header it holds. Raises OSError."""
        with engine.connect() as connection:
            rows = self._rows(connection, series.series_uid)
        chosen = {one.sop_instance_uid: rows[one.sop_instance_uid] for one in series.instances}
        content = {
            uid: [header.transfer_syntax, base64.b64encode(header.data).decode()]
            for uid, header in self._raw(chosen).items()
        }
        packed = zlib.compress(json.dumps({"v": 1, "headers": content}).encode(), 6)
        self._store.put(_key(series.series_uid, series.version), lambda file: file.write(packed))
        return {uid: chosen[uid].digest for uid in content}

    @staticmethod
    def forget_rows(connection: sa.Connection, version: str, digests: Mapping[str, str]) -> None:
        """Clear the headers of rows whose version's pack holds them; not of those that were corrected since."""
        table = tables.instance
        same = (table.c.sop_uid == sa.bindparam("uid")) & (table.c.digest == sa.bindparam("was"))
        cleared = sa.update(table).where(same).values(header=None, header_version=version)
        connection.execute(cleared, [{"uid": uid, "was": digest} for uid, digest in digests.items()])

    @staticmethod
    def _rows(connection: sa.Connection, series_uid: str) -> dict[str, sa.Row[Any]]:
        table = tables.instance
        names = ("sop_uid", "series_uid", "transfer_syntax", "digest", "object", "header", "header_version")
        wanted = sa.select(*(table.c[name] for name in names)).where(table.c.series_uid == series_uid)
        return {row.sop_uid: row for row in connection.execute(wanted)}

    def _raw(self, rows: Mapping[str, sa.Row[Any]]) -> dict[str, Header]:
        """Return the bytes of headers: from the row, from the pack that the row names, else from the object."""
        packs: dict[str, dict[str, Header]] = {"": {}}
        found: dict[str, Header] = {}
        for uid, row in rows.items():
            version = row.header_version or ""
            if row.header is not None:
                found[uid] = Header(row.transfer_syntax, zlib.decompress(row.header))
                continue
            if version not in packs:
                packs[version] = self._unpack(row.series_uid, version)
            found[uid] = packs[version].get(uid) or Header(
                row.transfer_syntax, read_header(self._store.path(row.object))
            )
        return found

    def _unpack(self, series_uid: str, version: str) -> dict[str, Header]:
        try:
            content = json.loads(zlib.decompress(self._store.path(_key(series_uid, version)).read_bytes()))
            return {uid: Header(syntax, base64.b64decode(data)) for uid, (syntax, data) in content["headers"].items()}
        except (OSError, ValueError, KeyError, zlib.error) as error:
            log.warning("headers of a version are read from its objects", version=version[:12], error=str(error))
            return {}


def _key(series_uid: str, version: str) -> str:
    return f"{series_prefix(series_uid)}{version}.headers"
