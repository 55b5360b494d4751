"""Every output of every modality in every plane: what other people's validators and readers make of it.

dciodvfy checks each object, dcentvfy the study with its sources; dcmqi, highdicom and a planning system's way of
filling contours read back what the phantom's analytic truth put in.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from tests.encode import made, modalities, structures
from tests.series.slices import series_in
from voxtell_dicom.config import Config, Rule
from voxtell_dicom.encode import RECEIPTS, OutputContext, encode, in_other_form, output_context
from voxtell_dicom.encode.capture.secondary import encode_secondary
from voxtell_dicom.encode.report.measure import Measured, measure
from voxtell_dicom.encode.report.values import quantity_of
from voxtell_dicom.encode.rtstruct.structure_set import HOLES, encode_rtstruct
from voxtell_dicom.model import Found, Plan, PlanOptions, Prompt, Result, Volume
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import LABELS, torso
from voxtell_dicom.phantom.truth import truth_mask
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.terms.colors import colors_of

OUTPUTS = get_args(get_args(Rule.model_fields["outputs"].annotation)[0])
COARSE = {"slice_spacing_mm": 12.0, "pixel_spacing_mm": (6.0, 6.0)}
PLANES = {
    "axial": Acquisition(**COARSE),
    "sagittal": Acquisition(plane="sagittal", **COARSE),
    "coronal": Acquisition(plane="coronal", descending=True, **COARSE),
    "oblique": Acquisition(turn_deg=(12.0, -17.0, 8.0), slice_spacing_mm=12.0, pixel_spacing_mm=(5.0, 7.0)),
}
# What is searched → the structure that stands for it: a code, no code (and within the first), a laterality, nothing.
SEARCHED = {
    "liver": "liver",
    "something with no code": "liver lesion",
    "left kidney": "left kidney",
    "gallbladder": "",
}
CELLS = [
    (modality, plane, source)
    for modality in modalities.MODALITIES
    for plane in PLANES
    for source in ("single-frame", "enhanced")
]
# Beside the one that gets everything in its usual form.
PEERS = {
    "pacs": {"folder": "pacs"},
    "bytes": {"folder": "bytes", "encoding": "occupancy", "segments_per_object": "one"},
}

# What dciodvfy (Debian dicom3tools, of 2022) calls an error and the standard does not: (SOP class, beginning of the
# line, the clause that says so). Nothing else is forgiven.
LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
KNOWN_MISTAKES = (
    (
        LABELMAP,
        "Error - Information Object Not found",
        "PS3.4 B.5, PS3.6 Table A-1: Label Map Segmentation Storage stands there since Supplement 243 (2024)",
    ),
    (
        LABELMAP,
        "Error - SegmentNumber not monotonically increasing from one by one",
        "PS3.3 C.8.20.2.4: from 1 by 1 where Segmentation Type is BINARY or FRACTIONAL; unique in a LABELMAP",
    ),
)


@dataclass(frozen=True)
class Cell:
    """One series of the matrix, its truth, and all that was made of it."""

    modality: str
    volume: Volume
    found: list[Found]
    results: list[Result]
    folder: Path

    def of(self, kind: str) -> Path:
        (path,) = self.all_of(kind, "pacs")
        return path

    def all_of(self, kind: str, peer: str) -> list[Path]:
        return [result.path for result in self.results if result.kind == kind and peer in result.peers]

    @property
    def kept(self) -> list[Found]:
        return [item for item in self.found if item.mask.voxels]

    def truth(self, item: Found) -> made.Bools:
        return item.mask.to_array(self.volume.grid.shape)


@pytest.fixture(scope="module", params=CELLS, ids=lambda cell: "-".join(cell))
def cell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    modality, plane, source = request.param
    folder = tmp_path_factory.mktemp(f"{modality}-{plane}-{source}")
    anatomy = torso(5)
    files = write_series(anatomy, PLANES[plane], folder / "source")
    modalities.rewrite(files, modality)
    if source == "enhanced":
        modalities.merge(files, modality)
    (volume,) = assemble(series_in(folder / "source")).volumes
    prompts = tuple(Prompt(text, text.capitalize()) for text in SEARCHED)
    masks = [truth_mask(anatomy, label or "liver", volume) & bool(label) for label in SEARCHED.values()]
    plan = Plan(volume.key, "matrix", 1, prompts, OUTPUTS, tuple(PEERS), made.MODEL, "1")
    found = made.found(plan, masks)
    found = [replace(item, mean_probability=0.93, uncertain_share=0.02) if item.mask.voxels else item for item in found]
    rule = {"name": "matrix", "when": {"Modality": modality}, "prompts": list(SEARCHED), "receipt": "always"}
    config = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "peers": PEERS, "rules": [rule]})
    results = encode(output_context(plan, volume, found, config=config, directory=folder / "results"), config)
    results += [other for result in results if (other := in_other_form(result))]
    return Cell(modality, volume, found, results, folder)


def test_every_output_is_there(cell: Cell) -> None:
    assert {result.kind for result in cell.results} == {*OUTPUTS, *RECEIPTS}
    assert {pydicom.dcmread(frame.path, specific_tags=["Modality"]).Modality for frame in cell.volume.frames} == {
        cell.modality
    }


def test_dciodvfy_finds_no_error(cell: Cell) -> None:
    assert made.dciodvfy(cell.volume.frames[0].path) == [], "the source of the test is not valid itself"
    for result in cell.results:
        forgiven = [line for sop_class, line, _ in KNOWN_MISTAKES if sop_class == result.sop_class_uid]
        errors = made.dciodvfy(result.path)
        assert [line for line in errors if not line.startswith(tuple(forgiven))] == [], result.kind


def test_the_known_mistakes_are_still_made(cell: Cell) -> None:
    """So that the table shrinks when the validator learns."""
    errors = made.dciodvfy(cell.of("labelmap"))
    assert all(any(error.startswith(line) for error in errors) for _, line, _ in KNOWN_MISTAKES)


def test_dcentvfy_finds_source_and_results_consistent(cell: Cell) -> None:
    files = list(dict.fromkeys(frame.path for frame in cell.volume.frames))
    files += [result.path for result in cell.results if result.sop_class_uid != LABELMAP]  # whose entities it lacks
    assert dcentvfy(files) == []


def test_pages_of_one_series_agree(tmp_path: Path) -> None:
    """Also where the second is drawn later than the first."""
    volume = made.volume(tmp_path / "s")
    plan = made.plan(["liver", "spleen", "left kidney", "right kidney"], outputs=("secondary",))
    found = made.found(plan, made.masks(volume.grid.shape, 4))
    pages = encode_secondary(OutputContext(plan, volume, found, directory=tmp_path))
    pages[1].path.unlink()
    assert encode_secondary(OutputContext(plan, volume, found, directory=tmp_path))[0] == pages[0]
    assert dcentvfy([*(frame.path for frame in volume.frames), *(page.path for page in pages)]) == []


def dcentvfy(files: list[Path]) -> list[str]:
    """The errors that dcentvfy finds among the objects of a study."""
    run = subprocess.run(["dcentvfy", *map(str, files)], capture_output=True, text=True, timeout=60)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


def test_the_label_map_follows_its_own_rules(cell: Cell) -> None:
    """PS3.3 A.51.4, A.51.5, C.8.20.2 for this type; then the rest of it by dciodvfy, told that it is FRACTIONAL."""
    ds = pydicom.dcmread(cell.of("labelmap"))
    assert (ds.SOPClassUID, ds.SegmentationType, ds.SegmentsOverlap) == (LABELMAP, "LABELMAP", "NO")
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (8, 8, 7, 0)
    assert (ds.SamplesPerPixel, ds.PhotometricInterpretation) == (1, "MONOCHROME2")
    assert not {"MaximumFractionalValue", "SegmentationFractionalType"} & set(ds.dir())
    numbers = [int(item.SegmentNumber) for item in ds.SegmentSequence]
    assert len(set(numbers)) == len(numbers)
    assert set(np.unique(ds.pixel_array)) - {int(ds.get("PixelPaddingValue", 0))} <= set(numbers)
    for frame in (*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence):
        assert "SegmentIdentificationSequence" not in frame

    ds.decompress()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.66.4")
    ds.SegmentationType, ds.SegmentationFractionalType, ds.MaximumFractionalValue = "FRACTIONAL", "PROBABILITY", 255
    ds.SegmentSequence = [item for item in ds.SegmentSequence if item.SegmentNumber > 0]
    if "PixelPaddingValue" in ds:
        del ds.PixelPaddingValue
    only = Dataset()
    only.ReferencedSegmentNumber = 1
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.SegmentIdentificationSequence = [only]
    ds.save_as(cell.folder / "as-fractional.dcm")
    assert made.dciodvfy(cell.folder / "as-fractional.dcm") == []


def test_dcmqi_decodes_the_same_masks(cell: Cell) -> None:
    truth = [cell.truth(item) for item in cell.kept]
    assert made.dcmqi_points(cell.of("seg"), cell.folder / "dcmqi-seg") == [
        made.true_points(mask, cell.volume) for mask in truth
    ]
    for number, path in enumerate(cell.all_of("seg", "bytes")):
        assert made.dcmqi_values(path, cell.folder / f"dcmqi-bytes-{number}") == [
            {255: made.true_points(truth[number], cell.volume)}
        ]
    liver, lesion, kidney = truth
    assert (liver & lesion).any(), "nothing overlaps"
    soft = [made.soft(mask).to_array(cell.volume.grid.shape) for mask in truth]
    assert made.dcmqi_values(cell.of("fractional"), cell.folder / "dcmqi-fractional") == [
        made.true_values(values, cell.volume) for values in soft
    ]
    assert made.dcmqi_points(cell.of("labelmap"), cell.folder / "dcmqi-labelmap") == [
        made.true_points(mask, cell.volume) for mask in (liver & ~lesion, lesion, kidney)
    ]


def test_the_overlays_show_the_outlines_in_place(cell: Cell) -> None:
    """One for each source image; each pixel where its own geometry puts it in the patient."""
    paths = cell.all_of("overlay", "pacs")
    assert len(paths) == len(cell.volume.frames)
    frames = [(frame.path, frame.number) for frame in cell.volume.frames]
    colors = colors_of([item.prompt for item in cell.kept])
    structures.assert_outlined(paths, frames, [cell.truth(item) for item in cell.kept], colors)


def test_the_report_gives_back_each_measurement(cell: Cell) -> None:
    """By highdicom, and by walking the content tree with pydicom; both against what was measured."""
    header = pydicom.dcmread(cell.volume.frames[0].path, stop_before_pixels=True)
    measured = measure([item.mask for item in cell.kept], cell.volume, quantity_of(cell.modality, header))
    groups = highdicom.sr.srread(cell.of("sr")).content.get_volumetric_roi_measurement_groups()
    trees = [
        item
        for container in pydicom.dcmread(cell.of("sr")).ContentSequence
        if container.ConceptNameCodeSequence[0].CodeValue == "126010"  # Imaging Measurements
        for item in container.ContentSequence
    ]
    for group, tree, item, values in zip(groups, trees, cell.kept, measured, strict=True):
        read = {
            (m.name.value, m.derivation.value if m.derivation else ""): (m.value, m.unit.value)
            for m in group.get_measurements()
        }
        assert read == {key: (float(value), unit) for key, (value, unit) in _numbers(tree).items()}
        assert {key: value for key, (value, _) in read.items()} == pytest.approx(
            _expected(item, values), rel=6e-4, abs=0.051
        )
        units = {"CT": "[hnsf'U]", "MR": "1", "PT": "{SUVbw}g/ml"}
        intensity = {"CT": "112031", "MR": "110852", "PT": "126401"}[cell.modality]
        assert {unit for (name, _), (_, unit) in read.items() if name == intensity} == {units[cell.modality]}


def _numbers(tree: Dataset) -> dict[tuple[str, str], tuple[float, str]]:
    """(name, derivation) → (value, unit) of the NUM items of a measurement group."""
    numbers = {}
    for item in tree.ContentSequence:
        if item.ValueType != "NUM":
            continue
        modifiers = [
            inner.ConceptCodeSequence[0].CodeValue
            for inner in item.get("ContentSequence", [])
            if inner.ConceptNameCodeSequence[0].CodeValue == "121401"  # Derivation
        ]
        value = item.MeasuredValueSequence[0]
        key = (str(item.ConceptNameCodeSequence[0].CodeValue), str(modifiers[0]) if modifiers else "")
        numbers[key] = (float(value.NumericValue), str(value.MeasurementUnitsCodeSequence[0].CodeValue))
    return numbers


def _expected(item: Found, values: Measured) -> dict[tuple[str, str], float]:
    inside = values.intensity
    assert inside is not None
    name = inside.quantity.name.value
    expected = {
        ("118565006", ""): values.volume_ml,
        ("103339001", ""): values.long_axis_mm,
        ("103340004", ""): values.short_axis_mm,
        ("STACK_EXTENT", ""): values.extent_mm,
        ("SLICES", ""): values.frames,
        ("SURFACE_AREA", ""): values.surface_mm2 or 0,
        (name, "373098007"): inside.mean,
        (name, "386136009"): inside.sd,
        (name, "255605001"): inside.minimum,
        (name, "56851009"): inside.maximum,
        (name, "373099004"): inside.median,
        ("GPMT", ""): inside.p10,
        ("OZ0C", ""): inside.p90,
        ("MEAN_PROBABILITY", ""): item.mean_probability or 0,
        ("UNCERTAIN_SHARE", ""): item.uncertain_share or 0,
    }
    if inside.peak is not None:
        expected[name, "126031"] = inside.peak
    return expected


def test_the_structure_set_rasterised_again_is_the_mask(cell: Cell) -> None:
    frames = [(frame.path, frame.number) for frame in cell.volume.frames]
    masks = structures.rasterised(cell.of("rtstruct"), frames, cell.volume.grid.shape)
    assert len(masks) == len(cell.kept)
    for mask, item in zip(masks.values(), cell.kept, strict=True):
        truth = cell.truth(item)
        assert np.count_nonzero(mask) == pytest.approx(np.count_nonzero(truth), rel=0.01)
        spacing = cell.volume.grid.spacing_mm
        assert structures.surface_distance_95(mask, truth, spacing) <= min(spacing[1:])


@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize("plane", PLANES)
def test_every_structure_of_the_phantom_comes_back(plane: str, holes: str, tmp_path: Path) -> None:
    """Liver with a lesion cut out of it, spine, body … in each plane, by each way of writing holes."""
    anatomy = torso(5)
    write_series(anatomy, PLANES[plane], tmp_path / "source")
    (volume,) = assemble(series_in(tmp_path / "source")).volumes
    masks = {label: truth_mask(anatomy, label, volume) for label in LABELS}
    masks["liver without lesion"] = masks["liver"] & ~masks["liver lesion"]
    masks["rind"] = masks["body"] & ~masks["liver"] & ~masks["spleen"] & ~masks["lungs"] & ~masks["spine"]
    masks = {label: mask for label, mask in masks.items() if mask.any()}
    assert len(masks) > 10
    plan = made.plan(list(masks), options=PlanOptions(holes=holes))
    found = made.found(plan, list(masks.values()))
    result = encode_rtstruct(OutputContext(plan, volume, found, directory=tmp_path))
    assert result is not None
    frames = [(frame.path, frame.number) for frame in volume.frames]
    read = structures.rasterised(result.path, frames, volume.grid.shape)
    pixel = min(volume.grid.spacing_mm[1:])
    for mask, again in zip(masks.values(), read.values(), strict=True):
        assert np.count_nonzero(again) == pytest.approx(np.count_nonzero(mask), rel=0.01)
        assert structures.surface_distance_95(again, mask, volume.grid.spacing_mm) <= pixel


def test_a_capture_of_a_lossy_source_is_lossy(tmp_path: Path) -> None:
    """PS3.3 C.7.6.1.1.5: what was lost stays lost in what is derived."""
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12.5",
        "LossyImageCompressionMethod": "ISO_15444_1",
    }
    volume = made.volume(tmp_path / "s", **lossy)
    plan = made.plan(["liver"])
    (page,) = encode_secondary(
        OutputContext(plan, volume, made.found(plan, made.masks(volume.grid.shape, 1)), directory=tmp_path)
    )
    ds = pydicom.dcmread(page.path)
    assert {keyword: str(ds[keyword].value) for keyword in lossy} == lossy
    assert made.dciodvfy(page.path) == []
