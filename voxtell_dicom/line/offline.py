"""The node's line without the node: a series in, SEG objects out, by the same stages and the same worker process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from voxtell_dicom.check import findings
from voxtell_dicom.config import Config
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode import ENCODER_REVISION
from voxtell_dicom.errors import Refusal, UnknownPrompt
from voxtell_dicom.line.limit import Limit
from voxtell_dicom.line.load import load_runs
from voxtell_dicom.line.plan import Planned, codes_of, missing_runs, soft_peers, with_missing
from voxtell_dicom.line.publish import judge, publish
from voxtell_dicom.line.segment import Session, found_for, segment_volume
from voxtell_dicom.model import Found, Plan, PlanOptions, Prompt, Result, Series, Volume
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.joined import stacks_of

MAX_MINUTES = 24 * 60.0  # against a hung device
Report = Callable[[str, int, int], None]  # stage, steps done, steps in all


@dataclass
class Offline:
    """Segments series one after the other with one loaded engine. Seconds per stage add up in `seconds`."""

    config: Config
    worker: Session
    identity: str
    prompts: tuple[Prompt, ...]
    rule: str  # the name in the results' description
    out: Path
    work: Path  # a folder for arrays and masks in between
    report: Report
    seconds: dict[str, float] = field(default_factory=dict)

    def check_prompts(self) -> None:
        """Raises UnknownPrompt where the engine cannot run one: before any pixel is decoded."""
        _, future = self.worker.submit("unknown", prompts=[prompt.text for prompt in self.prompts])
        unknown = future.result(600)["unknown"]
        if unknown:
            raise UnknownPrompt(f"the engine cannot run {', '.join(map(repr, unknown))}")

    def segment(self, series: Series) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Segment every volume of a series, the runs of a stack as one.

        Returns the entries of `results` and `not_processed` (docs/json.md).
        """
        headers = HeaderSource()
        with self._timed("assemble"):
            try:
                (rule,) = self.config.rules
                assembly = assemble(series, rule.max_gap, rule.frames_of_reference, headers)
            except Refusal as refusal:
                return [], [_not_processed(series, refusal.code, str(refusal))]
        aside = [
            {"series_uid": series.series_uid, "code": item.code, "reason": item.reason, "refused": item.refused}
            for item in assembly.set_aside
        ]
        results = []
        for positions in stacks_of(assembly.volumes):
            self.report("decode", 0, 1)
            with self._timed("decode"):
                runs = [assembly.volumes[position] for position in positions]
                loaded, missing = load_runs(runs, self.work, headers=headers)
            aside += [_not_processed(series, item.code, item.reason) for item in missing.values()]
            try:
                if loaded:
                    gone = missing_runs(assembly, loaded[0], rule.max_gap) | codes_of(missing)
                    results.append(self._volume(*loaded, with_missing(PlanOptions(), gone), headers))
            except Refusal as refusal:
                aside.append(_not_processed(series, refusal.code, str(refusal)))
        return results, aside

    def _volume(
        self, volume: Volume, arrays: tuple[Path, ...], options: PlanOptions, headers: HeaderSource
    ) -> dict[str, Any]:
        (rule,) = self.config.rules
        if soft_peers(self.config):
            options = replace(options, probabilities=True)
        outputs, send_to = tuple(rule.outputs), tuple(rule.send_to)
        plan = Plan(volume.key, self.rule, 0, self.prompts, outputs, send_to, self.identity, ENCODER_REVISION, options)
        if options.incomplete:
            volume = replace(volume, warnings=(*volume.warnings, f"incomplete: {options.incomplete}"))
        answers = self.work / f"{plan.key}.answers.json"
        with self._timed("segment"):
            segmented = segment_volume(
                Planned(volume, (plan,), arrays),
                self.worker,
                out=answers,
                limit=Limit(self.rule, MAX_MINUTES),
                progress=lambda done, total: self.report("segment", done, total),
                cancelled=lambda: False,
            )
        found = found_for(plan, volume, segmented.answers)
        judged = judge(plan, volume, found, findings.check(found, volume, arrays))
        answers.unlink(missing_ok=True)
        self.report("encode", 0, 1)
        with self._timed("encode"):
            published = publish(judged, config=self.config, directory=self.out, headers=headers, arrays=arrays)
        for array in arrays:
            array.unlink(missing_ok=True)
        return _entry(judged.volume, judged.found, published.results)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - began, 3)


def _entry(volume: Volume, found: Sequence[Found], results: Sequence[Result]) -> dict[str, Any]:
    result = results[0] if results else None
    return {
        "study_uid": volume.study_uid,
        "series_uid": volume.series_uid,
        "volume": volume.name,
        "file": str(result.path) if result else None,
        "sop_instance_uid": result.sop_instance_uid if result else None,
        "files": [
            {"kind": each.kind, "file": str(each.path), "sop_instance_uid": each.sop_instance_uid} for each in results
        ],
        "segments": [
            {
                "prompt": item.prompt.text,
                "label": item.prompt.label,
                "voxels": item.mask.voxels,
                "volume_ml": round(volume.millilitres(item.mask), 3),
                "mean_probability": item.mean_probability,
            }
            for item in found
        ],
        "warnings": list(dict.fromkeys((*volume.warnings, *(result.warnings if result else ())))),
    }


def _not_processed(series: Series, code: str, reason: str) -> dict[str, Any]:
    return {"series_uid": series.series_uid, "code": code, "reason": reason, "refused": True}
