"""Which installed fonts draw the words of a page: matplotlib's own knows no Chinese, Japanese or Korean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

FIRST = {"sans": "DejaVu Sans", "mono": "DejaVu Sans Mono"}  # matplotlib brings them along
BOX = "\N{WHITE SQUARE}"


@dataclass(frozen=True)
class Fonts:
    """Families in the order in which they are asked for a letter; `undrawable` is what none of them has."""

    families: tuple[str, ...]
    undrawable: frozenset[str]

    def drawable(self, text: str) -> str:
        """`text` with a box for each letter that no font has."""
        return "".join(BOX if letter in self.undrawable else letter for letter in text)


def fonts_for(texts: Iterable[str], kind: str = "sans") -> Fonts:
    """The fonts that the letters of `texts` need. kind: sans or mono, for what the first one has."""
    letters = {letter for text in texts for letter in text if letter.isprintable()}
    return _fonts(frozenset(letters - _letters_of(FIRST[kind])), FIRST[kind])


@cache
def _fonts(missing: frozenset[str], first: str) -> Fonts:
    families, undrawable = [first], set(missing)
    for name in sorted(_files()) if missing else ():
        if undrawable & _letters_of(name):
            families.append(name)
            undrawable -= _letters_of(name)
        if not undrawable:
            break
    return Fonts(tuple(families), frozenset(undrawable))


@cache
def _letters_of(family: str) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    return frozenset(map(chr, get_font(_files()[family]).get_charmap()))


@cache
def _files() -> dict[str, str]:
    """Family → a file of it. Without those that have a box for every letter."""
    from matplotlib.font_manager import fontManager

    upright = [entry for entry in fontManager.ttflist if entry.style == "normal" and entry.weight in (400, "normal")]
    return {entry.name: entry.fname for entry in upright if not entry.name.startswith("Last Resort")}
