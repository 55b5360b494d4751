"""When a result was made, in the time zone that its dates and times are in."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset

_WEST_MINUTES, _EAST_MINUTES = -12 * 60, 14 * 60


def zone(source: Dataset) -> timezone:
    """The source's Timezone Offset From UTC (0008,0201) where it has a valid one, else this machine's.

    Valid: from -1200 to +1400, minutes below 60 (PS3.3 C.12.1.1.8).
    """
    match = re.fullmatch(r"([+-])(\d\d)(\d\d)", str(source.get("TimezoneOffsetFromUTC") or "").strip())
    if match and int(match[3]) < 60 and match[0] != "-0000":
        minutes = int(f"{match[1]}1") * (int(match[2]) * 60 + int(match[3]))
        if _WEST_MINUTES <= minutes <= _EAST_MINUTES:
            return timezone(timedelta(minutes=minutes))
    return timezone(datetime.now().astimezone().utcoffset() or timedelta())


def stamp(ds: Dataset, now: datetime) -> None:
    """Content, series and creation date and time, and the offset that they are in."""
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    ds.ContentDate = ds.SeriesDate = ds.InstanceCreationDate = date
    ds.ContentTime = ds.SeriesTime = ds.InstanceCreationTime = time
    ds.TimezoneOffsetFromUTC = now.strftime("%z")[:5]
