"""From completion to publication each header is parsed once, and pixels are read once for each pass of the model."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydicom
import pytest

from tests.series import slices
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config
from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.native import Layout
from voxtell_dicom.engine.threshold import ThresholdEngine
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.line.masks import Answer, save_answers
from voxtell_dicom.line.plan import missing_slices
from voxtell_dicom.model import Request, load
from voxtell_dicom.workers.pool import WorkerPool
from voxtell_dicom.workflow.process import process_series
from voxtell_dicom.workflow.publish import publish_plan
from voxtell_dicom.workflow.runtime import Runtime
from voxtell_dicom.workflow.segment import segment_jobs

OUTPUTS = ["seg", "labelmap", "sr", "rtstruct", "secondary", "overlay"]


class Pool:
    """A worker that computes in this process."""

    engine = ThresholdEngine()

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Pool]:
        yield self

    def identity(self) -> str:
        return self.engine.identity

    def submit(self, op: str, **fields: Any) -> tuple[str, Future[dict[str, Any]]]:
        asked = [load(Request, request) for request in fields["requests"]]
        array = np.load(fields["array"], mmap_mode="r")
        segments = self.engine.segment(
            array, fields["spacing_zyx_mm"], asked, progress=lambda *_: None, cancelled=lambda: False
        )
        save_answers(Path(fields["out"]), [Answer(each.request, each.mask) for each in segments])
        future: Future[dict[str, Any]] = Future()
        future.set_result({"run": None})
        return "1", future


@pytest.mark.parametrize("syntax", ["native", "rle"])
def test_each_header_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str) -> None:
    rng = np.random.default_rng(3)
    stack = slices.stack(rng.integers(0, 400, (6, 32, 24)).astype(np.int16))
    if syntax == "rle":
        for ds in stack:
            ds.compress(pydicom.uid.RLELossless)
    series = slices.save(stack, tmp_path / "series")
    series = replace(series, series_uid=str(stack[0].SeriesInstanceUID), study_uid=str(stack[0].StudyInstanceUID))
    config = Config.model_validate(
        {
            "version": 1,
            "node": {"storage": tmp_path},
            "model": {"engine": "threshold"},
            "peers": {"pacs": {"folder": tmp_path / "pacs"}},
            "rules": [
                {
                    "name": name,
                    "when": {},
                    "prompts": ["> 0", "> -800"],
                    "outputs": OUTPUTS,
                    "send_to": ["pacs"],
                    "receipt": "always",
                }
                for name in ("one", "other")
            ],
        }
    )
    engine = open_database(config)
    jobs = JobBook(engine)
    archive = Archive(config.node.storage / "spool", engine, config.receive)
    runtime = Runtime(config, jobs, cast(WorkerPool, Pool()), archive)
    parsed: Counter[str] = Counter()
    decoded: Counter[str] = Counter()
    files = {str(instance.path) for instance in series.instances}
    dcmread, layout_read, image = pydicom.dcmread, Layout.read, HeaderSource.image

    def counted(source: Any, *given: Any, **options: Any) -> Any:
        name = str(getattr(source, "name", source))
        if name in files:
            parsed[name] += 1
        return dcmread(source, *given, **options)

    def counted_layout(self: Layout, path: Path) -> Any:
        decoded[str(path)] += 1
        return layout_read(self, path)

    def counted_image(self: HeaderSource, path: Path) -> Any:
        decoded[str(path)] += 1
        return image(self, path)

    monkeypatch.setattr(pydicom, "dcmread", counted)
    monkeypatch.setattr(Layout, "read", counted_layout)
    monkeypatch.setattr(HeaderSource, "image", counted_image)
    assert missing_slices(series, headers=runtime.headers.of(series.series_uid)) == ""
    jobs.record_series(series)
    (message,) = process_series(runtime, series)
    assert segment_jobs(runtime, message, count_failure=lambda: 1) == "segmented"
    for job in message.jobs:
        assert list(runtime.work_dir.glob("*.npy"))
        sent = publish_plan(runtime, job)
        row = jobs.get(job)
        assert row is not None
        assert row.state == "delivering", row.sentence
        assert {result.kind for result in row.results} == {*OUTPUTS, "receipt"}
        assert sent
    assert decoded == dict.fromkeys(files, 1), "once for the model and all outputs of both rules"
    assert not list(runtime.work_dir.glob("*.npy")), "dropped when the last job is published"
    assert parsed == dict.fromkeys(files, 1)
    source = runtime.headers.of(series.series_uid)
    assert not any(instance.path in source for instance in series.instances), "dropped when all is published"
