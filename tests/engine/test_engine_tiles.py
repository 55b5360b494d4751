"""The settings of the kernels: which fit a card, how they are measured, stored and trusted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from voxtell_dicom.engine.fast_decoder import launches
from voxtell_dicom.engine.kernels import tiles
from voxtell_dicom.engine.kernels.choose import agreeing, tuning_for
from voxtell_dicom.engine.kernels.remembered import Remembered
from voxtell_dicom.engine.kernels.tiles import DEFAULTS, Kernel, Tile, Tuning, Way, Widths, candidates, fitting
from voxtell_dicom.engine.kernels.tune import Launch, tune
from voxtell_dicom.engine.network import VoxTellNetwork

LOW = (4, 4, 4)
TOP = Launch(Widths(Kernel.UPCONV, 64, 256), LOW, (2, 2, 2))
NORM = Launch(Widths(Kernel.NORMALISE, 0, 512), LOW, (2, 2, 2))
LAUNCHES = [TOP, NORM]
HOPPER = (9, 0)
WHERE = "a card, torch 2.11"
FASTEST = Tile(128, 128, 64, 8, 4)


@dataclass
class Laps:
    """A card whose launches take the seconds that a table states, by a clock of its own."""

    takes: dict[Tile, float] = field(default_factory=dict)
    wrong: dict[Tile, float] = field(default_factory=dict)
    compiles_s: float = 0.0
    now: float = 0.0
    asked: list[Tile] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def difference(self, kernel: Kernel, tile: Tile) -> float:
        self.now += self.compiles_s
        self.asked.append(tile)
        if tile in self.wrong and self.wrong[tile] < 0:
            raise RuntimeError("out of resource: shared memory")
        return self.wrong.get(tile, 1e-3)

    def seconds(self, launch: Launch, tile: Tile) -> float:
        if self.takes.get(tile) == -1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.takes.get(tile, 1.0)


def fit(kernel: Kernel) -> list[Tile]:
    return fitting(kernel, HOPPER)


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.INFO)
    return lambda: caplog.text


def test_the_wide_tiles_are_candidates() -> None:
    """128 × 128 × 64 and 128 × 256 × 64 with 8 warps and 3 and 4 stages, and the default is one."""
    wide = {(t.rows, t.columns, t.depth, t.stages) for t in candidates(Kernel.UPCONV) if t.warps == 8}
    assert {(128, columns, 64, stages) for columns in (128, 256) for stages in (3, 4)} <= wide
    for kernel in Kernel:
        assert len(set(candidates(kernel))) == len(candidates(kernel))
        assert DEFAULTS[kernel] == candidates(kernel)[0]
        assert DEFAULTS[kernel] in fitting(kernel, (7, 5))


@pytest.mark.parametrize(
    ("capability", "wide_3", "wide_4", "square_4"),
    [((8, 0), True, True, True), ((8, 6), True, False, True), ((8, 9), True, False, True), ((9, 0), True, True, True),
     ((7, 5), False, False, False), ((6, 1), False, False, False)],
)  # fmt: skip
def test_what_does_not_fit_a_card_is_no_candidate_there(
    capability: tuple[int, int], wide_3: bool, wide_4: bool, square_4: bool
) -> None:
    there = fitting(Kernel.UPCONV, capability)
    asked = (Tile(128, 256, 64, 8, 3), Tile(128, 256, 64, 8, 4), Tile(128, 128, 64, 8, 4))
    assert [tile in there for tile in asked] == [wide_3, wide_4, square_4]


def test_the_fastest_that_agrees_is_chosen(said: Callable[[], str]) -> None:
    faster = Tile(128, 256, 64, 8, 3)
    card = Laps(takes={faster: 0.1, FASTEST: 0.2}, wrong={faster: 0.5})
    assert tune(LAUNCHES, fit, card, card.clock) == {TOP.widths: FASTEST, NORM.widths: candidates(Kernel.NORMALISE)[0]}
    assert f"upconv with {faster} is wrong, and not used: it differs from float32 by 5.0e-01" in said()
    assert len(card.asked) == len(set(card.asked)), "each setting is held against the twin once"


@pytest.mark.parametrize("worst", [float("nan"), float("inf"), 3e-2, -1.0])
def test_a_setting_that_fails_its_self_test_is_never_used(worst: float, said: Callable[[], str]) -> None:
    card = Laps(takes={FASTEST: 0.1}, wrong={FASTEST: worst})
    assert tune([TOP], fit, card, card.clock)[TOP.widths] != FASTEST
    assert agreeing({TOP.widths: FASTEST, NORM.widths: DEFAULTS[Kernel.NORMALISE]}, card) == {
        NORM.widths: DEFAULTS[Kernel.NORMALISE]
    }
    assert said().count(f"upconv with {FASTEST}") >= 2
    assert "not used" in said()


def test_where_every_setting_is_wrong_none_is_chosen(said: Callable[[], str]) -> None:
    card = Laps(wrong=dict.fromkeys(candidates(Kernel.UPCONV), 1.0))
    assert tune([TOP], fit, card, card.clock) == {}
    assert "not tuned, 64×64×32, 4 warps, 3 stages is used" in said()


def test_a_launch_that_fails_at_full_size_is_left_to_others(said: Callable[[], str]) -> None:
    card = Laps(takes={FASTEST: -1, Tile(128, 128, 64, 8, 3): 0.3})
    assert tune([TOP], fit, card, card.clock) == {TOP.widths: Tile(128, 128, 64, 8, 3)}
    assert "CUDA out of memory" in said()


def test_tuning_stops_when_its_time_is_over(said: Callable[[], str]) -> None:
    """Twenty seconds a compilation: the fourth is not begun, what was measured until then counts."""
    card = Laps(takes={candidates(Kernel.UPCONV)[1]: 0.2, FASTEST: 0.1}, compiles_s=20)
    assert tune(LAUNCHES, fit, card, card.clock) == {TOP.widths: candidates(Kernel.UPCONV)[1]}
    assert card.now == 60
    assert "tuning stopped after 60 s: 3 of" in said()
    assert "normalise 0 → 512 over 4×4×4: not tuned" in said()


def test_a_card_is_measured_once(tmp_path: Path, said: Callable[[], str]) -> None:
    card = Laps(takes={FASTEST: 0.1})
    first = tuning_for(LAUNCHES, HOPPER, card, WHERE, tmp_path, card.clock)
    assert first.tiles[TOP.widths] == FASTEST
    assert f"measured now on {WHERE}, for 60 s at most" in said()
    again = Laps()
    assert tuning_for(LAUNCHES, HOPPER, again, WHERE, tmp_path, again.clock) == first
    assert again.asked == []
    assert f"measured before on {WHERE}" in said()


@pytest.mark.parametrize("where", ["another card, torch 2.11", "a card, torch 2.12"])
def test_another_card_or_software_is_measured_anew(tmp_path: Path, where: str) -> None:
    card = Laps()
    tuning_for(LAUNCHES, HOPPER, card, WHERE, tmp_path, card.clock)
    other = Laps(takes={FASTEST: 0.1})
    assert tuning_for(LAUNCHES, HOPPER, other, where, tmp_path, other.clock).tiles[TOP.widths] == FASTEST
    other_shapes = Laps(takes={FASTEST: 0.1})
    assert tuning_for([TOP], HOPPER, other_shapes, WHERE, tmp_path, other_shapes.clock).tiles == {TOP.widths: FASTEST}
    assert len(list((tmp_path / "engine").iterdir())) == 3


def damages() -> dict[str, Callable[[str], bytes]]:
    def edited(change: Callable[[dict], None]) -> Callable[[str], bytes]:
        def made(text: str) -> bytes:
            data = json.loads(text)
            change(data)
            return json.dumps(data).encode()

        return made

    return {
        "empty": lambda _: b"",
        "cut off": lambda text: text[: len(text) // 2].encode(),
        "binary": lambda _: b"\xff\xfe\x00\x01",
        "another kind": lambda _: b"[1, 2]",
        "nothing": lambda _: b"null",
        "another card's": edited(lambda d: d["key"].update(where="another")),
        "no tiles": edited(lambda d: d.pop("tiles")),
        "no candidate": edited(lambda d: d["tiles"][0].update(rows=7)),
        "a word": edited(lambda d: d["tiles"][0].update(rows="128")),
        "an unknown kernel": edited(lambda d: d["tiles"][0].update(kernel="sum")),
        "no group": edited(lambda d: d["way"].update(group=0)),
        "half a group": edited(lambda d: d["way"].update(group=1.5)),
        "no graph": edited(lambda d: d["way"].update(graph="yes")),
        "too deep": lambda _: b"[" * 100_000,
        "an unknown field": edited(lambda d: d["tiles"][0].update(speed=9)),
    }


@pytest.mark.parametrize("kind", damages())
def test_a_broken_or_foreign_entry_is_made_anew(tmp_path: Path, kind: str, said: Callable[[], str]) -> None:
    card = Laps(takes={FASTEST: 0.1})
    right = tuning_for(LAUNCHES, HOPPER, card, WHERE, tmp_path, card.clock)
    path = Remembered(tmp_path, WHERE, LAUNCHES).path
    whole = path.read_bytes()
    path.write_bytes(damages()[kind](whole.decode()))
    again = Laps(takes={FASTEST: 0.1})
    assert tuning_for(LAUNCHES, HOPPER, again, WHERE, tmp_path, again.clock) == right
    assert again.asked
    assert "is not used, and made anew" in said()
    assert path.read_bytes() == whole
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing is left beside it"


def test_an_entry_that_cannot_be_written_ends_nothing(tmp_path: Path, said: Callable[[], str]) -> None:
    (tmp_path / "engine").write_text("a file where the folder should be")
    card = Laps(takes={FASTEST: 0.1})
    assert tuning_for(LAUNCHES, HOPPER, card, WHERE, tmp_path, card.clock).tiles[TOP.widths] == FASTEST
    assert "could not be stored" in said()


def test_without_a_folder_nothing_is_measured(said: Callable[[], str]) -> None:
    card = Laps()
    assert tuning_for(LAUNCHES, HOPPER, card, WHERE, None, card.clock) == Tuning()
    assert card.asked == []
    assert "the default; no folder to store measured ones in" in said()


def test_the_packaged_table_goes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str]
) -> None:
    """A card of the table is not measured, whatever was stored before."""
    data = json.loads(tiles.SETTINGS.read_text(encoding="utf-8"))
    known = Tuning({TOP.widths: FASTEST}, Way(group=4, graph=False))
    data["cards"]["9.0"] = known.as_json()
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    monkeypatch.setattr(tiles, "SETTINGS", path)
    tiles._settings.cache_clear()
    try:
        card = Laps()
        assert tuning_for(LAUNCHES, HOPPER, card, WHERE, tmp_path, card.clock) == known
        assert card.asked == []
        assert "from the table, for compute capability 9.0" in said()
        assert tiles.packaged((8, 0)) is None
    finally:
        tiles._settings.cache_clear()


def test_the_packaged_table_can_be_read() -> None:
    data = json.loads(tiles.SETTINGS.read_text(encoding="utf-8"))
    for name in data["cards"]:
        major, minor = name.split(".")
        found = tiles.packaged((int(major), int(minor)))
        assert found is not None
        assert all(tile in fitting(w.kernel, (int(major), int(minor))) for w, tile in found.tiles.items())
    assert tiles.packaged((0, 0)) is None


def test_every_launch_of_the_network_is_tuned(tiny_network: VoxTellNetwork) -> None:
    """One launch for each pair of widths, the up-convolutions last: they take longest to compile."""
    found = launches(tiny_network)
    top = next(launch for launch in found if launch.widths == Widths(Kernel.UPCONV, 16, 32))
    assert (top.low, top.stride, top.below) == ((32, 16, 16), (1, 2, 2), (2, 2, 2))
    by_kernel = {kernel: [launch.widths for launch in found if launch.widths.kernel is kernel] for kernel in Kernel}
    assert len(by_kernel[Kernel.UPCONV]) == 4
    assert by_kernel[Kernel.DOT] == [Widths(Kernel.DOT, 0, 32)]
    assert len(set(by_kernel[Kernel.NORMALISE])) == len(by_kernel[Kernel.NORMALISE])
    assert {launch.widths.kernel for launch in found[-4:]} == {Kernel.UPCONV}
    assert {launch.below for launch in found if launch.low == (4, 2, 2)} == {(1, 1, 1)}, "the lowest has no parities"
