"""Values as JSON and back, and the digest that keys are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def dump(value: Any) -> Any:
    """A dataclass of this module as JSON-able data (dicts, lists, strings, numbers)."""
    return json.loads(_adapter(type(value)).dump_json(value))


def load(kind: type[T], data: Any) -> T:
    """The inverse of `dump`; raises pydantic.ValidationError where the data are not of that kind."""
    return _adapter(kind).validate_json(json.dumps(data))  # type: ignore[no-any-return]


def canonical_digest(data: Any) -> str:
    """SHA-256 (hex) over canonical JSON: sorted keys, no blanks, UTF-8."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
