from __future__ import annotations

import errno
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.oracles import engine_oracle as oracle
from voxtell_dicom.engine.accumulator import Accumulator
from voxtell_dicom.engine.forward import WindowModel
from voxtell_dicom.engine.memory import Allowance, Place, peak_host_bytes, places_for
from voxtell_dicom.engine.network import Sizes, VoxTellNetwork
from voxtell_dicom.engine.pace import cpu_seconds_per_window, window_macs
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.engine.windows import windows_over
from voxtell_dicom.errors import OutOfMemory
from voxtell_dicom.model import Request, Resampling, Segment
from voxtell_dicom.workers.worker import _code

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
REQUESTS = [Request("liver"), Request("spleen"), Request("aorta")]


class _Short(WindowModel):
    """Runs out of memory at given answers, counted over the whole pass."""

    answers = 0
    fails: tuple[int, ...] = ()

    def accumulate(
        self, patch: torch.Tensor, prompts: torch.Tensor, first: int, importance: torch.Tensor, targets: torch.Tensor
    ) -> Iterator[int]:
        for prompt in super().accumulate(patch, prompts, first, importance, targets):
            yield prompt
            _Short.answers += 1
            if _Short.answers in self.fails:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 453.00 MiB")


LADDER = [Place(CPU, CPU), Place(CPU, CPU), Place(CPU, CPU, is_last_resort=True)]  # as many as a GPU has


def _run(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: tuple[int, ...],
    within_s: float | None = None,
    estimate_s: float = 1.0,
) -> tuple[list[Segment], Predictor]:
    predictor = Predictor.load(directory, device="cpu")
    predictor._model = _Short(predictor._network, CPU)
    monkeypatch.setattr(_Short, "answers", 0)
    monkeypatch.setattr(_Short, "fails", fails)
    monkeypatch.setattr(predictor, "_device_places", lambda: LADDER)
    monkeypatch.setattr(predictor, "_cpu_seconds_per_window", lambda _prompts: estimate_s)
    volume = np.random.default_rng(3).normal(0, 100, (40, 40, 36)).astype(np.float32)
    return list(predictor.segment(volume, (1, 1, 1), REQUESTS, within_s=within_s)), predictor


def test_every_step_is_taken_logged_and_changes_no_mask(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = _run(tiny_directory, monkeypatch, ())
    with caplog.at_level(logging.WARNING):
        # In the middle of a window: nothing may be summed twice.
        got, predictor = _run(tiny_directory, monkeypatch, (5, 12))
    assert got == expected
    assert predictor.last_run is not None
    assert len(predictor.last_run.steps) == 2
    assert predictor.last_run.windows == 8
    assert predictor.last_run.encoded == 8 + 1, "the window that ran short half-way is seen again"
    assert predictor.last_run.peak_host_bytes > 1 << 20
    assert "8 windows, encoded 9 times, on cpu, peak " in predictor.last_run.in_words()
    assert predictor.last_run.in_words().count("memory ran out") == 2
    assert sum("memory ran out (CUDA out of memory" in r.getMessage() for r in caplog.records) == 2


def test_the_cpu_takes_over_only_where_the_estimate_fits_what_is_left(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = _run(tiny_directory, monkeypatch, ())
    got, _ = _run(tiny_directory, monkeypatch, (5, 12), within_s=3600, estimate_s=60)  # 5 windows at 60 s
    assert got == expected
    words = r"the CPU would take about 100.0 min for 5 of 8 windows, where (9|10)\.\d min are left.*max_minutes"
    with caplog.at_level(logging.WARNING), pytest.raises(OutOfMemory, match=words):
        _run(tiny_directory, monkeypatch, (5, 12), within_s=600, estimate_s=1200)
    logged = [record.getMessage() for record in caplog.records]
    assert any("now network on cpu, sums on cpu" in line for line in logged)
    assert any("the CPU would take about 100.0 min" in line for line in logged)


def test_a_last_resort_that_is_slower_than_estimated_is_given_up(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Allowance, "left_s", property(lambda self: 1e-6))
    with pytest.raises(OutOfMemory, match=r"by what was measured \d\.\d min for 4 of 8 windows, where 0\.0 min"):
        _run(tiny_directory, monkeypatch, (5, 12), within_s=600, estimate_s=0)


def test_the_estimate_counts_the_multiplications_of_the_folded_network() -> None:
    with torch.device("meta"):
        full = VoxTellNetwork(Sizes(), oracle.FULL_ARCH, (192, 192, 192))
    # The spec page's figures for the fast way: 6.5 T for 20 prompts; 1.7 T for the encoder alone.
    assert window_macs(full, 20) == pytest.approx(6.5e12, rel=0.1)
    assert 1.7e12 < window_macs(full, 0) < 2.1e12
    assert cpu_seconds_per_window(full, 20) > cpu_seconds_per_window(full, 0) / 2 > 0


def test_passes_at_two_spacings_are_reported_together(tiny_directory: Path) -> None:
    predictor = Predictor.load(tiny_directory, device="cpu")
    volume = np.random.default_rng(3).normal(0, 100, (40, 40, 36)).astype(np.float32)
    reports = []
    coarse = Request("spleen", resampling=Resampling(spacing_mm=2, finer_than_mm=1.5))
    for requests in ([Request("liver")], [coarse], [Request("liver"), coarse]):
        list(predictor.segment(volume, (1, 1, 1), requests))
        assert predictor.last_run is not None
        reports.append(predictor.last_run)
    fine, other, both = (report.windows for report in reports)
    assert (fine, both) == (8, fine + other)
    assert all(report.encoded == report.windows for report in reports)
    list(predictor.segment(np.zeros((8, 8, 8), np.float32), (1, 1, 1), REQUESTS))
    assert predictor.last_run is None, "an earlier volume's report is not this one's"


def test_after_the_last_step_the_error_says_so(tiny_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutOfMemory, match="453"):
        _run(tiny_directory, monkeypatch, (2, 3, 4))


def test_the_peak_is_this_process_s_own_and_not_its_parents() -> None:
    held = np.ones(400 << 20, np.uint8)  # 400 MB here, when the other process is started
    code = (
        "from voxtell_dicom.engine.memory import peak_host_bytes as p; a = p(); b = b'x' * (300 << 20); print(a, p())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    before, after = map(int, run.stdout.split())
    assert before < peak_host_bytes() - held.nbytes // 4
    assert 250 << 20 < after - before < 350 << 20


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("prepare", MemoryError("Unable to allocate 1.05 GiB")),
        ("_padded", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")),
        ("cleaned_segment", torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 453.00 MiB")),
    ],
)
def test_memory_that_runs_out_beside_the_windows_is_told_as_such(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    def short(*_arguments: object) -> None:
        raise error

    predictor = Predictor.load(tiny_directory, device="cpu")
    monkeypatch.setattr(f"voxtell_dicom.engine.predictor.{where}", short)
    with pytest.raises(OutOfMemory, match=r"beside the windows: .*llocate"):
        predictor.predict(np.ones((8, 8, 8), np.float32), ["liver"])
    monkeypatch.undo()
    assert predictor.predict(np.ones((8, 8, 8), np.float32), ["liver"]).shape == (1, 8, 8, 8)


def test_the_worker_tells_the_node_what_is_worth_another_try() -> None:
    codes = [_code(error) for error in (MemoryError(), OSError(errno.ENOSPC, "full"), ValueError("odd"))]
    assert codes == ["out-of-memory", "no-space", "crash"]


def test_another_error_is_not_taken_for_it(tiny_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor.load(tiny_directory, device="cpu")
    monkeypatch.setattr(predictor._model, "accumulate", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(predictor.segment(np.ones((8, 8, 8), np.float32), (1, 1, 1), REQUESTS))


def test_a_gpu_keeps_the_sums_then_the_host_then_all_goes_to_the_cpu() -> None:
    cuda = torch.device("cuda", 0)
    assert places_for(cuda) == [Place(cuda, cuda), Place(cuda, CPU), Place(CPU, CPU, is_last_resort=True)]
    assert places_for(CPU) == [Place(CPU, CPU)]


def test_a_large_series_fits_twelve_and_sixteen_gigabytes() -> None:
    windows = windows_over((1000, 512, 512), (192, 192, 192))
    device, host = Accumulator.needs_bytes(windows, 30)
    assert device == 31 * 192 * 512 * 512 * 2
    assert host == 30 * 1000 * 512 * 64
    assert device < 4e9
    feature_maps, weights = 8 * 32 * 192**3 * 2, 440e6 * 2
    assert device + feature_maps + weights < 12e9
    volume = 1000 * 512 * 512 * 4
    assert device + host + 3 * volume < 16e9, "the sums on the host, the volume, its mapped file and its crop"


def test_the_stated_arithmetic_is_what_is_allocated() -> None:
    windows = windows_over((50, 40, 37), (32, 32, 32))
    accumulator = Accumulator(windows, [[Request("a")], [Request("b")], [Request("c")]], CPU)
    device, host = Accumulator.needs_bytes(windows, 3)
    assert accumulator._sum.nbytes + accumulator._weight.nbytes == device
    assert sum(tally.bits.nbytes for group in accumulator._tallies for tally in group) == host
