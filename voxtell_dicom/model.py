"""The frozen values that travel through the house, one room to the next. No I/O.

All are plain dataclasses that pydantic's TypeAdapter turns into JSON and back (`dump`, `load`). Patient coordinates are
DICOM's: LPS, millimetres. The RAS grid is nibabel's sense: axes (z, y, x) run towards Superior, Anterior, Right.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter

T = TypeVar("T")
Vector = tuple[float, float, float]
Range = tuple[int, int]
Box = tuple[Range, Range, Range]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
PROBABILITY_FLOOR = 0.05  # what is less probable counts as nothing in a probability map


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def dump(value: Any) -> Any:
    """A dataclass of this module as JSON-able data (dicts, lists, strings, numbers)."""
    return json.loads(_adapter(type(value)).dump_json(value))


def load(kind: type[T], data: Any) -> T:
    """The inverse of `dump`; raises pydantic.ValidationError where the data are not of that kind."""
    return _adapter(kind).validate_json(json.dumps(data))  # type: ignore[no-any-return]


def canonical_digest(data: Any) -> str:
    """SHA-256 (hex) over canonical JSON: sorted keys, no blanks, UTF-8."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Instance:
    """One SOP instance as it lies in the spool (or in a folder).

    `digest` is taken over the decoded identity of the dataset, not over its network form (contracts § 1).
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    path: Path
    transfer_syntax_uid: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Series:
    """A version of a series: the set of instances that arrived under one Series Instance UID."""

    study_uid: str
    series_uid: str
    version: str  # digest over the sorted SOP Instance UIDs
    instances: tuple[Instance, ...]
    calling_ae: str = ""
    called_ae: str = ""
    incomplete: str = ""  # why the series is thought to be incomplete; "" where it is complete


@dataclass(frozen=True)
class Frame:
    """One source frame of a volume. `number` counts from 1 (always 1 in a single-frame instance)."""

    sop_instance_uid: str
    sop_class_uid: str
    number: int
    path: Path
    position_mm: Vector  # Image Position (Patient): centre of the first voxel
    shift_px: tuple[int, int] = (0, 0)  # whole pixels (row, column) that undo a gantry tilt for inference
    plane: int | None = None  # where the frame lies on the regular grid for inference; None: at its place in `frames`


@dataclass(frozen=True)
class Grid:
    """The source grid of a volume in patient space: (frame, row, column), LPS mm (PS3.3 C.7.6.2.1.1)."""

    shape: tuple[int, int, int]
    origin_mm: Vector
    row_cosine: Vector  # first three values of Image Orientation (Patient): direction of increasing column index
    column_cosine: Vector  # last three: direction of increasing row index
    normal: Vector  # unit vector from frame 0 towards the last frame
    spacing_mm: Vector  # between frames, between rows, between columns


@dataclass(frozen=True)
class ToRas:
    """How source voxels (frame, row, column) become RAS voxels (z, y, x): a permutation, then flips. Exact.

    ``ras = source.transpose(axes)`` and then a flip of each RAS axis whose `flips` entry is true.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


@dataclass(frozen=True)
class Volume:
    """One regular stack of frames that can be segmented: geometry and references, no pixels.

    `frames` are ordered along `grid.normal`, from frame 0. `name` says what distinguishes the volume within its
    series ("" where the series is one volume). `key` is the volume key of contracts § 1.

    A stack whose spacing changes is several regular volumes, its runs. Each is segmented for itself; a joined volume
    (`series.joined`) has them as `parts`, and the frames of all: results are made of it. Its `grid` counts all
    frames, with their mean spacing; an array of it there is not.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    modality: str
    name: str
    frames: tuple[Frame, ...]
    grid: Grid
    to_ras: ToRas
    key: str
    warnings: tuple[str, ...] = ()
    keys: dict[str, str] = field(default_factory=dict)  # what distinguishes it: echo_time, b_value, kind …
    stack: str = ""  # names the stack that it is a run of, "" where it is the whole stack
    parts: tuple[Volume, ...] = ()  # of a joined volume, in the order of the frames

    @property
    def runs(self) -> tuple[Volume, ...]:
        """The regular volumes that are segmented: the parts of a joined volume, else the volume itself."""
        return self.parts or (self,)

    @property
    def frame_mm(self) -> tuple[float, ...]:
        """How much of the stack each frame stands for, along the normal: the spacing; half-way where two runs meet."""
        pieces = [(run.grid.spacing_mm[0], len(run.frames)) for run in self.runs]
        shares = [[spacing] * count for spacing, count in pieces]
        normal = np.array(self.grid.normal)
        last = -1
        for (one, other), (before, after) in zip(pairwise(shares), pairwise(pieces), strict=True):
            last += before[1]
            ends = np.array(self.frames[last].position_mm), np.array(self.frames[last + 1].position_mm)
            gap = float((ends[1] - ends[0]) @ normal)
            if gap <= 1.5 * max(before[0], after[0]):  # else a run between the two is not here
                one[-1] += (gap - before[0]) / 2
                other[0] += (gap - after[0]) / 2
        return tuple(share for some in shares for share in some)

    def millilitres(self, mask: Mask) -> float:
        """The volume of a mask on the source frames."""
        _, rows_mm, columns_mm = self.grid.spacing_mm
        if not self.parts:
            return mask.voxels * self.grid.spacing_mm[0] * rows_mm * columns_mm / 1000
        voxels = mask.crop().sum(axis=(1, 2))
        return float(voxels @ np.array(self.frame_mm[slice(*mask.box[0])])) * rows_mm * columns_mm / 1000

    @property
    def canvas(self) -> tuple[int, int, int]:
        """The source grid as the engine sees it: larger than `grid.shape` where a tilt is undone or slices lack."""
        if self.parts:
            raise ValueError("a joined volume has no grid of its own: take its parts")
        count, rows, columns = self.grid.shape
        if self.frames and self.frames[-1].plane is not None:
            count = self.frames[-1].plane + 1
        down = max((frame.shift_px[0] for frame in self.frames), default=0)
        along = max((frame.shift_px[1] for frame in self.frames), default=0)
        return count, rows + down, columns + along

    @property
    def planes(self) -> tuple[int, ...]:
        """Where each frame lies along the first axis of the canvas."""
        if self.parts:
            raise ValueError("a joined volume has no grid of its own: take its parts")
        return tuple(index if frame.plane is None else frame.plane for index, frame in enumerate(self.frames))

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of the RAS array."""
        a, b, c = self.to_ras.axes
        shape = self.canvas
        return shape[a], shape[b], shape[c]

    @property
    def spacing_zyx_mm(self) -> Vector:
        """Spacing of the RAS array's axes."""
        if self.parts:
            raise ValueError("a joined volume has no grid of its own: take its parts")
        a, b, c = self.to_ras.axes
        spacing = self.grid.spacing_mm
        return spacing[a], spacing[b], spacing[c]


@dataclass(frozen=True)
class SetAside:
    """Something in a series that is not part of a volume, or that was refused; the rest is still processed."""

    code: str
    reason: str
    uids: tuple[str, ...] = ()
    refused: bool = False
    run: str = ""  # the name of the run that it is, whose stack goes on without it
    stack: str = ""  # the stack of that run, as in Volume


@dataclass(frozen=True)
class Assembly:
    """What a series turned out to be: its volumes, and what was set aside or refused, each with the reason."""

    volumes: tuple[Volume, ...]
    set_aside: tuple[SetAside, ...] = ()


class Boxed:
    """What lies in a bounding box of a grid: half-open ranges along the three axes."""

    box: Box

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Shape of the bounding box."""
        a, b, c = self.box
        return a[1] - a[0], b[1] - b[0], c[1] - c[0]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The bounding box as an index into an array on the whole grid."""
        a, b, c = self.box
        return slice(*a), slice(*b), slice(*c)


@dataclass(frozen=True)
class Mask(Boxed):
    """A binary mask as its bounding box and bits, on a grid known from the context. An empty one has an empty box."""

    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    box: Box  # half-open ranges along the three axes
    packed_bits: bytes  # numpy.packbits over the box in C order
    voxels: int

    @classmethod
    def from_array(cls, array: npt.NDArray[Any]) -> Mask:
        """array: bool or 0/1, any 3-D grid."""
        solid = array.astype(bool, copy=False)
        ranges: list[Range] = []
        for axis in range(3):
            other = tuple(i for i in range(3) if i != axis)
            hits = np.flatnonzero(solid.any(axis=other))
            if hits.size == 0:
                return cls(((0, 0), (0, 0), (0, 0)), b"", 0)
            ranges.append((int(hits[0]), int(hits[-1]) + 1))
        a, b, c = ranges
        crop = solid[a[0] : a[1], b[0] : b[1], c[0] : c[1]]
        return cls((a, b, c), np.packbits(crop).tobytes(), int(np.count_nonzero(crop)))

    @classmethod
    def concatenated(cls, masks: Sequence[Mask], frames: Sequence[int]) -> Mask:
        """Masks on pieces of a grid that follow one another along the first axis, as one mask on the whole.

        frames: the size of each piece along that axis.
        """
        starts = np.cumsum([0, *frames[:-1]]).tolist()
        moved = [
            replace(mask, box=((mask.box[0][0] + start, mask.box[0][1] + start), *mask.box[1:]))
            for mask, start in zip(masks, starts, strict=True)
            if mask.voxels
        ]
        if len(moved) < 2:
            return moved[0] if moved else masks[0]
        low = [min(mask.box[axis][0] for mask in moved) for axis in range(3)]
        high = [max(mask.box[axis][1] for mask in moved) for axis in range(3)]
        crop = np.zeros(np.subtract(high, low), bool)
        for mask in moved:
            crop[tuple(slice(a - start, b - start) for (a, b), start in zip(mask.box, low, strict=True))] = mask.crop()
        (a, b, c), (d, e, f) = low, high
        return cls(((a, d), (b, e), (c, f)), np.packbits(crop).tobytes(), sum(mask.voxels for mask in moved))

    def crop(self) -> BoolArray:
        """The mask inside its bounding box, bool, of shape `box_shape`."""
        shape = self.box_shape
        count = int(np.prod(shape))
        bits = np.unpackbits(np.frombuffer(self.packed_bits, np.uint8), count=count)
        return bits.astype(bool).reshape(shape)

    def within(self, box: Box) -> BoolArray:
        """The mask inside another box, bool, of that box's shape."""
        cut: BoolArray = np.zeros([stop - start for start, stop in box], bool)
        common = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(box, self.box, strict=True)]
        if self.voxels and all(start < stop for start, stop in common):
            own = tuple(slice(a - low, b - low) for (a, b), (low, _) in zip(common, self.box, strict=True))
            there = tuple(slice(a - low, b - low) for (a, b), (low, _) in zip(common, box, strict=True))
            cut[there] = self.crop()[own]
        return cut

    def to_array(self, shape: tuple[int, int, int]) -> BoolArray:
        """The mask on the whole grid, bool, of the given shape."""
        array: BoolArray = np.zeros(shape, bool)
        if self.voxels:
            array[self.slices] = self.crop()
        return array


@dataclass(frozen=True)
class Probabilities(Boxed):
    """The probability of each voxel as its bounding box and bytes, 0 to 255 for 0 to 1, on a grid as of a mask.

    Below `PROBABILITY_FLOOR` it is 0.
    """

    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    box: Box
    packed: bytes  # zlib over the uint8 values in the box, in C order

    @classmethod
    def of(cls, box: Box, values: ByteArray) -> Probabilities:
        """values: uint8 in `box`. The box is made tight."""
        inner = Mask.from_array(values)
        z, y, x = ((low + a, low + b) for (low, _), (a, b) in zip(box, inner.box, strict=True))
        tight = (z, y, x) if inner.voxels else inner.box
        return cls(tight, zlib.compress(np.ascontiguousarray(values[inner.slices]).tobytes(), 1))

    def crop(self) -> ByteArray:
        """The values inside the box, uint8, of shape `box_shape`."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.box_shape)

    def to_array(self, shape: tuple[int, int, int]) -> ByteArray:
        """The values on the whole grid, uint8, of the given shape."""
        array: ByteArray = np.zeros(shape, np.uint8)
        array[self.slices] = self.crop()
        return array

    @classmethod
    def concatenated(cls, pieces: Sequence[Probabilities], frames: Sequence[int]) -> Probabilities:
        """As `Mask.concatenated`."""
        starts = np.cumsum([0, *frames[:-1]]).tolist()
        filled = [(piece, start) for piece, start in zip(pieces, starts, strict=True) if piece.box[0][1]]
        if not filled:
            return pieces[0]
        boxes = [((p.box[0][0] + start, p.box[0][1] + start), *p.box[1:]) for p, start in filled]
        low = [min(box[axis][0] for box in boxes) for axis in range(3)]
        high = [max(box[axis][1] for box in boxes) for axis in range(3)]
        values = np.zeros(np.subtract(high, low), np.uint8)
        for (piece, _), box in zip(filled, boxes, strict=True):
            values[tuple(slice(a - start, b - start) for (a, b), start in zip(box, low, strict=True))] = piece.crop()
        (a, b, c), (d, e, f) = low, high
        return cls.of(((a, d), (b, e), (c, f)), values)


@dataclass(frozen=True)
class Cleanup:
    """What is done to a mask after the network: applied in the order of the fields."""

    fill_holes: bool = False  # enclosed background, 6-connected, becomes mask
    largest_component: bool = False  # of 26-connected components, the one with most voxels is kept
    minimum_ml: float = 0.0  # smaller components are removed


@dataclass(frozen=True)
class Resampling:
    """Run the network at an isotropic spacing where an axis of the input is finer or coarser than the bounds."""

    spacing_mm: float
    finer_than_mm: float = 0.0
    coarser_than_mm: float | None = None

    def applies_to(self, spacing_mm: Vector) -> bool:
        """Whether a volume of this spacing is resampled."""
        too_coarse = self.coarser_than_mm is not None and max(spacing_mm) > self.coarser_than_mm
        return min(spacing_mm) < self.finer_than_mm or too_coarse


@dataclass(frozen=True)
class Prompt:
    """A prompt as a rule resolves it: the text for the engine, and how the segment is shown."""

    text: str
    label: str
    color: str | None = None  # "#rrggbb"
    threshold: float = 0.5
    cleanup: Cleanup = Cleanup()
    exclusive_group: str = ""  # within its rule
    resampling: Resampling | None = None
    codes: str = ""  # what it is coded as, where the rule says it: other words, or JSON of config.Codes


@dataclass(frozen=True)
class Plan:
    """What one rule wants of one volume. One plan makes one result per output kind (contracts § 1)."""

    volume_key: str
    rule: str
    rule_index: int  # position in node.yaml, from 0: part of the Series Number
    prompts: tuple[Prompt, ...]
    outputs: tuple[str, ...]
    send_to: tuple[str, ...]
    engine_identity: str
    encoder_revision: str
    options: dict[str, Any] = field(default_factory=dict)
    run: int = 0  # grows with `jobs rerun`, hence new UIDs

    @property
    def key(self) -> str:
        """The plan key: everything that decides the content of the result, nothing that does not (not the peers)."""
        content = asdict(self)
        for name in ("send_to", "rule_index"):
            del content[name]
        for prompt in content["prompts"]:
            if not prompt["codes"]:
                del prompt["codes"]  # as in the keys of plans from before there were any
        return canonical_digest(content)


@dataclass(frozen=True)
class Found:
    """What one prompt of a plan gave: a mask on the source grid (frame, row, column), empty where nothing was found.

    `left_out`: why what was found is not shown; its mask is empty then, too.
    """

    prompt: Prompt
    mask: Mask
    mean_probability: float | None = None
    uncertain_share: float | None = None
    left_out: str = ""
    probabilities: Probabilities | None = None  # where the plan wants them, on the same grid


@dataclass(frozen=True)
class Result:
    """One encoded object as it lies in the spool; every delivery sends these very bytes."""

    kind: str  # "seg", …
    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    path: Path
    digest: str  # SHA-256 of the file
    labels: tuple[str, ...]  # of the segments it holds
    empty: tuple[str, ...] = ()  # labels of prompts that found nothing
    warnings: tuple[str, ...] = ()
    segments: tuple[int, ...] = ()  # of each segment, the position of its prompt in the plan
    peers: tuple[str, ...] = ()  # to which it is sent; none named: all of the plan's


@dataclass(frozen=True)
class Outcome:
    """What a delivery attempt came to (contracts § 4)."""

    state: str  # "delivered" | "retry" | "failed" | "replaced" (refused, and another object is sent in its place)
    status: str  # "0000", "A700", "HTTP 409", "no connection", …
    message: str = ""
    warning: bool = False
    refused: bool = False  # the peer takes no object of this SOP class, or not in this transfer syntax


@dataclass(frozen=True)
class Request:
    """One prompt for the engine. Segment where the probability is above `threshold`.

    Requests of the same `exclusive_group` share no voxel: it goes to the most probable one.
    """

    prompt: str
    threshold: float = 0.5
    probability: bool = False
    cleanup: Cleanup = Cleanup()
    exclusive_group: str = ""
    resampling: Resampling | None = None


@dataclass(frozen=True)
class Segment:
    """The engine's answer to one request, on the RAS grid (z, y, x) of the array it was given."""

    request: Request
    box_zyx: Box
    packed_bits: bytes
    voxels: int
    mean_probability: float | None = None
    uncertain_share: float | None = None
    probability: npt.NDArray[np.float16] | None = None  # inside the box, 0 below the threshold; where it was asked for

    @property
    def mask(self) -> Mask:
        """The same, as a Mask."""
        return Mask(self.box_zyx, self.packed_bits, self.voxels)


@dataclass(frozen=True)
class RunReport:
    """What the engine took for one volume, all its requests together."""

    windows: int
    encoded: int  # how often the image encoder ran: as often as there are windows, however many prompts there are
    device: str  # that of the network in the end
    steps: tuple[str, ...]  # taken because memory ran out
    peak_device_bytes: int  # 0 on a CPU
    peak_host_bytes: int  # of the process, since its start

    def and_then(self, later: RunReport) -> RunReport:
        """Both passes as one."""
        return RunReport(
            windows=self.windows + later.windows,
            encoded=self.encoded + later.encoded,
            device=later.device,
            steps=self.steps + later.steps,
            peak_device_bytes=max(self.peak_device_bytes, later.peak_device_bytes),
            peak_host_bytes=max(self.peak_host_bytes, later.peak_host_bytes),
        )

    def in_words(self) -> str:
        """One line for people: "4 windows, each encoded once, on cpu, peak 1.1 GiB host"."""
        windows = f"{self.windows} window{'s' * (self.windows != 1)}"
        encoded = "each encoded once" if self.encoded == self.windows else f"encoded {self.encoded} times"
        peaks = f"{self.peak_host_bytes / 2**30:.1f} GiB host"
        if self.peak_device_bytes:
            peaks = f"{self.peak_device_bytes / 2**30:.1f} GiB GPU, {peaks}"
        short = "".join(f"; memory ran out: {step}" for step in self.steps)
        return f"{windows}, {encoded}, on {self.device}, peak {peaks}{short}"


Progress = Callable[[int, int], None]  # windows done, windows in all
Cancelled = Callable[[], bool]


class Engine(Protocol):
    """The engine, as the rest of the house sees it (contracts § 7). Arrays in, masks out; no DICOM."""

    @property
    def identity(self) -> str:
        """Code version and model digest: part of the plan key."""

    @property
    def last_run(self) -> RunReport | None:
        """What the last `segment` took; None where there was nothing to compute or the engine does not count."""

    def unknown(self, prompts: Sequence[str]) -> list[str]:
        """Those of `prompts` that this engine cannot run."""

    def segment(
        self,
        array_zyx: npt.NDArray[np.float32],
        spacing_zyx_mm: Vector,
        requests: Sequence[Request],
        *,
        progress: Progress,
        cancelled: Cancelled,
        within_s: float | None = None,
    ) -> Iterator[Segment]:
        """array_zyx: RAS volume, HU for CT. Yields one Segment per request, in any order. One pass over the windows.

        within_s: how long it may take; an engine that would have to go on more slowly asks whether that can be.
        """
