"""The official network and ours on one window, taking turns in one process."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks import engine
from benchmarks.laboratory.bench import Bench

SIDES = ("official", "ours")


@torch.inference_mode()
def compare(bench: Bench) -> None:
    """Note the best seconds of a window for each side and number of prompts, and their ratio."""
    sides = {name: engine.Side(name, bench.model, cuda=True) for name in SIDES}
    bench.note("kernels", value=sides["ours"].model.way)
    for prompts in bench.scale.prompts:
        best: dict[str, float] = {}
        peak: dict[str, int] = {}
        for turn in range(bench.scale.rounds + 1):  # the first one makes both warm
            for name, side in sides.items():
                if bench.left() <= 0:
                    bench.note("unfinished", value=f"{prompts} prompts")
                    return
                answer = _turn(bench, side, prompts)
                if turn or bench.is_tiny:
                    best[name] = min(best.get(name, float("inf")), answer["seconds"])
                    peak[name] = answer["peak_bytes"]
                    _note(bench, prompts, best, peak)


def _note(bench: Bench, prompts: int, best: dict[str, float], peak: dict[str, int]) -> None:
    known: dict[str, Any] = {"seconds": dict(best), "peak_bytes_with_both_loaded": dict(peak)}
    if len(best) == len(SIDES):
        known["official_over_ours"] = best["official"] / best["ours"]
        edge = bench.scale.patch
        known["our_flops"] = 2 * engine.our_macs((edge, edge, edge), prompts) / best["ours"]
    bench.note(f"{prompts} prompts", value=known)


def _turn(bench: Bench, side: Any, prompts: int) -> dict[str, Any]:
    torch.cuda.reset_peak_memory_stats()
    bench.wait()
    start = bench.clock()
    logits, _ = side.window(prompts)
    bench.wait()
    seconds = bench.clock() - start
    del logits
    return {"seconds": seconds, "peak_bytes": torch.cuda.max_memory_allocated()}
