"""`jobs` and `rules explain JOB` on a node's job book, without the node."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pydicom
import pytest
from typer.testing import CliRunner, Result

from tests.json_page import assert_documented
from tests.system.made_series import write_ct
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.cli import app
from voxtell_dicom.cli.folder import series_in
from voxtell_dicom.dicom.headers import HeaderCache
from voxtell_dicom.jobs import summaries
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.model import Receiving
from voxtell_dicom.rules import load_config
from voxtell_dicom.workflow.process import process_series
from voxtell_dicom.workflow.runtime import Runtime

PAGE = """\
version: 1
node: {{storage: {storage}}}
model: {{engine: threshold}}
rules:
  - {{name: thin, when: {{Modality: CT, SliceThickness: {{at_most: 1}}}}, prompts: ["> 300"]}}
"""
DESCRIPTION = "series [bold] 3\x9b2J"  # what rich, or a terminal, could act on


@dataclass
class Site:
    folder: Path

    def __post_init__(self) -> None:
        self.yaml = self.folder / "node.yaml"
        self.yaml.write_text(PAGE.format(storage=self.folder / "data"))

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "-c", str(self.yaml)])

    def unmatched(self) -> str:
        """A series goes through `process` and meets no rule. Returns its UID."""
        config = load_config(self.yaml)
        for path in write_ct(self.folder / "ct", slices=4):
            ds = pydicom.dcmread(path)
            ds.SpecificCharacterSet, ds.SeriesDescription = "ISO_IR 100", DESCRIPTION
            ds.save_as(path)
        (series,) = series_in(self.folder / "ct", calling_ae="CT1")
        book = JobBook(open_database(config), config.node.storage)
        book.record_series(series)
        runtime: Any = SimpleNamespace(
            config=config,
            jobs=book,
            pool=SimpleNamespace(identity=lambda: "threshold 1"),
            archive=SimpleNamespace(current_version=lambda _: series.version),
            headers=HeaderCache(),
            work_dir=self.folder / "work",
        )
        assert process_series(cast(Runtime, runtime), series) == []
        return series.series_uid


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_an_unmatched_job_names_the_condition(site: Site) -> None:
    uid = site.unmatched()
    (listed,) = assert_documented("voxtell-dicom jobs list", site.run("jobs", "list", "--json").stdout)
    assert (listed["state"], listed["reason"]) == ("unmatched", "no rule matches: see `rules explain`")
    shown = assert_documented("voxtell-dicom jobs show", site.run("jobs", "show", "latest", "--json").stdout)
    (condition,) = shown["conditions"]
    assert (condition["rule"], condition["subject"], condition["found"]) == ("thin", "SliceThickness", "2.5")
    assert (listed["description"], listed["instances"]) == (DESCRIPTION, 4)
    lines = site.run("jobs", "list").stdout
    assert f"series {uid}, series [bold] 3\\x9b2J, 4 instance(s)" in lines
    words = site.run("jobs", "show", listed["id"]).stdout
    assert "description: series [bold] 3\\x9b2J" in words
    assert f"rule 'thin': SliceThickness is 2.5, wanted: {condition['wanted']}" in words
    for target in (listed["id"], uid):
        done = site.run("rules", "explain", target, "--json")
        (series,) = json.loads(done.stdout)["series"]
        assert (series["series_uid"], series["volumes"][0]["rules"][0]["met"]) == (uid, False)


def test_what_is_gone_is_said(site: Site) -> None:
    uid = site.unmatched()
    next(iter((site.folder / "ct").iterdir())).unlink()
    done = site.run("rules", "explain", uid)
    assert (done.exit_code, "1 of its 4 instances are not in the node any more" in done.output) == (2, True)
    done = site.run("rules", "explain", "1.2.3.4")
    assert (done.exit_code, "nor the id of a job" in done.output) == (2, True)


@pytest.mark.parametrize("words", [("jobs", "list"), ("jobs", "retry", "latest"), ("rules", "explain", "1.2.3")])
def test_where_no_storage_is_nothing_is_made(site: Site, words: tuple[str, ...]) -> None:
    done = site.run(*words)
    assert (done.exit_code, f"no node's storage at {site.folder / 'data'}" in done.output) == (2, True), done.output
    assert not (site.folder / "data").exists()


def test_a_state_that_there_is_not(site: Site) -> None:
    done = site.run("jobs", "list", "--state", "deliverd")
    assert (done.exit_code, "no state 'deliverd'; the states are delivered, " in done.output) == (2, True), done.output


def test_a_series_that_is_arriving(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.unmatched()
    arriving = Receiving("1.2.9", "1.2", 17, "CT1", since=1e9)
    other = replace(arriving, series_uid="1.2.8", since=2e9)
    config = load_config(site.yaml)
    book = JobBook(open_database(config), config.node.storage)
    found = summaries.listed(book, lambda: [arriving, other])
    assert [each.series_uid for each in found[:2]] == ["1.2.8", "1.2.9"]
    assert len(found) == 3
    assert summaries.listed(book, lambda: [arriving], states=["delivered"]) == []
    assert summaries.listed(book, lambda: [arriving], states=["receiving"]) == [arriving]
    page = json.dumps([summaries.receiving_summary(arriving)])
    (row,) = assert_documented("voxtell-dicom jobs list", page)
    assert (row["state"], row["instances"], row["calling_ae"]) == ("receiving", 17, "CT1")
