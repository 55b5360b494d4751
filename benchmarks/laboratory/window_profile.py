"""Profile of one window on the card: kernels by their time, and the gaps between them."""

from __future__ import annotations

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.laboratory.alternatives import Window
from benchmarks.laboratory.bench import Bench
from voxtell_dicom.engine.predictor import Predictor

ROWS = 60
EDGES_S = (1e-5, 1e-4, 1e-3)  # between which gaps are counted


def measure(bench: Bench) -> None:
    """Note a summary; the table goes into profile.txt."""
    predictor = Predictor.load(bench.model, device="cuda", storage=bench.work / "stored")
    model = predictor._model
    window = Window(bench, predictor.patch_size, 2560)
    bench.note("way", value=model.way)
    with torch.inference_mode():
        window.run(model)
        bench.wait()
        activities = [ProfilerActivity.CPU] + ([] if bench.is_tiny else [ProfilerActivity.CUDA])
        with profile(activities=activities) as made:
            window.run(model)
            bench.wait()
    by = "self_cpu_time_total" if bench.is_tiny else "self_device_time_total"
    table = made.key_averages().table(sort_by=by, row_limit=ROWS, max_name_column_width=70)
    (bench.folder / "profile.txt").write_text(table, encoding="utf-8")
    spans = [(e.time_range.start * 1e-6, e.time_range.end * 1e-6) for e in made.events() or [] if _on_card(e)]
    bench.note("kernels", value=gaps(spans))


def _on_card(event: Any) -> bool:
    return event.device_type == torch.autograd.DeviceType.CUDA


def gaps(spans: list[tuple[float, float]]) -> dict[str, Any]:
    """Return launches, seconds that the card was busy and idle between them, and how often it was idle for how long."""
    busy = idle = end = 0.0
    counted = [0] * (len(EDGES_S) + 1)
    for start, stop in sorted(spans):
        if end and start > end:
            idle += start - end
            counted[sum(start - end > edge for edge in EDGES_S)] += 1
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    names = [f"up to {edge:g} s" for edge in EDGES_S] + ["longer"]
    return {"launches": len(spans), "busy_s": busy, "idle_s": idle, "gaps": dict(zip(names, counted, strict=True))}
