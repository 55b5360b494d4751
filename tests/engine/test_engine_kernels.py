"""Every line of the Triton kernels, under Triton's interpreter, against the plain torch twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from voxtell_dicom.engine.cpu import computes_bfloat16
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.fused_encoder import FusedEncoder, can_be_fused
from voxtell_dicom.engine.kernels.choose import ops_for
from voxtell_dicom.engine.kernels.selftest import difference
from voxtell_dicom.engine.kernels.tiles import Kernel, candidates, fitting, shared_limit
from voxtell_dicom.engine.kernels.tune import TOLERANCE
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.statistics import InstanceNorm
from voxtell_dicom.errors import ModelError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)  # an interpreter, on a machine that may be busy


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    """Return the results of `tests.engine.interpreted`, where Triton interprets its kernels."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.engine.interpreted"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=880,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_every_candidate_agrees_with_its_twin_under_the_interpreter(interpreted: dict[str, Any]) -> None:
    """In float16, as on a card: target and importance are float16 in the twin, too."""
    found = interpreted["each_candidate"]
    assert set(found) == {f"{kernel} {tile}" for kernel in Kernel for tile in candidates(kernel)}
    assert {name: off for name, off in found.items() if not off <= TOLERANCE} == {}


def test_the_kernels_agree_with_their_twins_in_float32(interpreted: dict[str, Any]) -> None:
    """A float16 sum may round to the next: 1e-3 of the largest at most."""
    assert interpreted["default_in_float32"] <= 1e-3


def test_a_window_does_not_depend_on_the_settings(interpreted: dict[str, Any]) -> None:
    """In float32, so that nothing but the order of additions differs: between settings, and from the plain way."""
    between, from_plain = interpreted["windows"]
    assert between < 1e-5
    assert from_plain < 1e-3  # the lowest stage is two voxels: their norm amplifies rounding


def test_tuning_measures_launches_of_the_network_and_leaves_out_what_is_wrong(interpreted: dict[str, Any]) -> None:
    assert interpreted["tuned"] == {
        "upconv 24 → 128": "64×64×32, 4 warps, 3 stages",
        "normalise 0 → 128": "128×32, 4 warps",
    }


PAGES = ("compiled.md", "compiled-triton-3.6.md")  # of the Triton of these tests, and of a machine with a card


def test_the_page_of_compiled_kernels_is_current(tmp_path: Path) -> None:
    """Down to machine code, without a card: the interpreter accepts what the compiler does not."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "tools/compile_kernels.py", "--check"],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (9, 0)])
def test_every_candidate_is_compiled_for_every_card(capability: tuple[int, int], page: str) -> None:
    """And what takes more shared memory than a card has is no candidate there."""
    compiled_page = (ROOT / "benchmarks" / "cuda" / page).read_text(encoding="utf-8").splitlines()
    card = "sm_{}{}".format(*capability)
    functions = {
        Kernel.UPCONV: ("_upconv",),
        Kernel.NORMALISE: ("_sums", "_normalise"),
        Kernel.DOT: ("_dot_accumulate",),
    }
    for kernel, names in functions.items():
        for tile in candidates(kernel):
            for name in names:
                rows = [row for row in compiled_page if row.startswith(f"| {card} | {name} | {tile} | ")]
                assert len(rows) == 1, (card, name, str(tile))
                fits = int(rows[0].split("|")[5]) <= shared_limit(capability)
                assert fits == (tile in fitting(kernel, capability)), rows
                assert rows[0].endswith("| candidate |") == fits


def test_the_self_test_tells_a_kernel_that_is_wrong() -> None:
    class Wrong(TorchOps):
        def dot_accumulate(self, rows, scale, shift, slope, embedding, layout, importance, target):  # type: ignore[no-untyped-def]
            super().dot_accumulate(rows, scale, shift, slope, embedding.flip(0), layout, importance, target)

    class NoNumber(TorchOps):
        def normalise_(self, rows, scale, shift, slope, residual=None):  # type: ignore[no-untyped-def]
            super().normalise_(rows, scale * float("nan"), shift, slope, residual)

    cpu = torch.device("cpu")
    assert difference(TorchOps(), cpu, torch.float32) == 0
    assert difference(Wrong(), cpu, torch.float32) > 0.1
    assert difference(NoNumber(), cpu, torch.float32) == float("inf")


def test_the_fused_encoder_is_the_encoder(tiny_network: VoxTellNetwork) -> None:
    assert can_be_fused(tiny_network.encoder)
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = tiny_network.encode(image)
        got = FusedEncoder(tiny_network.encoder, torch.float32, TorchOps())(image)
    for a, b in zip(got, expected, strict=True):
        assert a.is_contiguous(memory_format=torch.channels_last_3d)
        # The lowest stage is two voxels: their norm amplifies rounding.
        assert float((a - b).abs().max() / b.abs().max()) < 1e-4


def test_bfloat16_on_a_cpu_stays_near_float32(tiny_network: VoxTellNetwork) -> None:
    """An option, never the default; how many voxels it changes is for the benchmark to say."""
    generator = torch.Generator().manual_seed(3)
    image, prompts = torch.randn(32, 32, 32, generator=generator), torch.randn(2, 2560, generator=generator)
    cpu = torch.device("cpu")
    if not computes_bfloat16():  # older processors: the option is refused by name
        with pytest.raises(ModelError, match="this CPU computes no convolutions in bfloat16"):
            WindowModel(tiny_network, cpu, bfloat16=True)
        return
    with torch.inference_mode():
        wide, half = (
            torch.cat([logits for _, logits in WindowModel(tiny_network, cpu, bfloat16=b).logits(image, prompts)])
            for b in (False, True)
        )
    assert not torch.equal(wide, half)
    assert float(((wide > 0) != (half > 0)).float().mean()) < 0.1


def test_a_norm_whose_mean_dwarfs_its_deviation_is_measured_in_two_passes() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4000, 3, generator=generator) * 0.01 + torch.tensor([300.0, 0.0, -5.0])
    norm = InstanceNorm(torch.ones(3), torch.zeros(3), 1e-5)
    ops = TorchOps()
    (scale,), (shift,) = ops.scale_and_shift(ops.sums(rows[None]), norm, rows[None], 4000)
    expected = torch.nn.functional.instance_norm(rows.T[None].double()).squeeze(0).T
    # float32 holds 300 ± 0.01 to 3e-5: so much of a deviation of 0.01 can be asked.
    assert float((rows.double() * scale + shift - expected)[:, 0].abs().max()) < 1e-2
    assert float((rows.double() * scale + shift - expected)[:, 1:].abs().max()) < 1e-3


def test_a_cpu_uses_the_twin() -> None:
    assert ops_for("cpu").name == "torch"
