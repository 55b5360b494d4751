"""The images that `predict` reads and the files that it writes: NIfTI as nnU-Net reads it, and DICOM folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Write = Callable[[npt.NDArray[np.uint8], Path], None]
_SUFFIXES = (".nii.gz", ".nii")
_ALSO_READ = (*_SUFFIXES, ".hdr", ".img", ".mgz", ".mgh")  # where a file is named, in any case: nibabel reads them
_MOST_BYTES = 150  # of a prompt in a file name


@dataclass(frozen=True)
class Case:
    """One image: what its files are named after, how to read it, and how to write a mask on its grid."""

    name: str
    path: Path
    read: Callable[[], tuple[npt.NDArray[np.float32], Write]]  # RAS array (z, y, x)


def is_nifti(path: Path) -> bool:
    """Return whether the file's name is a NIfTI file's: those of a folder that are taken."""
    return path.name.endswith(_SUFFIXES)


def cases_of(inputs: Sequence[Path]) -> list[Case]:
    """Inputs as the official command line takes them: one folder of NIfTI files, or one or more of them.

    A folder without NIfTI files is taken as DICOM: one case per volume. Raises ValueError or FileNotFoundError.
    """
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"Input path does not exist: {path}")
    folders = [path for path in inputs if path.is_dir()]
    if folders and len(inputs) > 1:
        raise ValueError("Provide either a single folder or a list of files, not a mix of folders and other paths.")
    if folders:
        files = sorted(path for path in folders[0].iterdir() if path.is_file() and is_nifti(path))
        return [nifti_case(path) for path in files] if files else list(dicom_cases(folders[0]))
    cases: list[Case] = []
    for path in dict.fromkeys(inputs):
        cases += [nifti_case(path)] if path.name.lower().endswith(_ALSO_READ) else dicom_cases(path)
    return cases


def nifti_case(path: Path) -> Case:
    """A NIfTI file, read and written through nnU-Net's reader: turned to RAS and back."""

    def read() -> tuple[npt.NDArray[np.float32], Write]:
        from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

        reader = NibabelIOWithReorient()
        try:
            array, properties = reader.read_images([str(path)])
        except FileNotFoundError:
            raise
        except Exception as error:  # nibabel and nnU-Net raise many kinds, assertions among them
            raise ValueError(f"{path} cannot be read as a 3-D NIfTI image: {error or type(error).__name__}") from error
        return array[0], lambda mask, target: reader.write_seg(mask, str(target), properties)

    suffix = next((s for s in _SUFFIXES if path.name.endswith(s)), path.suffix)
    return Case(path.name.removesuffix(suffix), path, read)


def dicom_cases(path: Path) -> Iterator[Case]:
    """Every volume of a folder of DICOM files; masks are written voxel for voxel, in RAS order of the axes.

    Raises Refusal where it holds none.
    """
    from voxtell_dicom.cli.folder import series_in
    from voxtell_dicom.errors import Refusal
    from voxtell_dicom.series.headers import assemble

    try:
        found = series_in(path)
    except Refusal as error:
        raise Refusal(error.code, f"{path}: neither an image that nibabel reads nor DICOM in it") from None
    volumes = [volume for series in found for volume in assemble(series).volumes]
    if not volumes:
        raise Refusal("no-volume", f"{path}: no DICOM series in it makes a volume; see 'voxtell-dicom inspect {path}'")
    stem = path.resolve().name.removesuffix(".dcm")
    for number, volume in enumerate(volumes, 1):
        yield Case(stem if len(volumes) == 1 else f"{stem}_{number}", path, _reader(volume))


def _reader(volume: Any) -> Callable[[], tuple[npt.NDArray[np.float32], Write]]:
    def read() -> tuple[npt.NDArray[np.float32], Write]:
        import SimpleITK as sitk

        from voxtell_dicom.series.image import to_sitk
        from voxtell_dicom.series.volume import to_ras

        def write(mask: npt.NDArray[np.uint8], target: Path) -> None:
            sitk.WriteImage(to_sitk(volume, mask), str(target))

        return to_ras(volume), write

    return read


def prompt_in_name(prompt: str) -> str:
    """A prompt as part of a file name, as VoxTell makes it; a long one is cut and told apart by a digest."""
    kept = "".join(c if c.isalnum() or c in " _" else "_" for c in prompt).replace(" ", "_")
    if len(kept.encode()) <= _MOST_BYTES:
        return kept
    digest = hashlib.sha1(prompt.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{kept.encode()[: _MOST_BYTES - len(digest) - 1].decode(errors='ignore')}_{digest}"


def outputs_of(case: Case, prompts: Sequence[str], folder: Path, *, combined: bool) -> list[Path]:
    """The files that the case's prediction writes."""
    if combined:
        return [folder / f"{case.name}.nii.gz"]
    return [folder / f"{case.name}_{prompt_in_name(prompt)}.nii.gz" for prompt in prompts]
