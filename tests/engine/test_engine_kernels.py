"""Every line of the Triton kernels, under Triton's interpreter, against the plain torch twin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from voxtell_dicom.engine.cpu import computes_bfloat16
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.fused_encoder import FusedEncoder, can_be_fused
from voxtell_dicom.engine.kernels.choose import ops_for, self_test
from voxtell_dicom.engine.kernels.twin import TorchOps
from voxtell_dicom.engine.network import VoxTellNetwork
from voxtell_dicom.engine.statistics import InstanceNorm
from voxtell_dicom.errors import ModelError

ROOT = Path(__file__).resolve().parents[2]
INTERPRETED = """
import torch
from voxtell_dicom.engine.kernels.choose import TritonOps, self_test
print(self_test(TritonOps(), torch.device("cpu"), torch.{dtype}))
"""


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float16", 2e-2)])
def test_the_kernels_agree_with_their_twins_under_the_interpreter(dtype: str, bound: float) -> None:
    """target and importance are float16 in both: a sum may round to the next float16, 1e-3 of the largest at most."""
    run = subprocess.run(
        [sys.executable, "-c", INTERPRETED.format(dtype=dtype)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) <= max(bound, 1e-3)


COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from voxtell_dicom.engine.kernels import dot, norm, upconv

half = {name: "*fp16" for name in (
    "x_ptr", "w_ptr", "skip_ptr", "out_ptr", "rows_ptr", "residual_ptr", "importance_ptr", "target_ptr")}
wide = {name: "*fp32" for name in ("sum_ptr", "square_ptr", "scale_ptr", "shift_ptr", "embedding_ptr")}
strides = {"SZ": 2, "SY": 2, "SX": 2}
for kernel, constants in (
    (upconv._upconv, {**strides, "TZ": 2, "TY": 2, "TX": 2, "ROWS": 64, "COLUMNS": 64, "DEPTH": 32}),
    (norm._sums, {"ROWS": 128, "COLUMNS": 32}),
    (norm._normalise, {"RESIDUAL": True, "ROWS": 128, "COLUMNS": 32}),
    (dot._dot_accumulate, {**strides, "ROWS": 64, "CHANNELS": 32}),
):
    kinds = {**half, **wide, "slope": "fp32", **dict.fromkeys(constants, "constexpr")}
    signature = {name: kinds.get(name, "i32") for name in kernel.arg_names}
    made = compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", %d, 32))
    print(kernel.__name__, len(made.asm["cubin"]) > 0)
"""


@pytest.mark.parametrize("capability", [90])
def test_the_kernels_compile_for_real_cards(capability: int, tmp_path: Path) -> None:
    """Down to machine code, without a card: the interpreter accepts what the compiler does not."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", COMPILED % capability],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        "_upconv", "True", "_sums", "True", "_normalise", "True", "_dot_accumulate", "True",
    ]  # fmt: skip


def test_the_self_test_tells_a_kernel_that_is_wrong() -> None:
    class Wrong(TorchOps):
        def dot_accumulate(self, rows, scale, shift, slope, embedding, layout, importance, target):  # type: ignore[no-untyped-def]
            super().dot_accumulate(rows, scale, shift, slope, embedding.flip(0), layout, importance, target)

    cpu = torch.device("cpu")
    assert self_test(TorchOps(), cpu, torch.float32) == 0
    assert self_test(Wrong(), cpu, torch.float32) > 0.1


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
    scale, shift = norm.scale_and_shift(TorchOps().sums(rows), rows, 4000)
    expected = torch.nn.functional.instance_norm(rows.T[None].double()).squeeze(0).T
    # float32 holds 300 ± 0.01 to 3e-5: so much of a deviation of 0.01 can be asked.
    assert float((rows.double() * scale + shift - expected)[:, 0].abs().max()) < 1e-2
    assert float((rows.double() * scale + shift - expected)[:, 1:].abs().max()) < 1e-3


def test_a_cpu_uses_the_twin() -> None:
    assert ops_for("cpu").name == "torch"
