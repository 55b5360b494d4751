"""Results of tuning in a file of the storage folder: a card is measured once, not at every start."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from voxtell_dicom.engine.kernels.tiles import SETTINGS, Tuning, candidates
from voxtell_dicom.engine.kernels.tune import Launch
from voxtell_dicom.files import sha256_of, sync_folder

_log = logging.getLogger(__name__)
_FOLDER = "engine"


class Remembered:
    """The entry of one card with its software, for the launches of one network."""

    def __init__(self, storage: Path, where: str, launches: Iterable[Launch]) -> None:
        """where: card, driver, torch and Triton, in words."""
        shapes = sorted(repr(launch) for launch in launches)
        kernels = [sha256_of(path) for path in sorted(SETTINGS.parent.glob("*.py"))]  # other kernels, other times
        self._key: dict[str, Any] = {"where": where, "shapes": shapes, "code": kernels, "settings": sha256_of(SETTINGS)}
        digest = hashlib.sha256(json.dumps(self._key).encode()).hexdigest()
        self.path = storage / _FOLDER / f"tiles-{digest[:16]}.json"

    def read(self) -> Tuning | None:
        """Return what was found; None where there is nothing, or something else than was written."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            if data["key"] != self._key:
                raise ValueError("it is of another card, software or network")
            found = Tuning.from_json(data)
            if foreign := [tile for widths, tile in found.tiles.items() if tile not in candidates(widths.kernel)]:
                raise ValueError(f"{foreign[0]} is no candidate")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("%s is not used, and made anew: %s: %s", self.path, type(error).__name__, error)
            return None
        return found

    def write(self, tuning: Tuning) -> None:
        """Whole or not at all. A folder that cannot be written costs the next start its time, no more."""
        text = json.dumps({"key": self._key, **tuning.as_json()}, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".tiles-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            sync_folder(self.path.parent)
        except OSError as error:
            _log.warning("the tuned settings could not be stored in %s: %s", self.path, error)
