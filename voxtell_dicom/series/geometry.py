"""A stack of parallel frames as a regular grid: order, spacing, tilt; or the reason why it is none.

Positions decide, never Instance Number or file names (PS3.3 C.7.6.2.1.1). Lengths in mm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from voxtell_dicom.errors import Refusal
from voxtell_dicom.model import Frame, Grid, Vector, Volume
from voxtell_dicom.series.header import FrameHeader
from voxtell_dicom.series.orientation import to_ras_of

COINCIDENT_MM = 0.01  # frames closer than this along the normal are at one position
UNEVEN = 0.1  # of the spacing: how far a frame may lie from the regular grid
UNEVEN_SAID = 0.01  # … and from where on it is said in the warnings
MIN_UNEVEN = 4  # frames, for a usual spacing to be known
SAME_GAP = 0.05  # gaps are equal, or whole multiples of one another, within this part
GAP = 1.5  # times the spacing: from here on a slice is missing
ORTHONORMAL_SAID = 1e-3
ORTHONORMAL = 2e-2
MAX_TILT_DEGREES = 45.0
STRAY_PX = 0.5  # how far the in-plane offset of a frame may lie from the line through first and last
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stack:
    """Parallel frames sorted along the normal. `depth`: distance along it; `offset`: (row, column) in-plane, mm."""

    frames: tuple[FrameHeader, ...]
    row_cosine: Floats
    column_cosine: Floats
    normal: Floats
    depth: Floats
    offset: Floats
    warnings: tuple[str, ...]
    planes: tuple[int, ...] = ()  # of the frames on a regular grid, where they do not lie side by side on it
    run_of: tuple[FrameHeader, ...] = ()  # the frames of the stack that this is a run of

    @property
    def gaps(self) -> Floats:
        """Distances between neighbours, one fewer than frames."""
        return np.diff(self.depth)

    @property
    def coincident(self) -> bool:
        """Return True if some frames lie at one position."""
        return bool((self.gaps < COINCIDENT_MM).any())

    def positions(self) -> list[list[FrameHeader]]:
        """The frames of each position, in the order of the positions."""
        groups: list[list[FrameHeader]] = []
        for index, frame in enumerate(self.frames):
            if index and self.depth[index] - self.depth[index - 1] < COINCIDENT_MM:
                groups[-1].append(frame)
            else:
                groups.append([frame])
        return groups


def axes_of(frame: FrameHeader) -> tuple[Floats, Floats, Floats, float]:
    """Orthonormal row cosine, column cosine and normal of a frame, and how far the stated ones were from it.

    Raises Refusal (``orientation``) where Image Orientation (Patient) is no pair of orthogonal unit vectors.
    """
    row, column = np.array(frame.row_cosine), np.array(frame.column_cosine)
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    error = max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ column)))
    if not error <= ORTHONORMAL:
        shown = "\\".join(f"{value:g}" for value in (*frame.row_cosine, *frame.column_cosine))
        words = f"{frame.name}: Image Orientation (Patient) (0020,0037) is {shown}: not two orthogonal unit vectors"
        raise Refusal("orientation", words, frame.sop_instance_uid)
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column), error


def stack_of(frames: Sequence[FrameHeader]) -> Stack:
    """Sort parallel frames along their normal (cross product of row and column cosine)."""
    row, column, normal, error = axes_of(frames[0])
    positions = np.array([frame.position for frame in frames], float).reshape(-1, 3)
    depth = positions @ normal
    order = sorted(range(len(frames)), key=lambda i: (depth[i], frames[i].sop_instance_uid, frames[i].number))
    warnings: tuple[str, ...] = ()
    if error > ORTHONORMAL_SAID:
        warnings = (f"orientation: Image Orientation (Patient) is {error:.4f} off orthonormal; made orthonormal",)
    cosines = np.array([(*frame.row_cosine, *frame.column_cosine) for frame in frames])
    spread = float(np.abs(cosines - cosines[0]).max())
    if spread > ORTHONORMAL_SAID:
        words = f"orientation: Image Orientation (Patient) differs by up to {spread:.4f} from slice to slice"
        warnings = (*warnings, f"{words}; that of the first is used")
    offset = np.stack((positions @ column, positions @ row), axis=1)
    return Stack(tuple(frames[i] for i in order), row, column, normal, depth[order], offset[order], warnings)


def deviation(stack: Stack) -> float:
    """Return how far, in parts of the spacing, the farthest frame lies from the regular grid through first and last."""
    count = len(stack.frames)
    spacing = (stack.depth[-1] - stack.depth[0]) / (count - 1)
    ideal = stack.depth[0] + spacing * np.arange(count)
    return float(np.abs(stack.depth - ideal).max() / spacing)


def straying(stack: Stack) -> float:
    """Return how far, in pixels, the farthest frame lies in its plane from the line through the first and the last."""
    share = ((stack.depth - stack.depth[0]) / (stack.depth[-1] - stack.depth[0]))[:, None]
    line = stack.offset[0] + share * (stack.offset[-1] - stack.offset[0])
    return float(np.abs((stack.offset - line) / np.array(stack.frames[0].pixel_spacing)).max())


def is_regular(stack: Stack) -> bool:
    """Return True if the stack is one volume as it is."""
    return (
        len(stack.frames) > 1
        and not stack.coincident
        and deviation(stack) <= UNEVEN
        and straying(stack) <= STRAY_PX
        and tilt_of(stack) <= MAX_TILT_DEGREES
    )


def tilt_of(stack: Stack) -> float:
    """Degrees between the normal and the line through first and last position (a gantry tilt); 0 below half a pixel."""
    drift = stack.offset[-1] - stack.offset[0]
    if (np.abs(drift) <= 0.5 * np.array(stack.frames[0].pixel_spacing)).all():
        return 0.0
    return math.degrees(math.atan2(float(np.linalg.norm(drift)), float(stack.depth[-1] - stack.depth[0])))


def refuse_irregular(stack: Stack) -> Refusal:
    """The reason why a stack without coincident frames is no regular volume."""
    frames, gaps = stack.frames, stack.gaps
    uid = frames[0].series_uid
    if len(frames) == 1:
        return Refusal("single-slice", f"{frames[0].name}: a single slice is no volume", uid)
    usual = _usual_gap(gaps)
    widest = int(np.argmax(gaps))
    between = f"between {frames[widest].name} and {frames[widest + 1].name}"
    where = f"Image Position (Patient) (0020,0032) of series {uid}"
    if gaps[widest] > GAP * usual:
        return Refusal(
            "missing-slice",
            f"{where}: a gap of {gaps[widest]:.3f} mm {between}, where the spacing is {usual:.3f} mm",
            uid,
        )
    if deviation(stack) > UNEVEN:
        return Refusal("uneven-spacing", f"{where}: distances from {gaps.min():.3f} to {gaps.max():.3f} mm", uid)
    if straying(stack) > STRAY_PX:
        return Refusal(
            "shifted-slices", f"{where}: slices shifted in their plane by up to {straying(stack):.1f} pixels", uid
        )
    return Refusal(
        "tilt", f"{where}: tilted by {tilt_of(stack):.1f} degrees; up to {MAX_TILT_DEGREES:g} are handled", uid
    )


def _usual_gap(gaps: Floats) -> float:
    """Return the distance of slices where none is missing, mm.

    The smallest, where it occurs more than once and all others are whole multiples of it: slices are missing between
    those. Else the median, of two the smaller: a slice is missing rather than one is too many.
    """
    smallest = gaps[gaps <= (1 + SAME_GAP) * gaps.min()]
    multiples = gaps / float(smallest.mean())
    if len(smallest) > 1 and (np.abs(multiples - np.rint(multiples)) <= SAME_GAP * multiples).all():
        return float(smallest.mean())
    return float(np.sort(gaps)[(len(gaps) - 1) // 2])


def on_planes(stack: Stack, max_gap: float) -> Stack | None:
    """An uneven stack laid on a regular grid, each frame on the nearest plane, at most half a spacing off.

    max_gap: the widest gap that is allowed, in parts of the usual spacing. None where a gap is wider, or two frames
    would share a plane. Only the model sees the grid: masks come back from each frame's own plane.
    """
    if len(stack.frames) < MIN_UNEVEN or stack.coincident or straying(stack) > STRAY_PX:
        return None
    usual = float(np.median(stack.gaps))
    grids = []
    for anchor in (
        0,
        len(stack.frames) // 2,
        -1,
    ):  # the one whose neighbours are regular has the rest nearest to planes
        away = (stack.depth - stack.depth[anchor]) / usual
        grids.append((float(np.abs(away - np.rint(away)).max()), np.rint(away - np.rint(away[0])).astype(int)))
    planes = min(grids, key=lambda grid: ((np.diff(grid[1]) < 1).any(), round(grid[0], 6)))[1]
    if (
        stack.gaps.max() > max_gap * usual * (1 + 1e-6)
        or (np.diff(planes) < 1).any()
        or tilt_of(stack) > MAX_TILT_DEGREES
    ):
        return None
    return replace(stack, planes=tuple(int(plane) for plane in planes))


def widest_gap(volume: Volume) -> float:
    """The widest distance between neighbouring frames along the normal, in parts of the usual one."""
    depth = np.array([frame.position_mm for frame in volume.frames]) @ np.array(volume.grid.normal)
    gaps = np.diff(depth)
    return float(gaps.max() / np.median(gaps))


def volume_of(stack: Stack, name: str, keys: dict[str, str]) -> Volume:
    """A regular stack as a Volume (its key still empty). Raises Refusal where it is not regular."""
    if not stack.planes and not is_regular(stack):
        raise refuse_irregular(stack)
    frames = stack.frames
    first = frames[0]
    count = len(frames)
    planes = np.array(stack.planes or range(count))
    between = float(stack.depth[-1] - stack.depth[0]) / int(planes[-1])
    tilt = tilt_of(stack)
    shifts = _shifts(stack) if tilt else np.zeros((count, 2), int)
    grid = Grid(
        shape=(count, first.rows, first.columns),
        origin_mm=first.position,
        row_cosine=_vector(stack.row_cosine),
        column_cosine=_vector(stack.column_cosine),
        normal=_vector(stack.normal),
        spacing_mm=(between, first.pixel_spacing[0], first.pixel_spacing[1]),
    )
    return Volume(
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        frame_of_reference_uid=first.frame_of_reference_uid,
        modality=first.modality,
        name=name,
        frames=tuple(
            Frame(
                sop_instance_uid=frame.sop_instance_uid,
                sop_class_uid=frame.sop_class_uid,
                number=frame.number,
                path=frame.path,
                position_mm=frame.position,
                shift_px=(int(shift[0]), int(shift[1])),
                plane=int(plane) if stack.planes else None,
            )
            for frame, shift, plane in zip(frames, shifts, planes, strict=True)
        ),
        grid=grid,
        to_ras=to_ras_of(grid),
        key="",
        warnings=(*stack.warnings, *_warnings(stack, between, tilt)),
        keys=keys,
        stack=stack.run_of[0].name if stack.run_of else "",
    )


def _shifts(stack: Stack) -> npt.NDArray[np.int64]:
    """Whole pixels (row, column), none negative, at which each frame lies on the canvas that undoes the tilt."""
    pixels = (stack.offset - stack.offset[0]) / np.array(stack.frames[0].pixel_spacing)
    whole = np.rint(pixels).astype(np.int64)
    return np.asarray(whole - whole.min(axis=0))


def _warnings(stack: Stack, between: float, tilt: float) -> list[str]:
    frames = stack.frames
    found: list[str] = []
    ideal = stack.depth[0] + between * np.array(stack.planes or range(len(frames)))
    off = float(np.abs(stack.depth - ideal).max()) / between
    if stack.planes and stack.planes[-1] >= len(frames):
        missing = stack.planes[-1] + 1 - len(frames)
        widest = float(stack.gaps.max())
        found.append(
            f"gap: {missing} slice(s) are missing (up to {widest:.3f} mm apart); "
            "interpolated for the model, not in the result"
        )
    if off > UNEVEN_SAID:
        found.append(f"uneven-spacing: slices lie up to {off * between:.3f} mm off a regular grid of {between:.3f} mm")
    if tilt:
        found.append(
            f"tilt: the stack is sheared by {tilt:.1f} degrees; slices are shifted by whole pixels for the model"
        )
    stated = {round(abs(frame.spacing_between_slices), 3) for frame in frames if frame.spacing_between_slices}
    if any(abs(value - between) > max(0.01, UNEVEN_SAID * between) for value in stated):
        found.append(
            f"spacing: Spacing Between Slices (0018,0088) says {min(stated):g} mm, the positions {between:.3f} mm"
        )
    located = [frame.slice_location for frame in frames]
    if None not in located:
        steps = np.abs(np.diff(np.array(located, float)))
        steps_mm = np.hypot(stack.gaps, np.linalg.norm(np.diff(stack.offset, axis=0), axis=1))
        if (np.minimum(np.abs(steps - stack.gaps), np.abs(steps - steps_mm)) > max(0.02, 0.05 * between)).any():
            found.append(
                "slice-location: Slice Location (0020,1041) contradicts Image Position (Patient); the position is used"
            )
    if any(frame.lossy for frame in frames):
        found.append("lossy: the images were compressed with loss (0028,2110)")
    return found


def _vector(values: Floats) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])
