"""Every setting of every kernel at the sizes of the full network, beside what the card reaches at most."""

from __future__ import annotations

import math
from typing import Any

import torch

from benchmarks.laboratory.bench import Bench
from voxtell_dicom.engine.fast_decoder import launches
from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.kernels.choose import card_in_words
from voxtell_dicom.engine.kernels.remembered import Remembered
from voxtell_dicom.engine.kernels.selftest import Card
from voxtell_dicom.engine.kernels.tiles import Kernel, Tile, Tuning, Way, Widths, fitting
from voxtell_dicom.engine.kernels.tune import TOLERANCE, Launch
from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.plans import read_plans

HALF_BYTES = 2


def launches_of(bench: Bench) -> list[Launch]:
    """Return the launches of the network, without loading it."""
    plans = read_plans(bench.model)
    with torch.device("meta"):
        return launches(VoxTellNetwork(plans.sizes, plans.arch_kwargs, plans.patch_size))


def sweep(bench: Bench) -> None:
    """Note each setting's difference from its twin and, where it is right, its seconds, operations and bytes a second.

    Setting by setting: when the time is over, all stages have been tried with the same ones.
    """
    card = Card(bench.device)
    capability = torch.cuda.get_device_capability(bench.device)
    found = launches_of(bench)
    for kernel in sorted(Kernel, key=lambda k: k is Kernel.UPCONV):  # the longest to compile last
        some = [launch for launch in found if launch.widths.kernel is kernel]
        for tile in fitting(kernel, capability) if some else ():
            if bench.left() <= 0:
                bench.note("unfinished", value=f"{kernel} from {tile} on")
                return
            off = bench.attempt("difference", kernel, str(tile), work=lambda k=kernel, t=tile: card.difference(k, t))
            if off is None or not off <= TOLERANCE:
                continue
            for launch in some:
                bench.attempt(str(launch.widths), str(tile), work=lambda a=launch, t=tile: _one(bench, card, a, t))
    store(bench, found, Way())


def _one(bench: Bench, card: Card, launch: Launch, tile: Tile) -> dict[str, float]:
    run = card.prepared(launch)
    seconds = bench.timed(lambda: run(tile), 0.1)
    operations, bytes_ = cost(launch)
    return {"seconds": seconds, "flops": operations / seconds, "bytes_per_second": bytes_ / seconds}


def cost(launch: Launch) -> tuple[float, float]:
    """Return the operations of a launch, and the bytes that it must move at least."""
    layout = Layout(launch.low, launch.stride)
    rows = math.prod(layout.positions) * launch.widths.outputs
    if launch.widths.kernel is Kernel.NORMALISE:
        return 4.0 * rows, 2.0 * rows * HALF_BYTES
    if launch.widths.kernel is Kernel.DOT:
        return 6.0 * rows, (rows + 3.0 * math.prod(layout.fine)) * HALF_BYTES
    taps = math.prod(3 if s == 1 else 2 for s in launch.stride)
    weights = launch.widths.outputs * taps * launch.widths.inputs
    read = math.prod(launch.low) * launch.widths.inputs + weights + rows
    return 2.0 * rows * taps * launch.widths.inputs, (read + rows) * float(HALF_BYTES)


def fastest(result: dict[str, Any], found: list[Launch], capability: tuple[int, int]) -> dict[Widths, Tile]:
    """Return the fastest setting of each launch, out of what `sweep` noted."""
    chosen = {}
    for launch in found:
        tried = result.get(str(launch.widths), {})
        by_name = {str(tile): tile for tile in fitting(launch.widths.kernel, capability)}
        times = {name: entry["seconds"] for name, entry in tried.items() if "seconds" in entry and name in by_name}
        if times:
            chosen[launch.widths] = by_name[min(times, key=lambda name: times[name])]
    return chosen


def tuning(bench: Bench, found: list[Launch], way: Way, result: dict[str, Any]) -> Tuning:
    """Return the settings that the numbers of the sweep give for this card."""
    capability = torch.cuda.get_device_capability(bench.device)
    return Tuning(fastest(result, found, capability), way)


def store(bench: Bench, found: list[Launch], way: Way, result: dict[str, Any] | None = None) -> Tuning:
    """Store what is fastest where the sections that follow look for it, as a node does."""
    chosen = tuning(bench, found, way, bench.result if result is None else result)
    Remembered(bench.work / "stored", card_in_words(bench.device), found).write(chosen)
    bench.note("chosen", value=chosen.as_json())
    return chosen
