"""WADO-RS: what is retrieved is what was sent; other forms where they are requested, and can be made."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import PIL.Image
import pydicom
import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,  # starts no work
    generate_uid,
)

from tests.receive.receiving import make_series, make_slice
from tests.receive.sending import deflate, encode
from tests.system.node_process import NodeProcess
from tests.web.messages import part10, parts_of, root, store
from voxtell_dicom.archive.part10 import plain_file_meta

DICOM = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
COMPRESSED = (JPEG2000Lossless, JPEGLSLossless, RLELossless)


def make(syntax: UID = ExplicitVRLittleEndian, **attributes: object) -> tuple[Dataset, bytes]:
    """Return one slice, and the same as a file in a transfer syntax."""
    one = make_slice(
        generate_uid()[:50].rstrip(".0"),
        1,
        study_uid=generate_uid(),
        **{"SOPClassUID": SecondaryCaptureImageStorage, **attributes},
    )
    if syntax in COMPRESSED:
        sent = pydicom.dcmread(io.BytesIO(part10(one)))
        sent.compress(syntax, generate_instance_uid=False)
        return one, part10(sent)
    little = DeflatedExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    data = encode(one, ExplicitVRLittleEndian if syntax == little == DeflatedExplicitVRLittleEndian else syntax)
    if syntax == DeflatedExplicitVRLittleEndian:
        data = deflate(data)
    return one, plain_file_meta(str(one.SOPClassUID), str(one.SOPInstanceUID), str(syntax)) + data


def url_of(node: NodeProcess, one: Dataset, more: str = "") -> str:
    instance = (
        f"{root(node)}/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"
    )
    return instance + more


def get(url: str, accept: str = "*/*") -> requests.Response:
    return requests.get(url, headers={"Accept": accept}, timeout=30)


@pytest.mark.parametrize(
    "accept", ["*/*", f"{DICOM}; transfer-syntax=*", f"text/html, {DICOM}; transfer-syntax=*;q=0.5"]
)
@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda uid: uid.name)
def test_what_is_retrieved_is_what_was_sent(node: NodeProcess, syntax: UID, accept: str) -> None:
    one, sent = make(syntax)
    assert store(node, [sent]).status_code == 200
    [(kind, content)] = parts_of(get(url_of(node, one), accept))
    assert kind == f"application/dicom;transfer-syntax={syntax}"
    found = pydicom.dcmread(io.BytesIO(content))
    assert found.file_meta.TransferSyntaxUID == syntax
    offset = 144 + pydicom.dcmread(io.BytesIO(sent)).file_meta.FileMetaInformationGroupLength
    assert content.endswith(sent[offset:])
    assert len(content) == 144 + found.file_meta.FileMetaInformationGroupLength + len(sent) - offset
    assert not {0x00020016, 0x00020100, 0x00020102} & set(found.file_meta.keys())  # nothing of who sent it


@pytest.mark.parametrize("accept", [DICOM, f"{DICOM}; transfer-syntax={ExplicitVRLittleEndian}", "application/dicom"])
@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda uid: uid.name)
def test_explicit_little_endian_is_made_of_it(node: NodeProcess, syntax: UID, accept: str) -> None:
    one, sent = make(syntax)
    assert store(node, [sent]).status_code == 200
    answer = get(url_of(node, one), accept)
    content = answer.content if accept == "application/dicom" else parts_of(answer)[0][1]
    found = pydicom.dcmread(io.BytesIO(content))
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.PixelData == one.PixelData
    assert {element.tag: element.value for element in found if element.tag.group < 0x7FE0} == {
        element.tag: element.value for element in one if element.tag.group < 0x7FE0
    }


def test_other_forms_are_not_acceptable(node: NodeProcess) -> None:
    one, sent = make()
    assert store(node, [sent]).status_code == 200
    for accept in ("text/html", f"{DICOM}; transfer-syntax={JPEG2000Lossless}", 'multipart/related; type="image/png"'):
        assert get(url_of(node, one), accept).status_code == 406
        assert get(url_of(node, one, "/metadata"), "image/png").status_code == 406
        assert get(url_of(node, one, "/frames/1"), f"{OCTETS}; transfer-syntax={JPEG2000Lossless}").status_code == 406
        assert get(url_of(node, one, "/rendered"), "application/pdf").status_code == 406


def test_what_is_not_here_is_not_found(node: NodeProcess) -> None:
    one, sent = make()
    other, elsewhere = make()
    assert store(node, [sent, elsewhere]).status_code == 200
    mixed = url_of(node, one).replace(one.SeriesInstanceUID, other.SeriesInstanceUID, 1)
    for url in (mixed, mixed + "/metadata", url_of(node, one).replace(one.StudyInstanceUID, other.StudyInstanceUID)):
        assert get(url).status_code == 404
    for more in (
        "/frames/2",
        "/frames/1,2",
        "/bulkdata/00100010",
        "/bulkdata/7FE00008/x",
        "/bulkdata/%2e%2e",
        "/bulkdata/%00",
    ):
        assert get(url_of(node, one, more)).status_code == 404, more
    for more in (
        "/frames/0",
        "/frames/x",
        "/frames/1,,2",
        "/frames/-1",
        "/rendered?window=a,b",
        "/rendered?viewport=0,9",
    ):
        assert get(url_of(node, one, more)).status_code == 400, more


def test_a_series_and_a_study_come_whole(node: NodeProcess) -> None:
    study = generate_uid()
    series = [make_series(3, study_uid=study, SOPClassUID=SecondaryCaptureImageStorage) for _ in range(2)]
    assert store(node, [part10(one) for some in series for one in some]).status_code == 200
    whole = [pydicom.dcmread(io.BytesIO(content)) for _, content in parts_of(get(f"{root(node)}/studies/{study}"))]
    assert sorted(one.SOPInstanceUID for one in whole) == sorted(one.SOPInstanceUID for some in series for one in some)
    url = f"{root(node)}/studies/{study}/series/{series[0][0].SeriesInstanceUID}"
    found = [pydicom.dcmread(io.BytesIO(content)) for _, content in parts_of(get(url))]
    assert sorted(one.SOPInstanceUID for one in found) == sorted(one.SOPInstanceUID for one in series[0])


def test_metadata_says_what_the_header_says(node: NodeProcess) -> None:
    one, sent = make(PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100", ImageComments="x")
    one.add_new(0x00091001, "OB", bytes(5000))
    one.add_new(0x00090010, "LO", "TEST")
    sent = part10(one)
    assert store(node, [sent]).status_code == 200
    [model] = get(url_of(node, one, "/metadata")).json()
    assert model["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]}
    assert model["00080005"]["Value"] == ["ISO_IR 192"]
    assert model["7FE00010"] == {"vr": "OW", "BulkDataURI": url_of(node, one, "/bulkdata/7FE00010")}
    assert model["00091001"]["BulkDataURI"] == url_of(node, one, "/bulkdata/00091001")
    assert "00020010" not in model
    series = get(url_of(node, one).rpartition("/instances")[0] + "/metadata")
    assert (series.json(), series.headers["Content-Encoding"]) == ([model], "gzip")
    assert get(f"{root(node)}/studies/{one.StudyInstanceUID}/metadata").json() == [model]
    read = Dataset.from_json({key: value for key, value in model.items() if "BulkDataURI" not in value})
    assert all(
        read[element.tag].value == element.value for element in one if element.tag in read and element.tag != 0x00080005
    )
    for uri, value in (
        (model["7FE00010"]["BulkDataURI"], one.PixelData),
        (model["00091001"]["BulkDataURI"], bytes(5000)),
    ):
        assert parts_of(get(uri, OCTETS))[0] == ("application/octet-stream", value)
        assert get(uri, "application/octet-stream").content == value
    xml = parts_of(get(url_of(node, one, "/metadata"), 'multipart/related; type="application/dicom+xml"'))
    assert "Müller" in xml[0][1].decode()


def test_metadata_follows_a_correction(node: NodeProcess) -> None:
    one, sent = make()
    assert store(node, [sent]).status_code == 200
    assert get(url_of(node, one, "/metadata")).json()[0]["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    one.PatientName = "Roe^Jane"
    assert store(node, [part10(one)]).status_code == 200
    assert get(url_of(node, one, "/metadata")).json()[0]["00100010"]["Value"] == [{"Alphabetic": "Roe^Jane"}]
    found = requests.get(f"{root(node)}/studies", params={"StudyInstanceUID": one.StudyInstanceUID}, timeout=30).json()
    assert found[0]["00100010"]["Value"] == [{"Alphabetic": "Roe^Jane"}]


def test_metadata_leaves_out_broken_values(node: NodeProcess) -> None:
    one, sent = make(InstanceNumber=1, SliceThickness=1.5, EchoTime=float("inf"), PatientWeight="70.25")
    sent = sent.replace(b"70.25 ", b"7x.25 ", 1)
    assert store(node, [sent]).status_code == 200
    [model] = get(url_of(node, one, "/metadata")).json()
    assert model["00180050"]["Value"] == [1.5]
    assert "00101030" not in model


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda uid: uid.name)
def test_frames_are_decoded_or_as_they_are_stored(node: NodeProcess, syntax: UID) -> None:
    one, sent = make(syntax)
    assert store(node, [sent]).status_code == 200
    [(kind, content)] = parts_of(get(url_of(node, one, "/frames/1"), OCTETS))
    assert (kind, content) == (f"application/octet-stream;transfer-syntax={ExplicitVRLittleEndian}", one.PixelData)
    [(kind, content)] = parts_of(get(url_of(node, one, "/frames/1"), f"{OCTETS}; transfer-syntax=*"))
    if syntax in COMPRESSED:
        assert kind == f"application/octet-stream;transfer-syntax={syntax}"
        assert content == pydicom.encaps.get_frame(pydicom.dcmread(io.BytesIO(sent)).PixelData, 0, number_of_frames=1)
        media = {JPEG2000Lossless: "image/jp2", JPEGLSLossless: "image/jls", RLELossless: "image/dicom-rle"}[syntax]
        for accept in ("*/*", f'multipart/related; type="{media}"'):
            [(kind, again)] = parts_of(get(url_of(node, one, "/frames/1"), accept))
            assert (kind, again) == (f"{media};transfer-syntax={syntax}", content)
    else:
        assert content == one.PixelData


def test_what_viewers_send_is_understood(node: NodeProcess) -> None:
    """OHIF writes the type without quotation marks, and lists what it decodes."""
    one, sent = make(JPEG2000Lossless)
    assert store(node, [sent]).status_code == 200
    for accept in (
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        "multipart/related; type=image/jls, multipart/related; type=image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90",
        "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1;q=0.1,"
        "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.90",
    ):
        [(kind, _)] = parts_of(get(url_of(node, one, "/frames/1"), accept))
        assert kind.endswith(f"transfer-syntax={JPEG2000Lossless}"), accept
    for accept in (
        "multipart/related; type=application/dicom; transfer-syntax=*",
        'Multipart/Related;TYPE="application/DICOM";Transfer-Syntax="*"',
    ):
        [(kind, _)] = parts_of(get(url_of(node, one), accept))
        assert kind.endswith(f"transfer-syntax={JPEG2000Lossless}"), accept
    study = {"StudyInstanceUID": one.StudyInstanceUID}
    query = {"limit": 101, "offset": 0, "fuzzymatching": "false", "includefield": "00081030,00080060", **study}
    assert len(requests.get(f"{root(node)}/studies", params=query, timeout=30).json()) == 1


@pytest.mark.parametrize("columns", [16, 5])
def test_frames_of_one_bit_pixels_have_bytes_of_their_own(node: NodeProcess, columns: int) -> None:
    bits = np.random.default_rng(columns).integers(0, 2, (3, 3, columns), np.uint8)
    one, _ = make(Rows=3, Columns=columns, NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    one.PixelData = packed + bytes(len(packed) % 2)
    assert store(node, [part10(one)]).status_code == 200
    found = parts_of(get(url_of(node, one, "/frames/1,3"), OCTETS))
    wanted = [np.packbits(bits[number].ravel(), bitorder="little").tobytes() for number in (0, 2)]
    assert [content for _, content in found] == wanted


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
def test_pictures_have_the_window_of_the_header_or_the_request(node: NodeProcess, kind: str) -> None:
    values = np.repeat(np.arange(0, 3200, 100, dtype=np.uint16)[None], 32, 0)
    one, _ = make(PixelData=values.tobytes(), WindowCenter=[576, 1], WindowWidth=[400, 1])  # rescaled by -1024
    assert store(node, [part10(one)]).status_code == 200
    for query, centre in (("", 576), ("?window=76,400,linear", 76)):
        answer = get(url_of(node, one, "/rendered" + query), kind)
        assert answer.headers["Content-Type"] == kind
        row = np.asarray(PIL.Image.open(io.BytesIO(answer.content)))[5].astype(int)
        first_white = np.flatnonzero(row > 250)[0]
        assert abs((centre + 200 + 1024) / 100 - first_white) <= 1
        assert row[0] < 5
    small = get(url_of(node, one, "/frames/1/rendered?viewport=16,8"), kind)
    assert PIL.Image.open(io.BytesIO(small.content)).size == (8, 8)


def test_a_monochrome1_picture_is_turned(node: NodeProcess) -> None:
    values = np.full((32, 32), 100, np.uint16)
    values[0, 0] = 2000
    one, _ = make(PixelData=values.tobytes(), PhotometricInterpretation="MONOCHROME1")
    assert store(node, [part10(one)]).status_code == 200
    picture = np.asarray(PIL.Image.open(io.BytesIO(get(url_of(node, one, "/rendered"), "image/png").content)))
    assert picture[0, 0] < 5
    assert picture[9, 9] > 250


@pytest.mark.parametrize("level", [lambda one: "", lambda one: f"/series/{one.SeriesInstanceUID}"])
def test_results_are_among_what_is_retrieved(node: NodeProcess, level: Callable[[Dataset], str]) -> None:
    series = make_series(8, study_uid=generate_uid(), SeriesDescription="for the rule")
    assert store(node, [part10(one) for one in series]).status_code == 200
    uid = series[0].SeriesInstanceUID
    node.wait(lambda: [job for job in node.jobs() if job["series_uid"] == uid and job["state"] == "kept"])
    study = f"{root(node)}/studies/{series[0].StudyInstanceUID}"
    [found] = requests.get(f"{study}/series", params={"Modality": "SEG"}, timeout=30).json()
    if level(series[0]):
        [(_, content)] = parts_of(get(f"{study}/series/{found['0020000E']['Value'][0]}"))
    else:
        content = next(content for _, content in parts_of(get(study)) if b"SEG" in content[:3000])
    files = [path.read_bytes() for path in (node.storage / "results").rglob("*.dcm")]
    assert content in files
