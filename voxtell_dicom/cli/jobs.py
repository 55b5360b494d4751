"""`voxtell-dicom jobs`: what became of each series, and what a person can do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from voxtell_dicom.jobs.actions import JobActions
    from voxtell_dicom.jobs.book import JobBook

app = typer.Typer(no_args_is_help=True, help="List, show and steer the jobs of a node.")

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="node.yaml of the node.")]
JobId = Annotated[str, typer.Argument(help="The job's id (a unique beginning is enough), or: latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")]
DEFAULT = Path("config/node.yaml")
MANY = 5  # objects of one series; more are shown as one line
LISTED = ("id", "state", "reason", "rule", "study_uid", "series_uid", "accession", "empty", "warnings", "supersedes")


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
    jobs = _book(config).find(states=state or (), series_uid=series, study_uid=study, accession=accession, limit=limit)
    if as_json:
        typer.echo(json.dumps([_summary(job) for job in jobs], indent=2))
        return
    from voxtell_dicom.cli.listing import Line, print_groups

    if not jobs:
        typer.echo("no jobs")
        return
    lines = [
        Line(job["state"], [job["id"], _when(job["created"]), job["rule"]],
             [f"series {job['series_uid']}", *([job["reason"]] if job["reason"] else [])])
        for job in jobs
    ]  # fmt: skip
    print_groups([(f"{len(jobs)} job(s), the newest first", lines)])


@app.command()
def show(job_id: JobId, config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """Show one job with its results, deliveries and timeline."""
    job = _job(_book(config), job_id)
    if as_json:
        typer.echo(json.dumps(_full(job), indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name in LISTED:
        if job[name]:
            console.print(f"[bold]{name}[/bold]: {job[name]}", highlight=False)
    for kind, what in _results(job["results"] or []):
        console.print(f"[bold]{kind}[/bold]: {what}", highlight=False)
    for notice in job["notices"]:
        result = notice["result"]
        console.print(f"[bold]receipt[/bold]: {result['sop_instance_uid']} {result['path']}", highlight=False)
    timeline = Table("Stage", "Began", "Seconds", "Detail", title="Timeline")
    for row in job["timeline"]:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.2f}"
        timeline.add_row(row["stage"], _when(row["started"]), seconds, row["detail"])
    console.print(timeline)
    deliveries = Table("Peer", "Attempt", "When", "Objects", "State", "Status", "Message", title="Deliveries")
    for (peer, attempt, *said), times in _deliveries(job["deliveries"]).items():
        deliveries.add_row(peer, str(attempt), _when(times[0]), str(len(times)), *said)
    console.print(deliveries)


def _results(results: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(kind, where it lies); the hundreds of images of a series in one line."""
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        series.setdefault((result["kind"], result["series_uid"]), []).append(result)
    for (kind, series_uid), some in series.items():
        if len(some) > MANY:
            yield kind, f"{len(some)} images of series {series_uid} {Path(some[0]['path']).parent}"
        else:
            yield from ((kind, f"{result['sop_instance_uid']} {result['path']}") for result in some)


def _deliveries(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[float]]:
    """(peer, attempt, state, status, message) → when, of each object of which the same is said."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("peer", "attempt", "state", "status", "message"))
        found.setdefault(key, []).append(row["at"])
    return found


@app.command()
def retry(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Do again what did not work (send, segment, or look at the series again). No new UIDs."""
    book, actions = _open(config)
    typer.echo(actions.retry(_job(book, job_id)))


@app.command()
def rerun(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Run a finished job again as a new one, with new UIDs."""
    book, actions = _open(config)
    typer.echo(f"new job {actions.rerun(_job(book, job_id))}")


@app.command()
def release(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Deliver a job that is held."""
    book, actions = _open(config)
    typer.echo(actions.release(_job(book, job_id)))


@app.command()
def drop(job_id: JobId, config: ConfigPath = DEFAULT) -> None:
    """Give a job up: nothing of it is sent any more."""
    book, actions = _open(config)
    typer.echo(actions.drop(_job(book, job_id)))


def _book(config: Path) -> JobBook:
    """To read only: without the durable engine, and whatever is wrong with the rules."""
    from voxtell_dicom.archive.database import open_database
    from voxtell_dicom.config import load_config
    from voxtell_dicom.jobs.book import JobBook

    return JobBook(open_database(load_config(config)))


def _open(config: Path) -> tuple[JobBook, JobActions]:
    from voxtell_dicom.archive.database import open_database
    from voxtell_dicom.jobs.actions import JobActions
    from voxtell_dicom.jobs.book import JobBook
    from voxtell_dicom.rules import load_config

    settings = load_config(config)
    engine = open_database(settings)
    book = JobBook(engine)
    return book, JobActions(settings, engine, book)


def _job(book: JobBook, job_id: str) -> dict[str, Any]:
    from voxtell_dicom.errors import VoxtellDicomError

    if job_id == "latest":
        job_id = next((job["id"] for job in book.find(limit=1)), job_id)
    job = book.get(job_id)
    if job is None:
        raise VoxtellDicomError(f"there is no job {job_id!r}, or more than one begins so: see `jobs list`")
    return job


def _summary(job: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: job[name] for name in LISTED},
        "results": [result["sop_instance_uid"] for result in job["results"] or []],
        "created": job["created"],
        "updated": job["updated"],
    }


def _full(job: dict[str, Any]) -> dict[str, Any]:
    return {
        **_summary(job),
        "results": job["results"] or [],
        "notices": [notice["result"] for notice in job["notices"]],
        "deliveries": job["deliveries"],
        "timeline": job["timeline"],
        "plan": job["plan"],
    }


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
