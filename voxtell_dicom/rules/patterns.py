"""Patterns that users write, matched in linear time (google-re2) with the meaning that Python's `re` gives them.

RE2 cannot be made to run for ever by a pattern such as ``(a+)+$``. What it lacks is refused with advice: look-around,
back-references, ``\\Z``, ``(?x)``, comments, repetitions above 1,000. Its ``\\w \\d \\s \\b`` know ASCII only, so
character classes are written out as the code points that `re` finds, and word boundaries as marks put into the text.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import re2

MOST_REPETITIONS = 1000
_BOUNDARY, _INSIDE = "\ufdd0", "\ufdd1"  # noncharacters (Unicode 23.7): no text that is exchanged has them
_MARKS = f"[{_BOUNDARY}{_INSIDE}]"
_MARKS_AT_A_PLACE = 4  # as many assertions may stand side by side in a pattern
_NOT_MATCHES = "to exclude words, use the condition 'not_matches:'"
_GROUPS = {
    "(?=": f"look-ahead (?=…): write what comes next into the pattern; {_NOT_MATCHES}",
    "(?!": f"negative look-ahead (?!…): {_NOT_MATCHES}",
    "(?<=": f"look-behind (?<=…): write what comes before into the pattern; {_NOT_MATCHES}",
    "(?<!": f"negative look-behind (?<!…): {_NOT_MATCHES}",
    "(?P=": "a back-reference (?P=…): write the alternatives out",
    "(?>": "an atomic group (?>…): write (?:…)",
    "(?(": "a conditional group (?(…)…): write the alternatives out, with |",
    "(?#": "a comment (?#…): put it behind a # at the end of the YAML line",
}
_FLAGS = re.compile(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]+))?([:)])")
_REPETITION = re.compile(r"\{(\d*)(,?)(\d*)\}")
_CODE_POINT = re.compile(r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}")
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}


class UnsupportedPattern(ValueError):
    """A pattern that is no regular expression, or uses what cannot be matched in linear time; says what to write."""


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern. `text` is as it was written."""

    text: str
    _compiled: Any
    _marked: bool  # the text that is searched gets marks at its word boundaries

    def found_in(self, text: str) -> bool:
        """Return True if the pattern occurs anywhere in `text`."""
        return self._compiled.search(_mark_boundaries(text) if self._marked else text) is not None


@lru_cache(maxsize=1024)
def compile_pattern(text: str) -> Pattern:
    """Return the compiled pattern. Raises UnsupportedPattern with what is wrong and what to write instead."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UnsupportedPattern(f"is not a regular expression: {error}") from error
    translated, marked = _Translation(text).run()
    options = re2.Options()
    options.log_errors = False  # it would write to the standard error
    try:
        return Pattern(text, re2.compile(translated, options), marked)
    except re2.error as error:
        words = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise UnsupportedPattern(f"cannot be matched in linear time: {words}") from error


class _Translation:
    """One pass over a pattern that `re` takes, writing what RE2 takes with the same meaning."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._marked = re.search(r"(?<!\\)(?:\\\\)*\\[bB]", text) is not None
        self._at = 0
        self._out: list[str] = []
        self._ignore_case = [False]  # for each open group

    def run(self) -> tuple[str, bool]:
        """Return the translated pattern, and whether the searched text must be marked."""
        while self._at < len(self._text):
            self._next()
        return "".join(self._out), self._marked

    def _next(self) -> None:
        text, start = self._text, self._at
        character = text[start]
        self._at += 1
        if character == "\\":
            self._escape()
        elif character == "[":
            self._at = _end_of_class(text, start)
            self._atom(_class(text[start : self._at], self._ignore_case[-1], self._marked))
        elif character == ".":
            self._atom(f"[^\\n{_BOUNDARY}{_INSIDE}]" if self._marked else ".")
        elif character == "(":
            self._group(start)
        elif character == ")":
            self._ignore_case.pop()
            self._out.append(")")
        elif character in "*+?":
            if text[self._at : self._at + 1] == "+":
                raise UnsupportedPattern(f"'{character}+' is possessive: write '{character}'")
            self._out.append(character)
        elif character == "{" and (match := _REPETITION.match(text, start)) and match[0] not in ("{}", "{,}"):
            self._repetition(match)
        elif character == "$":
            self._out.append(f"{_MARKS}*$" if self._marked else "$")
        elif character in "|^":
            self._out.append(character)
        else:
            self._atom(_literal(ord(character)))

    def _atom(self, translated: str) -> None:
        """Write what matches one character; in a marked text, marks may stand before it."""
        self._out.append(f"(?:{_MARKS}*{translated})" if self._marked else translated)

    def _escape(self) -> None:
        text, at = self._text, self._at
        letter = text[at]
        self._at += 1
        if letter in "bB":
            self._out.append(_BOUNDARY if letter == "b" else _INSIDE)
        elif letter in "wWdDsS":
            self._atom(_class(f"\\{letter}", self._ignore_case[-1], self._marked))
        elif letter == "A":
            self._out.append("\\A")
        elif letter == "Z":
            raise UnsupportedPattern("'\\Z' cannot be used: write '$'")
        elif letter == "N":
            raise UnsupportedPattern("'\\N{…}' cannot be used: write the character itself")
        elif letter in "xuU" and (match := _CODE_POINT.match(text, at)):
            self._at = match.end()
            self._atom(_literal(int(match[0][1:], 16)))
        elif letter == "0" or re.match(r"[0-3][0-7]{2}", text[at:]):
            digits = re.match(r"[0-7]{1,3}", text[at:])
            assert digits is not None
            self._at = at + digits.end()
            self._atom(_literal(int(digits[0], 8)))
        elif letter.isdigit():
            raise UnsupportedPattern(f"a back-reference '\\{letter}' cannot be used: write the alternatives out")
        else:
            self._atom(_literal(_CONTROLS.get(letter, ord(letter))))

    def _group(self, start: int) -> None:
        text = self._text
        for opening, advice in _GROUPS.items():
            if text.startswith(opening, start):
                raise UnsupportedPattern(f"uses {advice}")
        ignore_case = self._ignore_case[-1]
        if match := _FLAGS.match(text, start):
            on, off, ending = match[1], match[2] or "", match[3]
            if unknown := sorted(set(on + off) - set("ims")):
                raise UnsupportedPattern(f"the flag (?{unknown[0]}) cannot be used; (?i), (?m) and (?s) can")
            ignore_case = (ignore_case or "i" in on) and "i" not in off
            if "s" in on + off and self._marked:
                raise UnsupportedPattern("(?s) cannot be used together with \\b: leave it out, values have one line")
            self._at = match.end()
            self._out.append(match[0])
            if ending == ")":  # holds to the end of the group that it stands in
                self._ignore_case[-1] = ignore_case
                return
        elif match := re.compile(r"\(\?P<\w+>").match(text, start):
            self._at = match.end()
            self._out.append("(?:")
        else:
            self._out.append("(")
        self._ignore_case.append(ignore_case)

    def _repetition(self, match: re.Match[str]) -> None:
        low, comma, high = match.groups()
        if max(int(low or 0), int(high or 0)) > MOST_REPETITIONS:
            raise UnsupportedPattern(f"the repetition {match[0]} is above {MOST_REPETITIONS}: write '*' or '+'")
        self._at = match.end()
        if self._text[self._at : self._at + 1] == "+":
            raise UnsupportedPattern(f"'{match[0]}+' is possessive: write '{match[0]}'")
        self._out.append(f"{{{low or 0}{comma}{high}}}")


def _literal(code_point: int) -> str:
    character = chr(code_point)
    return character if character.isascii() and character.isalnum() else f"\\x{{{code_point:x}}}"


def _end_of_class(text: str, start: int) -> int:
    """Return the offset behind the character class that begins at `start`."""
    at = start + 1
    at += text[at] == "^"
    at += text[at] == "]"  # the first one is a literal
    while text[at] != "]":
        at += 2 if text[at] == "\\" else 1
    return at + 1


@lru_cache(maxsize=256)
def _class(written: str, ignore_case: bool, marked: bool) -> str:
    """Return a character class as the ranges of code points that `re` finds for it."""
    found = re.finditer(f"(?:{written})+", _every_character(), re.IGNORECASE if ignore_case else 0)
    taken = set(_BOUNDARY + _INSIDE) if marked else set()
    ranges = [part for match in found for part in _without(match.start(), match.end() - 1, taken)]
    if not ranges:
        return "[^\\x{0}-\\x{10ffff}]"
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"


def _without(low: int, high: int, taken: set[str]) -> list[tuple[int, int]]:
    ranges = [(low, high)]
    for character in taken:
        point = ord(character)
        ranges = [
            part
            for low, high in ranges
            for part in ([(low, high)] if not low <= point <= high else [(low, point - 1), (point + 1, high)])
            if part[0] <= part[1]
        ]
    return ranges


@cache
def _every_character() -> str:
    """All code points in order; surrogates stand as they are, so that offsets are code points."""
    return "".join(map(chr, range(sys.maxunicode + 1)))


def _mark_boundaries(text: str) -> str:
    """Return the text with marks before, between and behind its characters: word boundary or not, as `re` sees it."""
    clean = text.replace(_BOUNDARY, "\ufffd").replace(_INSIDE, "\ufffd")
    words = [False, *(re.match(r"\w", character) is not None for character in clean), False]
    marks = [(_BOUNDARY if words[i] != words[i + 1] else _INSIDE) * _MARKS_AT_A_PLACE for i in range(len(clean) + 1)]
    if not clean:
        marks = [""]  # `re` finds neither \b nor \B in an empty text
    return marks[0] + "".join(character + mark for character, mark in zip(clean, marks[1:], strict=True))
