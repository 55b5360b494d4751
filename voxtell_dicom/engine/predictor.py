"""The VoxTell engine: a RAS volume and prompts in, one mask per prompt out, in one pass over the windows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import voxtell_dicom
from voxtell_dicom.engine.accumulator import Accumulator
from voxtell_dicom.engine.bank import EMPTY, Bank, find_bank
from voxtell_dicom.engine.checkpoint import Checkpoint, load_checkpoint
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.memory import Allowance, Place, Places, places_for
from voxtell_dicom.engine.pace import cpu_seconds_per_window
from voxtell_dicom.engine.postprocess import cleaned_segment
from voxtell_dicom.engine.preprocess import prepare
from voxtell_dicom.engine.resample import back_on_source, resample, resampled_shape
from voxtell_dicom.engine.windows import Windows, windows_over
from voxtell_dicom.errors import ModelError, UnknownPrompt
from voxtell_dicom.model import Cancelled, Progress, Request, RunReport, Segment, Vector

Order = dict[str, list[Request]]
_ANY = 1e-4  # a probability below which nothing is brought back from another spacing


def _silent(_done: int, _total: int) -> None: ...


def _never() -> bool:
    return False


def choose_device(name: str) -> torch.device:
    """`name`: auto, cpu, cuda, cuda:N. Raises ModelError where that device is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


class Predictor:
    """VoxTell on one device, loaded once; implements `voxtell_dicom.model.Engine`."""

    def __init__(
        self, checkpoint: Checkpoint, bank: Bank, device: torch.device, *, exact: bool = False, bfloat16: bool = False
    ) -> None:
        """exact: compute the image decoder the plain way, prompt by prompt (slower). bfloat16: see `WindowModel`."""
        width = checkpoint.plans.sizes.text_embedding_dim
        if bank.width not in (None, width):
            raise ModelError(f"the bank's vectors have {bank.width} values, the model wants {width}")
        self.bank = bank
        self.device = device
        self.patch_size = checkpoint.plans.patch_size
        self._network = checkpoint.network
        self._options = {"exact": exact, "bfloat16": bfloat16}
        self._model = WindowModel(self._network.to(device), device, **self._options)
        self.last_run: RunReport | None = None
        self._allowance = Allowance()
        self._digest = checkpoint.digest
        self._is_phantom = "phantom" in checkpoint.plans.name.lower()

    @classmethod
    def load(
        cls,
        directory: Path,
        bank: Path | None = None,
        device: str = "auto",
        *,
        exact: bool = False,
        bfloat16: bool = False,
    ) -> Predictor:
        """Load a model directory; `bank` defaults to the one beside it. Raises ModelError."""
        where = choose_device(device)
        path = bank or find_bank(directory)
        loaded = load_checkpoint(directory)
        return cls(loaded, Bank.read(path) if path else EMPTY, where, exact=exact, bfloat16=bfloat16)

    @property
    def identity(self) -> str:
        """Code version, digest of the weights, digest of the bank.

        The phantom's model says so wherever its directory lies: its results are marked as a test's by that word.
        """
        kind = "phantom " if self._is_phantom else ""
        return f"voxtell-dicom/{voxtell_dicom.__version__} {kind}model/{self._digest} bank/{self.bank.digest[:16]}"

    def unknown(self, prompts: Sequence[str]) -> list[str]:
        """Prompts that are not in the bank."""
        return [prompt for prompt in prompts if prompt not in self.bank]

    def segment(
        self,
        array_zyx: npt.NDArray[np.float32],
        spacing_zyx_mm: Vector,
        requests: Sequence[Request],
        *,
        progress: Progress = _silent,
        cancelled: Cancelled = _never,
        within_s: float | None = None,
    ) -> Iterator[Segment]:
        """array_zyx: RAS volume (z, y, x), HU for CT. Yields one Segment per request, prompts shared between requests
        computed once; yields nothing more once `cancelled()` is true (asked before each window). within_s: where a GPU
        runs out of memory, the CPU takes over only if it can be done in so many seconds from the start.

        Requests with a `resampling` that applies to the spacing are run at that spacing, in a pass of their own;
        clean-up comes last. mean_probability is taken over the mask before clean-up; uncertain_share is the share of
        voxels with a probability between 0.3 and 0.7 among those above 0.3. Raises UnknownPrompt, Refusal (values that
        are not finite), ModelError, OutOfMemory.
        """
        if missing := self.unknown([request.prompt for request in requests]):
            raise UnknownPrompt(f"the model cannot run {', '.join(map(repr, missing))}: not in its bank of prompts")
        self.last_run = None
        self._allowance = Allowance(within_s)
        passes: dict[float, list[Request]] = {}
        for request in requests:
            wanted = request.resampling
            applies = wanted is not None and wanted.applies_to(spacing_zyx_mm)
            passes.setdefault(wanted.spacing_mm if wanted and applies else 0.0, []).append(request)
        done = 0
        for number, (target_mm, group) in enumerate(passes.items()):
            later = len(passes) - number - 1  # passes whose windows are not known yet count as many as this one's
            seen = 0

            def report(n: int, of: int, before: int = done, more: int = later) -> None:
                nonlocal seen
                seen = of
                progress(before + n, before + of * (1 + more))

            if target_mm:
                segments = self._resampled(array_zyx, spacing_zyx_mm, target_mm, group, report, cancelled)
            else:
                segments = self._one_pass(array_zyx, group, report, cancelled)
            for segment in segments:
                yield cleaned_segment(segment, spacing_zyx_mm)
            done += seen

    def _one_pass(
        self, array_zyx: npt.NDArray[np.float32], requests: Sequence[Request], progress: Progress, cancelled: Cancelled
    ) -> Iterator[Segment]:
        order: Order = {}
        for request in requests:
            order.setdefault(request.prompt.lower(), []).append(request)
        prepared = prepare(array_zyx)
        if prepared is None:  # nothing but zeros
            yield from (Segment(request, ((0, 0), (0, 0), (0, 0)), b"", 0) for request in requests)
            return
        offset = [low for low, _ in prepared.box_zyx]
        accumulator = self._run(prepared.crop, order, progress, cancelled)
        del prepared
        if accumulator is not None:
            yield from accumulator.finish(offset)

    def _resampled(
        self,
        array_zyx: npt.NDArray[np.float32],
        spacing_zyx_mm: Vector,
        target_mm: float,
        requests: Sequence[Request],
        progress: Progress,
        cancelled: Cancelled,
    ) -> Iterator[Segment]:
        """The network at another spacing; probabilities, not masks, are brought back to the source grid."""
        shape = resampled_shape(array_zyx.shape, spacing_zyx_mm, target_mm)
        owners: dict[Request, list[Request]] = {}
        for request in requests:
            owners.setdefault(replace(request, threshold=_ANY, probability=True, resampling=None), []).append(request)
        for coarse in self._one_pass(resample(array_zyx, shape), list(owners), progress, cancelled):
            for request in owners[coarse.request]:
                yield back_on_source(coarse, request, shape, array_zyx.shape)

    def predict(self, array_zyx: npt.NDArray[Any], prompts: Sequence[str]) -> npt.NDArray[np.uint8]:
        """All masks at once, 0 or 1, (prompt, z, y, x): convenient for a few prompts; `segment` takes less memory.

        predictor = Predictor.load(Path("models/voxtell_v1.1"))
        masks = predictor.predict(array, ["liver", "right kidney"])
        """
        shape = (array_zyx.shape[0], array_zyx.shape[1], array_zyx.shape[2])
        masks = np.zeros((len(prompts), *shape), np.uint8)
        found = {s.request.prompt: s for s in self.segment(array_zyx, (1, 1, 1), [Request(p) for p in set(prompts)])}
        for index, prompt in enumerate(prompts):
            mask = found[prompt].mask
            if mask.voxels:
                masks[(index, *mask.slices)] = mask.crop()
        return masks

    @torch.inference_mode()
    def _run(
        self, crop: npt.NDArray[np.float32], order: Order, progress: Progress, cancelled: Cancelled
    ) -> Accumulator | None:
        windows = windows_over(crop.shape, self.patch_size)
        vectors = torch.from_numpy(self.bank.vectors(list(order)))
        places = Places(self._device_places(), windows, len(order), self._allowance, self._cpu_seconds_per_window)
        encoded_before = self._model.encoded
        accumulator = places.accumulator(list(order.values()))
        volume = _padded(crop, windows)
        for done, start in enumerate(itertools.product(*windows.starts)):
            if cancelled():
                return None
            at = tuple(slice(s, s + p) for s, p in zip(start, windows.patch, strict=True))
            accumulator.begin_window(start)
            answered = 0
            while answered < len(order):  # once, unless memory runs out
                try:
                    model = self._model_on(places.current.network)
                    patch, asked = volume[at].contiguous().to(model.device), vectors.to(model.device)
                    if accumulator.device == model.device:
                        sums = accumulator.window(start)
                        for prompt in model.accumulate(patch, asked, answered, accumulator.importance, sums):
                            answered = prompt + 1
                    else:
                        for prompt, logits in model.logits(patch, asked, answered):
                            accumulator.add(start, prompt, logits)
                            answered = prompt + 1
                except RuntimeError as error:
                    places.step_down(error, accumulator)
            progress(done + 1, len(windows))
            places.window_done()
        report = places.report(self._model.encoded - encoded_before)
        self.last_run = self.last_run.and_then(report) if self.last_run else report
        return accumulator

    def _device_places(self) -> list[Place]:
        return places_for(self.device)

    def _cpu_seconds_per_window(self, prompts: int) -> float:
        return cpu_seconds_per_window(self._network, prompts)

    def _model_on(self, device: torch.device) -> WindowModel:
        if device.type != self._model.device.type:
            encoded = self._model.encoded
            self._model = WindowModel(self._network.to(device), device, **self._options)
            self._model.encoded = encoded
        return self._model


def _padded(crop: npt.NDArray[np.float32], windows: Windows) -> torch.Tensor:
    volume = torch.from_numpy(crop)
    if windows.padded == windows.shape:
        return volume  # no copy: a large volume is never padded
    padding = itertools.chain.from_iterable(zip(windows.before[::-1], windows.after[::-1], strict=True))
    return torch.nn.functional.pad(volume, tuple(padding))
