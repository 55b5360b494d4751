"""A whole synthetic volume through the engine, and through cards of less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.laboratory.bench import Bench
from voxtell_dicom.engine.bank import FILE, Bank
from voxtell_dicom.engine.memory import peak_host_bytes
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.model import Request

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "step 0.75, crop to the body": {"step": 0.75, "crop_to_body": True},
}
_AIR_HU, _BODY_HU = -1000.0, 40.0


def whole(bench: Bench) -> None:
    """Note seconds, windows and memory of a volume with all prompts, by default and with what spares most."""
    array = synthetic(bench.scale.volume)
    for name, options in OPTIONS.items():
        bench.attempt(name, work=lambda o=options: one_pass(bench, array, o))
        torch.cuda.empty_cache()


def capped(bench: Bench) -> None:
    """Note the same for a smaller volume where the process may take less of the card than there is.

    The driver still reports the whole card as free: that the sums go to the host comes by an error, not by foresight.
    """
    array = synthetic(bench.scale.capped_volume)
    total = torch.cuda.get_device_properties(bench.device).total_memory
    for cap in bench.scale.caps_gib:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap * 2**30 / total), bench.device)
        bench.attempt(f"{cap} GiB", work=lambda: one_pass(bench, array, {}))


def one_pass(bench: Bench, array: npt.NDArray[np.float32], options: dict[str, Any]) -> dict[str, Any]:
    """Load the engine, as a node does, and segment once."""
    prompts = _bank(bench)
    start = bench.clock()
    predictor = Predictor.load(bench.model, device="cuda", storage=bench.work / "stored", **options)
    loaded = bench.clock()
    stopped = False

    def late() -> bool:
        nonlocal stopped
        stopped = bench.left() <= 0
        return stopped

    masks = sum(1 for _ in predictor.segment(array, (1, 1, 1), [Request(p) for p in prompts], cancelled=late))
    took = bench.clock() - loaded
    run = predictor.last_run
    if stopped or run is None:
        return {"error": "its time was over", "seconds": took}
    return {
        "way": predictor._model.way, "load_s": loaded - start, "seconds": took, "windows": run.windows,
        "seconds_per_window": took / run.windows, "masks": masks, "peak_device_bytes": run.peak_device_bytes,
        "peak_host_bytes": peak_host_bytes(), "device": run.device, "steps": list(run.steps),
    }  # fmt: skip


def _bank(bench: Bench) -> list[str]:
    path = bench.model / FILE
    names = [f"structure {n}" for n in range(bench.scale.window_prompts)]
    if not path.exists():
        rng = np.random.default_rng(1)
        Bank({name: rng.standard_normal(2560).astype(np.float16) for name in names}).write(path)
    return names


def synthetic(shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Return a body in air, in HU: an elliptic cylinder with noise."""
    rng = np.random.default_rng(2)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[1:])
    body = (y[:, None] / 0.6) ** 2 + (x[None, :] / 0.8) ** 2 < 1
    noise = rng.normal(0, 20, shape[1:]).astype(np.float32)
    plane = np.where(body, _BODY_HU, _AIR_HU).astype(np.float32) + noise
    return np.stack([np.roll(plane, n, axis=1) for n in range(shape[0])])
