"""When a result was made, in the time zone that its dates and times are in."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset


def zone(source: Dataset) -> timezone:
    """The source's Timezone Offset From UTC (0008,0201) where it has one, else this machine's."""
    match = re.fullmatch(r"([+-])(\d\d)(\d\d)", str(source.get("TimezoneOffsetFromUTC") or "").strip())
    if match:
        minutes = int(match[2]) * 60 + int(match[3])
        return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    return timezone(datetime.now().astimezone().utcoffset() or timedelta())


def stamp(ds: Dataset, now: datetime) -> None:
    """Content, series and creation date and time, and the offset that they are in."""
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    ds.ContentDate = ds.SeriesDate = ds.InstanceCreationDate = date
    ds.ContentTime = ds.SeriesTime = ds.InstanceCreationTime = time
    ds.TimezoneOffsetFromUTC = now.strftime("%z")[:5]
