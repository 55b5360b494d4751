"""Which implementation runs on a device: the Triton kernels only where they agree with the twin on that very card."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from voxtell_dicom.engine.kernels.remembered import Remembered
from voxtell_dicom.engine.kernels.selftest import Card, difference
from voxtell_dicom.engine.kernels.tiles import Chosen, Tile, Tuning, Widths, fitting, packaged
from voxtell_dicom.engine.kernels.tune import SECONDS, TOLERANCE, Launch, Trial, trusted, tune
from voxtell_dicom.engine.kernels.twin import TorchOps

_log = logging.getLogger(__name__)


@cache
def ops_for(device_type: str, device_index: int = 0) -> TorchOps:
    """Return the operations for a device, with the default tiles; the choice and what was seen are logged once."""
    if device_type != "cuda":
        return TorchOps()
    device = torch.device(device_type, device_index)
    where = card_in_words(device)
    try:
        from voxtell_dicom.engine.kernels.triton_ops import TritonOps

        ops = TritonOps()
        worst = difference(ops, device, torch.float16)
    except Exception as error:  # a compiler that fails, fails in many ways: the twin does the work then
        _log.warning("Triton kernels not used on %s: %s: %s", where, type(error).__name__, error)
        return TorchOps()
    if worst > TOLERANCE:
        _log.warning("Triton kernels not used on %s: they differ from float32 by %.1e", where, worst)
        return TorchOps()
    _log.info("Triton kernels in use on %s: they differ from float32 by %.1e", where, worst)
    return ops


def tuned_ops(device: torch.device, launches: Sequence[Launch], storage: Path | None) -> TorchOps:
    """Return the operations for a device with the tiles that suit it.

    launches: of the network. storage: where what was measured is stored; without one nothing is measured, since it
    would be at every start.
    """
    ops = ops_for(device.type, device.index or 0)
    if ops.name != "triton":
        return ops
    from voxtell_dicom.engine.kernels.triton_ops import TritonOps

    card = Card(device)
    capability = torch.cuda.get_device_capability(device)
    tuning = tuning_for(launches, capability, card, card_in_words(device), storage)
    return TritonOps(Chosen(agreeing(tuning.tiles, card)), tuning.way)


def tuning_for(
    launches: Sequence[Launch],
    capability: tuple[int, int],
    trial: Trial,
    where: str,
    storage: Path | None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Return the table's settings of such a card, else what was measured on this one, else measure it now.

    where: card and software, in words.
    """
    known = packaged(capability)
    if known is not None:
        _log.info("settings of the kernels: from the table, for compute capability %d.%d", *capability)
        return known
    if storage is None:
        _log.info("settings of the kernels: the default; no folder to store measured ones in")
        return Tuning()
    entry = Remembered(storage, where, launches)
    if (known := entry.read()) is not None:
        _log.info("settings of the kernels: measured before on %s", where)
        return known
    _log.info("settings of the kernels: measured now on %s, for %.0f s at most", where, SECONDS)
    found = Tuning(tune(launches, lambda kernel: fitting(kernel, capability), trial, clock))
    entry.write(found)
    return found


def agreeing(tiles: Mapping[Widths, Tile], trial: Trial) -> dict[Widths, Tile]:
    """Return the tiles that agree with the twin on this card; the log says which do not."""
    used = {(widths.kernel, tile) for widths, tile in tiles.items()}
    agreed = {pair for pair in sorted(used) if trusted(trial, *pair)}
    return {widths: tile for widths, tile in tiles.items() if (widths.kernel, tile) in agreed}


def card_in_words(device: torch.device) -> str:
    """The card and the versions of all that computes on it."""
    card = torch.cuda.get_device_name(device)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, driver {_driver_version()}"
    return f"{card}, {versions}, Triton {_triton_version()}"


def _triton_version() -> str:
    try:
        import triton
    except ImportError:
        return "none"
    version: Any = triton.__version__
    return str(version)


def _driver_version(said: Path = Path("/proc/driver/nvidia/version")) -> str:
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", said.read_text(encoding="ascii", errors="replace"))
    except OSError:  # another system, or a sandbox that does not show it
        found = None
    return found[1] if found else "unknown"
