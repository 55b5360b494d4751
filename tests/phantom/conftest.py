"""Volumes of phantom acquisitions, made without the package's own reader: what is tested here must not lean on it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from voxtell_dicom.model import Frame, ToRas, Volume
from voxtell_dicom.phantom import Acquisition, Anatomy

RAS = {  # plane → axes and flips from (frame, row, column) to RAS (z, y, x), for HFS, ascending, not turned
    "axial": ToRas((0, 1, 2), (False, True, True)),
    "sagittal": ToRas((1, 2, 0), (True, True, False)),
    "coronal": ToRas((1, 0, 2), (True, True, True)),
}


@pytest.fixture
def volume_of() -> Callable[[Anatomy, Acquisition], Volume]:
    """A Volume of an acquisition as `series` would give it."""

    def make(anatomy: Anatomy, acquisition: Acquisition) -> Volume:
        lattice = acquisition.lattice(anatomy)
        positions = np.asarray(lattice.origin_mm) + np.arange(lattice.shape[0])[:, None] * np.asarray(
            lattice.steps_mm[0]
        )
        frames = tuple(
            Frame(f"2.25.{i}", "", 1, Path("x"), (x, y, z)) for i, (x, y, z) in enumerate(positions.tolist())
        )
        return Volume("1.2", "1.3", "1.4", "CT", "", frames, acquisition.grid(anatomy), RAS[acquisition.plane], key="k")

    return make


@pytest.fixture(scope="session")
def tool() -> Callable[[str], ModuleType]:
    """A module of tools/, by name."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).parents[2] / "tools" / f"{name}.py"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return load
