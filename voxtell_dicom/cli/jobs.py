"""`voxtell-dicom jobs`: what became of each series, and what a person can do about it."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from voxtell_dicom.cli.listing import Line
    from voxtell_dicom.config import Config
    from voxtell_dicom.jobs.actions import JobActions
    from voxtell_dicom.jobs.book import JobBook
    from voxtell_dicom.jobs.records import Delivery, Job
    from voxtell_dicom.model import Receiving, Result

app = typer.Typer(no_args_is_help=True, help="List, show and steer the jobs of a node.")

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="node.yaml of the node.")]
JobId = Annotated[str, typer.Argument(help="The job's id (a unique beginning is enough), or: latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")]
DEFAULT = Path("config/node.yaml")
MANY = 5  # objects of one series; more are shown as one line
LISTED = (
    *("id", "state", "reason", "rule", "study_uid", "series_uid", "description", "instances", "accession"),
    *("empty", "warnings", "supersedes"),
)


@app.command("list")
def list_jobs(
    config: ConfigPath = DEFAULT,
    state: Annotated[list[str] | None, typer.Option(help="Only jobs in this state (may be repeated).")] = None,
    series: Annotated[str, typer.Option(help="Only of this Series Instance UID.")] = "",
    study: Annotated[str, typer.Option(help="Only of this Study Instance UID.")] = "",
    accession: Annotated[str, typer.Option(help="Only of this accession number.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    from voxtell_dicom.jobs.records import Job
    from voxtell_dicom.jobs.summaries import listed, receiving_summary, summary

    states = [_known_state(word) for word in state or ()]
    book = open_book(config)
    jobs = listed(book, states=states, series_uid=series, study_uid=study, accession=accession, limit=limit)
    if as_json:
        rows = [summary(each) if isinstance(each, Job) else receiving_summary(each) for each in jobs]
        typer.echo(json.dumps(rows, indent=2))
        return
    from voxtell_dicom.cli.listing import print_groups

    if not jobs:
        typer.echo("no jobs")
        return
    print_groups([(f"{len(jobs)} job(s), the newest first", [_line(each) for each in jobs])])


def _line(each: Job | Receiving) -> Line:
    from voxtell_dicom.cli.listing import Line
    from voxtell_dicom.jobs.summaries import receiving_sentence
    from voxtell_dicom.model import Receiving

    if isinstance(each, Receiving):
        facts, said = ["", _when(each.since), _age(each.since)], receiving_sentence(each)
        return Line("receiving", facts, [f"series {each.series_uid}", said])
    plan = each.plan
    found = f"{len(plan.prompts) - len(each.empty)}/{len(plan.prompts)} found" if plan and each.results else ""
    peers = f"to {', '.join(plan.send_to)}" if plan and plan.send_to else ""
    accession = f"accession {each.accession}" if each.accession else ""
    facts = [each.id, _when(each.created), _age(each.created), each.rule, accession, found, peers]
    count = f"{each.instances} instance(s)" if each.instances else ""
    series = ", ".join(filter(None, [f"series {each.series_uid}", each.description, count]))
    return Line(each.state, facts, [series, *([said] if (said := each.sentence) else [])])


def _known_state(word: str) -> str:
    """A word for a state. Raises ConfigError, with the nearest words first, where there is no such state."""
    from voxtell_dicom.errors import ConfigError
    from voxtell_dicom.model import JobState

    if word not in (choices := [str(state) for state in JobState]):
        choices.sort(key=lambda choice: difflib.SequenceMatcher(None, word, choice).ratio(), reverse=True)
        raise ConfigError(f"there is no state {word!r}; the states are {', '.join(choices)}")
    return word


@app.command()
def show(job_id: JobId, config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """Show one job with its results, deliveries and timeline."""
    from voxtell_dicom.jobs.summaries import details, failed_conditions

    job = find_job(open_book(config), job_id)
    full = details(job)
    if as_json:
        typer.echo(json.dumps(full, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from voxtell_dicom.observe.logs import printable

    console = Console()
    for name in LISTED:
        if full[name]:
            console.print(Text(name, "bold") + Text(f": {printable(str(full[name]))}"))
    for condition in failed_conditions(job):
        about = f"rule {condition['rule']!r}" + (f", volume {condition['volume']}" if condition["volume"] else "")
        console.print(f"{about}: {condition['subject']} is {condition['found']}, wanted: {condition['wanted']}",
                      markup=False, highlight=False, soft_wrap=True)  # fmt: skip
    for kind, what in _results(job.results):
        console.print(f"[bold]{kind}[/bold]: {what}", highlight=False)
    for notice in job.notices:
        result = notice.result
        console.print(f"[bold]receipt[/bold]: {result.sop_instance_uid} {result.path}", highlight=False)
    timeline = Table("Stage", "Began", "Seconds", "Detail", title="Timeline")
    for row in job.timeline:
        seconds = "" if row.seconds is None else f"{row.seconds:.2f}"
        timeline.add_row(row.stage, _when(row.started), seconds, row.detail)
    console.print(timeline)
    deliveries = Table("Peer", "Attempt", "When", "Objects", "State", "Status", "Message", title="Deliveries")
    for (peer, attempt, *said), times in _deliveries(job.deliveries).items():
        deliveries.add_row(peer, str(attempt), _when(times[0]), str(len(times)), *said)
    console.print(deliveries)


def _results(results: Iterable[Result]) -> Iterator[tuple[str, str]]:
    """(kind, where it lies); the hundreds of images of a series in one line."""
    series: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        series.setdefault((result.kind, result.series_uid), []).append(result)
    for (kind, series_uid), some in series.items():
        if len(some) > MANY:
            yield kind, f"{len(some)} images of series {series_uid} {some[0].path.parent}"
        else:
            yield from ((kind, f"{result.sop_instance_uid} {result.path}") for result in some)


def _deliveries(rows: Iterable[Delivery]) -> dict[tuple[Any, ...], list[float]]:
    """(peer, attempt, state, status, message) → when, of each object of which the same is said."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        key = (row.peer, row.attempt, row.state, row.status, row.message)
        found.setdefault(key, []).append(row.at)
    return found


@app.command()
def retry(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Do again what did not work (send, segment, or look at the series again). No new UIDs."""
    book, actions = _open(config)
    typer.echo(actions.retry(find_job(book, job_id)))


@app.command()
def rerun(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Run a finished job again as a new one, with new UIDs."""
    book, actions = _open(config)
    typer.echo(f"new job {actions.rerun(find_job(book, job_id))}")


@app.command()
def release(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Deliver a job that is held."""
    book, actions = _open(config)
    typer.echo(actions.release(find_job(book, job_id)))


@app.command()
def drop(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Give a job up: nothing of it is sent any more."""
    book, actions = _open(config)
    typer.echo(actions.drop(find_job(book, job_id)))


def open_book(config: Path) -> JobBook:
    """Return the job book of a node, without its engine, and whatever is wrong with its rules.

    Raises ConfigError where there is no node's storage: nothing is made.
    """
    from voxtell_dicom.archive.database import open_database
    from voxtell_dicom.config import load_config
    from voxtell_dicom.jobs.book import JobBook

    settings = load_config(config)
    check_storage(settings)
    return JobBook(open_database(settings), settings.node.storage)


def _open(config: Path) -> tuple[JobBook, JobActions]:
    from voxtell_dicom.archive.database import open_database
    from voxtell_dicom.jobs.actions import JobActions
    from voxtell_dicom.jobs.book import JobBook
    from voxtell_dicom.rules import load_config
    from voxtell_dicom.workflow.client import QueueClient

    settings = load_config(config)
    check_storage(settings)
    engine = open_database(settings)
    book = JobBook(engine, settings.node.storage)
    return book, JobActions(book, QueueClient(engine))


def check_storage(settings: Config) -> None:
    """Raise ConfigError where no node has run on the storage folder of node.yaml."""
    from voxtell_dicom.archive.database import database_url
    from voxtell_dicom.errors import ConfigError

    url = database_url(settings)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        storage = settings.node.storage.absolute()
        raise ConfigError(
            f"no node's storage at {storage} (node.storage; a relative one counts from the working directory)"
        )


def find_job(book: JobBook, job_id: str) -> Job:
    """Return the job of an id, of its unique beginning, or the ``latest``. Raises VoxtellDicomError for none."""
    from voxtell_dicom.errors import VoxtellDicomError

    if job_id == "latest":
        job_id = next((job.id for job in book.find(limit=1)), job_id)
    job = book.get(job_id)
    if job is None:
        raise VoxtellDicomError(f"there is no job {job_id!r}, or more than one begins so: see `jobs list`")
    return job


def _age(since: float) -> str:
    """Return how long ago something was, in its largest unit: ``3 h``."""
    seconds = max(0.0, time.time() - since)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
