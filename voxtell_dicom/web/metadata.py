"""The metadata of a series in the DICOM JSON Model, made once and deflated in memory while it does not change."""

from __future__ import annotations

import gzip
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import structlog

from voxtell_dicom.dicom.json_model import Json, json_of
from voxtell_dicom.web.holdings import Holding
from voxtell_dicom.web.pixels import Image

_MOST_BYTES: Final = 64 << 20  # of deflated metadata
_LEVEL: Final = 1
_IDENTITY: Final = ("00080016", "00080018", "0020000D", "0020000E")

log = structlog.get_logger(__name__)


class MetadataCache:
    """Makes and remembers metadata, from any thread. dicomweb: the root with which links begin."""

    def __init__(self, dicomweb: str) -> None:
        self._dicomweb = dicomweb
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._made: OrderedDict[str, tuple[tuple[str, ...], bytes]] = OrderedDict()
        self._bytes = 0

    def of_series(self, instances: Sequence[Holding]) -> list[Json]:
        """Return the metadata of the instances of one series, in their order. Raises OSError."""
        found: list[Json] = json.loads(gzip.decompress(self.deflated(instances)))
        return found

    def deflated(self, instances: Sequence[Holding]) -> bytes:
        """Return the metadata of the instances of one series as gzip of a JSON array. Raises OSError."""
        series, key = instances[0].series_uid, tuple(one.digest for one in instances)
        with self._lock:
            making = self._making.setdefault(series, threading.Lock())
        try:
            with making:  # once, however many ask for it at the same time
                with self._lock:
                    known = self._made.get(series)
                    if known and known[0] == key:
                        self._made.move_to_end(series)
                        return known[1]
                content = json.dumps([self._make(one) for one in instances], separators=(",", ":"), allow_nan=False)
                packed = gzip.compress(content.encode(), _LEVEL, mtime=0)
                self._remember(series, key, packed)
                return packed
        finally:
            with self._lock:
                self._making.pop(series, None)

    def _remember(self, series: str, key: tuple[str, ...], packed: bytes) -> None:
        with self._lock:
            before = self._made.pop(series, None)
            self._bytes += len(packed) - (len(before[1]) if before else 0)
            self._made[series] = key, packed
            while self._bytes > _MOST_BYTES and len(self._made) > 1:
                _, (_, oldest) = self._made.popitem(last=False)
                self._bytes -= len(oldest)

    def _make(self, one: Holding) -> Json:
        try:
            image = Image.open(one.path)
        except FileNotFoundError:
            raise
        except Exception as error:  # whatever a broken header makes pydicom raise: its series is shown all the same
            log.warning("metadata cannot be read", sop_instance_uid=one.sop_uid, error=type(error).__name__)
            return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in zip(_IDENTITY, one.identity, strict=True)}
        root = f"{self._dicomweb}/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_uid}/bulkdata"
        found: Json = json_of(image.dataset, lambda path: f"{root}/{path}")
        element: Any = image.pixel_element
        if element:
            key = f"{element[0]:08X}"
            found[key] = {"vr": element[1], "BulkDataURI": f"{root}/{key}"}
        return found
