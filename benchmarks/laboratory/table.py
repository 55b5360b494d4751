"""The results as a table that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TERA, _GIGA, _GIB = 1e12, 1e9, 2**30


def table(results: dict[str, Any]) -> str:
    """Return the text of table.txt."""
    sections = results["sections"]
    lines = [f"{results['card']}, {results['date']}, {results['seconds']:.0f} s", ""]
    lines += [f"{name:14} {o['status']:10} {o['seconds']:7.1f} s  {o['error'][:100]}" for name, o in sections.items()]
    lines += ["", *_sweep(_of(sections, "sweep"), _of(sections, "ceilings"))]
    for name in ("correctness", "ceilings", "alternatives", "compile", "profile", "against", "volume", "caps"):
        lines += ["", name, *_flat(_of(sections, name))]
    return "\n".join(lines) + "\n"


def _of(sections: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(sections.get(name, {}).get("result", {}))


def _sweep(result: dict[str, Any], ceilings: dict[str, Any]) -> Iterator[str]:
    """Each launch's settings, the fastest first, with their share of what the card reaches."""
    flops = ceilings.get("flops", {}).get("float16")
    bandwidth = ceilings.get("bytes_per_second")
    for launch, tried in result.items():
        timed = {name: t for name, t in tried.items() if _is_timed(t)} if isinstance(tried, dict) else {}
        if timed:
            yield launch
        for name, entry in sorted(timed.items(), key=lambda item: item[1]["seconds"]):
            rate, moved = entry["flops"], entry["bytes_per_second"]
            yield (
                f"  {name:44} {1e3 * entry['seconds']:9.3f} ms {rate / _TERA:8.1f} TFLOP/s{_share(rate, flops)}"
                f" {moved / _GIGA:8.0f} GB/s{_share(moved, bandwidth)}"
            )


def _is_timed(entry: Any) -> bool:
    return isinstance(entry, dict) and {"seconds", "flops", "bytes_per_second"} <= entry.keys()


def _share(value: float, ceiling: Any) -> str:
    return f" {value / ceiling:4.0%}" if isinstance(ceiling, float) and ceiling else "    ?"


def _flat(value: Any, name: str = "") -> Iterator[str]:
    """Every number with its names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} / {key}" if name else key)
        return
    yield f"  {name}: {_words(name, value)}"


def _words(name: str, value: Any) -> str:
    if isinstance(value, (int, float)) and "bytes" in name:
        return f"{value / _GIB:.2f} GiB" if "second" not in name else f"{value / _GIGA:.0f} GB/s"
    if isinstance(value, float) and "flops" in name:
        return f"{value / _TERA:.1f} TFLOP/s"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
