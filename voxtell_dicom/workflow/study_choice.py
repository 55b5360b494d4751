"""What a look at a quiet study does: choose the volumes that rules of scope study want, and open their jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from voxtell_dicom.config import Rule
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.encode import ENCODER_REVISION
from voxtell_dicom.errors import Refusal
from voxtell_dicom.jobs.records import Job
from voxtell_dicom.line.load import MissingRuns, load_runs
from voxtell_dicom.line.plan import (
    Planned,
    for_rule,
    job_id,
    match_series,
    missing_runs,
    plan_for,
    refused_by,
    soft_peers,
    with_missing,
)
from voxtell_dicom.model import Assembly, JobState, Plan, PlanOptions, Reason, Series, Volume
from voxtell_dicom.model.states import FINAL
from voxtell_dicom.rules.choose import Candidate, Ranked, as_good, choose
from voxtell_dicom.workflow.messages import SegmentMessage
from voxtell_dicom.workflow.process import note_refusals, open_jobs
from voxtell_dicom.workflow.runtime import Runtime, study_rules

log = structlog.get_logger(__name__)


ARRAYS = "study"  # the folder of the arrays: `process` may want the same volume, and drops its own
Wanted = tuple[tuple[int, ...], str]  # ids of candidates (the runs of one stack), and what the model is given of them


@dataclass
class StudyChoice:
    """One look at a quiet study, whose series are `series`."""

    runtime: Runtime
    study_uid: str
    series: Sequence[Series]
    loaded: dict[Wanted, tuple[Volume, tuple[Path, ...]]] = field(default_factory=dict)
    plans: dict[Wanted, list[Plan]] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)  # by Series Instance UID: why it lost
    assemblies: dict[str, Assembly] = field(default_factory=dict)  # by Series Instance UID

    def segment(self) -> list[SegmentMessage]:
        """Choose, open the jobs, and say in the book what became of each series. Returns the messages to `segment`."""
        began = time.time()
        candidates = self._candidates()
        for index, rule in study_rules(self.runtime.config):
            ranked, missing = self._rank(index, candidates)
            self._plan(rule, ranked, missing)
            self._explain(rule, ranked)
        items: list[SegmentMessage] = []
        for series in self.series:
            mine = {id(each) for each in candidates if each.volume.series_uid == series.series_uid}
            planned = [
                Planned(self.loaded[wanted][0], tuple(plans), self.loaded[wanted][1])
                for wanted, plans in self.plans.items()
                if wanted[0][0] in mine
            ]
            items += open_jobs(self.runtime, series, planned, began, ARRAYS)
        for key, (_, arrays) in self.loaded.items():
            if key not in self.plans:
                for array in arrays:
                    array.unlink(missing_ok=True)
        for series in self.series:
            self._settle(series)
        return items

    def _candidates(self) -> list[Candidate]:
        found: list[Candidate] = []
        for series in self.series:
            try:
                assembly, matches = match_series(series, self.runtime.config.rules, self._headers(series.series_uid))
            except Refusal:
                continue  # the job that `process` opened says why
            self.assemblies[series.series_uid] = assembly
            pairs = zip(assembly.volumes, matches, strict=True)
            found += [Candidate(volume, tuple(some)) for volume, some in pairs]
        return found

    def _headers(self, series_uid: str) -> HeaderSource:
        return self.runtime.headers.of(series_uid)

    def _rank(self, index: int, candidates: Sequence[Candidate]) -> tuple[list[Ranked], list[tuple[Candidate, str]]]:
        """Rank, and decode what is chosen; what cannot be decoded is no candidate, and is given back with the code."""
        rule = self.runtime.config.rules[index]
        missing: list[tuple[Candidate, str]] = []
        while True:
            ranked = choose(index, candidates)
            chosen = [each.candidate for each in ranked if not each.lost]
            refused = self._load(chosen, rule) if chosen else {}
            if not refused:
                return ranked, missing
            lost = [each for each in chosen if each.volume.name in refused]
            missing += [(each, refused[each.volume.name].code) for each in lost]
            candidates = [each for each in candidates if not any(each is other for other in lost)]

    def _load(self, chosen: Sequence[Candidate], rule: Rule) -> MissingRuns:
        """Decode the volume that is chosen, or the runs of the stack; those that are refused."""
        wanted = _wanted(chosen, rule)
        refused = {each.volume.name: item for each in chosen if (item := refused_by(rule, each.volume))}
        if not refused and wanted not in self.loaded:
            runs = [each.volume for each in chosen]
            loaded, refused = load_runs(
                runs, self.runtime.work_dir / ARRAYS, rule.values, self._headers(chosen[0].volume.series_uid)
            )
            if loaded and not refused:
                self.loaded[wanted] = loaded
            elif loaded:  # without the refused ones, another may be chosen
                for array in loaded[1]:
                    array.unlink(missing_ok=True)
        series = next(each for each in self.series if each.series_uid == chosen[0].volume.series_uid)
        note_refusals(self.runtime, series, refused.values())
        return refused

    def _plan(self, rule: Rule, ranked: list[Ranked], missing: Sequence[tuple[Candidate, str]]) -> None:
        """Plan what the rule chose; `ranked` is changed where an earlier choice, dropped since, was as good.

        missing: what was refused before; it is missing from the result where it is of the same stack.
        """
        chosen = [each for each in ranked if not each.lost]
        if not chosen:
            return
        wanted = _wanted([each.candidate for each in chosen], rule)
        volume, _ = self.loaded[wanted]
        before = [
            job
            for job in self.runtime.jobs.find(study_uid=self.study_uid, limit=1000)
            if job.plan and job.plan.rule == rule.name
        ]
        if before and self._stands(before[0], volume, rule):
            reason = f"the volume chosen before, of series {before[0].series_uid}, is as good"
            ranked[:] = [each if each.lost else replace(each, lost=reason) for each in ranked]
            return
        gone = {run.volume.name: code for run, code in missing if run.stack == chosen[0].candidate.stack}
        gone |= missing_runs(self.assemblies[volume.series_uid], volume, rule.max_gap)
        options = self._options(before, volume, gone, rule)
        soft = soft_peers(self.runtime.config)
        plan = plan_for(chosen[0].match, volume, self.runtime.pool.identity(), ENCODER_REVISION, options, soft)
        self.plans.setdefault(wanted, []).append(plan)

    def _stands(self, job: Job, volume: Volume, rule: Rule) -> bool:
        """Return whether an earlier choice, whose series is here no more, is as good as what is here."""
        if job.state == JobState.CANCELLED or any(each.series_uid == job.series_uid for each in self.series):
            return False
        return as_good(self.runtime.jobs.plan(job.id)[1], volume, rule.choose.best)

    def _options(self, before: Sequence[Job], volume: Volume, gone: dict[str, str], rule: Rule) -> PlanOptions:
        """The options of the newest choice where it is the same; else what it replaces, whose jobs are cancelled.

        before: the jobs of the rule on this study, newest first. volume: chosen now. gone: runs that it lacks, and why.
        """
        jobs = self.runtime.jobs
        newest = before[0] if before and before[0].state != JobState.CANCELLED else None
        if newest and newest.plan and newest.plan.volume_key == volume.key:
            return newest.plan.options
        for job in before:
            if job.state not in FINAL and jobs.advance(job.id, JobState.CANCELLED, Reason("other-volume")):
                log.info("job cancelled: the study rule chose another volume", job=job.id)
        versions = [job.plan.options.version or 1 for job in before if job.plan]
        series = next(each for each in self.series if each.series_uid == volume.series_uid)
        options = PlanOptions(
            version=max(versions) + 1 if versions else None,
            supersedes=tuple(sorted({uid for job in before for uid in jobs.delivered_objects(job.id)})),
            incomplete=series.incomplete,
        )
        return with_missing(for_rule(options, series, rule, self._headers(series.series_uid)), gone)

    def _explain(self, rule: Rule, ranked: Sequence[Ranked]) -> None:
        """Log what was chosen, and why each other volume was not; keep the latter for the book."""
        about = {"study_uid": self.study_uid, "rule": rule.name}
        of_choice = [each for each in ranked if not each.lost]
        chosen = {each.candidate.volume.series_uid for each in of_choice}
        for each in of_choice[:1]:  # of the runs of one stack all stand as this one
            uid, because = each.candidate.volume.series_uid, ", ".join(each.standing)
            log.info("study rule chose", **about, series_uid=uid, because=because)
        for each in ranked:
            uid = each.candidate.volume.series_uid
            if not each.lost:
                continue
            log.info("study rule passed over", **about, series_uid=uid, reason=each.lost)
            if uid not in chosen:
                self.reasons.setdefault(uid, []).append(f"{rule.name}: {each.lost}")
        if not chosen:
            log.info("study rule chose nothing", **about)

    def _settle(self, series: Series) -> None:
        """A series that waited has jobs now, or it is unmatched and the book says to what it lost."""
        jobs, note = self.runtime.jobs, job_id(series.series_uid, series.version)
        if jobs.state(note) not in (JobState.WAITING, JobState.UNMATCHED):
            return
        mine = jobs.find(series_uid=series.series_uid, limit=1000)
        if any(job.plan and job.series_version == series.version for job in mine):
            jobs.remove(note)
            return
        reasons = self.reasons.get(series.series_uid, ["no volume of it can be segmented"])
        jobs.reopen(note, JobState.UNMATCHED, Reason("lost-choice", {"reasons": reasons}))


def _wanted(chosen: Sequence[Candidate], rule: Rule) -> Wanted:
    return tuple(sorted(id(each) for each in chosen)), rule.values
