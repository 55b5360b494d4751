"""The substitute engine whose prompts are comparisons, "> 300": with it geometry can be proven on any series."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import voxtell_dicom
from voxtell_dicom.engine.postprocess import cleaned_segment
from voxtell_dicom.errors import UnknownPrompt
from voxtell_dicom.model import BoolArray, Cancelled, Mask, Progress, Request, Segment, Vector

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_COMPARISON = re.compile(rf"\s*(>=|<=|>|<)\s*{_NUMBER}\s*")
_RANGE = re.compile(rf"\s*{_NUMBER}\s*\.\.\s*{_NUMBER}\s*")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_GRAMMAR = "'> 300', '>= 300', '< -500', '<= -500' or '100..200' (both ends included)"


def comparison(prompt: str) -> Callable[[npt.NDArray[np.float32]], BoolArray] | None:
    """What the prompt asks of a voxel value, or None where it is no comparison. Compared in float64, exactly."""
    if match := _COMPARISON.fullmatch(prompt):
        test, value = _OPERATORS[match[1]], np.float64(match[2])
        return lambda array: np.asarray(test(array, value), dtype=bool)
    if match := _RANGE.fullmatch(prompt):
        low, high = np.float64(match[1]), np.float64(match[2])
        return lambda array: np.asarray((array >= low) & (array <= high), dtype=bool)
    return None


class ThresholdEngine:
    """Implements `voxtell_dicom.model.Engine`. TEST, not for patients."""

    last_run: None = None  # no windows, no device: nothing to report

    @property
    def identity(self) -> str:
        """Code version and kind."""
        return f"voxtell-dicom/{voxtell_dicom.__version__} threshold"

    def unknown(self, prompts: Sequence[str]) -> list[str]:
        """Prompts that are no comparison."""
        return [prompt for prompt in prompts if comparison(prompt) is None]

    def segment(
        self,
        array_zyx: npt.NDArray[np.float32],
        spacing_zyx_mm: Vector,
        requests: Sequence[Request],
        *,
        progress: Progress = lambda _done, _total: None,
        cancelled: Cancelled = lambda: False,
        within_s: float | None = None,  # noqa: ARG002 - it is never slow
    ) -> Iterator[Segment]:
        """Yields the voxels that meet each comparison, cleaned up as asked. The rest of a request means nothing here.

        Raises UnknownPrompt for a prompt that is no comparison. Stops once `cancelled()` is true.
        """
        if bad := self.unknown([request.prompt for request in requests]):
            raise UnknownPrompt(f"the threshold engine cannot run {', '.join(map(repr, bad))}: write {_GRAMMAR}")
        for done, request in enumerate(requests):
            if cancelled():
                return
            test = comparison(request.prompt)
            assert test is not None
            mask = Mask.from_array(test(array_zyx))
            progress(done + 1, len(requests))
            yield cleaned_segment(Segment(request, mask.box, mask.packed_bits, mask.voxels), spacing_zyx_mm)
