"""Databases of earlier revisions are brought to the newest one, once, whoever comes first; with what is in them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from typer.testing import CliRunner

from tests.workflow.test_jobs import PLAN, RESULT
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.archive.tables import metadata as archive_metadata
from voxtell_dicom.cli import app
from voxtell_dicom.config import Config
from voxtell_dicom.jobs import migrations
from voxtell_dicom.jobs.book import JobBook, NewJob, SeriesLabels, TransitionRefused
from voxtell_dicom.jobs.clock import database_now
from voxtell_dicom.jobs.tables import metadata, version_table
from voxtell_dicom.model import Frame, Grid, Instance, Outcome, Reason, Series, ToRas, Volume, dump

# As version 0.1 made them (`metadata.create_all`), on both databases.
TABLES_OF_0_1 = """
CREATE TABLE voxtell_delivery (job_id VARCHAR(16) NOT NULL, sop_instance_uid VARCHAR(64) NOT NULL,
  peer VARCHAR(64) NOT NULL, attempt INTEGER NOT NULL, state VARCHAR(16) NOT NULL, status TEXT NOT NULL,
  message TEXT NOT NULL, warning BOOLEAN NOT NULL, at FLOAT NOT NULL,
  PRIMARY KEY (job_id, sop_instance_uid, peer, attempt));
CREATE TABLE voxtell_job (id VARCHAR(16) NOT NULL, state VARCHAR(16) NOT NULL, reason TEXT NOT NULL,
  rule TEXT NOT NULL, study_uid VARCHAR(64) NOT NULL, series_uid VARCHAR(64) NOT NULL,
  series_version VARCHAR(64) NOT NULL, accession VARCHAR(64) NOT NULL, series JSON, "plan" JSON, volume JSON,
  results JSON, empty JSON, warnings JSON, supersedes JSON, created FLOAT NOT NULL, updated FLOAT NOT NULL,
  PRIMARY KEY (id));
CREATE INDEX ix_voxtell_job_series_uid ON voxtell_job (series_uid);
CREATE INDEX ix_voxtell_job_state ON voxtell_job (state);
CREATE INDEX ix_voxtell_job_accession ON voxtell_job (accession);
CREATE TABLE voxtell_notice (job_id VARCHAR(16) NOT NULL, sop_instance_uid VARCHAR(64) NOT NULL, result JSON NOT NULL,
  send_to JSON NOT NULL, at FLOAT NOT NULL, PRIMARY KEY (job_id, sop_instance_uid));
CREATE TABLE voxtell_stage (job_id VARCHAR(16) NOT NULL, stage VARCHAR(64) NOT NULL, started FLOAT NOT NULL,
  seconds FLOAT, detail TEXT NOT NULL, PRIMARY KEY (job_id, stage));
CREATE TABLE voxtell_lease (executor_id VARCHAR(128) NOT NULL, expires FLOAT NOT NULL, PRIMARY KEY (executor_id));
"""
SERIES = Series("1.2", "1.2.3", "v1", (Instance("1.2.3.4", "1.2", "1.2.3", "1.2", Path("/old/a.dcm")),), "CT1")
VOLUME = Volume(
    "1.2", "1.2.3", "1.9", "CT", "", (Frame("1.2.3.4", "1.2", 1, Path("/old/a.dcm"), (0.0, 0.0, 0.0)),),
    Grid((1, 2, 2), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)),
    ToRas((0, 1, 2), (False, True, True)), "k" * 64,
)  # fmt: skip
DROPS = "the rule drops a result with this finding: "
OLD_REASONS = [  # id, state, as 0.1 wrote it, as it is now
    ("a", "delivered", "", Reason()),
    ("b", "dropped", DROPS + "Cyst: wrong side", Reason("dropped-by-rule", {"findings": "Cyst: wrong side"})),
    ("c", "dropped", "dropped by hand", Reason("text", {"text": "dropped by hand"})),
    ("d", "refused", "suv: no weight", Reason("refusal", {"code": "suv", "message": "no weight", "rule": ""})),
    ("e", "failed", "unexpected KeyError: 'x'", Reason("unexpected", {"kind": "KeyError", "message": "'x'"})),
]
START = """
import sys
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.archive.tables import metadata as archive_metadata
from voxtell_dicom.config import Config
from voxtell_dicom.jobs.migrations import upgrade
node = {"storage": sys.argv[1], "database": sys.argv[2]}
config = Config.model_validate({"version": 1, "node": node, "model": {"engine": "threshold"}})
print(upgrade(open_database(config)), "alembic" in sys.modules)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[sa.Engine, Path, str]]:
    """An empty database, the node's storage folder, and the URL of the database."""
    url = f"sqlite:///{tmp_path}/node.sqlite"
    if request.param == "postgresql":
        server, name = request.getfixturevalue("postgresql_url"), f"db{uuid.uuid4().hex}"
        admin = sa.create_engine(server.replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        admin.dispose()
        url = server.rpartition("/")[0] + f"/{name}"
    settings = {"version": 1, "node": {"storage": tmp_path, "database": url}, "model": {"engine": "threshold"}}
    engine = open_database(Config.model_validate(settings))
    yield engine, tmp_path, url
    engine.dispose()  # else the server waits for us when it is stopped


def fill_as_0_1(engine: sa.Engine) -> None:
    plan = {**dump(PLAN), "options": {"incomplete": "a lost link", "minimum_confidence": 0.5}}
    full = {"plan": plan, "volume": dump(VOLUME), "results": [dump(RESULT)]}
    none = {"plan": None, "volume": None, "results": []}
    with engine.begin() as connection:
        for statement in filter(str.strip, TABLES_OF_0_1.split(";")):
            connection.execute(sa.text(statement))
        for at, (name, state, reason, _) in enumerate(OLD_REASONS):
            made: dict[str, Any] = full if name in "abc" else none
            row = {"id": name, "state": state, "reason": reason, "at": float(at), "series": json.dumps(dump(SERIES))}
            row |= {key: json.dumps(value) for key, value in made.items()}
            connection.execute(
                sa.text(
                    "INSERT INTO voxtell_job VALUES (:id, :state, :reason, 'abdomen', '1.2', '1.2.3', 'v1', 'A1', "
                    """:series, :plan, :volume, :results, '["Cyst"]', '["said"]', '[]', :at, :at)"""
                ),
                row,
            )
        connection.execute(
            sa.text("INSERT INTO voxtell_notice VALUES ('d', '2.25.1', :result, '[\"pacs\"]', 1.0)"),
            {"result": json.dumps(dump(RESULT))},
        )
        connection.execute(
            sa.text("INSERT INTO voxtell_delivery VALUES ('a','2.25.1','pacs',1,'delivered','0000','',false,2.0)")
        )
        connection.execute(sa.text("INSERT INTO voxtell_stage VALUES ('a', 'encode', 1.0, 0.5, 'x')"))


def check_what_0_1_held(engine: sa.Engine, storage: Path) -> None:
    book = JobBook(engine, storage)
    assert [job.id for job in book.find()] == ["e", "d", "c", "b", "a"]
    for name, state, said, reason in OLD_REASONS:
        job = book.get(name)
        assert job is not None
        assert (job.state, job.reason, job.sentence) == (state, reason, said)
        assert (job.empty, job.warnings, job.accession) == (("Cyst",), ("said",), "A1")
    job = book.get("a")
    assert job is not None
    assert job.plan is not None
    assert job.results == (RESULT,), "absolute paths are still read"
    assert (job.plan.options.incomplete, job.plan.options.minimum_confidence) == ("a lost link", 0.5)
    assert (job.deliveries[0].state, job.timeline[0].stage) == ("delivered", "encode")
    assert book.plan("a")[1] == VOLUME
    assert book.series("1.2.3", "v1") == SERIES
    assert book.untold("d") == [(RESULT, "pacs")]


def differences(engine: sa.Engine) -> list[Any]:
    """Return what our tables are, against what the code says."""
    found: list[Any] = []
    for tables in (metadata, archive_metadata):
        options = {"include_object": lambda item, name, kind, *_: kind != "table" or name in tables.tables}  # noqa: B023
        with engine.connect() as connection:
            found += compare_metadata(MigrationContext.configure(connection, opts=options), tables)
    return found


def test_a_database_of_0_1(opened: tuple[sa.Engine, Path, str]) -> None:
    engine, storage, _ = opened
    fill_as_0_1(engine)
    assert migrations.upgrade(engine) == ""
    check_what_0_1_held(engine, storage)
    assert differences(engine) == []
    assert migrations.upgrade(engine) == migrations.HEAD


def test_labels_that_no_database_takes_as_they_are(opened: tuple[sa.Engine, Path, str]) -> None:
    """PostgreSQL stores no NUL, and no more characters than a column has: the series would have no job at all."""
    engine, storage, _ = opened
    migrations.upgrade(engine)
    book = JobBook(engine, storage)
    assert book.open(NewJob("j", "unmatched", "1.2", "1.2.3", "v1", labels=SeriesLabels("A\0" * 40, "t1\0 mpr", 3)))
    (job,) = book.find()
    assert (job.accession, job.description, job.instances) == ("A " * 32, "t1  mpr", 3)


def test_each_revision(opened: tuple[sa.Engine, Path, str]) -> None:
    engine, storage, _ = opened
    fill_as_0_1(engine)
    revisions = [script.revision for script in scripts().walk_revisions()][::-1]
    before = ""
    for revision in revisions:
        assert migrations.upgrade(engine, revision) == before
        before = revision
    check_what_0_1_held(engine, storage)


def test_a_new_database(opened: tuple[sa.Engine, Path, str]) -> None:
    engine, storage, _ = opened
    assert JobBook(engine, storage).find() == []
    assert differences(engine) == []


def test_the_book_writes_alike_on_both(opened: tuple[sa.Engine, Path, str]) -> None:
    engine, storage, _ = opened
    book = JobBook(engine, storage)
    series = replace(SERIES, instances=(replace(SERIES.instances[0], path=storage / "spool/a.dcm"),))
    volume = replace(VOLUME, frames=(replace(VOLUME.frames[0], path=storage / "spool/a.dcm"),))
    result = replace(RESULT, path=storage / "results/x.dcm")
    for _ in range(2):
        book.record_series(series)
    new = NewJob("j", "queued", "1.2", "1.2.3", "v1", plan=PLAN, volume=volume)
    assert [book.open(new), book.open(new)] == [True, False]
    assert all(book.advance("j", state) for state in ("segmenting", "encoding", "delivering", "delivering"))
    book.record_results("j", [result], ["Cyst"], ["said"])
    book.add_results("j", [replace(result, peers=("pacs",))])
    for outcome in (Outcome("delivered", "0000"), Outcome("retry", "no connection")):  # the step is run again
        for peer in PLAN.send_to:
            book.record_delivery("j", RESULT.sop_instance_uid, peer, 1, outcome)
    for at in (1.0, 2.0):
        book.record_stage("j", "encode", at, None)
    book.add_notice("j", result, "pacs")
    book.settle("j")
    job = book.get("j")
    assert job is not None
    assert (job.state, job.results[0].path, job.timeline[0].started) == ("delivered", result.path, 2.0)
    assert {(row.peer, row.state) for row in job.deliveries} == {(peer, "delivered") for peer in PLAN.send_to}
    assert (book.series("1.2.3", "v1"), book.plan("j")) == (series, (PLAN, volume))
    with engine.connect() as connection:
        now = connection.execute(sa.select(database_now(engine.dialect.name))).scalar_one()
        stored = connection.execute(sa.select(version_table.c.series)).scalar_one()
    assert abs(now - time.time()) < 60
    assert stored["instances"][0]["path"] == "spool/a.dcm", "relative to the storage folder"
    moved = JobBook(engine, storage / "elsewhere").series("1.2.3", "v1")
    assert moved is not None
    assert moved.instances[0].path == storage / "elsewhere/spool/a.dcm"
    with pytest.raises(TransitionRefused, match="job j is delivered: it cannot become held"):
        book.reopen("j", "held")
    assert book.remove_older(-1) == ["j"]
    assert book.series("1.2.3", "v1") is None


@pytest.mark.parametrize("old", [True, False])
def test_three_starters_at_once(opened: tuple[sa.Engine, Path, str], old: bool) -> None:
    engine, storage, url = opened
    if old:
        fill_as_0_1(engine)
    engine.dispose()
    command = [sys.executable, "-c", START, str(storage), url]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [starter.communicate(timeout=120)[0].strip() for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert sum(words == " True" or words == "True" for words in said) == 1, said
    if old:
        check_what_0_1_held(engine, storage)
    assert subprocess.run(command, capture_output=True, text=True).stdout == f"{migrations.HEAD} False\n"


def test_head_is_the_newest_file() -> None:
    assert scripts().get_current_head() == migrations.HEAD


def test_a_newer_database_is_refused(opened: tuple[sa.Engine, Path, str]) -> None:
    engine, _, _ = opened
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(migrations.SchemaError, match="schema 9999"):
        JobBook(engine)


def test_the_command(tmp_path: Path) -> None:
    page = tmp_path / "node.yaml"
    page.write_text(f"version: 1\nnode: {{storage: {tmp_path}/store}}\nmodel: {{engine: threshold}}\n")
    none = CliRunner().invoke(app, ["database", "upgrade", "-c", str(page)])
    assert (none.exit_code, "no node's storage" in none.output) == (2, True)
    settings = {"version": 1, "node": {"storage": tmp_path / "store"}, "model": {"engine": "threshold"}}
    fill_as_0_1(open_database(Config.model_validate(settings)))
    for words in ("upgraded from version 0.1", f"schema {migrations.HEAD}"):
        done = CliRunner().invoke(app, ["database", "upgrade", "-c", str(page)])
        assert (done.exit_code, words in done.output) == (0, True), done.output


def scripts() -> ScriptDirectory:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return ScriptDirectory.from_config(config)
