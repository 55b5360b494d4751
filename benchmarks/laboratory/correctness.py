"""Before anything is timed: do the kernels compute what they should on this card?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import engine
from benchmarks.laboratory.bench import Bench
from voxtell_dicom.engine.kernels.choose import card_in_words

ROOT = Path(__file__).resolve().parents[2]


def write_model(bench: Bench) -> None:
    """Write the model that all sections load: full size, random weights."""
    edge = bench.scale.patch
    engine.write_random_model(bench.model, (edge, edge, edge), seed=11)
    bench.note("card", value=card_in_words(bench.device))
    bench.note("capability", value=list(torch.cuda.get_device_capability(bench.device)))
    bench.note("memory_bytes", value=torch.cuda.get_device_properties(bench.device).total_memory)


def check(bench: Bench) -> None:
    """Note the tests marked `cuda`, and half precision against float32; `sweep` tests each setting itself."""
    bench.attempt("tests", work=lambda: _tests(bench))
    bench.attempt("half precision", work=lambda: half_precision(bench, bench.scale.prompts[1]))


def _tests(bench: Bench) -> dict[str, Any]:
    """Run the tests; their output goes into tests.txt. A rehearsal only collects them: there is no card."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "cuda",
        "tests/cuda",
        "--confcutdir=tests/cuda",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--collect-only", "-q"] if bench.is_tiny else []
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=max(bench.left(), 1),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    (bench.folder / "tests.txt").write_text(run.stdout + run.stderr, encoding="utf-8")
    lines = [line for line in run.stdout.splitlines() if line.strip()]
    return {"exit code": run.returncode, "last line": lines[-1] if lines else ""}


def half_precision(bench: Bench, prompts: int) -> dict[str, Any]:
    """Record how far official float16 and ours are from official float32, on one window."""
    expected = _logits(bench, "official_float32", prompts)
    return {side: engine._disagreement(expected, _logits(bench, side, prompts)) for side in ("official", "ours")}


@torch.inference_mode()
def _logits(bench: Bench, side: str, prompts: int) -> torch.Tensor:
    made = engine.Side(side, bench.model, cuda=True)
    logits, _ = made.window(prompts)
    bench.wait()
    kept = logits.float().cpu()
    del made, logits
    torch.cuda.empty_cache()
    return kept
