"""The VoxTell engine: a RAS volume and prompts in, one mask per prompt out, in one pass over the windows."""

from __future__ import annotations

import itertools
import logging
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
from voxtell_dicom.engine.body import Body, body_of
from voxtell_dicom.engine.checkpoint import Checkpoint, load_checkpoint
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.memory import Allowance, Place, Places, places_for, told_as_out_of_memory
from voxtell_dicom.engine.options import DEFAULT, Options
from voxtell_dicom.engine.pace import cpu_seconds_per_window
from voxtell_dicom.engine.patches import Patches
from voxtell_dicom.engine.postprocess import cleaned_segment
from voxtell_dicom.engine.preprocess import prepare
from voxtell_dicom.engine.resample import back_on_source, resample, resampled_shape
from voxtell_dicom.engine.startup import trusted_model
from voxtell_dicom.engine.text import complete
from voxtell_dicom.engine.windows import Windows, windows_over
from voxtell_dicom.errors import ModelError, UnknownPrompt
from voxtell_dicom.model import Cancelled, Progress, Request, RunReport, Segment, Vector

_log = logging.getLogger(__name__)
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
        self,
        checkpoint: Checkpoint,
        bank: Bank,
        device: torch.device,
        options: Options = DEFAULT,
        text_model: str | None = None,
        storage: Path | None = None,
    ) -> None:
        """text_model: a folder or a name on the hub; embeds prompts that the bank lacks when they are asked for.

        storage: a folder for what is measured on a card.
        """
        width = checkpoint.plans.sizes.text_embedding_dim
        if bank.width not in (None, width):
            raise ModelError(f"the bank's vectors have {bank.width} values, the model wants {width}")
        self.bank = bank
        self.device = device
        self.patch_size = checkpoint.plans.patch_size
        self._network = checkpoint.network
        self.options = options
        self._text_model = text_model
        self._storage = storage
        self._bank_digest = bank.digest
        self._model = self._new_model(device)
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
        text_model: str | None = None,
        storage: Path | None = None,
        **options: Any,
    ) -> Predictor:
        """Load a model directory; `bank` defaults to the one beside it. options: those of `Options`. Raises ModelError.

        storage: a folder for what is measured on a card; without one, nothing is measured.

        predictor = Predictor.load(Path("models/voxtell_v1.1"), device="cuda:0", crop_to_body=True)
        """
        where = choose_device(device)
        path = bank or find_bank(directory)
        loaded = load_checkpoint(directory)
        return cls(loaded, Bank.read(path) if path else EMPTY, where, Options(**options), text_model, storage)

    @property
    def identity(self) -> str:
        """Code version, digest of the weights, digest of the bank.

        The phantom's model says so wherever its directory lies: its results are marked as a test's by that word.
        """
        kind = "phantom " if self._is_phantom else ""
        model = f"{kind}model/{self._digest} bank/{self._bank_digest[:16]}"
        model += f" text/{self._text_model}" if self._text_model else ""
        return f"voxtell-dicom/{voxtell_dicom.__version__} {model}{self.options.in_identity}"

    def unknown(self, prompts: Sequence[str]) -> list[str]:
        """Prompts that are not in the bank and, where there is a text model, cannot be embedded either."""
        if self._text_model and any(prompt not in self.bank for prompt in prompts):
            try:
                self.bank = complete(self.bank, prompts, self._text_model, self.device)
            except ModelError as error:
                _log.warning("%s", error)
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
        computed once; yields nothing more once `cancelled()` is true (asked after each prompt of a window). within_s:
        where a GPU runs out of memory, the CPU takes over only if it can be done in so many seconds from the start.

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
            with told_as_out_of_memory():
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
        crop = prepared.crop
        del prepared
        spares_air = self.options.crop_to_body or self.options.skip_empty
        body = body_of(crop) if spares_air else None
        if body is not None and self.options.crop_to_body:
            crop = np.ascontiguousarray(crop[tuple(slice(*r) for r in body.box)])
            offset = [low + start for low, (start, _) in zip(offset, body.box, strict=True)]
            body = body.cropped()
        accumulator = self._run(crop, order, progress, cancelled, body if self.options.skip_empty else None)
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

    def predict(self, array_zyx: npt.NDArray[Any], prompts: Sequence[str] | str) -> npt.NDArray[np.uint8]:
        """All masks at once, 0 or 1, (prompt, z, y, x): convenient for a few prompts; `segment` takes less memory.

        array_zyx: RAS volume (z, y, x), HU for CT: of what nnU-Net's readers give, array[0].

        predictor = Predictor.load(Path("models/voxtell_v1.1"))
        masks = predictor.predict(array, ["liver", "right kidney"])
        """
        prompts = [prompts] if isinstance(prompts, str) else prompts
        found = {s.request.prompt: s for s in self.segment(array_zyx, (1, 1, 1), [Request(p) for p in set(prompts)])}
        masks = np.zeros((len(prompts), *array_zyx.shape), np.uint8)
        for index, prompt in enumerate(prompts):
            mask = found[prompt].mask
            if mask.voxels:
                masks[(index, *mask.slices)] = mask.crop()
        return masks

    @torch.inference_mode()
    def _run(
        self,
        crop: npt.NDArray[np.float32],
        order: Order,
        progress: Progress,
        cancelled: Cancelled,
        body: Body | None,
    ) -> Accumulator | None:
        windows = windows_over(crop.shape, self.patch_size, self.options.step)
        starts = windows.all_starts if body is None else [at for at in windows.all_starts if _holds(body, windows, at)]
        vectors = torch.from_numpy(self.bank.vectors(list(order)))
        places = Places(
            self._device_places(), windows, len(starts), len(order), self._allowance, self._cpu_seconds_per_window
        )
        encoded_before = self._model.encoded
        accumulator = places.accumulator(list(order.values()))
        patches = Patches(_padded(crop, windows), windows, starts)
        for index, start in enumerate(starts):
            if cancelled():
                return None
            accumulator.begin_window(start)
            answered = 0
            while answered < len(order):  # once, unless memory runs out
                try:
                    model = self._model_on(places.current.network)
                    patch, asked = patches.get(index, model.device), vectors.to(model.device)
                    for prompt in _answer(model, accumulator, start, patch, asked, answered):
                        answered = prompt + 1
                        if cancelled():  # a window of many prompts takes minutes on a CPU
                            return None
                    patches.prepare(index + 1, model.device)
                except RuntimeError as error:
                    places.step_down(error, accumulator)
            self._model.wait()
            progress(index + 1, len(starts))
            places.window_done()
        report = places.report(self._model.encoded - encoded_before)
        self.last_run = self.last_run.and_then(report) if self.last_run else report
        return accumulator

    def _device_places(self) -> list[Place]:
        return places_for(self.device)

    def _cpu_seconds_per_window(self, prompts: int) -> float:
        return cpu_seconds_per_window(self._network, prompts)

    def _new_model(self, device: torch.device) -> WindowModel:
        options = self.options
        return trusted_model(
            self._network.to(device),
            device,
            exact=options.exact,
            bfloat16=options.bfloat16,
            storage=self._storage,
        )

    def _model_on(self, device: torch.device) -> WindowModel:
        if device.type != self._model.device.type:
            encoded = self._model.encoded
            self._model = self._new_model(device)
            self._model.encoded = encoded
        return self._model


def _answer(
    model: WindowModel,
    accumulator: Accumulator,
    start: Sequence[int],
    patch: torch.Tensor,
    vectors: torch.Tensor,
    first: int,
) -> Iterator[int]:
    """Add the answers of one window for the prompts from `first` on; yields each prompt's number when it is added."""
    if accumulator.device == model.device:
        sums = accumulator.window(start)
        yield from model.accumulate(patch, vectors, first, accumulator.importance, sums)
        return
    try:
        for prompt, logits in model.logits(patch, vectors, first):
            accumulator.add(start, prompt, logits[0])
            yield prompt
    finally:  # what is on its way has been counted as answered
        accumulator.flush()


def _holds(body: Body, windows: Windows, start: Sequence[int]) -> bool:
    return body.meets(windows.in_volume(start), windows.patch)


def _padded(crop: npt.NDArray[np.float32], windows: Windows) -> torch.Tensor:
    volume = torch.from_numpy(crop)
    if windows.padded == windows.shape:
        return volume  # no copy: a large volume is never padded
    padding = itertools.chain.from_iterable(zip(windows.before[::-1], windows.after[::-1], strict=True))
    return torch.nn.functional.pad(volume, tuple(padding))
