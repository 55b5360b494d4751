"""`voxtell-dicom rules explain`: which rules a series meets, and why, before a node is switched on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from voxtell_dicom.config import Config
    from voxtell_dicom.model import Series
    from voxtell_dicom.rules import Match

app = typer.Typer(no_args_is_help=True, help="Try the rules of node.yaml on series.")


@app.callback()
def group() -> None:
    """Try the rules of node.yaml on series."""


@app.command()
def explain(
    dicom_dir: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM files, or one file.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="node.yaml of the node.")] = Path("config/node.yaml"),
    calling_ae: Annotated[str, typer.Option(help="As if sent by this AE title.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Print each rule and each of its conditions: met or not, and the value found."""
    from voxtell_dicom.cli.folder import series_in
    from voxtell_dicom.rules import load_config

    settings = load_config(config)
    found = series_in(dicom_dir, calling_ae=calling_ae, called_ae=settings.node.ae_title)
    explained = [explain_series(series, settings) for series in found]
    if as_json:
        typer.echo(json.dumps({"series": explained}, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    for each in explained:
        _show(Console(), each)


def explain_series(series: Series, settings: Config) -> dict[str, Any]:
    """One series as ``rules explain --json`` shows it: its volumes, each held against every rule."""
    from voxtell_dicom.cli.folder import headers
    from voxtell_dicom.errors import Refusal
    from voxtell_dicom.model import Assembly, SetAside
    from voxtell_dicom.rules import match, match_volume
    from voxtell_dicom.series.headers import assemble

    facts = {
        "instances": len(series.instances),
        "calling_ae": series.calling_ae,
        "called_ae": series.called_ae,
    }
    try:
        assembly = assemble(series)
    except Refusal as refusal:
        assembly = Assembly((), (SetAside(refusal.code, str(refusal), refused=True),))
    volumes = []
    for volume in assembly.volumes:
        paths = list(dict.fromkeys(frame.path for frame in volume.frames))
        matches = match_volume(settings.rules, volume, headers(paths), facts)
        volumes.append(
            {"volume": volume.name, "slices": len(volume.frames), "rules": [_rule(each) for each in matches]}
        )
    rest = []
    if not assembly.volumes:  # nothing to segment, but the rules can still say what they think of it
        rest = match(settings.rules, headers([instance.path for instance in series.instances]), facts)
    return {
        "study_uid": series.study_uid,
        "series_uid": series.series_uid,
        "instances": len(series.instances),
        "volumes": volumes,
        "without_volume": [_rule(each) for each in rest],
        "not_processed": [
            {"code": item.code, "reason": item.reason, "refused": item.refused} for item in assembly.set_aside
        ],
    }


def _rule(match: Match) -> dict[str, Any]:
    return {
        "rule": match.rule.name,
        "met": match.met,
        "conditions": [
            {"subject": each.subject, "wanted": each.wanted, "found": each.found, "met": each.met}
            for each in match.conditions
        ],
        "prompts": [{"text": prompt.text, "label": prompt.label} for prompt in match.prompts],
        "outputs": list(match.rule.outputs),
        "send_to": list(match.rule.send_to),
    }


def _show(console: Console, series: dict[str, Any]) -> None:
    title = f"series {series['series_uid']}: {series['instances']} instances"
    console.print(title, style="bold", soft_wrap=True, highlight=False)  # a UID is never cut
    for item in series["not_processed"]:
        word = "refused" if item["refused"] else "set aside"
        console.print(f"{word} ({item['code']}): {item['reason']}", style="yellow", markup=False, soft_wrap=True)
    for volume in series["volumes"]:
        name = f"volume {volume['volume']}" if volume["volume"] else "volume"
        console.print(f"{name}: {volume['slices']} slices", style="bold", markup=False, highlight=False)
        _show_rules(console, volume["rules"])
    if series["without_volume"]:
        console.print("no volume to segment; the rules would say:", style="bold")
        _show_rules(console, series["without_volume"])


def _show_rules(console: Console, rules: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("Rule", "Condition", "Wanted", "Found", "")
    for rule in rules:
        verdict = Text("meets it", "bold green") if rule["met"] else Text("does not", "bold red")
        table.add_row(Text(rule["rule"], "bold"), "", "", "", verdict)
        for condition in rule["conditions"]:
            mark = Text("✓", "green") if condition["met"] else Text("✗", "red")
            table.add_row("", *(Text(condition[part]) for part in ("subject", "wanted", "found")), mark)
        if rule["met"]:
            goes = ", ".join(rule["send_to"]) or "nowhere (kept in the node)"
            table.add_row("", "→ prompts", Text(", ".join(p["text"] for p in rule["prompts"])), Text(f"to {goes}"), "")
        table.add_section()
    console.print(table)
