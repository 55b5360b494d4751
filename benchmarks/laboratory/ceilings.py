"""The limits of the card, measured: rates of matrix products and of copies."""

from __future__ import annotations

import torch

from benchmarks.laboratory.bench import Bench


def measure(bench: Bench) -> None:
    """Note operations a second in float16, bfloat16 and TF32, and bytes a second."""
    size = bench.scale.matrix
    for name, dtype in (("float16", torch.float16), ("bfloat16", torch.bfloat16), ("tf32", torch.float32)):
        bench.attempt("flops", name, work=lambda d=dtype: _rate(bench, size, d))
    bench.attempt("bytes_per_second", work=lambda: _copies(bench))


def _rate(bench: Bench, size: int, dtype: torch.dtype) -> float:
    torch.backends.cuda.matmul.allow_tf32 = True
    a = torch.randn(size, size, device=bench.device, dtype=dtype)  # of noise: zeros are faster
    return 2 * size**3 / bench.timed(lambda: a @ a, 2)


def _copies(bench: Bench) -> float:
    a = torch.empty(bench.scale.copied_bytes, device=bench.device, dtype=torch.uint8)
    b = torch.empty_like(a)
    return 2 * a.numel() / bench.timed(lambda: b.copy_(a), 1)
