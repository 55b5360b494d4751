"""A CUDA device that is none: what is asked of it is done on the CPU, so that every line for CUDA runs once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _there(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return value


_CAST_BY_AUTOCAST = (F.linear, F.conv3d, F.conv_transpose3d)


class _OnTheCpu(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = {name: _there(value) for name, value in (kwargs or {}).items()}
        named.pop("pin_memory", None)
        if func is F.avg_pool3d and args[0].dtype == torch.float16:  # no CPU pools in half precision
            return func(args[0].float(), *args[1:], **named).half()
        if func in _CAST_BY_AUTOCAST and args[0].dtype != args[1].dtype:  # autocast of CUDA leaves the CPU alone
            args = (args[0].to(args[1].dtype), *args[1:])
        if func is F.conv3d and args[0].dtype == torch.float16:  # a CPU takes minutes for it in half precision
            wide: list[Any] = [a.float() if isinstance(a, torch.Tensor) else a for a in args]
            return func(*wide, **named).half()
        return func(*map(_there, args), **named)


class _Clock:
    """A stream or an event: whatever was asked is done already."""

    def __init__(self, *_: Any) -> None: ...

    def record(self, *_: Any) -> None: ...

    def synchronize(self) -> None: ...

    def wait_event(self, _: Any) -> None: ...


class _Graph(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A graph: what is computed within it is noted, and computed again at each replay, from and to the same memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._noted: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if "_local_scalar_dense" in str(func) or "nonzero" in str(func):
            raise RuntimeError("operation not permitted when stream is capturing")
        result = func(*args, **(kwargs or {}))
        self._noted.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self._noted:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def interpret_quickly() -> None:
    """Let Triton's interpreter not look for overflow in each addition: half its time."""
    from triton.runtime.interpreter import InterpreterOptions, interpreter_builder

    interpreter_builder.options = InterpreterOptions(sanitize_overflow=False)


def twins_for_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what launches a kernel call its twin: for whole windows, where the interpreter would take minutes."""
    from voxtell_dicom.engine.kernels import dot, norm
    from voxtell_dicom.engine.kernels import upconv as upconvs
    from voxtell_dicom.engine.kernels.twin import Features, Sums, TorchOps

    twin = TorchOps()

    def tiles_of(sums: Sums) -> Sums:  # as of one tile
        return sums[0][:, None], sums[1][:, None]

    def upconv(x: Features, weights: Any, skip: Any, layout: Any, _tile: Any) -> tuple[torch.Tensor, Sums]:
        rows, sums = twin.upconv(x, weights, skip, layout)
        return rows, tiles_of(sums)

    def scale_and_shift(sums: Sums, affine: Any, count: int) -> Sums:
        total, squares = (s.sum(1) for s in sums)
        return twin.scale_and_shift((total, squares), affine, total.half()[:, None], count)

    monkeypatch.setattr(upconvs, "upconv", upconv)
    monkeypatch.setattr(norm, "sums", lambda rows, _tile: tiles_of(twin.sums(rows)))
    monkeypatch.setattr(norm, "scale_and_shift", scale_and_shift)
    monkeypatch.setattr(norm, "normalise_", lambda *args: twin.normalise_(*args[:-1]))
    monkeypatch.setattr(dot, "dot_accumulate", lambda *args: twin.dot_accumulate(*args[:-1]))


@contextlib.contextmanager
def pretend_cuda(monkeypatch: pytest.MonkeyPatch, free_bytes: int = 80 << 30) -> Iterator[list[str]]:
    """As long as it lasts, torch.device("cuda", 0) computes on the CPU. Yields what was asked of torch.cuda."""
    asked: list[str] = []

    def answer(name: str, value: Any) -> Callable[..., Any]:
        def function(*_: Any, **__: Any) -> Any:
            asked.append(name)
            return value

        return function

    answers = {
        "is_available": True, "device_count": 1, "synchronize": None, "empty_cache": None, "current_stream": _Clock(),
        "reset_peak_memory_stats": None, "max_memory_allocated": 123, "mem_get_info": (free_bytes, 80 << 30),
        "get_device_name": "a card that is none", "get_device_capability": (9, 0), "set_device": None,
        "set_per_process_memory_fraction": None, "get_device_properties": SimpleNamespace(total_memory=80 << 30),
    }  # fmt: skip
    for name, value in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer(name, value))
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", _Clock)
    monkeypatch.setattr(torch.cuda, "Event", _Clock)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", _Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: graph)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    with _OnTheCpu():
        yield asked
