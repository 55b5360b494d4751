"""What pydantic finds wrong with a file, in the words of someone who edits the file: line, word, nearest right word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from voxtell_dicom.config.source import Loc, Problem, Source, dotted, nearest


def in_words(source: Source, detail: dict[str, Any], schema: dict[str, Any]) -> Problem:
    """One entry of `ValidationError.errors()` as a problem of the file; `schema` is the JSON Schema of the whole."""
    loc = _in_file(source.data, detail["loc"])
    where, given = dotted(loc), detail["input"]
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        key = str(loc[-1])
        known = _keys_at(loc[:-1], schema)
        hint = nearest(key, known) or f"; known here: {', '.join(sorted(known))}"
        message = f"unknown key '{key}'{f' in {dotted(loc[:-1])}' if loc[:-1] else ''}{hint}"
    elif kind == "missing":
        message = f"'{detail['loc'][-1]}' is required{f' in {where}' if where else ''}"
    elif kind == "literal_error":
        values = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        message = f"{where}: '{given}' is not one of {', '.join(values)}{nearest(str(given), values)}"
    elif kind == "string_type" and isinstance(given, bool | int | float) and (written := source.written(loc)):
        read = "a truth value" if isinstance(given, bool) else f"the number {given}"
        message = f'{where}: YAML reads {written} as {read}; put it in quotes: "{written}"'
    elif kind == "value_error":
        message = f"{where}: {context['error']}"
    elif kind == "string_pattern_mismatch" and (right := _described(loc, schema)):
        shown = "the value" if "://" in given and "@" in given else f"'{given}'"  # a password may stand before the @
        message = f"{where}: {shown} is not {right}"
    elif isinstance(given, dict | list):
        message = f"{where}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
    else:
        message = f"{where}: '{given}': {detail['msg'][0].lower()}{detail['msg'][1:]}"
    return Problem(source.line(loc), message)


def _in_file(data: Any, loc: Loc) -> tuple[str | int, ...]:
    """`loc` without what pydantic adds for unions and for keys that are not in the file."""
    way: list[str | int] = []
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            continue
        way.append(part)
    return tuple(way)


def _keys_at(loc: Loc, whole: dict[str, Any]) -> list[str]:
    """The keys that the mapping at `loc` may have."""
    return [key for schema in _schemas_at(loc, whole) for key in schema.get("properties", {})]


def _described(loc: Loc, whole: dict[str, Any]) -> str:
    """Return what the value at `loc` should be, from the field's description."""
    return next((schema["description"] for schema in _schemas_at(loc, whole) if "description" in schema), "")


def _schemas_at(loc: Loc, whole: dict[str, Any]) -> list[dict[str, Any]]:
    schemas = list(_alternatives(whole, whole))
    for part in loc:
        steps = [
            schema.get("items")
            if isinstance(part, int)
            else schema.get("properties", {}).get(part, schema.get("additionalProperties"))
            for schema in schemas
        ]
        schemas = [kind for step in steps if isinstance(step, dict) for kind in _alternatives(step, whole)]
    return schemas


def _alternatives(schema: dict[str, Any], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        yield from _alternatives(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole)
    elif "anyOf" in schema or "oneOf" in schema:
        outer = {"description": schema["description"]} if "description" in schema else {}
        for alternative in schema.get("anyOf", schema.get("oneOf", [])):
            yield from (kind | outer for kind in _alternatives(alternative, whole))
    else:
        yield schema
