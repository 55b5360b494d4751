"""dcm2niix converts the series, nnU-Net's NibabelIOWithReorient reads the file: the array equals ours, exactly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

from tests.series import slices
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import to_ras

OBLIQUE = (0.936293, 0.275637, -0.217663, -0.289629, 0.956425, -0.036957)  # made orthonormal below
CORPUS = Path(os.environ.get("VOXTELL_DICOM_CORPUS") or "/nonexistent")


def orthonormal(orientation: tuple[float, ...]) -> tuple[float, ...]:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    row /= np.linalg.norm(row)
    column -= (column @ row) * row
    return (*row, *(column / np.linalg.norm(column)))


def oracle(folder: Path, out: Path) -> list[npt.NDArray[np.float32]]:
    """The arrays (z, y, x) of all NIfTI files that dcm2niix makes of a folder."""
    out.mkdir()
    subprocess.run(
        ["dcm2niix", "-b", "n", "-z", "n", "-m", "n", "-f", "%s_%p_%e", "-o", out, folder],
        check=True,
        capture_output=True,
    )
    arrays = []
    for path in sorted(out.glob("*.nii")):
        images, _ = NibabelIOWithReorient().read_images((str(path),))
        arrays.append(images[0].astype(np.float32))
    return arrays


PLANES = {
    "axial": slices.AXIAL,
    "sagittal": slices.SAGITTAL,
    "coronal": slices.CORONAL,
    "oblique": orthonormal(OBLIQUE),
    "coronal-oblique": orthonormal((0.98, 0.1, 0.15, 0.12, 0.2, -0.97)),
    "feet-first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "prone": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "decubitus": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
}
POSITIONS = {"feet-first": "FFS", "prone": "HFP", "decubitus": "HFDR"}


@pytest.mark.parametrize("ascending", [True, False], ids=["ascending", "descending"])
@pytest.mark.parametrize("plane", PLANES)
def test_made_series(plane: str, ascending: bool, tmp_path: Path) -> None:
    orientation = PLANES[plane]
    stored = slices.noise((9, 24, 20))
    more: dict[str, Any] = {"PatientPosition": POSITIONS.get(plane, "HFS")}
    step = slices.normal_of(orientation) * 2.5 * (1 if ascending else -1)
    datasets = slices.stack(stored, orientation=orientation, spacing=(2.5, 0.8, 1.1), step=step, **more)
    series = slices.save(datasets, tmp_path / "dicom")
    (volume,) = assemble(series).volumes
    (expected,) = oracle(tmp_path / "dicom", tmp_path / "nifti")
    np.testing.assert_array_equal(to_ras(volume), expected)
    assert not volume.warnings


def test_fractional_rescale_per_slice(tmp_path: Path) -> None:
    """Last-bit differences: dcm2niix computes in float32."""

    def edit(ds: Any, index: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = f"{0.244 + 0.013 * index:.6g}", 0
        ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.128", "PT"

    series = slices.save(slices.stack(slices.noise((9, 24, 20)), edit=edit), tmp_path / "dicom")
    (volume,) = assemble(series).volumes
    (expected,) = oracle(tmp_path / "dicom", tmp_path / "nifti")
    np.testing.assert_allclose(to_ras(volume), expected, rtol=3e-7)


def oracle_volumes(folder: Path, out: Path, merge: str) -> list[npt.NDArray[np.float32]]:
    """The arrays of all volumes of dcm2niix's files, 4-D ones taken apart.

    merge: "y" lets it merge slices that differ in exposure. `-p n`: the standard rescale for Philips.
    """
    out.mkdir()
    options = ["-b", "n", "-z", "n", "-m", merge, "-p", "n", "-f", "%s_%p_%e_%q"]
    subprocess.run(["dcm2niix", *options, "-o", out, folder], check=True, capture_output=True)
    arrays = []
    for path in sorted(out.glob("*.nii")):
        image = nibabel.load(path)
        files = [path]
        if len(image.shape) == 4:
            files = [out / f"{path.stem}-{index}.nii" for index in range(image.shape[3])]
            for index, file in enumerate(files):
                part = image.get_fdata()[..., index].astype(np.float32)
                nibabel.Nifti1Image(part, image.affine).to_filename(file)
        for file in files:
            images, _ = NibabelIOWithReorient().read_images((str(file),))
            arrays.append(images[0].astype(np.float32))
    return arrays


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    [
        "ct_abdomen_j2k",
        "ct_thorax_tcia",
        "mr_two_echo",
        "mr_dwi_3b_one_series",
        "mr_enh_2echo_xa30",
        "mr_enh_mag_b0_one_object",
        "mr_localizer_3_orient",
        "pt_body_ac_tcia",
    ],
)
def test_real_series(name: str, tmp_path: Path) -> None:
    """Each volume of ours is one of dcm2niix's. Not compared: mr_j2k_fragments_sub, which it cannot read."""
    volumes = assemble(slices.series_in(CORPUS / name)).volumes
    expected = oracle_volumes(CORPUS / name, tmp_path / "nifti", "y" if name.startswith("ct_") else "n")
    assert volumes
    for volume in volumes:
        array = to_ras(volume)
        alike = [other for other in expected if other.shape == array.shape]
        assert any(np.allclose(array, other, rtol=3e-7, atol=1e-4) for other in alike), volume.name
