"""Compile every candidate of the kernels' settings for real cards, without one, and list what each takes.

    python tools/compile_kernels.py            # writes benchmarks/cuda/compiled.md: three minutes
    python tools/compile_kernels.py --check    # one candidate only, and whether its row is what the page says

Ahead of time, as Triton's launcher specialises them for the top stage of the full-size network (divisible strides,
aligned pointers), so that loads are vectorised and pipelined as they will be. The machine code says registers and
spills.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import triton  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource, compile  # noqa: E402

from voxtell_dicom.engine.kernels import dot, norm, upconv  # noqa: E402
from voxtell_dicom.engine.kernels.tiles import Kernel, Tile, candidates, fitting, shared_limit  # noqa: E402

PAGE = ROOT / "benchmarks" / "cuda" / "compiled.md"
CAPABILITIES = ((8, 0), (8, 6), (8, 9), (9, 0))
_HALF = ("x_ptr", "w_ptr", "skip_ptr", "out_ptr", "rows_ptr", "residual_ptr", "importance_ptr", "target_ptr")
_FLOAT = ("slope", "eps")
_ODD = ("count", "tiles", "pz", "py", "px", "z_size", "y_size", "x_size")  # compiled once for all stages
_STRIDES = {"SZ": 2, "SY": 2, "SX": 2}
_TAPS = {"TZ": 2, "TY": 2, "TX": 2}
_BELOW = {"BZ": 2, "BY": 2, "BX": 2}
_CHANNELS = 32


@dataclass(frozen=True)
class Row:
    """A line of the page."""

    capability: tuple[int, int]
    kernel: str
    setting: str
    registers: int
    shared_bytes: int
    spilled_bytes: int
    fits: bool

    def __str__(self) -> str:
        verdict = "candidate" if self.fits else "too large for this card"
        numbers = f"{self.registers} | {self.shared_bytes} | {self.spilled_bytes}"
        return (
            f"| sm_{self.capability[0]}{self.capability[1]} | {self.kernel} | {self.setting} | {numbers} | {verdict} |"
        )


def variants(kernel: Kernel, tile: Tile) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield what is launched with a tile: functions and their constants."""
    if kernel is Kernel.UPCONV:
        sizes = {"ROWS": tile.rows, "COLUMNS": tile.columns, "DEPTH": tile.depth}
        yield upconv._upconv, {**_STRIDES, **_TAPS, **_BELOW, "PADDED": tile.padded, **sizes}
    elif kernel is Kernel.NORMALISE:
        sizes = {"ROWS": tile.rows, "COLUMNS": tile.columns}
        yield norm._sums, sizes
        yield norm._normalise, {"RESIDUAL": True, **sizes}
    else:
        yield dot._dot_accumulate, {**_STRIDES, "ROWS": tile.rows, "CHANNELS": _CHANNELS}


def compiled(function: Any, constants: dict[str, Any], tile: Tile, capability: tuple[int, int]) -> Row:
    """Return what a kernel takes on a card."""
    names = function.arg_names
    signature = {name: _kind(name, constants) for name in names}
    even = [name for name in names if name not in constants and name not in (*_ODD, *_FLOAT)]
    hints = {(names.index(name),): [["tt.divisibility", 16]] for name in even}
    options = {"num_warps": tile.warps, "num_stages": tile.stages or 3}
    major, minor = capability
    target = GPUTarget("cuda", 10 * major + minor, 32)
    made = compile(ASTSource(function, signature, constants, hints), target=target, options=options)
    registers, spilled = taken(made.asm["cubin"])
    shared = int(made.metadata.shared)
    limit = shared_limit(capability)
    return Row(capability, function.__name__, str(tile), registers, shared, spilled, shared <= limit)


def _kind(name: str, constants: dict[str, Any]) -> str:
    if name in constants:
        return "constexpr"
    if name.endswith("_ptr"):
        return "*fp16" if name in _HALF else "*fp32"
    return "fp32" if name in _FLOAT else "i32"


def taken(cubin: bytes) -> tuple[int, int]:
    """Return (registers of a thread, bytes of its stack, which is where it spills), as Triton's own cuobjdump says."""
    cuobjdump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(cuobjdump), "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


def rows(wanted: Iterable[tuple[tuple[int, int], Kernel, Tile]]) -> Iterator[Row]:
    """Yield the lines for some candidates."""
    for capability, kernel, tile in wanted:
        for function, constants in variants(kernel, tile):
            yield compiled(function, constants, tile, capability)


def everything() -> list[tuple[tuple[int, int], Kernel, Tile]]:
    """Return every candidate on every card."""
    return [
        (capability, kernel, tile) for capability in CAPABILITIES for kernel in Kernel for tile in candidates(kernel)
    ]


def finish(capability: tuple[int, int]) -> Row:
    """Return what the one kernel without a setting takes."""
    return compiled(norm._scale_and_shift, {"PARITIES": 8, "TILES": norm.TILES}, Tile(norm.TILES), capability)


def page(lines: Iterable[Row]) -> str:
    """Return the page."""
    head = f"""# What the kernels take, compiled without a card

Written by `tools/compile_kernels.py` with Triton {triton.__version__}; do not edit. It says nothing about speed.
Float16, specialised as for the top stage of the full-size network. Shared memory in bytes of a block (limits:
{_limits()}), spills in bytes of a thread.

| card | kernel | setting | registers | shared memory | spills | |
| --- | --- | --- | --- | --- | --- | --- |
"""
    return head + "\n".join(map(str, lines)) + "\n"


def _limits() -> str:
    return ", ".join(f"sm_{major}{minor} {shared_limit((major, minor))}" for major, minor in CAPABILITIES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compile one candidate and hold it against the page")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write (another Triton, another page)")
    args = parser.parse_args()
    if args.check:
        for row in rows([((9, 0), Kernel.UPCONV, fitting(Kernel.UPCONV, (9, 0))[-1])]):
            print(row)
            if str(row) not in PAGE.read_text(encoding="utf-8").splitlines():
                sys.exit(f"{PAGE} is older than the kernels: run python tools/compile_kernels.py")
        return
    args.page.parent.mkdir(exist_ok=True)
    args.page.write_text(page([*rows(everything()), *map(finish, CAPABILITIES)]), encoding="utf-8")
    print(f"{args.page} is written")


if __name__ == "__main__":
    main()
