"""`voxtell-dicom verify`: the acceptance test on a site's own series, before go-live and after each upgrade."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxtell_dicom.cli.policy import FramesOfReference, MaxGap, References

if TYPE_CHECKING:
    from voxtell_dicom.model import Result
    from voxtell_dicom.verify import Verified, Via

app = typer.Typer()


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM files, or one file.")],
    keep: Annotated[
        Path | None, typer.Option(help="Keep the SEG files here, with one picture for each volume.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for the dated report.  [default: that of --keep, else the current one]")
    ] = None,
    via: Annotated[
        str | None, typer.Option(metavar="PEER", help="Compare the copy fetched back from this peer.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare the model's masks with those stored here (stored if there are none).")
    ] = None,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="For a new baseline; repeatable.")] = None,
    min_dice: Annotated[float, typer.Option(min=0, max=1, help="A mask this like the stored one is close.")] = 0.99,
    config: Annotated[Path, typer.Option("--config", "-c", help="node.yaml, for --via and --baseline.")] = Path(
        "config/node.yaml"
    ),
    max_gap: MaxGap = 1.5,
    frames_of_reference: FramesOfReference = References.refuse,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Send every volume through the whole line and compare each frame. Exit 1 if one is wrong, or did not come back.

    With --baseline, run the model of node.yaml instead and compare its masks with stored ones. Exit 1 if one changed.
    """
    from voxtell_dicom.engine.threshold import ThresholdEngine

    if baseline is not None:
        _baseline(path, baseline, prompt or [], min_dice, config, report or baseline, as_json=as_json)
        return
    with tempfile.TemporaryDirectory(prefix="voxtell-verify-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        peer = _via(via, config) if via else None
        found = list(_verified(path, folder, peer, max_gap, frames_of_reference.value))
        if keep:
            _pictures(found, path, keep)
    rows = [each.data() for each in found]
    _report(rows, path, report or keep or Path(), ThresholdEngine().identity)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _show(rows)
    if any(row["outcome"] == "wrong" or (via and row["outcome"] == "unproven") for row in rows):
        raise typer.Exit(1)


def _verified(
    path: Path, folder: Path, via: Via | None, max_gap: float, frames_of_reference: str
) -> Iterator[Verified]:
    from rich.console import Console
    from rich.progress import Progress

    from voxtell_dicom.cli.scan import scan, unreadable_rows
    from voxtell_dicom.engine.threshold import ThresholdEngine
    from voxtell_dicom.verify import Verified, verify_series

    found = scan(path)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for series in progress.track(found.series, description="verifying"):
            yield from verify_series(
                series, ThresholdEngine(), folder, via, max_gap=max_gap, frames_of_reference=frames_of_reference
            )
    for row in unreadable_rows(found):
        yield Verified(row, "refused")


def _via(name: str, config: Path) -> Via:
    """Send to a peer of node.yaml, and fetch the copy back."""
    from voxtell_dicom.deliver import deliver
    from voxtell_dicom.deliver.retrieve import RetrieveError, retrieve
    from voxtell_dicom.errors import ConfigError
    from voxtell_dicom.rules import load_config

    settings = load_config(config)
    if name not in settings.peers:
        raise ConfigError(f"{config}: there is no peer {name!r}; known: {', '.join(settings.peers) or 'none'}")
    peer, title = settings.peers[name], settings.node.ae_title

    def there_and_back(result: Result, folder: Path) -> Path:
        outcome = deliver(result, peer, calling_ae=title, name=name)
        if outcome.state != "delivered":
            raise RetrieveError(f"{name} did not take the SEG: {outcome.status} {outcome.message}")
        return retrieve(result, peer, folder, calling_ae=title, name=name)

    return there_and_back


def _baseline(
    path: Path, folder: Path, prompts: list[str], min_dice: float, config: Path, report: Path, *, as_json: bool
) -> None:
    from dataclasses import asdict

    from voxtell_dicom.cli.scan import scan
    from voxtell_dicom.cli.version import versions
    from voxtell_dicom.engine import open_engine
    from voxtell_dicom.errors import UnknownPrompt
    from voxtell_dicom.rules import load_config
    from voxtell_dicom.verify import baseline

    stored = baseline.read(folder) if (folder / baseline.FILE).exists() else None
    if stored is not None:
        prompts = list(dict.fromkeys(mask.prompt for mask in stored[1]))
    elif not prompts:
        raise typer.BadParameter("a new baseline needs prompts: -p liver -p spleen …", param_hint="--prompt")
    model = load_config(config).model
    engine = open_engine(directory=model.directory, kind=model.engine, bank=model.bank, device=model.devices[0])
    if unknown := engine.unknown(prompts):
        raise UnknownPrompt(f"the engine cannot run {', '.join(map(repr, unknown))}")
    now = list(baseline.segment(scan(path).series, engine, prompts))
    compared = baseline.compare(stored[1] if stored else [], now, min_dice)
    if stored is None:
        typer.echo(f"baseline stored: {baseline.write(folder, now, engine.identity, versions())}", err=True)
    rows = [asdict(each) for each in compared]
    _report(rows, path, report, engine.identity)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _show_baseline(rows)
    if any(row["outcome"] in ("changed", "missing") or (stored and row["outcome"] == "new") for row in rows):
        raise typer.Exit(1)


def _show_baseline(rows: list[dict[str, Any]]) -> None:
    from voxtell_dicom.cli.listing import Line, print_by_series

    def line(row: dict[str, Any]) -> Line:
        score = "" if row["dice"] is None else f"Dice {row['dice']:.4f}"
        before = "" if row["voxels_before"] is None else f"before {row['voxels_before']}"
        return Line(row["outcome"], [row["volume"], row["prompt"], score, f"{row['voxels']} voxels", before])

    print_by_series(rows, line)


def _pictures(found: list[Verified], source: Path, folder: Path) -> None:
    import pydicom

    from voxtell_dicom.cli.scan import scan
    from voxtell_dicom.encode.capture.picture import picture

    files = {instance.sop_instance_uid: instance.path for one in scan(source).series for instance in one.instances}
    for seg in dict.fromkeys(each.seg for each in found if each.seg is not None):  # the runs of a stack share one
        references = pydicom.dcmread(seg, stop_before_pixels=True).ReferencedSeriesSequence
        uids = [str(item.ReferencedSOPInstanceUID) for one in references for item in one.ReferencedInstanceSequence]
        try:
            picture(seg, [files[uid] for uid in uids if uid in files], folder / f"{seg.stem}.png")
        except Exception as error:  # a picture proves nothing: what was found is still said
            typer.echo(f"voxtell-dicom: no picture of {seg.name}: {type(error).__name__}: {error}", err=True)


def _report(rows: list[dict[str, Any]], path: Path, folder: Path, engine: str) -> None:
    try:
        typer.echo(f"report: {write_report(rows, path, folder, engine)}", err=True)
    except OSError as error:  # what was found is still said
        typer.echo(f"voxtell-dicom: no report: {error}; name a folder with --report", err=True)


def write_report(rows: list[dict[str, Any]], path: Path, folder: Path, engine: str) -> Path:
    """Write the dated report: every row, the engine's identity (the model's digest in it), and all versions.

    Returns its path.
    """
    from voxtell_dicom.cli.version import versions

    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"verify-{now:%Y%m%dT%H%M%SZ}.json"
    content = {
        "date": now.isoformat(timespec="seconds"),
        "path": str(path),
        "engine": engine,
        "versions": versions(),
        "volumes": rows,
    }
    out.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return out


def _show(rows: list[dict[str, Any]]) -> None:
    from voxtell_dicom.cli.listing import Line, print_by_series

    def line(row: dict[str, Any]) -> Line:
        facts = [
            row["volume"],
            "×".join(map(str, row["shape"] or ())),
            "" if row["threshold"] is None else f"> {row['threshold']:g}",
            f"{row['frames_compared']} frames" if row["frames_compared"] else "",
            "" if row["max_mm"] is None else f"{row['max_mm']:.4f} mm",
        ]
        return Line(row["outcome"], facts, [row["reason"]] if row["reason"] else [])

    print_by_series(rows, line)
    outcomes = ("exact", "within", "refused", "set_aside", "unproven", "wrong")
    counts = {word: sum(row["outcome"] == word for row in rows) for word in outcomes}
    typer.echo(", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing found")
