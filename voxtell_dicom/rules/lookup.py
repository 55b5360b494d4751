"""The values of asked-for attributes over all frames of a series, each header read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

Values = tuple[Any, ...]  # of one attribute in one frame; () where it is absent or empty
FrameNumbers = Mapping[str, Collection[int]]  # SOP Instance UID → numbers of its frames, from 1

_SHARED, _PER_FRAME = 0x52009229, 0x52009230  # Shared and Per-Frame Functional Groups Sequence (PS3.3 C.7.6.16)


def get(dataset: Dataset, what: str | int) -> Any:
    """Of a keyword the value, of a tag the element; None where it is absent, or not what its VR allows."""
    try:
        return dataset.get(what)
    except Exception:  # text where a binary number belongs, a broken sequence: pydicom raises many kinds
        return None


def values_by_tag(
    headers: Iterable[Dataset], tags: Sequence[int], frames: FrameNumbers | None = None
) -> Mapping[int, Counter[Values]]:
    """How often each value of each tag occurs, counted by frame; of multi-frame instances only `frames` (default: all).

    An attribute is looked up at the top level, then in the shared, then in the per-frame functional groups
    (contracts § 8); inside the groups, in the items of the macros (PS3.3 C.7.6.16.2), one level deep.
    """
    counts: dict[int, Counter[Values]] = {tag: Counter() for tag in tags}
    for header in headers:
        shared = _macro_items(get(header, _SHARED))
        groups = _items(get(header, _PER_FRAME))
        if frames is not None and groups:
            wanted = frames.get(str(header.get("SOPInstanceUID", "")), ())
            groups = [groups[number - 1] for number in wanted if 0 < number <= len(groups)]
        per_frame = [_macro_items([group]) for group in groups]
        for tag, counter in counts.items():
            found = _values(header, tag) or _first(shared, tag)
            if found or not per_frame:
                counter[found] += max(1, len(per_frame))
            else:
                counter.update(_first(items, tag) for items in per_frame)
    return counts


def in_words(counter: Counter[Values]) -> str:
    """The values found, as a reader wants them: ``5.0``, ``3.0 (40×), 5.0 (2×)``, ``absent``."""
    if len(counter) == 1:
        return _text(next(iter(counter)))
    shown = [f"{_text(values)} ({count}×)" for values, count in counter.most_common(4)]
    return ", ".join(shown[:3] + ["…"] * (len(shown) > 3)) or "absent"


def _text(values: Values) -> str:
    words = (f"{value:g}" if isinstance(value, float) else str(value).strip() for value in values)
    return "\\".join(words) or "absent"


def _items(sequence: Any) -> list[Dataset]:
    value = getattr(sequence, "value", sequence)
    return list(value) if value else []


def _macro_items(groups: Any) -> list[Dataset]:
    elements = [get(group, tag) for group in _items(groups) for tag in group.keys()]  # noqa: SIM118
    return [item for element in elements if element is not None and element.VR == "SQ" for item in _items(element)]


def _first(items: Iterable[Dataset], tag: int) -> Values:
    return next(_found(items, tag), ())


def _found(items: Iterable[Dataset], tag: int) -> Iterator[Values]:
    for item in items:
        values = _values(item, tag)
        if values:
            yield values


def _values(dataset: Dataset, tag: int) -> Values:
    element = get(dataset, tag)
    value = None if element is None else element.value
    if value is None:
        return ()
    if element.VR == "SQ":
        return (f"{len(value)} items",) if len(value) else ()
    many = value if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(item for item in many if item is not None and str(item).strip())
