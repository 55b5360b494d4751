"""Every transfer syntax of pydicom, written by other people's encoders, in every kind of stored value; and broken ones.

What is lossless comes back as it was; what is lossy as the encoder's own maker decodes it (dcmdjpeg, dcmdjpls) or, for
HTJ2K, imagecodecs.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import EnhancedMRImageStorage

from tests.series import slices
from tests.series.multiframe_cases import enhanced, places
from voxtell_dicom.dicom.codecs import isolated as apart
from voxtell_dicom.dicom.codecs.choice import DECODERS
from voxtell_dicom.dicom.pixels import decode
from voxtell_dicom.engine.threshold import ThresholdEngine
from voxtell_dicom.errors import Refusal
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume
from voxtell_dicom.verify import verify_series

ROWS, COLUMNS = 72, 56
KINDS = {  # dtype, Bits Stored, factor, offset
    "unsigned-12": (np.uint16, 12, 1, 0),
    "unsigned-16": (np.uint16, 16, 16, 0),
    "signed-12": (np.int16, 12, 1, -2048),
    "signed-16": (np.int16, 16, 16, -32768),
    "unsigned-8": (np.uint8, 8, 0.0625, 0),
    "unsigned-8-in-16": (np.uint16, 8, 0.0625, 0),
    "monochrome1": (np.uint16, 12, 1, 0),
}


def values_of(kind: str, index: int = 0) -> npt.NDArray[Any]:
    """Something smooth with some noise, over the whole range."""
    dtype, _, factor, offset = KINDS[kind]
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    smooth = 2000 + 1900 * np.sin((rows + 3 * index) / 9) * np.cos(columns / 7)
    noise = np.random.default_rng(index).integers(0, 90, smooth.shape)
    return ((smooth + noise).clip(0, 4095) * factor + offset).astype(dtype)


def slice_of(kind: str, index: int = 0) -> Dataset:
    values = values_of(kind, index)
    bits = KINDS[kind][1]
    ds = slices.make(values, (0, 0, 2 * index), RescaleIntercept=0)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * values.itemsize, bits, bits - 1
    ds.PhotometricInterpretation = "MONOCHROME1" if kind == "monochrome1" else "MONOCHROME2"
    return ds


def by(*command: str) -> Callable[[Path, Path], None]:
    def encode(source: Path, target: Path) -> None:
        subprocess.run([*command, source, target], check=True, capture_output=True)

    return encode


def by_imagecodecs(syntax: str, encode: Callable[[npt.NDArray[Any]], bytes], fragments: int = 1) -> Any:
    def write(source: Path, target: Path) -> None:
        ds = pydicom.dcmread(source)
        ds.PixelData = encapsulate([bytes(encode(ds.pixel_array))], fragments_per_frame=fragments)
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(target)

    return write


LOSSLESS = {
    "dcmcjpeg-lossless-sv1": ("1.2.840.10008.1.2.4.70", by("dcmcjpeg", "+e1", "+un")),
    "dcmcjpeg-lossless-p14": ("1.2.840.10008.1.2.4.57", by("dcmcjpeg", "+el", "+un")),
    "dcmcjpeg-fragments": ("1.2.840.10008.1.2.4.70", by("dcmcjpeg", "+e1", "+un", "+fs", "1")),
    "gdcmconv-jpeg": ("1.2.840.10008.1.2.4.70", by("gdcmconv", "--jpeg")),
    "dcmcjpls": ("1.2.840.10008.1.2.4.80", by("dcmcjpls", "+un")),
    "gdcmconv-jpegls": ("1.2.840.10008.1.2.4.80", by("gdcmconv", "--jpegls")),
    "imagecodecs-j2k": (
        "1.2.840.10008.1.2.4.90",
        by_imagecodecs("1.2.840.10008.1.2.4.90", lambda array: imagecodecs.jpeg2k_encode(array, codecformat="J2K")),
    ),
    "imagecodecs-j2k-fragments": (
        "1.2.840.10008.1.2.4.91",
        by_imagecodecs("1.2.840.10008.1.2.4.91", lambda array: imagecodecs.jpeg2k_encode(array, codecformat="J2K"), 3),
    ),
    "imagecodecs-htj2k": (
        "1.2.840.10008.1.2.4.201",
        by_imagecodecs("1.2.840.10008.1.2.4.201", imagecodecs.htj2k_encode),
    ),
    "imagecodecs-htj2k-rpcl": (
        "1.2.840.10008.1.2.4.202",
        by_imagecodecs("1.2.840.10008.1.2.4.202", imagecodecs.htj2k_encode),
    ),
    "dcmcrle": ("1.2.840.10008.1.2.5", by("dcmcrle", "+un")),
    "gdcmconv-rle": ("1.2.840.10008.1.2.5", by("gdcmconv", "--rle")),
    "dcmconv-deflated": ("1.2.840.10008.1.2.1.99", by("dcmconv", "+td")),
    "dcmconv-big-endian": ("1.2.840.10008.1.2.2", by("dcmconv", "+tb")),
    "dcmconv-implicit": ("1.2.840.10008.1.2", by("dcmconv", "+ti")),
}
LOSSY = {
    "dcmcjpeg-baseline": ("1.2.840.10008.1.2.4.50", by("dcmcjpeg", "+eb", "+un"), "dcmdjpeg"),
    "dcmcjpeg-extended": ("1.2.840.10008.1.2.4.51", by("dcmcjpeg", "+ee", "+un"), "dcmdjpeg"),
    "dcmcjpls-near": ("1.2.840.10008.1.2.4.81", by("dcmcjpls", "+un", "+en", "+md", "2"), "dcmdjpls"),
    "imagecodecs-htj2k-lossy": (
        "1.2.840.10008.1.2.4.203",
        by_imagecodecs("1.2.840.10008.1.2.4.203", lambda array: imagecodecs.htj2k_encode(array, level=0.001)),
        "imagecodecs",
    ),
}


def encoded(kind: str, encode: Callable[[Path, Path], None], syntax: str, folder: Path) -> Path:
    source, target = folder / "source.dcm", folder / "encoded.dcm"
    slice_of(kind).save_as(source, enforce_file_format=True)
    encode(source, target)
    assert pydicom.dcmread(target).file_meta.TransferSyntaxUID == syntax
    return target


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless(name: str, kind: str, tmp_path: Path) -> None:
    if (name, kind) == ("gdcmconv-jpegls", "signed-12"):
        kind = "signed-16"  # it writes no signed values of 12 bits
    syntax, encode = LOSSLESS[name]
    ((stored, _),) = decode(encoded(kind, encode, syntax, tmp_path), [1])
    np.testing.assert_array_equal(stored, values_of(kind))


@pytest.mark.parametrize("kind", ["unsigned-12", "unsigned-16", "signed-12", "unsigned-8", "monochrome1"])
@pytest.mark.parametrize("name", LOSSY)
def test_lossy(name: str, kind: str, tmp_path: Path) -> None:
    if (name, kind) == ("dcmcjpls-near", "signed-12"):
        kind = "unsigned-12"  # dcmcjpls writes no signed values with loss
    syntax, encode, maker = LOSSY[name]
    path = encoded(kind, encode, syntax, tmp_path)
    ((stored, rescale),) = decode(path, [1])
    if maker == "imagecodecs":
        (frame,) = generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1)
        expected = imagecodecs.htj2k_decode(frame)
    else:
        subprocess.run([maker, path, tmp_path / "again.dcm"], check=True, capture_output=True)
        expected = pydicom.dcmread(tmp_path / "again.dcm").pixel_array
    # Two decoders round differently in 8-bit JPEG and in HTJ2K's real numbers; the others agree.
    apart_by = 2 if maker == "imagecodecs" else int(stored.itemsize == 1)
    np.testing.assert_allclose(stored.astype(int), expected.astype(int), atol=apart_by)
    real = stored * rescale.slope + rescale.intercept  # dcmcjpeg changes the rescale
    assert np.abs(real - values_of(kind)).mean() < 0.02 * np.ptp(values_of(kind).astype(float))


def test_every_syntax_has_an_encoder_here_and_one_decoder() -> None:
    tested = {syntax for syntax, *_ in (*LOSSLESS.values(), *LOSSY.values())}
    assert set(map(str, DECODERS)) <= tested


def test_12_bit_extended_through_the_whole_line(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for index in range(4):
        slice_of("unsigned-12", index).save_as(tmp_path / f"{index}.dcm", enforce_file_format=True)
        by("dcmcjpeg", "+ee", "+un")(tmp_path / f"{index}.dcm", tmp_path / "again" / f"{index}.dcm")
    (found,) = verify_series(slices.series_in(tmp_path / "again"), ThresholdEngine(), tmp_path)
    assert found.outcome == "exact", found.reason
    assert any(warning.startswith("lossy") for warning in found.row.warnings)


OFFSETS: dict[str, Callable[[Sequence[bytes]], tuple[bytes, Any]]] = {
    "basic-offset-table": lambda frames: (encapsulate(frames, fragments_per_frame=2), None),
    "no-offset-table": lambda frames: (encapsulate(frames, fragments_per_frame=1, has_bot=False), None),
    "no-offset-table-fragments": lambda frames: (encapsulate(frames, fragments_per_frame=3, has_bot=False), None),
    "extended-offset-table": lambda frames: (encapsulate_extended(frames)[0], encapsulate_extended(frames)[1:]),
}


@pytest.mark.parametrize("codec", ["jpeg-lossless", "jpeg-2000"])
@pytest.mark.parametrize("offsets", OFFSETS)
def test_frames_in_fragments(offsets: str, codec: str, tmp_path: Path) -> None:
    stored = slices.noise((5, 24, 20))
    plain = enhanced(stored, places(5), sop_class=EnhancedMRImageStorage)
    (tmp_path / "plain").mkdir()
    plain.save_as(tmp_path / "plain" / "0.dcm", enforce_file_format=True)
    expected, original = load_volume(assemble(slices.series_in(tmp_path / "plain")).volumes[0])
    if codec == "jpeg-lossless":
        subprocess.run(["dcmcjpeg", "+e1", tmp_path / "plain" / "0.dcm", tmp_path / "l.dcm"], check=True)
        ds = pydicom.dcmread(tmp_path / "l.dcm")
        frames = list(generate_frames(ds.PixelData, number_of_frames=5))
    else:
        ds = plain
        frames = [bytes(imagecodecs.jpeg2k_encode(plane, codecformat="J2K")) for plane in stored]
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    ds.PixelData, extended = OFFSETS[offsets](frames)
    ds["PixelData"].is_undefined_length = True
    if extended:
        ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = extended
    (tmp_path / "again").mkdir()
    ds.save_as(tmp_path / "again" / "0.dcm", enforce_file_format=True)
    assembly = assemble(slices.series_in(tmp_path / "again"))
    assert not assembly.set_aside
    array, volume = load_volume(assembly.volumes[0])
    np.testing.assert_array_equal(array, expected)
    assert volume.key == original.key


COMPRESSED = [
    name for name, (syntax, _) in LOSSLESS.items() if syntax.startswith(("1.2.840.10008.1.2.4", "1.2.840.10008.1.2.5"))
]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
@pytest.mark.parametrize("name", [*COMPRESSED, "dcmcjpeg-baseline", "dcmcjpeg-extended"])
def test_a_frame_cut_short_is_refused_by_name(name: str, share: float, tmp_path: Path) -> None:
    syntax, encode, *_ = {**LOSSLESS, **LOSSY}[name]
    path = encoded("unsigned-12", encode, syntax, tmp_path)
    ds = pydicom.dcmread(path)
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = encapsulate([frame[: int(len(frame) * share)]])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path)
    with pytest.raises(Refusal, match=r"Pixel Data \(7FE0,0010\) cannot be decoded") as caught:
        list(decode(path, [1]))
    assert caught.value.code == "pixels"
    assert caught.value.uid == ds.SOPInstanceUID


def test_what_ends_gdcm_ends_only_its_child(tmp_path: Path) -> None:
    """Frames with changed bytes: GDCM throws C++ exceptions that end its process at some of them."""
    syntax, encode = LOSSLESS["dcmcjpeg-lossless-sv1"]
    path = encoded("unsigned-12", encode, syntax, tmp_path)
    ds = pydicom.dcmread(path)
    (good,) = generate_frames(ds.PixelData, number_of_frames=1)
    ended = []
    for change in (0x00, 0x7F):
        for place in range(2, 40):
            frame = bytearray(good)
            frame[place] = change
            ds.PixelData = encapsulate([bytes(frame)])
            ds["PixelData"].is_undefined_length = True
            ds.save_as(tmp_path / "broken.dcm")
            try:
                list(decode(tmp_path / "broken.dcm", [1]))
            except Refusal as refusal:
                ended += ["the decoder ended"] if "the decoder ended" in str(refusal) else []
    assert ended  # else the child is no longer needed
    ((stored, _),) = decode(path, [1])
    np.testing.assert_array_equal(stored, values_of("unsigned-12"))


def test_many_threads_and_children_that_go_away(tmp_path: Path) -> None:
    syntax, encode = LOSSLESS["gdcmconv-jpeg"]
    path = encoded("signed-16", encode, syntax, tmp_path)
    wrong: list[Any] = []

    def work() -> None:
        for index in range(12):
            ((stored, _),) = decode(path, [1])
            if not np.array_equal(stored, values_of("signed-16")):
                wrong.append(index)
            for child in list(apart._idle) if index == 5 else []:
                os.kill(child.process.pid, 9)  # as if it had waited too long

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(child.process.poll() is None or child.process.returncode == -9 for child in apart._idle)


def test_children_that_all_left_are_replaced(tmp_path: Path) -> None:
    """After a series that many threads decoded, all wait; a minute later all have left."""
    syntax, encode = LOSSLESS["gdcmconv-jpeg"]
    path = encoded("signed-16", encode, syntax, tmp_path)
    apart._idle += [apart._Child() for _ in range(4)]
    for child in apart._idle:
        child.process.kill()
        child.process.wait()
    ((stored, _),) = decode(path, [1])
    np.testing.assert_array_equal(stored, values_of("signed-16"))
    assert [child.process.poll() for child in apart._idle] == [None]
