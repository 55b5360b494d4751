"""Our RLE frames, decoded by pydicom; by DCMTK (dcmqi) in test_labelmap.py and test_matrix.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from voxtell_dicom.encode.seg.rle import rle_frame

Bytes = npt.NDArray[np.uint8]


def decoded(encoded: bytes, rows: int, columns: int) -> Bytes:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = RLELossless
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.NumberOfFrames = 7, 0, 1
    ds.PixelData = encapsulate([encoded])
    ds["PixelData"].VR = "OB"
    pixels: Bytes = ds.pixel_array
    return pixels


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 9), columns=st.integers(1, 400), most=st.sampled_from([0, 1, 2, 255]), seed=st.integers(0, 99)
)
def test_any_frame_comes_back(rows: int, columns: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, most + 1, (rows, columns)).astype(np.uint8)
    plane[:, columns // 3 : columns // 2] = 7  # a run among the noise
    encoded = rle_frame(plane)
    assert len(encoded) % 2 == 0
    assert np.array_equal(decoded(encoded, rows, columns), plane)


@pytest.mark.parametrize("shape", [(5, 7), (129, 257), (512, 512), (70, 70)])
def test_label_maps_come_back_small(shape: tuple[int, int]) -> None:
    """(5, 7) and (129, 257) are what GDCM's own encoder does not survive."""
    plane = np.zeros(shape, np.uint8)
    plane[1 : shape[0] // 2, 2 : shape[1] - 2] = 3
    plane[2 : shape[0] // 3, 3:5] = 200
    encoded = rle_frame(plane)
    assert np.array_equal(decoded(encoded, *shape), plane)
    assert len(encoded) < 66 + 20 * shape[0]
