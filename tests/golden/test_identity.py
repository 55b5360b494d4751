"""Pin what decides identity: series versions, volume keys, plan keys, job ids, ids of durable work.

Stored jobs must survive an upgrade, so that none of these changes by accident. A value that is meant to change needs
a line in CHANGELOG.md.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos._dbos import _get_or_create_dbos_registry

from tests.encode import modalities
from tests.golden.conftest import Golden
from tests.series import multiframe_cases  # noqa: F401 - adds its cases
from tests.series.cases import CASES
from tests.series.slices import series_in
from tests.series.test_cases import outcome
from tests.workflow.test_study import Site, deliver
from voxtell_dicom.cli.folder import series_in as series_of_folder
from voxtell_dicom.config import Config
from voxtell_dicom.jobs.tables import metadata
from voxtell_dicom.model import Cleanup, Plan, PlanOptions, Prompt, Resampling, Series
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import load_volume
from voxtell_dicom.workflow import pipeline
from voxtell_dicom.workflow.messages import FORMAT, DeliverMessage, ProcessMessage
from voxtell_dicom.workflow.process import process_series
from voxtell_dicom.workflow.study import look_input

CT = Acquisition(slice_spacing_mm=16.0, pixel_spacing_mm=(8.0, 8.0))
STACKS = (
    *("axial", "sagittal", "descending", "oblique", "gantry-tilt", "two-spacings", "three-tilted-runs", "duplicate"),
    *("uneven", "echoes", "b-values", "monochrome1", "signed", "no-rescale", "pet", "rle", "jpeg-2000"),
    *("implicit", "enhanced-ct", "enhanced-mr-shuffled", "enhanced-pet", "enhanced-4d", "enhanced-in-two-objects"),
    *("legacy-ct", "legacy-pet"),
)
CODES = {
    "category": "structure",
    "type": {"value": "64033007", "scheme": "SCT", "meaning": "Kidney"},
    "laterality": "left",
}
RULES: list[dict[str, Any]] = [
    {"name": "default", "when": {"Modality": "CT"}, "prompts": ["> 300"]},
    {
        "name": "options",
        "when": {"Modality": "CT"},
        "prompts": ["> 300", {"text": "> 100", "label": "Bright", "color": "#b96f4a", "threshold": 0.4}],
        "minimum_confidence": 0.25,
        "holes": "xor",
        "max_gap": 2,
        "outputs": ["seg", "sr", "rtstruct", "overlay"],
        "receipt": "always",
        "send_to": ["pacs"],
    },
    {
        "name": "prompts",
        "when": {"Modality": "CT"},
        "prompts": [
            {"text": "> 200", "fill_holes": True, "largest_component": True, "minimum_ml": 0.5, "exclusive_group": "a"},
            {"text": "> 250", "codes": "liver", "exclusive_group": "a"},
            {"text": "> 150", "codes": CODES},
        ],
        "resample": {"spacing_mm": 1.5, "finer_than_mm": 0.7},
    },
    {"name": "probabilities", "when": {"Modality": "CT"}, "prompts": ["> 300"], "send_to": ["soft"]},
    {"name": "suv", "when": {"Modality": "PT"}, "prompts": ["> 4"], "values": "suv"},
]


def site_of(folder: Path) -> Site:
    """Return a spool and a job book with the rules of this file, without the durable engine."""
    peers = {"pacs": {"folder": folder / "out"}, "soft": {"folder": folder / "soft", "encoding": "fractional"}}
    return Site(
        folder,
        Config.model_validate(
            {
                "version": 1,
                "node": {"storage": folder / "node"},
                "receive": {"quiet_s": 0.05, "min_free_percent": 0},
                "model": {"engine": "threshold"},
                "peers": peers,
                "rules": RULES,
            }
        ),
    )


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(torso(5), CT, tmp_path_factory.mktemp("ct"))


def jobs_of(site: Site, series_uid: str) -> list[dict[str, Any]]:
    """Return rule, ids, keys and options of each job of a series.

    `plan_key` is that of the plan as it is stored, from which the UIDs of its results are made. A job's id begins the
    key of the plan as the rule made it. They are not the same where a prompt has settings: an integer 0 of
    `minimum_ml` or `finer_than_mm` comes back from storage as 0.0.
    """
    found = [
        {
            "rule": job.rule,
            "job": job.id,
            "state": job.state,
            "series_version": job.series_version,
            "supersedes": list(job.supersedes),
            **(_plan(job.plan) if job.plan else {}),
        }
        for job in site.jobs.find(series_uid=series_uid)
    ]
    return sorted(found, key=lambda job: (job["series_version"], job["rule"], job["job"]))


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "volume_key": plan.volume_key,
        "plan_key": plan.key,
        "options": json.loads(json.dumps(plan.options.for_key())),
    }


def test_series_versions(ct: list[Path], golden: Golden, tmp_path: Path) -> None:
    """Of the archive and of a folder: both are made in the same way since version 0.2 (see CHANGELOG)."""
    site = site_of(tmp_path)
    name = site.store(ct)
    spooled = site.archive.series(name)
    (offline,) = series_of_folder(ct[0].parent)
    assert spooled is not None
    golden("series versions", {"uid": name, "spool": spooled.version, "folder": offline.version})


@pytest.mark.parametrize("name", STACKS)
def test_volume_keys_of_the_corpus(name: str, golden: Golden, tmp_path: Path) -> None:
    found = next((case for case in CASES if case.name == name), None)
    if found is None:
        pytest.fail(f"the corpus has no case {name}")
    golden(f"volume keys: {name}", {volume.name: volume.key for volume in outcome(found, tmp_path).volumes})


def test_volume_keys_of_the_phantom(golden: Golden, tmp_path: Path) -> None:
    scans = {
        "axial": CT,
        "tilted": replace(CT, tilt_deg=12.0),
        "oblique": replace(CT, turn_deg=(12.0, -17.0, 8.0)),
        "coronal": replace(CT, plane="coronal", descending=True),
    }
    keys = {}
    for name, scan in scans.items():
        write_series(torso(5), scan, tmp_path / name)
        keys[name] = [load_volume(volume)[1].key for volume in assemble(series_in(tmp_path / name)).volumes]
    golden("volume keys of the phantom", keys)


def test_plan_keys_of_plans_in_words(golden: Golden) -> None:
    """Each field of a plan that decides its key, alone."""
    plain = Plan("k" * 64, "abdomen", 0, (Prompt("liver", "Liver"),), ("seg",), ("pacs",), "engine 1", "1")

    def with_prompt(**more: Any) -> Plan:
        return replace(plain, prompts=(Prompt("liver", "Liver", **more),))

    plans = {
        "plain": plain,
        "other peers and position": replace(plain, send_to=(), rule_index=7),
        "run": replace(plain, run=1),
        "options": replace(plain, options=PlanOptions(minimum_confidence=0.25, values="suv", holes="xor")),
        "version": replace(plain, options=PlanOptions(version=2, supersedes=("2.25.1", "2.25.2"))),
        "incomplete": replace(plain, options=PlanOptions(incomplete="a slice is missing", warnings=("edge: Leber ü",))),
        "codes": with_prompt(codes="spleen"),
        "cleanup": with_prompt(cleanup=Cleanup(fill_holes=True, minimum_ml=0.5), exclusive_group="a"),
        "resampling": with_prompt(resampling=Resampling(1.5, coarser_than_mm=3.0), color="#b96f4a", threshold=0.4),
        "outputs": replace(plain, outputs=("seg", "sr")),
        "engine": replace(plain, engine_identity="engine 2"),
        "encoder": replace(plain, encoder_revision="2"),
    }
    assert plans["other peers and position"].key == plain.key
    golden("plan keys", {name: plan.key for name, plan in plans.items()})


def test_jobs_of_a_series_and_of_its_next_version(ct: list[Path], golden: Golden, tmp_path: Path) -> None:
    """The second version supersedes what was delivered of the first; what is incomplete says so."""
    site = site_of(tmp_path)
    name = site.receive(sorted(ct)[:-1], incomplete="a slice is missing")
    golden("jobs of version 1", jobs_of(site, name))
    for job in site.jobs.find(series_uid=name):
        if job.plan and job.rule in ("default", "options"):
            deliver(site, job.id)
    site.receive(sorted(ct)[-1:])
    golden("jobs of version 2", jobs_of(site, name))


def test_jobs_of_other_series(ct: list[Path], golden: Golden, tmp_path: Path) -> None:
    """PET with SUV; the runs of a stack, joined; what no rule wants; what is refused."""
    site = site_of(tmp_path)
    shutil.copytree(ct[0].parent, tmp_path / "pet")
    pet = sorted((tmp_path / "pet").iterdir())
    modalities.rewrite(pet, "PT")
    golden("jobs of a PET series", jobs_of(site, site.receive(pet)))
    for case in ("two-spacings", "echoes", "missing-slice", "localizer"):
        one = site_of(tmp_path / case)
        next(each for each in CASES if each.name == case).write(tmp_path / case / "files")
        found = jobs_of(one, one.receive(sorted((tmp_path / case / "files").iterdir())))
        golden(f"jobs of {case}", found)


def test_ids_of_durable_work(ct: list[Path], golden: Golden, tmp_path: Path) -> None:
    """Ids, names and queues that work under way is found by after an upgrade."""
    site = site_of(tmp_path)
    name = site.store(ct)
    series = site.archive.series(name)
    assert isinstance(series, Series)
    items = [message.written() for message in process_series(site.runtime, series)]
    process = ProcessMessage(series.series_uid, series.version)
    registry = _get_or_create_dbos_registry()
    own = sorted(key for key, made in registry.workflow_info_map.items() if "voxtell" in made.__module__)
    golden(
        "durable work",
        {
            "format": FORMAT,
            "application": [pipeline.APPLICATION, pipeline.APPLICATION_VERSION],
            "queues": sorted(pipeline.QUEUES),
            "workflows": own,
            "process": [process.id, f"{process.id}:2"],
            "segment": [item["id"] for item in items],
            "keys of a segment input": sorted(items[0]),
            "publish": pipeline.publish_id("0123456789abcdef", items[0]["id"]),
            "deliver": DeliverMessage("a", ("2.25.1",), "pacs", 3).id,
            "study": look_input(site.runtime, series.study_uid).id,
        },
    )


def test_tables_of_the_job_book(golden: Golden) -> None:
    """Columns, types and keys: a database of the version before is opened as it is."""
    tables = {
        table.name: [
            f"{column.name} {column.type.compile(sa.create_engine('sqlite://').dialect)}"
            + " primary key" * column.primary_key
            for column in table.columns
        ]
        for table in metadata.sorted_tables
    }
    golden("tables", tables)
