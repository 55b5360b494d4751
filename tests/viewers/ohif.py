"""OHIF in headless Chromium, driven by Playwright: studies are opened as a reader does, and read back."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from os import killpg
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.viewers.npm import OHIF, PLAYWRIGHT, package
from tests.viewers.studies import Study
from voxtell_dicom.model import BoolArray

DRIVER = Path(__file__).with_name("ohif.mjs")
STEP_S = 60  # for any one thing that the viewer is waited for


def dist() -> Path:
    """The folder of the ready-built viewer."""
    return package(*OHIF) / "dist"


@dataclass(frozen=True)
class Shown:
    """A picture of the page with one source instance in the viewport."""

    source: str  # SOP Instance UID
    picture: Path
    pixels: npt.NDArray[np.uint8]  # (height, width, RGB)
    corners: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]

    def voxels(self, rows: int, columns: int) -> npt.NDArray[np.uint8]:
        """The colour on the page at the centre of each voxel: (row, column, RGB)."""
        origin, last_row, last_column = self.corners
        down = np.arange(rows)[:, None, None] / (rows - 1) * (last_row - origin)
        along = np.arange(columns)[None, :, None] / (columns - 1) * (last_column - origin)
        x, y = np.moveaxis(np.floor(origin + down + along).astype(int), -1, 0)
        height, width, _ = self.pixels.shape
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found: npt.NDArray[np.uint8] = np.zeros((rows, columns, 3), np.uint8)
        found[inside] = self.pixels[y[inside], x[inside]]
        return found


@dataclass(frozen=True)
class Viewed:
    """What the viewer holds and shows of a study."""

    labels: dict[int, str]  # by segment number
    colors: dict[int, tuple[int, int, int]]  # by segment number, RGB as the viewer draws it
    masks: dict[int, dict[str, BoolArray]]  # by segment number, by SOP Instance UID of the source: bool (row, column)
    shown: tuple[Shown, ...]


def view(url: str, studies: Sequence[tuple[Study, Sequence[str]]], folder: Path) -> list[Viewed]:
    """Open each study in turn, load its segmentation, and bring up the named source instances.

    Raises AssertionError, with the browser's console, where the viewer does not come so far.
    """
    folders = [folder / str(number) for number in range(len(studies))]
    for each in folders:
        each.mkdir(parents=True)
    job = {
        "url": url,
        "playwright": str(package(*PLAYWRIGHT)),
        "chromium": shutil.which("chromium") or "/usr/bin/chromium",
        "timeout_ms": STEP_S * 1000,
        "studies": [
            {"uid": study.uid, "opens": study.opens, "slices": list(slices), "folder": str(each)}
            for (study, slices), each in zip(studies, folders, strict=True)
        ],
    }
    _drive(json.dumps(job), 3 * STEP_S)
    return [_viewed(each) for each in folders]


def _drive(job: str, timeout_s: float) -> None:
    driver = subprocess.Popen(
        ["node", str(DRIVER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = driver.communicate(job, timeout_s)
    finally:
        if driver.poll() is None:
            killpg(driver.pid, signal.SIGKILL)  # the group that was started above: Node.js and its browser
            driver.wait()
    assert driver.returncode == 0, said


def _viewed(folder: Path) -> Viewed:
    data = json.loads((folder / "viewer.json").read_text())
    (held,) = data["held"]
    maps = {name: [_image(image) for image in images] for name, images in held["labelmaps"].items()}
    masks: dict[int, dict[str, BoolArray]] = {}
    for segment in held["segments"]:
        own: dict[str, BoolArray] = {}
        for source, pixels in maps[segment["labelmap"]]:
            mask = pixels == segment["value"]
            own[source] = own[source] | mask if source in own else mask
        masks[segment["number"]] = own
    labels = {segment["number"]: segment["label"] for segment in held["segments"]}
    colors = {segment["number"]: tuple(segment["color"]) for segment in held["segments"]}
    return Viewed(labels, colors, masks, tuple(_shown(item) for item in data["shown"]))


def _image(image: dict[str, Any]) -> tuple[str, npt.NDArray[np.uint8]]:
    pixels = np.frombuffer(base64.b64decode(image["pixels"]), np.uint8)
    return image["source"], pixels.reshape(image["rows"], image["columns"])


def _shown(item: dict[str, Any]) -> Shown:
    picture = Path(item["picture"])
    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    origin, last_row, last_column = (np.array(item[name], float) for name in ("origin", "last_row", "last_column"))
    return Shown(item["source"], picture, pixels, (origin, last_row, last_column))
