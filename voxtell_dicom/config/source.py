"""The text of a YAML file with its line numbers, so that a complaint about a value can name the line it stands on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from voxtell_dicom.errors import ConfigError

_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
Loc = Sequence[str | int]  # the way to a value: keys and positions, as pydantic gives them


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file: where, and what to do about it."""

    line: int  # from 1
    message: str


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'X'?`` for the known word most like `word`, or "" where none is near."""
    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(name.casefold(), name)
    close = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f"; did you mean '{by_folded[close[0]]}'?" if close else ""


def dotted(loc: Loc) -> str:
    """``rules[0].when.Modality`` for a way to a value."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Source:
    """A parsed YAML file: `data` (plain dicts, lists, values) and the line of any value in it.

    Raises ConfigError where the text is not YAML, is not a mapping, or has the same key twice in one mapping
    (PyYAML would silently keep the last).
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.data: Any = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            what = error.problem or error.context or ""
            raise ConfigError(f"{name}:{line}: not valid YAML: {what}{_advice(text, line)}") from error
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"{name}:1: not valid YAML: {' '.join(str(error).split())}") from error
        if root is None or not isinstance(self.data, dict):
            raise ConfigError(f"{name}:1: expected 'key: value' lines, starting with 'version: 1'")
        self._root: yaml.Node = root
        self.refuse(list(_repeated_keys(root)))

    @classmethod
    def read(cls, path: Path) -> Source:
        """The source of a file. Raises ConfigError where it cannot be read, too."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
        return cls(text, str(path))

    def line(self, loc: Loc) -> int:
        """The line (from 1) of the key or item at `loc`; of its nearest parent where it is not in the file."""
        node, line = self._root, self._root.start_mark.line
        for part in loc:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line + 1

    def written(self, loc: Loc) -> str | None:
        """Return the text of the unquoted scalar at `loc`; None if it is quoted, no scalar, or not in the file."""
        node: yaml.Node = self._root
        for part in loc:
            found = _child(node, part)
            if found is None:
                return None
            node = found[0]
        return str(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else None

    def misread_numbers(self) -> Iterator[Problem]:
        """Yield a problem for each unquoted number that YAML reads in base 8 or 60: 0104, 1:30."""
        for node in _nodes(self._root):
            if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBER_TAGS and ":" in node.value:
                advice = f'YAML reads {node.value} in base 60; write the number itself, or "{node.value}" if it is text'
                yield Problem(node.start_mark.line + 1, advice)
            if isinstance(node, yaml.ScalarNode) and node.style is None and _LEADING_ZERO.fullmatch(node.value):
                octal = set(node.value) <= set("+-01234567")
                read = (
                    f"YAML reads {node.value} as {int(node.value, 8)} (octal)"
                    if octal
                    else f"{node.value} is no number"
                )
                advice = f'{read}; write {int(node.value)}, or "{node.value}" if it is text'
                yield Problem(node.start_mark.line + 1, advice)

    def refuse(self, problems: Sequence[Problem]) -> None:
        """Raise ConfigError naming all the problems in the order of their lines; nothing where there are none."""
        if problems:
            ordered = sorted(set(problems), key=lambda problem: (problem.line, problem.message))
            raise ConfigError("\n".join(f"{self.name}:{problem.line}: {problem.message}" for problem in ordered))


def _advice(text: str, line: int) -> str:
    """Return what to look at in a line that YAML does not understand."""
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return "; a tab stands before the text: indent with spaces"
    return "; check the indentation of this line and of the lines before it: keys of one level stand in one column"


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        item: yaml.Node = node.value[part]
        return item, item.start_mark.line
    return None


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield every node once; an anchor may lead back to where we were."""
    pending, seen = [root], {id(root)}
    while pending:
        node = pending.pop()
        yield node
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        children = [value for _, value in pairs] or (node.value if isinstance(node, yaml.SequenceNode) else [])
        for child in children:
            if id(child) not in seen:
                seen.add(id(child))
                pending.append(child)


def _repeated_keys(root: yaml.Node) -> Iterator[Problem]:
    for node in _nodes(root):
        if not isinstance(node, yaml.MappingNode):
            continue
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in first:
                yield Problem(line, f"'{key.value}' stands here and on line {first[key.value]}; keep one of them")
            elif isinstance(key, yaml.ScalarNode):
                first[key.value] = line
