"""Headers of a series, read without pixels: one `FrameHeader` for each source frame; volumes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from voxtell_dicom.dicom.attributes import Lookup, get, lookup, number, text, whole
from voxtell_dicom.dicom.functional_groups import macro_items, per_frame_groups, shared_groups
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.identity import made_uid, missing_uids, require_one_value
from voxtell_dicom.dicom.native import note
from voxtell_dicom.dicom.nuclear import slices_of
from voxtell_dicom.dicom.sop_classes import MEDIA_DIRECTORY, MULTI_FRAME, NUCLEAR_MEDICINE
from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Assembly, Series, SetAside, Volume
from voxtell_dicom.series.classify import set_aside_by_calculation, set_aside_by_class, set_aside_by_type
from voxtell_dicom.series.geometry import GAP
from voxtell_dicom.series.header import FrameHeader
from voxtell_dicom.series.keys import distinguishing
from voxtell_dicom.series.split import volumes_of

NO_REFERENCE = (
    "no-frame-of-reference: Frame of Reference UID (0020,0052) is empty in all images; the result has one that is made "
    "from the Series Instance UID, and does not align with other series"
)
AHEAD = 32  # files that the system is asked to fetch while others are parsed


def assemble(
    series: Series,
    max_gap: float = GAP,
    frames_of_reference: str = "refuse",
    headers: HeaderSource | None = None,
) -> Assembly:
    """Return the volumes of a series, each regular, and what is not part of one, with the reason.

    Decodes pixels only where slices coincide (to tell a duplicate from a conflict).

    max_gap: the widest gap between slices that is bridged, in parts of the spacing (2 bridges one missing slice).
    frames_of_reference: ``accept`` takes several Frame of Reference UIDs on the slices of one stack as one, and a
    series in which every one is empty, with one made from the Series Instance UID.
    headers: where the headers come from; by default each is read from its file.
    The volumes have no key yet (`load_volume` gives it). Raises Refusal (``mixed-patients``, ``mixed-studies``,
    ``mixed-series``) where the series as a whole cannot be trusted.
    """
    frames, aside = read_frames([instance.path for instance in series.instances], headers)
    _check_identity(frames)
    derived = frames_of_reference == "accept" and bool(frames) and not any(one.frame_of_reference_uid for one in frames)
    if derived:
        reference = made_uid("frame of reference", frames[0].series_uid)
        frames = [replace(one, frame_of_reference_uid=reference) for one in frames]
    else:
        aside += [_without_reference(one) for one in frames if not one.frame_of_reference_uid]
        frames = [one for one in frames if one.frame_of_reference_uid]
    stated = {one.sop_instance_uid: one.images_in_acquisition or 0 for one in frames}
    volumes: list[Volume] = []
    for outcome in volumes_of(frames, max_gap, frames_of_reference):
        if isinstance(outcome, Volume):
            warnings = [NO_REFERENCE] if derived else []
            warnings += _fewer_images(outcome, stated, len(series.instances))
            volumes.append(replace(outcome, warnings=(*outcome.warnings, *warnings)))
        else:
            aside.append(outcome)
    return Assembly(tuple(volumes), tuple(_joined(aside)))


def _without_reference(frame: FrameHeader) -> SetAside:
    uid = frame.sop_instance_uid
    words = (
        f"{uid}: Frame of Reference UID (0020,0052) is empty; a rule may accept a series without any "
        "(frames_of_reference)"
    )
    return SetAside("empty-uid", words, (uid,), refused=True)


def _fewer_images(volume: Volume, stated: Mapping[str, int], arrived: int) -> list[str]:
    """Return the warning that images of the acquisition are missing; it may be of several volumes of the series.

    stated: Images in Acquisition of each instance, 0 where absent. arrived: instances of the series.
    """
    wanted = max(stated[frame.sop_instance_uid] for frame in volume.frames)
    single = len({frame.sop_instance_uid for frame in volume.frames}) == len(volume.frames)
    if not single or wanted <= arrived:
        return []
    return [f"fewer-images: Images in Acquisition (0020,1002) is {wanted}, {arrived} images of the series are here"]


def read_frames(paths: Sequence[Path], headers: HeaderSource | None = None) -> tuple[list[FrameHeader], list[SetAside]]:
    """Return the frames of all images among the files that may be part of a volume, and why the others are not."""
    source = headers or HeaderSource()
    found = [each for path in _read_ahead(paths, source) for each in _read_one(path, source)]
    frames = [each for each in found if isinstance(each, FrameHeader)]
    return frames, [each for each in found if isinstance(each, SetAside)]


def _read_ahead(paths: Sequence[Path], headers: HeaderSource) -> Iterator[Path]:
    """Yield the paths, and have the system fetch the next ones: parsing is work for one thread, waiting is not."""
    for path, coming in zip_longest(paths, paths[AHEAD:]):
        if coming is not None and coming not in headers:
            _want(coming)
        yield path


def _want(path: Path) -> None:
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):  # what cannot be opened is said where it is read
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)


def _read_one(path: Path, headers: HeaderSource) -> Sequence[FrameHeader | SetAside]:
    try:
        header = headers.header(path)
        frames = frames_of(header.dataset, path)
        note(path, header)
        return frames
    except Refusal as refusal:
        return [SetAside(refusal.code, str(refusal), (refusal.uid,) if refusal.uid else (), refused=True)]
    except Exception as error:  # whatever a broken file raises inside the parser
        reason = f"{path.name}: not a readable DICOM file ({type(error).__name__}: {error})"
        return [SetAside("unreadable", reason, refused=True)]


def frames_of(ds: Dataset, path: Path) -> Sequence[FrameHeader | SetAside]:
    """Return the frames of one instance, or why it, or one of them, is not part of a volume.

    Raises Refusal where its geometry is missing.
    """
    aside = _directory(ds, path.name) or _without_uids(ds, path.name) or set_aside_by_class(ds)
    if aside:
        return [aside]
    if text(ds, "SOPClassUID") in MULTI_FRAME:
        return _multi_frame(ds, path)
    if text(ds, "SOPClassUID") == NUCLEAR_MEDICINE:
        return _nuclear(ds, path)
    if whole(ds, "NumberOfFrames", 1) != 1:
        words = f"{ds.SOPInstanceUID}: Number of Frames (0028,0008) is {ds.NumberOfFrames} in a single-frame class"
        raise Refusal("frame-count", words, str(ds.SOPInstanceUID))
    return [_frame(ds, ds, path, 1, lookup([ds]))]


def _multi_frame(ds: Dataset, path: Path) -> Sequence[FrameHeader | SetAside]:
    uid = str(ds.SOPInstanceUID)
    per_frame = per_frame_groups(ds)
    if whole(ds, "NumberOfFrames", 1) != len(per_frame):
        stated = f"Number of Frames (0028,0008) is {text(ds, 'NumberOfFrames') or 'absent'}"
        words = f"but Per-frame Functional Groups Sequence (5200,9230) has {len(per_frame)} items"
        raise Refusal("frame-count", f"{uid}: {stated}, {words}", uid)
    common = macro_items(shared_groups(ds))
    found: list[FrameHeader | SetAside] = []
    for index, groups in enumerate(per_frame, 1):
        look = lookup([*macro_items(groups), *common, ds])
        aside = set_aside_by_type(look("FrameType"), f"Frame Type (0008,9007) of frame {index}", uid)
        aside = aside or set_aside_by_calculation(look, index, uid)
        found.append(aside or _frame(ds, groups, path, index, look))
    return found


def _nuclear(ds: Dataset, path: Path) -> list[FrameHeader]:
    slices = slices_of(ds)
    looks = [lookup([slices.plane(frame), ds]) for frame in range(1, len(slices.numbers) + 1)]
    frames = [_frame(ds, ds, path, frame, look) for frame, look in enumerate(looks, 1)]
    return [replace(one, slice_location=None) for one in frames]  # it is that of the first slice alone


def _directory(ds: Dataset, where: str) -> SetAside | None:
    """Return why a DICOMDIR is no image (PS3.10 8); None for anything else. where: names the file."""
    if "FileSetID" not in ds and text(ds, "SOPClassUID") != MEDIA_DIRECTORY:
        return None
    words = "a DICOMDIR (Media Storage Directory) names images and holds none: give the folder that holds them"
    return SetAside("media-directory", f"{where}: {words}")


def _without_uids(ds: Dataset, where: str) -> SetAside | None:
    """Return the refusal of an instance that lacks an identifying UID. where: names it if its own UID cannot."""
    missing = missing_uids(ds)
    if not missing:
        return None
    sop = text(ds, "SOPInstanceUID")
    return SetAside("empty-uid", f"{sop or where}: {', '.join(missing)} is empty", (sop,) if sop else (), refused=True)


def _check_identity(frames: Sequence[FrameHeader]) -> None:
    """Raise Refusal if the frames of one series are not of one patient, one study and one series."""
    for keyword, value in (
        ("PatientID", attrgetter("patient_id")),
        ("IssuerOfPatientID", attrgetter("patient_id_issuer")),
        ("StudyInstanceUID", attrgetter("study_uid")),
        ("SeriesInstanceUID", attrgetter("series_uid")),
    ):
        values = [(frame.sop_instance_uid, value(frame)) for frame in frames]
        require_one_value(frames[0].series_uid if frames else "", keyword, values)


def _frame(ds: Dataset, groups: Dataset, path: Path, frame: int, look: Lookup) -> FrameHeader:
    uid = text(ds, "SOPInstanceUID")
    orientation = _numbers(look, "ImageOrientationPatient", "Image Orientation (Patient) (0020,0037)", 6, uid, frame)
    position = _numbers(look, "ImagePositionPatient", "Image Position (Patient) (0020,0032)", 3, uid, frame)
    spacing = _numbers(look, "PixelSpacing", "Pixel Spacing (0028,0030)", 2, uid, frame)
    if min(spacing) <= 0:
        raise Refusal("missing-geometry", f"{uid}: Pixel Spacing (0028,0030) is {spacing[0]}\\{spacing[1]}", uid)
    rows, columns = whole(ds, "Rows"), whole(ds, "Columns")
    if min(rows, columns) < 1:
        stated = f"{text(ds, 'Rows') or 'absent'} × {text(ds, 'Columns') or 'absent'}"
        raise Refusal("missing-geometry", f"{uid}: Rows (0028,0010) × Columns (0028,0011) is {stated}", uid)
    image_type = tuple(str(word) for word in (_sequence(look("FrameType")) or _sequence(get(ds, "ImageType"))))
    syntax = text(getattr(ds, "file_meta", Dataset()), "TransferSyntaxUID")
    return FrameHeader(
        path=path,
        sop_instance_uid=uid,
        sop_class_uid=text(ds, "SOPClassUID"),
        number=frame,
        study_uid=text(ds, "StudyInstanceUID"),
        series_uid=text(ds, "SeriesInstanceUID"),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
        patient_id=text(ds, "PatientID"),
        patient_id_issuer=text(ds, "IssuerOfPatientID"),
        modality=text(ds, "Modality"),
        image_type=image_type,
        rows=rows,
        columns=columns,
        position=(position[0], position[1], position[2]),
        row_cosine=(orientation[0], orientation[1], orientation[2]),
        column_cosine=(orientation[3], orientation[4], orientation[5]),
        pixel_spacing=(spacing[0], spacing[1]),
        slice_thickness=number(look("SliceThickness")),
        spacing_between_slices=number(look("SpacingBetweenSlices")),
        slice_location=number(look("SliceLocation")),
        lossy=text(ds, "LossyImageCompression") == "01" or syntax in LOSSY,
        images_in_acquisition=max(whole(ds, "ImagesInAcquisition"), 0) or None,
        keys=distinguishing(groups, image_type, look),
    )


LOSSY = frozenset(
    ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
)  # the syntaxes that are lossy by name; JPEG 2000 and HTJ2K say so in (0028,2110)


def _sequence(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return (value,) if isinstance(value, (str, float, int)) else tuple(value)


def _numbers(look: Lookup, keyword: str, words: str, count: int, uid: str, frame: int) -> list[float]:
    where = uid if frame == 1 else f"{uid} frame {frame}"
    values = _sequence(look(keyword))
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(abs(value) < 1e6 for value in numbers):
        raise Refusal(
            "missing-geometry", f"{where}: {words} is {list(values) or 'absent'}, {count} numbers are needed", uid
        )
    return numbers


def _joined(items: Sequence[SetAside]) -> list[SetAside]:
    """Return one entry for each code, not one for each of a thousand instances: the first reason and how many more."""
    groups: dict[tuple[str, bool], list[SetAside]] = {}
    for item in items:
        groups.setdefault((item.code, item.refused), []).append(item)
    joined: list[SetAside] = []
    for (code, refused), same in groups.items():
        single = [item for item in same if len(item.uids) <= 1 and not item.stack]
        joined += [item for item in same if len(item.uids) > 1 or item.stack]
        if single:
            more = f" (and {len(single) - 1} more alike)" if len(single) > 1 else ""
            names = tuple(dict.fromkeys(uid for item in single for uid in item.uids))
            joined.append(SetAside(code, single[0].reason + more, names, refused))
    return joined
