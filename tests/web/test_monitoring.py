"""/alive, /ready and /metrics, scraped by Prometheus and held against their page."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import requests
import yaml
from pydicom.uid import generate_uid

from tests.receive.receiving import make_series
from tests.system.node_process import NodeProcess
from tests.system.peers.ports import free_port
from tests.web.messages import part10, store
from voxtell_dicom.config import Config, Receive
from voxtell_dicom.config.settings import NodeSettings

PAGE = Path(__file__).parents[2] / "docs/dicomweb.md"


@pytest.fixture(scope="module")
def metrics(node: NodeProcess) -> str:
    """Return the metrics of a node that has done something."""
    series = make_series(8, study_uid=generate_uid(), SeriesDescription="for the rule", PatientName="Secret^Name")
    assert store(node, [part10(one) for one in series]).status_code == 200
    uid = series[0].SeriesInstanceUID
    node.wait(lambda: [job for job in node.jobs() if job["series_uid"] == uid and job["state"] == "kept"])
    answer = requests.get(f"http://127.0.0.1:{node.http_port}/metrics", timeout=30)
    assert answer.headers["Content-Type"].startswith("text/plain")
    return answer.text


def test_it_is_alive_and_ready(node: NodeProcess) -> None:
    for path in ("alive", "ready"):
        answer = requests.get(f"http://127.0.0.1:{node.http_port}/{path}", timeout=30)
        assert (answer.status_code, answer.json()[path]) == (200, True)


def test_the_metrics_say_what_was_done(metrics: str) -> None:
    samples = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(samples['voxtell_jobs{rule="bright",state="kept"}']) >= 1
    assert float(samples["voxtell_instances"]) >= 8
    assert float(samples['voxtell_stage_seconds_count{stage="segment"}']) >= 1
    assert (
        samples['voxtell_stage_seconds_bucket{le="+Inf",stage="encode"}']
        == samples['voxtell_stage_seconds_count{stage="encode"}']
    )
    assert float(samples["voxtell_disk_free_bytes"]) > 0
    assert "Secret" not in metrics


def test_every_metric_is_on_the_page_and_every_one_on_the_page_exists(metrics: str) -> None:
    there = set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))
    assert set(re.findall(r"`(voxtell_\w+)`", PAGE.read_text(encoding="utf-8"))) == there


def test_promtool_finds_nothing(metrics: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_prometheus_scrapes_them(node: NodeProcess, metrics: str, tmp_path: Path) -> None:
    job = {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{node.http_port}"]}]}
    (tmp_path / "prometheus.yml").write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]})
    )
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            end, found = time.monotonic() + 60, []
            while not found and time.monotonic() < end:
                time.sleep(0.2)
                try:
                    url = f"http://127.0.0.1:{port}/api/v1/query"
                    answer = requests.get(url, params={"query": 'voxtell_jobs{state="kept"}'}, timeout=5)
                    found = json.loads(answer.text)["data"]["result"]
                except (requests.ConnectionError, ValueError, KeyError):
                    continue
            assert {one["metric"]["rule"] for one in found} == {"bright"}
        finally:
            server.terminate()


def test_nothing_listens_unless_it_is_configured() -> None:
    assert NodeSettings().http is None
    assert Config.model_validate({"version": 1, "model": {"engine": "threshold"}}).node.http is None
    assert Receive().bounds.dataset_mb
