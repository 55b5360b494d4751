"""Pin what programs read: the schemas of docs/json.md, and the keys and types that `--json` prints on the phantom.

Descriptions in the schemas are not pinned: they bind no program.
Keys may be added, with a line in CHANGELOG.md; none is renamed or removed within version 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.golden.conftest import Golden
from tests.json_page import assert_documented, schemas
from tests.workflow.test_study import Site, deliver
from voxtell_dicom.cli import app
from voxtell_dicom.config import load_config
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.writer import write_series

SETTINGS = """\
version: 1
node: {{storage: {folder}/node}}
receive: {{quiet_s: 0.05, min_free_percent: 0}}
model: {{engine: threshold}}
peers:
  pacs: {{folder: {folder}/out}}
rules:
  - {{name: bright, when: {{Modality: CT, volume: {{plane: axial}}}}, prompts: ["> 300", "> 5000"], send_to: [pacs]}}
  - {{name: other, when: {{Modality: MR}}, prompts: ["> 300"]}}
  - {{name: best, scope: study, when: {{Modality: CT}}, choose: {{best: [thinnest]}}, prompts: ["> 300"]}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with node.yaml, and with two series: whole, and with a slice missing."""
    folder = tmp_path_factory.mktemp("study")
    scan = Acquisition(shape=(12, 64, 64), slice_spacing_mm=8.0, pixel_spacing_mm=(6.0, 6.0))
    write_series(torso(5), scan, folder / "ct" / "whole")
    write_series(torso(5), Acquisition(slice_spacing_mm=32.0, missing=(5,)), folder / "ct" / "gap")
    (folder / "node.yaml").write_text(SETTINGS.format(folder=folder))
    return folder


def keys_of(value: Any, path: str = "") -> Iterator[str]:
    """Return the path and JSON type of everything in a value; `[]` stands for each item of an array."""
    if isinstance(value, dict):
        yield f"{path}: object"
        for key, inner in value.items():
            yield from keys_of(inner, f"{path}.{key}")
    elif isinstance(value, list):
        yield f"{path}: array"
        for inner in value:
            yield from keys_of(inner, f"{path}[]")
    else:
        names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
        yield f"{path}: {names[type(value)]}"


def without_descriptions(schema: Any) -> Any:
    """Return a schema without the words for people; a property may be called `description`, too."""
    if isinstance(schema, dict):
        return {
            key: without_descriptions(inner)
            for key, inner in schema.items()
            if key != "description" or not isinstance(inner, str)
        }
    return [without_descriptions(inner) for inner in schema] if isinstance(schema, list) else schema


def printed(heading: str, *arguments: str, code: int = 0) -> list[str]:
    """Return the sorted key paths of what a command prints, checked against its schema."""
    done = CliRunner().invoke(app, [*heading.split()[1:], *arguments, "--json"])
    assert done.exit_code == code, done.output
    return sorted(set(keys_of(assert_documented(heading, done.stdout))))


@pytest.mark.parametrize("heading", sorted(schemas()))
def test_schemas(heading: str, golden: Golden) -> None:
    golden(f"schema: {heading}", without_descriptions(schemas()[heading]))


def test_no_schema_is_gone(golden: Golden) -> None:
    golden("headings", sorted(schemas()))


def test_inspect(study: Path, golden: Golden) -> None:
    name = "voxtell-dicom inspect"
    golden(name, printed(name, str(study / "ct"), "-c", str(study / "node.yaml")))


def test_rules_explain(study: Path, golden: Golden) -> None:
    name = "voxtell-dicom rules explain"
    golden(name, printed(name, str(study / "ct"), "-c", str(study / "node.yaml")))


def test_check(study: Path, golden: Golden) -> None:
    name = "voxtell-dicom check"
    golden(name, printed(name, "-c", str(study / "node.yaml")))


def test_terms(golden: Golden) -> None:
    name = "voxtell-dicom terms"
    golden(name, printed(name, "left kidney", "something with no code", "lesion of the liver"))


def test_segment(study: Path, golden: Golden, tmp_path: Path) -> None:
    """One volume is segmented, one is refused: exit code 1."""
    name = "voxtell-dicom segment"
    more = ["-o", str(tmp_path), "--engine", "threshold", "-p", "> 300", "-p", "> 5000"]
    golden(name, printed(name, str(study / "ct"), *more, code=1))


def test_jobs(study: Path, golden: Golden) -> None:
    """Jobs that are delivered with a receipt, refused, and waiting for their study."""
    path = study / "node.yaml"
    site = Site(study, load_config(path))
    site.receive(sorted((study / "ct" / "gap").iterdir()))
    name = site.receive(sorted((study / "ct" / "whole").iterdir()))
    (job,) = (job.id for job in site.jobs.find(series_uid=name) if job.plan)
    deliver(site, job)
    stored = site.jobs.get(job)
    assert stored is not None
    result = stored.results[0]
    site.jobs.record_results(job, [result], ["> 5000"], ["edge: the segment touches the first slice"])
    site.jobs.record_notice(job, replace(result, kind="receipt"), ["pacs"])
    golden("voxtell-dicom jobs list", printed("voxtell-dicom jobs list", "-c", str(path)))
    golden("voxtell-dicom jobs show", printed("voxtell-dicom jobs show", job, "-c", str(path)))
