"""A stack whose spacing changes: its runs are segmented each for itself, and are one volume again, voxel for voxel."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.series import cases, slices
from voxtell_dicom.errors import GridMismatch
from voxtell_dicom.model import Mask, Volume, dump, load
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.joined import gaps_between, joined, stacks_of
from voxtell_dicom.series.volume import all_to_frames, load_volume
from voxtell_dicom.verify.readback import source_values


def depths_of(runs: Sequence[tuple[int, float]], gaps: Sequence[float]) -> list[float]:
    """Positions along the normal of runs of (frames, spacing), `gaps` between them."""
    at, found = 0.0, []
    for (count, spacing), gap in zip(runs, [*gaps, 0.0], strict=True):
        found += [at + spacing * index for index in range(count)]
        at = found[-1] + gap
    return found


def write(folder: Path, depths: Sequence[float], stored: np.ndarray, **more: object) -> slices.Series:
    """One series with a slice at each depth."""
    orientation = np.array(more.pop("orientation", slices.AXIAL), float)
    shear = np.array(more.pop("shear", (0, 0, 0)), float)
    normal = slices.normal_of(orientation)
    made = []
    for index, (depth, plane) in enumerate(zip(depths, stored, strict=True)):
        (ds,) = slices.stack(
            plane[None], orientation=orientation, origin=depth * (normal + shear) + (-10, -20, -30), **more
        )
        ds.SliceThickness = f"{0.5 + 0.37 * index:.4g}"  # no two alike: nothing but the positions tells of the runs
        ds.InstanceNumber = index + 1
        made.append(ds)
    return slices.save(made, folder)


spacings = st.lists(
    st.tuples(st.integers(3, 5), st.sampled_from((0.7, 1.0, 1.3, 2.5, 4.0, 7.0))), min_size=2, max_size=3
)


@settings(max_examples=40, deadline=None)
@given(
    runs=spacings.filter(lambda some: all(one[1] != other[1] for one, other in pairwise(some))),
    share=st.floats(0.2, 1.45),
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
    mirrored=st.booleans(),
    shear=st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)),
    tilted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_masks_of_the_runs_come_back_as_the_very_voxels(
    runs: list[tuple[int, float]],
    share: float,
    turn: tuple[float, float, float],
    mirrored: bool,
    shear: tuple[float, float],
    tilted: bool,
    seed: int,
) -> None:
    between = [share * max(one[1], other[1]) for one, other in pairwise(runs)]
    for (one, gap), other in zip(zip(runs, between, strict=False), runs[1:], strict=True):
        near = [abs(gap - spacing) <= max(0.05, 0.05 * spacing) for spacing in (one[1], other[1])]
        assume(not any(near))  # else the gap is a step of the one run or of the other, and shifts where they meet
    depths = depths_of(runs, between)
    rotation = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    row, column = rotation[:, 0], rotation[:, 1] * (-1 if mirrored else 1)
    stored = slices.noise((len(depths), 6, 5), seed)
    with tempfile.TemporaryDirectory() as folder:
        assembly = assemble(
            write(
                Path(folder),
                depths,
                stored,
                orientation=(*row, *column),
                shear=shear[0] * row + shear[1] * column if tilted else (0, 0, 0),
                spacing=(1.0, 1.1, 0.9),
            )
        )
        assert not assembly.set_aside
        assert [len(volume.frames) for volume in assembly.volumes] == [count for count, _ in runs]
        loaded = [load_volume(volume) for volume in reversed(assembly.volumes)]
    volume = joined([keyed for _, keyed in loaded])
    assert volume.grid.shape == stored.shape
    assert volume.key == joined([keyed for _, keyed in reversed(loaded)]).key
    arrays = {keyed.key: array for array, keyed in loaded}
    masks = [Mask.from_array(arrays[part.key] > 1500.5) for part in volume.parts]
    back = all_to_frames(masks, volume)
    expected = stored.astype(np.float32) - 1024 > 1500.5
    np.testing.assert_array_equal(back.to_array(volume.grid.shape), expected)
    assert back.voxels == np.count_nonzero(expected)
    assert load(Volume, dump(volume)) == volume
    # each frame stands for its share of the stack, and all of them for the whole
    whole = depths[-1] - depths[0] + (runs[0][1] + runs[-1][1]) / 2
    assert sum(volume.frame_mm) == pytest.approx(whole, rel=1e-4)
    assert volume.millilitres(back) == pytest.approx(
        float(np.count_nonzero(expected, axis=(1, 2)) @ np.array(volume.frame_mm)) * 1.1 * 0.9 / 1000
    )


def two(folder: Path, name: str = "two-spacings") -> tuple[Volume, ...]:
    return assemble(next(case for case in cases.CASES if case.name == name).write(folder)).volumes


def test_what_a_joined_volume_is(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    volume = joined([second, first])
    assert (volume.name, volume.keys) == ("", {})
    assert volume.parts == (first, second)
    assert volume.frames == (*first.frames, *second.frames)
    assert volume.grid.shape == (12, 24, 20)
    assert volume.grid.spacing_mm == pytest.approx((3.5, 1, 1))
    # 2 mm apart, then 5; 3 mm from the one run to the other
    assert volume.frame_mm == pytest.approx((2, 2, 2, 2, 2, 2.5, 4, 5, 5, 5, 5, 5))
    assert volume.warnings == (
        "runs: the spacing changes along the stack (6 slices 2.00 mm apart, 6 slices 5.00 mm apart); "
        "each run was segmented for itself",
    )
    for name in ("canvas", "planes", "shape_zyx", "spacing_zyx_mm"):
        with pytest.raises(ValueError, match="take its parts"):
            getattr(volume, name)
    assert joined([first]).warnings == (
        "runs: the spacing changes along the stack; only run 1 of 2 is in this result (6 slices 2.00 mm apart)",
    )
    (whole,) = two(tmp_path / "axial", "axial")
    assert joined([whole]) == whole


def test_only_runs_of_one_stack_are_joined(tmp_path: Path) -> None:
    first, second = two(tmp_path / "runs")
    assert stacks_of([first, second]) == [[0, 1]]
    echoes = two(tmp_path / "echoes", "echoes")
    assert stacks_of(echoes) == [[0], [1]]
    with pytest.raises(GridMismatch, match="stack is none"):
        joined(echoes)
    with pytest.raises(GridMismatch, match="overlap"):
        joined([first, first])


def test_runs_with_several_frames_of_reference_where_they_are_accepted(tmp_path: Path) -> None:
    """A run may name one frame of reference and the next another: accepted, they are one stack, in that of most."""

    def edit(ds: object, index: int) -> None:
        ds.FrameOfReferenceUID = f"{slices.UID}.8"  # type: ignore[attr-defined]

    upper = slices.stack(slices.noise((8, 24, 20), 1), spacing=(5.0, 1.0, 1.0), origin=(-10, -20, -17), edit=edit)
    series = slices.save(cases.many(slices.stack(slices.noise(cases.SHAPE)), upper), tmp_path)
    assert [item.code for item in assemble(series).set_aside] == ["mixed-frames-of-reference"]
    volume = joined(assemble(series, frames_of_reference="accept").volumes)
    assert volume.frame_of_reference_uid == f"{slices.UID}.8"
    (_, said) = volume.warnings
    assert "as 8 of 14 slices" in said


def found(folder: Path, *gaps: float, thickness: float | None = None) -> tuple[list[int], list[str], list[str]]:
    """Slices of each volume, its warnings' codes, and the codes of what was refused, of slices at these distances."""
    depths = np.cumsum([0.0, *gaps])
    series = write(folder, depths.tolist(), slices.noise((len(depths), 6, 5)), spacing=(1.0, 1.0, 1.0))
    if thickness:
        for instance in series.instances:
            ds = pydicom.dcmread(instance.path)
            ds.SliceThickness = thickness
            ds.save_as(instance.path)
    assembly = assemble(series)
    assert len({volume.stack for volume in assembly.volumes}) <= 1
    said = [warning.split(":")[0] for volume in assembly.volumes for warning in volume.warnings]
    return [len(volume.frames) for volume in assembly.volumes], said, [item.code for item in assembly.set_aside]


TWO, FIVE = (2.0,) * 5, (5.0,) * 4


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ((*TWO, 3, *FIVE), [6, 5]),
        ((*TWO, *FIVE), [6, 4]),  # 5 mm from run to run
        ((*FIVE, *TWO), [5, 5]),
        ((2, 2, 2, 5, 5), [3, 3]),  # the frame between is the one's or the other's: each run needs three
        ((*TWO, 7.5, *FIVE), [6, 5]),
        ((*TWO, 7.6, *FIVE), "missing-slice"),
        ((*TWO, 0.5, *FIVE), [6, 5]),
        ((*TWO, 3, *FIVE, 1.7, 1.0, 1.0, 1.0), [6, 5, 4]),
        ((2, 2.06, 1.95, 2.03, 2, 3, 5, 5.1, 4.9, 5), [6, 5]),  # rounded positions
        ((*TWO, *((2.1,) * 5)), [11]),  # hardly another spacing
        ((*TWO, *((4.0,) * 4)), [6, 4]),
        ((*TWO, 3, 4), "missing-slice"),
        ((2, 7, 2, 7, 2, 7), "missing-slice"),
    ],
)  # fmt: skip
def test_where_runs_begin_and_end(gaps: tuple[float, ...], expected: list[int] | str, tmp_path: Path) -> None:
    frames, _, refused = found(tmp_path, *gaps)
    assert frames == expected if isinstance(expected, list) else (frames, refused) == ([], [expected])


def test_slices_left_out_are_no_run(tmp_path: Path) -> None:
    """Every second slice of one thickness: missing, not another spacing."""
    assert found(tmp_path, *TWO, *((4.0,) * 4), thickness=2.0)[0::2] == ([], ["missing-slice"])
    assert found(tmp_path / "other", *TWO, 3.0, *FIVE, thickness=2.0)[0] == [6, 5]


@pytest.mark.parametrize(
    ("gaps", "frames"),
    [
        ((*TWO, 3, 4, *FIVE), [6, 6]),  # one slice; nearer to the grid of 5 mm
        ((*TWO, 2.2, 3.4, *FIVE), [7, 5]),  # nearer to that of 2 mm
        ((*TWO, 3, 3.6, 4, *FIVE), [6, 7]),  # two
        ((2.9, *TWO, 3, *FIVE), [7, 5]),  # before the first run
        ((*TWO, 3, *FIVE, 4), [6, 6]),  # after the last
    ],
)
def test_a_slice_in_no_run_is_taken_to_a_neighbour_by_name(
    gaps: tuple[float, ...], frames: list[int], tmp_path: Path
) -> None:
    lengths, said, refused = found(tmp_path, *gaps)
    assert (lengths, refused) == (frames, [])
    assert set(said) == {"runs", "uneven-spacing"}
    volumes = assemble(slices.series_in(tmp_path)).volumes
    (warning,) = (one for volume in volumes for one in volume.warnings if one.startswith("runs:"))
    assert "in no run of constant spacing; taken to that of" in warning
    assert any(frame.sop_instance_uid in warning for volume in volumes for frame in volume.frames)
    volume = joined([load_volume(volume)[1] for volume in volumes])
    assert sum(volume.frame_mm) == pytest.approx(
        sum(gaps) + (volumes[0].grid.spacing_mm[0] + volumes[-1].grid.spacing_mm[0]) / 2, rel=0.05
    )
    values = [source_values(frame.path, 1) for frame in volume.frames]
    masks = [Mask.from_array(load_volume(run)[0] > 1500.5) for run in volume.runs]
    np.testing.assert_array_equal(all_to_frames(masks, volume).to_array(volume.grid.shape), np.array(values) > 1500.5)


def test_a_slice_that_fits_no_run_is_refused_with_the_stack(tmp_path: Path) -> None:
    frames, _, refused = found(tmp_path, *TWO, 3.5, 8.0, *FIVE)
    assert (frames, refused) == ([], ["missing-slice"])


def test_the_first_slice_may_be_the_odd_one(tmp_path: Path) -> None:
    """All but the first slice are regular: they lie on planes, and the first on the nearest."""
    frames, said, refused = found(tmp_path, 2.9, *TWO, *TWO)
    assert (frames, said, refused) == ([12], ["uneven-spacing"], [])


@pytest.mark.parametrize("gap", [4.0, 6.0, 3.3])
def test_a_gap_within_a_run_is_that_runs_own_matter(gap: float, tmp_path: Path) -> None:
    gaps = (*TWO, gap, 2, 2, 2, 3, *FIVE)
    lengths, _, refused = found(tmp_path, *gaps)
    assert (lengths, refused) == ([5], ["missing-slice"])
    series = slices.series_in(tmp_path)
    (item,) = assemble(series).set_aside
    assert (item.run, len(item.uids)) == ("run 1 of 2, 2.00 mm apart", 10)
    assert f"a gap of {gap:.3f} mm between" in item.reason
    ((volume,),) = (assemble(series).volumes,)
    assert joined([volume]).warnings[0].endswith("only run 2 of 2 is in this result (5 slices 5.00 mm apart)")
    volumes = assemble(series, max_gap=3).volumes
    assert [len(one.frames) for one in volumes] == [10, 5]
    volume = joined([load_volume(one)[1] for one in volumes])
    values = [source_values(frame.path, 1) for frame in volume.frames]
    masks = [Mask.from_array(load_volume(run)[0] > 1500.5) for run in volume.runs]
    np.testing.assert_array_equal(all_to_frames(masks, volume).to_array(volume.grid.shape), np.array(values) > 1500.5)


def test_an_uneven_gap_within_a_run_is_bridged(tmp_path: Path) -> None:
    frames, said, refused = found(tmp_path, *TWO, 2.6, *TWO, 3, *FIVE)
    assert (frames, said, refused) == ([12, 5], ["uneven-spacing"], [])


def by_thickness(folder: Path, *parts: tuple[int, float, float]) -> slices.Series:
    """One stack of parts: slices, their thickness and distance, and how far the next part is from the last slice."""
    made, at = [], 0.0
    for seed, (count, thick, gap) in enumerate(parts):
        stored = slices.noise((count, 6, 5), seed)
        made.append(slices.stack(stored, spacing=(thick, 1.0, 1.0), origin=(0, 0, at)))
        at += (count - 1) * thick + gap
    return slices.save(cases.many(*made), folder)


@pytest.mark.parametrize(
    ("parts", "lengths", "refused", "gaps"),
    [
        (((6, 2, 9), (5, 5, 0)), [6, 5], [], ["9.00 mm between run 1 and run 2"]),  # farther than 1.5 × 5 mm
        (((2, 2, 3), (5, 5, 0)), [2, 5], [], []),  # too short for distances to tell
        (((6, 2, 3), (2, 5, 0)), [6, 2], [], []),
        (((1, 2, 1), (5, 5, 0)), [5], ["single-slice"], []),  # fits no grid of 5 mm
        (((6, 2, 1), (1, 4, 1), (5, 5, 0)), [6, 5], ["single-slice"], []),
    ],
)
def test_slice_thickness_tells_of_runs_where_distances_do_not(
    parts: tuple[tuple[int, float, float], ...],
    lengths: list[int],
    refused: list[str],
    gaps: list[str],
    tmp_path: Path,
) -> None:
    assembly = assemble(by_thickness(tmp_path, *parts))
    assert [len(volume.frames) for volume in assembly.volumes] == lengths
    assert [item.code for item in assembly.set_aside] == refused
    assert all(item.run and item.stack == assembly.volumes[0].stack for item in assembly.set_aside)
    assert len({volume.stack for volume in assembly.volumes}) == 1
    volume = joined(assembly.volumes)
    assert list(gaps_between(volume.parts)) == gaps
    said = [warning for warning in volume.warnings if warning.startswith("gap:")]
    assert said == [f"gap: {gap}; slices may be missing there" for gap in gaps]
    assert sum(volume.frame_mm) >= sum(len(run.frames) * run.grid.spacing_mm[0] for run in volume.runs) - 7


def test_parts_of_a_thickness_that_overlap_are_volumes_of_their_own(tmp_path: Path) -> None:
    assembly = assemble(by_thickness(tmp_path, (6, 2, -3), (5, 5, 0)))
    assert [(volume.name, volume.stack) for volume in assembly.volumes] == [("2 mm thick", ""), ("5 mm thick", "")]
