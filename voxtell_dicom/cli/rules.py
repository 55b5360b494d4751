"""`voxtell-dicom rules explain`: which rules a series meets, and why, before a node is switched on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from voxtell_dicom.config import Config
    from voxtell_dicom.model import Assembly, Series
    from voxtell_dicom.rules import Match
    from voxtell_dicom.rules.choose import Candidate, Ranked

app = typer.Typer(no_args_is_help=True, help="Try the rules of node.yaml on series.")


@app.callback()
def group() -> None:
    """Try the rules of node.yaml on series."""


@app.command()
def explain(
    target: Annotated[str, typer.Argument(help="A DICOM folder or file; a job id or a Series UID of the node.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="node.yaml of the node.")] = Path("config/node.yaml"),
    calling_ae: Annotated[str, typer.Option(help="As if sent by this AE title.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Print each rule and each of its conditions: met or not, and the value found.

    For rules of scope study: the ranking of the volumes of each study, and why each lost.
    """
    from voxtell_dicom.cli.folder import series_in
    from voxtell_dicom.rules import load_config

    settings = load_config(config)
    if Path(target).exists():
        found = series_in(Path(target), calling_ae=calling_ae, called_ae=settings.node.ae_title)
    else:
        found = [_series_of_node(target, config, calling_ae)]
    held = [_hold(series, settings) for series in found]
    explained = [_series(series, settings, *each) for series, each in zip(found, held, strict=True)]
    studies = _studies(settings, [candidate for _, candidates in held for candidate in candidates])
    if as_json:
        typer.echo(json.dumps({"series": explained, "studies": studies}, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    for each in explained:
        _show(Console(), each)
    for study in studies:
        _show_study(Console(), study)


def _series_of_node(target: str, config: Path, calling_ae: str) -> Series:
    """The series of a job or of a Series Instance UID, as it was handed on. Raises ConfigError where it is gone."""
    from voxtell_dicom.cli.jobs import open_book
    from voxtell_dicom.errors import ConfigError

    try:
        book = open_book(config)
    except ConfigError as error:
        raise ConfigError(f"{target}: there is no such file or folder, and {error}") from None
    job = book.get(target) or next(iter(book.find(series_uid=target, limit=1)), None)
    series = book.series(job.series_uid, job.series_version) if job else None
    if series is None:
        raise ConfigError(f"{target} is no file or folder, nor the id of a job or the UID of a series of this node")
    if gone := [instance for instance in series.instances if not instance.path.exists()]:
        raise ConfigError(f"series {series.series_uid}: {len(gone)} of its {len(series.instances)} instances are not "
                          "in the node any more (receive.retention): send it again")  # fmt: skip
    return replace(series, calling_ae=calling_ae or series.calling_ae)


def _hold(series: Series, settings: Config) -> tuple[Assembly, list[Candidate]]:
    """The volumes of a series, each held against every rule."""
    from voxtell_dicom.cli.folder import headers
    from voxtell_dicom.errors import Refusal
    from voxtell_dicom.model import Assembly, SetAside
    from voxtell_dicom.rules import match_volume
    from voxtell_dicom.rules.choose import Candidate
    from voxtell_dicom.series.headers import assemble

    try:
        assembly = assemble(series)
    except Refusal as refusal:
        assembly = Assembly((), (SetAside(refusal.code, str(refusal), refused=True),))
    candidates = []
    for volume in assembly.volumes:
        paths = list(dict.fromkeys(frame.path for frame in volume.frames))
        matches = match_volume(settings.rules, volume, headers(paths), _facts(series))
        candidates.append(Candidate(volume, tuple(matches)))
    return assembly, candidates


def _facts(series: Series) -> dict[str, Any]:
    return {"instances": len(series.instances), "calling_ae": series.calling_ae, "called_ae": series.called_ae}


def _series(series: Series, settings: Config, assembly: Assembly, candidates: list[Candidate]) -> dict[str, Any]:
    """One series as ``--json`` shows it."""
    from voxtell_dicom.cli.folder import headers
    from voxtell_dicom.rules import match

    volumes = [
        {
            "volume": each.volume.name,
            "slices": len(each.volume.frames),
            "rules": [_rule(found) for found in each.matches],
        }
        for each in candidates
    ]
    rest = []
    if not assembly.volumes:  # nothing to segment, but the rules can still say what they think of it
        rest = match(settings.rules, headers([instance.path for instance in series.instances]), _facts(series))
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


def _studies(settings: Config, candidates: list[Candidate]) -> list[dict[str, Any]]:
    """For each study and rule of scope study, the ranking of the study's volumes."""
    from voxtell_dicom.rules.choose import choose

    of_study: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        of_study.setdefault(candidate.volume.study_uid, []).append(candidate)
    wanted = [(index, rule.name) for index, rule in enumerate(settings.rules) if rule.scope == "study"]
    return [
        {
            "study_uid": uid,
            "rules": [
                {"rule": name, "ranking": [_ranked(one) for one in choose(index, some)]} for index, name in wanted
            ],
        }
        for uid, some in sorted(of_study.items())
        if wanted
    ]


def _ranked(ranked: Ranked) -> dict[str, Any]:
    return {
        "series_uid": ranked.candidate.volume.series_uid,
        "volume": ranked.candidate.volume.name,
        "chosen": not ranked.lost,
        "standing": list(ranked.standing),
        "lost": ranked.lost,
    }


def _rule(match: Match) -> dict[str, Any]:
    from voxtell_dicom.terms.findings import finding_word

    return {
        "rule": match.rule.name,
        "scope": match.rule.scope,
        "met": match.met,
        "conditions": [
            {"subject": each.keyword, "wanted": each.wanted, "found": each.found, "met": each.met}
            for each in match.conditions
        ],
        "prompts": [
            {"text": prompt.text, "label": prompt.label, "finding": bool(finding_word(prompt.text))}
            for prompt in match.prompts
        ],
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


def _show_study(console: Console, study: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(f"study {study['study_uid']}", style="bold", soft_wrap=True, highlight=False)
    for rule in study["rules"]:
        console.print(f"rule {rule['rule']}: one of the study", style="bold", markup=False, highlight=False)
        table = Table("", "Series", "Standing", "Why not")
        for each in rule["ranking"]:
            mark = Text("chosen", "bold green") if each["chosen"] else Text("lost", "bold red")
            series = Text(each["series_uid"] + (f"\n{each['volume']}" if each["volume"] else ""), overflow="fold")
            table.add_row(mark, series, Text("\n".join(each["standing"])), Text(each["lost"]))
        console.print(table)


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
            asked = ", ".join(p["text"] + " (finding: experimental)" * p["finding"] for p in rule["prompts"])
            table.add_row("", "→ prompts", Text(asked), Text(f"to {goes}"), "")
        table.add_section()
    console.print(table)
