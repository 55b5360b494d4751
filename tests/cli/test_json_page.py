"""docs/json.md itself: every schema is one, and every command with --json has one."""

from __future__ import annotations

import jsonschema
import pytest

from tests.json_page import PAGE, assert_documented, schemas
from voxtell_dicom.cli import LazyGroup, app


@pytest.mark.parametrize("heading", sorted(schemas()))
def test_schema_is_one(heading: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas()[heading])
    assert schemas()[heading]["type"] in {"object", "array"}


def with_json() -> list[str]:
    """The commands, groups unfolded, that have an option --json."""
    import typer

    def walk(command: object, name: str) -> list[str]:
        inner = getattr(command, "commands", {})
        options = {word for parameter in getattr(command, "params", []) for word in parameter.opts}
        return [name] * ("--json" in options) + [n for key, sub in inner.items() for n in walk(sub, f"{name} {key}")]

    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    return [
        name
        for word in group.list_commands(None)
        for name in walk(group.get_command(None, word), f"voxtell-dicom {word}")
    ]


def test_every_command_with_json_is_on_the_page() -> None:
    found = with_json()
    assert {"voxtell-dicom version", "voxtell-dicom rules explain", "voxtell-dicom check"} <= set(found)
    assert [name for name in found if name not in schemas()] == []


def test_the_harness_can_fail() -> None:
    with pytest.raises(jsonschema.ValidationError):
        assert_documented("voxtell-dicom demo", '{"segments": []}')
    assert "2020-12" in PAGE.read_text()
