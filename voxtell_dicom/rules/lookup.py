"""Values of the attributes that conditions name, counted over all frames of a series; each header is read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from voxtell_dicom.dicom.attributes import element
from voxtell_dicom.dicom.functional_groups import macro_items, per_frame_groups, shared_groups

Values = tuple[Any, ...]  # of one attribute in one frame; () where it is absent or empty
FrameNumbers = Mapping[str, Collection[int]]  # SOP Instance UID → numbers of its frames, from 1


def values_by_tag(
    headers: Iterable[Dataset], tags: Sequence[int], frames: FrameNumbers | None = None
) -> Mapping[int, Counter[Values]]:
    """Return how often each value of each tag occurs, by frame; of multi-frame instances only `frames` (default: all).

    An attribute is looked up at the top level, then in the shared, then in the per-frame functional groups
    (contracts § 8), see `functional_groups.macro_items`.
    """
    counts: dict[int, Counter[Values]] = {tag: Counter() for tag in tags}
    for header in headers:
        shared = macro_items(shared_groups(header))
        groups = per_frame_groups(header)
        if frames is not None and groups:
            wanted = frames.get(str(header.get("SOPInstanceUID", "")), ())
            groups = [groups[number - 1] for number in wanted if 0 < number <= len(groups)]
        per_frame = [macro_items(group) for group in groups]
        for tag, counter in counts.items():
            found = _values(header, tag) or _first(shared, tag)
            if found or not per_frame:
                counter[found] += max(1, len(per_frame))
            else:
                counter.update(_first(items, tag) for items in per_frame)
    return counts


def in_words(counter: Counter[Values]) -> str:
    """Return the values found as explanations show them: ``5.0``, ``3.0 (40×), 5.0 (2×)``, ``absent``."""
    if len(counter) == 1:
        return _text(next(iter(counter)))
    shown = [f"{_text(values)} ({count}×)" for values, count in counter.most_common(4)]
    return ", ".join(shown[:3] + ["…"] * (len(shown) > 3)) or "absent"


def _text(values: Values) -> str:
    words = (f"{value:g}" if isinstance(value, float) else str(value).strip() for value in values)
    return "\\".join(words) or "absent"


def _first(items: Iterable[Dataset], tag: int) -> Values:
    return next(filter(None, (_values(item, tag) for item in items)), ())


def _values(dataset: Dataset, tag: int) -> Values:
    found = element(dataset, tag)
    value = None if found is None else found.value
    if found is None or value is None:
        return ()
    if found.VR == "SQ":
        return (f"{len(value)} items",) if len(value) else ()
    many = value if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(item for item in many if item is not None and str(item).strip())
