"""A small CT series of the phantom on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.writer import write_series


@pytest.fixture(scope="session")
def small_ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 axial slices of 96 × 96 pixels through the phantom's middle."""
    folder = tmp_path_factory.mktemp("ct")
    acquisition = Acquisition(shape=(24, 96, 96), slice_spacing_mm=8.0, pixel_spacing_mm=(4.5, 4.5))
    write_series(torso(3), acquisition, folder)
    return folder
