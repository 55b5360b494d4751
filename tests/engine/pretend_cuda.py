"""A CUDA device that is none: what is asked of it is done on the CPU, so that every line for CUDA runs once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode


def _there(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return value


class _OnTheCpu(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = {name: _there(value) for name, value in (kwargs or {}).items()}
        named.pop("pin_memory", None)
        return func(*map(_there, args), **named)


class _Clock:
    """A stream or an event: whatever was asked is done already."""

    def __init__(self, *_: Any) -> None: ...

    def record(self, *_: Any) -> None: ...

    def synchronize(self) -> None: ...

    def wait_event(self, _: Any) -> None: ...


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
        "get_device_name": "a card that is none",
    }  # fmt: skip
    for name, value in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer(name, value))
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", _Clock)
    monkeypatch.setattr(torch.cuda, "Event", _Clock)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    with _OnTheCpu():
        yield asked
