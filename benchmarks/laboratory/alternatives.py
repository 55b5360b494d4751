"""Ways to compute the same, side by side: what the next version should do is what is faster here."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.laboratory.bench import Bench
from benchmarks.laboratory.sweep import fastest, launches_of, store
from voxtell_dicom.engine.checkpoint import load_checkpoint
from voxtell_dicom.engine.fold import Layout
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.kernels.tiles import Chosen, Kernel, Way
from voxtell_dicom.engine.kernels.triton_ops import TritonOps
from voxtell_dicom.engine.kernels.tune import Launch
from voxtell_dicom.engine.kernels.twin import Sums, TorchOps
from voxtell_dicom.engine.statistics import InstanceNorm

WAYS = {"prompt by prompt": Way(), "groups of 2": Way(group=2), "groups of 4": Way(group=4), "graph": Way(graph=True)}


class ManyLaunches(TritonOps):
    """Scale and shift in torch operations, some twenty launches, as they were before they were one kernel."""

    def scale_and_shift(
        self, sums: Sums, norm: InstanceNorm, rows: torch.Tensor, count: int, layout: Layout | None = None
    ) -> Sums:
        total, squares = (s.sum(1, dtype=torch.float64) for s in sums)
        return TorchOps.scale_and_shift(self, (total, squares), norm, rows, count, layout)


@torch.inference_mode()
def compare(bench: Bench) -> None:
    """Note the seconds of each alternative. A window's are those of all its prompts."""
    found = launches_of(bench)
    for launch in found:
        if launch.widths.kernel is Kernel.UPCONV:
            bench.attempt("up-convolution by cuDNN", str(launch.widths), work=lambda a=launch: cudnn(bench, a))
    network = load_checkpoint(bench.model).network.to(bench.device)
    tiles = Chosen(fastest(bench.known.get("sweep", {}), found, torch.cuda.get_device_capability(bench.device)))
    window = Window(bench, network.patch_size, network.sizes.text_embedding_dim)
    for name, way in WAYS.items():
        ops = TritonOps(tiles, way)
        bench.attempt("window", name, work=lambda o=ops: window.seconds(WindowModel(network, bench.device, ops=o)))
    many = ManyLaunches(tiles)
    bench.attempt("window", "scale and shift in torch", work=lambda: window.seconds(_model(bench, network, many)))
    bench.attempt("window", "torch twins", work=lambda: window.seconds(_model(bench, network, TorchOps())))
    bench.attempt("window", "default settings", work=lambda: window.seconds(_model(bench, network, TritonOps())))
    fused = _model(bench, network, TritonOps(tiles))
    bench.attempt("encoder", "channels-last, fused", work=lambda: bench.timed(lambda: window.encode(fused), 1))
    plain = _model(bench, network, TorchOps())
    bench.attempt("encoder", "contiguous, torch", work=lambda: bench.timed(lambda: window.encode(plain), 1))
    store(bench, found, _best(bench.result.get("window", {})), bench.known.get("sweep", {}))


def compile_decoder(bench: Bench) -> None:
    """Note the plain image decoder of one prompt, as it is and by torch.compile; compiling takes a minute."""
    network = load_checkpoint(bench.model).network.to(bench.device)
    model = WindowModel(network, bench.device, exact=True)
    window = Window(bench, network.patch_size, network.sizes.text_embedding_dim)
    with torch.inference_mode(), model._autocast():
        skips, embeddings = model._look_and_ask(window.image, window.prompts[:1], 0)
        given = skips, [e[:, 0] for e in embeddings]
        bench.attempt("plain", work=lambda: bench.timed(lambda: network.decoder(*given), 1))
        compiled = network.decoder if bench.is_tiny else torch.compile(network.decoder)
        bench.attempt("compiled", work=lambda: bench.timed(lambda: compiled(*given), 1))


def cudnn(bench: Bench, launch: Launch) -> float:
    """Seconds of the same convolution, on the composed weights, channels-last; without what our epilogue adds."""
    shape = [n + 2 for n in launch.low]
    taps = [3 if s == 1 else 2 for s in launch.stride]
    x = _half(bench, 1, launch.widths.inputs, *shape)
    weights = _half(bench, launch.widths.outputs, launch.widths.inputs, *taps)
    torch.backends.cudnn.benchmark = True
    return bench.timed(lambda: F.conv3d(x, weights), 0.2)


def _half(bench: Bench, *shape: int) -> torch.Tensor:
    made = torch.randn(*shape, device=bench.device, dtype=torch.float16)
    return made.contiguous(memory_format=torch.channels_last_3d)


class Window:
    """A window of noise with its prompts, asked of several models."""

    def __init__(self, bench: Bench, patch: tuple[int, ...], prompt_values: int) -> None:
        generator = torch.Generator().manual_seed(7)
        self._bench = bench
        self.image = torch.randn(*patch, generator=generator).to(bench.device)
        count = bench.scale.window_prompts
        self.prompts = torch.randn(count, prompt_values, generator=generator).to(bench.device)
        self.importance = torch.ones(*patch, device=bench.device, dtype=torch.float16)

    def run(self, model: WindowModel) -> torch.Tensor:
        """Run a window as a pass does it: added to the sums, never stored by itself."""
        sums = torch.zeros(len(self.prompts), *self.importance.shape, device=self._bench.device, dtype=torch.float16)
        for _ in model.accumulate(self.image, self.prompts, 0, self.importance, sums):
            pass
        return sums

    def seconds(self, model: WindowModel) -> dict[str, float]:
        """Seconds of the window and, at the most, bytes on the card."""
        torch.cuda.reset_peak_memory_stats()
        seconds = self._bench.timed(lambda: self.run(model), 1)
        return {"seconds": seconds, "peak_bytes": torch.cuda.max_memory_allocated()}

    def encode(self, model: WindowModel) -> Any:
        """Run the image encoder alone."""
        with model._autocast():
            image = self.image[None, None]
            return model.network.encode(image) if model._fused is None else model._fused(image)


def _model(bench: Bench, network: Any, ops: TorchOps) -> WindowModel:
    return WindowModel(network, bench.device, ops=ops)


def _best(windows: dict[str, Any]) -> Way:
    """Return the way that is faster by more than measurements differ."""
    seconds = {name: windows[name]["seconds"] for name in WAYS if "seconds" in windows.get(name, {})}
    first = next(iter(WAYS))
    best = min(seconds, key=lambda name: seconds[name], default=first)
    return WAYS[best] if first in seconds and seconds[best] < 0.98 * seconds[first] else Way()
