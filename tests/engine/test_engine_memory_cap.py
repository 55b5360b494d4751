"""A pass over many prompts in a process that may not take much more memory than docs/engine.md states."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# 200 × 192 × 192 voxels and 64 prompts: bool masks of all of them would be 472 MB, float16 logits 944 MB. The network
# is left out: its windows do not grow with the volume or the prompts.
PASS = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from voxtell_dicom.engine.accumulator import Accumulator
from voxtell_dicom.engine.bank import Bank
from voxtell_dicom.engine.checkpoint import load_checkpoint
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.engine.windows import windows_over
from voxtell_dicom.model import Request

SHAPE, PATCH, PROMPTS = (200, 192, 192), (20, 192, 192), 64
prompts = [f"prompt {n}" for n in range(PROMPTS)]
bank = Bank({p: np.ones(2560, np.float16) for p in prompts})
predictor = Predictor(load_checkpoint(Path(sys.argv[1])), bank, torch.device("cpu"))
predictor.patch_size = PATCH
def accumulate(patch, vectors, first, importance, targets):
    predictor._model.encoded += 1
    for n in range(first, len(vectors)):
        targets[n, :, :8] += importance[:, :8]  # found
        yield n
predictor._model.accumulate = accumulate
volume = np.random.default_rng(0).normal(0, 100, SHAPE).astype(np.float32)
windows = windows_over(SHAPE, PATCH)
list(predictor.segment(volume[:20], (1, 1, 1), [Request(prompts[0])]))  # what is loaded once is loaded
held = int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) * 1024
sums, masks = Accumulator.needs_bytes(windows, PROMPTS)
stated = sums + masks + 2 * volume.nbytes  # the crop, and a copy of it while its deviation is computed
cap = held + stated + {extra}
resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
found = 0
for segment in predictor.segment(volume, (1, 1, 1), [Request(p) for p in prompts]):
    found += segment.voxels == volume[:, :8].size
print("found", found, "of", PROMPTS, "within", (stated + {extra}) >> 20, "MiB")
"""


def _run(directory: Path, extra: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PASS.replace("{extra}", str(extra)), str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


def test_many_prompts_fit_what_is_stated_and_no_dense_array_would(tiny_directory: Path) -> None:
    whole = _run(tiny_directory, 100 << 20)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.startswith("found 64 of 64 within")
    assert int(whole.stdout.split()[-2]) < 200 * 192 * 192 * 64 >> 20, "a mask as bytes for each prompt would not fit"


def test_the_cap_is_felt(tiny_directory: Path) -> None:
    short = _run(tiny_directory, -(150 << 20))
    assert short.returncode != 0
    assert "memory" in short.stderr.lower()
