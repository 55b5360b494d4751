"""Logits of overlapping windows, summed in a slab that follows the windows along z; finished planes become bits.

A dense accumulator for 30 prompts over 512 × 512 × 1000 voxels would take 15.7 GB in float16. The slab holds one patch
height of planes (192: 3.0 GB), and the masks that leave it take 1 bit per voxel and prompt (1.0 GB).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from voxtell_dicom.engine.staging import Staging
from voxtell_dicom.engine.windows import Windows, importance
from voxtell_dicom.errors import ModelError
from voxtell_dicom.model import Box, Request, Segment

UNCERTAIN = (0.3, 0.7)  # probabilities between these are uncertain


def logit(probability: float) -> float:
    """The logit of a probability; 0 exactly for one half, so that half means "logit > 0" as in the official code."""
    return math.log(probability / (1 - probability))


@dataclass
class _Tally:
    """What is known of one request's mask so far: a bit per voxel of the crop, and sums over its voxels."""

    request: Request
    bits: npt.NDArray[np.uint8]  # (z, y, ceil(x / 8))
    probability: list[tuple[int, int, int, npt.NDArray[np.float16]]] = field(default_factory=list)  # pieces at z, y, x
    voxels: int = 0
    probability_sum: float = 0.0
    uncertain: int = 0
    likely: int = 0
    cutoff: float = field(init=False)

    def __post_init__(self) -> None:
        self.cutoff = logit(self.request.threshold)

    def add_planes(self, first: int, logits: torch.Tensor, mine: torch.Tensor | None) -> None:
        """logits: (planes, y, x) float16, the finished planes from `first` on, on any device.

        mine: bool, where no other prompt of the exclusive group is more probable; None outside such groups.
        """
        mask = logits > self.cutoff
        if self.request.probability and bool(mask.any()):
            self._keep(first, logits, mask)
        if mine is not None:
            mask &= mine
        count = int(mask.sum())
        low, high = (logit(p) for p in UNCERTAIN)
        likely = logits > low
        self.likely += int(likely.sum())
        self.uncertain += int((likely & (logits < high)).sum())
        stop = first + logits.shape[0]
        if count:
            self.voxels += count
            self.probability_sum += float(torch.sigmoid(logits[mask].float()).sum(dtype=torch.float64))
            self.bits[first:stop] = np.packbits(mask.cpu().numpy(), axis=-1)

    def _keep(self, first: int, logits: torch.Tensor, mask: torch.Tensor) -> None:
        """Keep the probabilities of finished planes, inside the box of what is above the threshold there."""
        hits = [torch.nonzero(mask.any(dim).any(other)).flatten() for dim, other in ((2, 1), (2, 0), (1, 0))]
        (z, y, x) = (slice(int(some[0]), int(some[-1]) + 1) for some in hits)
        values = torch.sigmoid(logits[z, y, x].float()).half() * mask[z, y, x]
        self.probability.append((first + z.start, y.start, x.start, values.cpu().numpy()))

    def segment(self, width: int, offset: Sequence[int]) -> Segment:
        """The finished segment on the volume's grid. width: x of the crop; offset: where the crop lies (z, y, x)."""
        empty = not self.voxels
        z, y, x = _ranges(self.bits, width)
        unpacked = np.unpackbits(self.bits[slice(*z), slice(*y)], axis=-1, count=width)[..., slice(*x)]
        box: Box = tuple((a + o, b + o) for (a, b), o in zip((z, y, x), offset, strict=True))  # type: ignore[assignment]
        return Segment(
            request=self.request,
            box_zyx=((0, 0), (0, 0), (0, 0)) if empty else box,
            packed_bits=b"" if empty else np.packbits(unpacked).tobytes(),
            voxels=self.voxels,
            mean_probability=None if empty else self.probability_sum / self.voxels,
            uncertain_share=self.uncertain / self.likely if self.likely else None,
            probability=self._assembled((z, y, x)) if self.request.probability else None,
        )

    def _assembled(self, ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.float16]:
        """The probabilities in these ranges of the crop, of all that is above the threshold."""
        low = [start for start, _ in ranges]
        values = np.zeros([stop - start for start, stop in ranges], np.float16)
        for *at, piece in self.probability:
            inner = [
                (max(place, start), min(place + size, stop))
                for place, size, (start, stop) in zip(at, piece.shape, ranges, strict=True)
            ]
            if all(start < stop for start, stop in inner):
                there = tuple(slice(a - start, b - start) for (a, b), start in zip(inner, low, strict=True))
                here = tuple(slice(a - place, b - place) for (a, b), place in zip(inner, at, strict=True))
                values[there] = piece[here]
        return values


def _ranges(bits: npt.NDArray[np.uint8], width: int) -> tuple[tuple[int, int], ...]:
    """Bounding box (half-open, z y x) of packed planes; (0, 0) thrice where empty."""
    planes = np.flatnonzero(bits.any(axis=(1, 2)))
    if planes.size == 0:
        return (0, 0), (0, 0), (0, 0)
    rows = np.flatnonzero(bits.any(axis=(0, 2)))
    columns = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(bits, axis=(0, 1)), count=width))
    return tuple((int(hits[0]), int(hits[-1]) + 1) for hits in (planes, rows, columns))


class Accumulator:
    """Sums weighted window logits, for windows that come in ascending z, and turns finished planes into masks.

    Logits are summed in float16 as the official predictor does, in the same order, so the masks are the same.
    """

    def __init__(self, windows: Windows, owners: Sequence[Sequence[Request]], device: torch.device) -> None:
        """owners: for each prompt of the network run, the requests that want its mask."""
        self.windows = windows
        _, y, x = windows.padded
        depth = windows.patch[0]
        self._sum = torch.zeros((len(owners), depth, y, x), dtype=torch.float16, device=device)
        self._weight = torch.zeros((depth, y, x), dtype=torch.float16, device=device)
        self.importance = torch.from_numpy(importance(windows.patch)).to(device)
        self._base = 0
        self._staging = Staging()
        self._importance_there: torch.Tensor | None = None  # on the device of the network
        cz, cy, cx = windows.shape
        self._tallies = [
            [
                _Tally(
                    request,
                    np.zeros((cz, cy, (cx + 7) // 8), np.uint8),
                )
                for request in group
            ]
            for group in owners
        ]

    @staticmethod
    def needs_bytes(windows: Windows, prompts: int) -> tuple[int, int]:
        """(bytes on the device for the slab, bytes on the host for the masks)."""
        _, y, x = windows.padded
        cz, cy, cx = windows.shape
        return (prompts + 1) * windows.patch[0] * y * x * 2, prompts * cz * cy * ((cx + 7) // 8)

    def move_to(self, device: torch.device) -> None:
        """Continue on another device, with what has been summed so far."""
        self._sum, self._weight = self._sum.to(device), self._weight.to(device)
        self.importance = self.importance.to(device)

    @property
    def device(self) -> torch.device:
        """Where the sums lie."""
        return self._sum.device

    def begin_window(self, start: Sequence[int]) -> None:
        """A window begins at `start` (z, y, x) of the padded grid; planes before it are finished."""
        self._advance(start[0])
        self._weight[self._at(start)] += self.importance

    def window(self, start: Sequence[int]) -> torch.Tensor:
        """The sums of all prompts (N, z, y, x) in the window at `start`, a view to add to."""
        return self._sum[(slice(None), *self._at(start))]

    def add(self, start: Sequence[int], prompt: int, logits: torch.Tensor) -> None:
        """logits: (z, y, x) of the window at `start`, for `prompt`, on the device that computed them; overwritten.

        From a GPU they travel while it goes on: `flush` before anything is read.
        """
        if logits.device.type == self.device.type:
            logits *= self.importance
            self._add(start, prompt, logits)
            return
        if self._importance_there is None or self._importance_there.device != logits.device:
            self._importance_there = self.importance.to(logits.device)
        logits *= self._importance_there
        self._staging.send(logits, lambda there: self._add(start, prompt, there))

    def flush(self) -> None:
        """Take in what is still on its way from a GPU."""
        self._staging.flush()

    def _add(self, start: Sequence[int], prompt: int, weighted: torch.Tensor) -> None:
        self._sum[(prompt, *self._at(start))] += weighted

    @torch.inference_mode()
    def finish(self, offset: Sequence[int]) -> Iterator[Segment]:
        """Each segment, on the grid of the volume that the crop was cut from at `offset` (z, y, x), and forgets it."""
        self._advance(self.windows.padded[0])
        self._sum = self._weight = torch.empty(0)
        width = self.windows.shape[2]
        tallies = [tally for group in self._tallies for tally in group][::-1]
        self._tallies = []
        while tallies:
            yield tallies.pop().segment(width, offset)

    def _at(self, start: Sequence[int]) -> tuple[slice, slice, slice]:
        _, py, px = self.windows.patch
        z, y, x = start
        return slice(z - self._base, z - self._base + self.windows.patch[0]), slice(y, y + py), slice(x, x + px)

    def _advance(self, base: int) -> None:
        """Planes below `base` (padded grid) are finished: hand them to the tallies and move the slab up."""
        while base > self._base:  # more than a slab at once where windows are skipped
            self._finish_planes(min(base - self._base, self._weight.shape[0]))

    def _finish_planes(self, done: int) -> None:
        (bz, by, bx), (cz, cy, cx) = self.windows.before, self.windows.shape
        first, stop = max(self._base, bz), min(self._base + done, bz + cz)
        if first < stop:
            planes = slice(first - self._base, stop - self._base)
            inside = (planes, slice(by, by + cy), slice(bx, bx + cx))
            weight = self._weight[inside]
            uncovered = weight == 0  # by windows that were skipped: no prompt is there
            covered = not bool(uncovered.any())
            weight = weight if covered else weight.masked_fill(uncovered, 1)
            winners = self._winners(inside)
            for prompt, group in enumerate(self._tallies):
                logits = self._sum[(prompt, *inside)] / weight
                if not bool(torch.isfinite(logits).all()):
                    raise ModelError("the network gave logits that are not finite in float16: is the checkpoint whole?")
                if not covered:
                    logits.masked_fill_(uncovered, -torch.inf)
                for tally in group:
                    winner = winners.get(tally.request.exclusive_group)
                    tally.add_planes(first - bz, logits, None if winner is None else winner == prompt)
        left = self._weight.shape[0] - done
        for plane in range(left):  # upwards, plane by plane: source and target overlap
            self._sum[:, plane] = self._sum[:, plane + done]
            self._weight[plane] = self._weight[plane + done]
        self._sum[:, left:] = 0
        self._weight[left:] = 0
        self._base += done

    def _winners(self, inside: tuple[slice, slice, slice]) -> dict[str, torch.Tensor]:
        """Per exclusive group, the number of its most probable prompt at each voxel; the first of equals."""
        members: dict[str, list[int]] = {}
        for prompt, tallies in enumerate(self._tallies):
            for name in {tally.request.exclusive_group for tally in tallies} - {""}:
                members.setdefault(name, []).append(prompt)
        winners = {}
        for name, prompts in members.items():
            best = self._sum[(prompts[0], *inside)].clone()
            winner = torch.full(best.shape, prompts[0], dtype=torch.int16, device=best.device)
            for prompt in prompts[1:]:
                other = self._sum[(prompt, *inside)]
                better = other > best
                winner[better] = prompt
                torch.maximum(best, other, out=best)
            winners[name] = winner
        return winners
