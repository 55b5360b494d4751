"""Tiles of the kernels: the candidates, the table of cards that were measured, and the choice for one card.

What a kernel computes does not depend on its tile, but for the order in which float32 sums are added.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

SETTINGS = Path(__file__).parent / "settings.json"
_HALF_BYTES = 2
_KIB = 1024
Capability = tuple[int, int]
_HOPPER: Capability = (9, 0)
# Shared memory of one block, at most: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
_SHARED_KIB: Mapping[Capability, int] = {
    (7, 5): 64, (8, 0): 163, (8, 6): 99, (8, 7): 163, (8, 9): 99, (9, 0): 227, (10, 0): 227, (12, 0): 99,
}  # fmt: skip


class Kernel(StrEnum):
    """The kernels whose tiles are chosen."""

    UPCONV = "upconv"
    NORMALISE = "normalise"  # its sums, too
    DOT = "dot"


@dataclass(frozen=True, order=True)
class Tile:
    """The work of one program of a kernel at a time. Zero where a kernel has no such axis."""

    rows: int
    columns: int = 0
    depth: int = 0
    warps: int = 4
    stages: int = 0  # of the pipeline of loads
    padded: bool = False  # read from a copy with a border, not from the rows with masks

    def shared_bytes(self, capability: Capability) -> int:
        """Return the shared memory that its pipeline takes on such a card, in half precision.

        Before Hopper what is being multiplied lies in registers: one buffer less (benchmarks/cuda/compiled.md).
        """
        buffers = self.stages if capability >= _HOPPER else self.stages - 1
        return max(buffers, 0) * (self.rows + self.columns) * self.depth * _HALF_BYTES

    def __str__(self) -> str:
        size = "×".join(str(n) for n in (self.rows, self.columns, self.depth) if n)
        stages = f", {self.stages} stages" if self.stages else ""
        return f"{size}, {self.warps} warps{stages}{', padded' if self.padded else ''}"


@dataclass(frozen=True, order=True)
class Widths:
    """The widths of a launch that decide which tile is best: its input channels, and the columns of its rows."""

    kernel: Kernel
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.kernel} {self.inputs} → {self.outputs}"


@dataclass(frozen=True)
class Way:
    """How the prompts of a window are launched: so many at once in all stages but the last, or each as a CUDA graph."""

    group: int = 1
    graph: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.group, int) or self.group < 1 or not isinstance(self.graph, bool):
            raise ValueError(f"{self} is no way to launch prompts")


@dataclass(frozen=True)
class Tuning:
    """The settings that are fastest on a card."""

    tiles: Mapping[Widths, Tile] = field(default_factory=dict)
    way: Way = Way()

    def as_json(self) -> dict[str, Any]:
        """Return it as `from_json` reads it."""
        tiles = [{**asdict(widths), **asdict(tile)} for widths, tile in sorted(self.tiles.items())]
        return {"tiles": tiles, "way": asdict(self.way)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tuning:
        """Raises ValueError, KeyError or TypeError where it is none."""
        tiles = {}
        for entry in data["tiles"]:
            values = dict(entry)
            widths = Widths(Kernel(values.pop("kernel")), int(values.pop("inputs")), int(values.pop("outputs")))
            tiles[widths] = Tile(**values)
        return cls(tiles, Way(**data["way"]))


class Selection(Protocol):
    """Selects the tile of a launch."""

    def tile(self, widths: Widths) -> Tile:
        """Return the tile for a launch of such widths."""


@dataclass(frozen=True)
class Chosen:
    """Tiles by what is launched, and the default of each kernel for all else."""

    tiles: Mapping[Widths, Tile] = field(default_factory=dict)
    default: Mapping[Kernel, Tile] = field(default_factory=lambda: DEFAULTS)

    def tile(self, widths: Widths) -> Tile:
        """Return the tile of a launch."""
        return self.tiles.get(widths, self.default[widths.kernel])


@functools.cache
def _settings() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(SETTINGS.read_text(encoding="utf-8"))
    return data


@functools.cache
def candidates(kernel: Kernel) -> tuple[Tile, ...]:
    """Return the tiles worth a try, the default first."""
    return tuple(Tile(**entry) for entry in _settings()["candidates"][kernel])


def shared_limit(capability: Capability) -> int:
    """Return the shared memory in bytes that a block may take on such a card; of an unknown one, the least."""
    return _SHARED_KIB.get(capability, min(_SHARED_KIB.values())) * _KIB


def fitting(kernel: Kernel, capability: Capability) -> list[Tile]:
    """Return the candidates whose pipeline fits the shared memory of such a card."""
    return [tile for tile in candidates(kernel) if tile.shared_bytes(capability) <= shared_limit(capability)]


def packaged(capability: Capability) -> Tuning | None:
    """Return what was measured on such a card, out of the package's table."""
    entry = _settings()["cards"].get("{}.{}".format(*capability))
    return Tuning.from_json(entry) if entry is not None else None


DEFAULTS: Mapping[Kernel, Tile] = {kernel: candidates(kernel)[0] for kernel in Kernel}
