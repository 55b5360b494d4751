"""Hold still what results contain of the time and of the machine: the clock, the time zone, program versions."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo

import matplotlib
import matplotlib.ft2font
import pytest

import voxtell_dicom
import voxtell_dicom.encode  # with every module that writes a date

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
VERSION = "0.0.0"


class Clock(datetime):
    """A datetime class whose current time is always `NOW`."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return `NOW` in a time zone, without one where none is given."""
        return NOW.astimezone(tz) if tz else NOW.replace(tzinfo=None)


@contextmanager
def fixed_environment() -> Iterator[None]:
    """Replace clock and versions in all loaded modules of the package, by the objects that they imported.

    Replaced are `datetime.datetime`, `importlib.metadata.version` (highdicom's in Software Versions), the package's
    `__version__` and the Implementation Version Name. The local time zone is UTC.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        patch.setattr(voxtell_dicom, "__version__", VERSION)
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] != voxtell_dicom.__name__:
                continue
            for attribute, value in list(vars(module).items()):
                if value is datetime:
                    patch.setattr(module, attribute, Clock)
                elif value is importlib.metadata.version:
                    patch.setattr(module, attribute, lambda _: VERSION)
                elif attribute == "IMPLEMENTATION_VERSION_NAME":
                    patch.setattr(module, attribute, f"VOXTELL_{VERSION}")
        yield
    time.tzset()


def drawing_libraries() -> str:
    """Return the versions of what draws letters: the pixels of pages depend on them."""
    return f"matplotlib {matplotlib.__version__}, FreeType {matplotlib.ft2font.__freetype_version__}"
