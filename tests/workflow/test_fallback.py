"""What goes in the place of a refused object, without a network: what is made and said, how long masks are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom

from tests.workflow.test_gates import Site, site_of
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.workflow.fallback import after_refusal, instead, tidy

REFUSED = Outcome("failed", "0122", "not delivered", refused=True)


def site_with(folder: Path, fallback: list[str], **rule: Any) -> Site:
    site = site_of(folder, outputs=["labelmap"], **rule)
    peer = site.runtime.config.peers["pacs"].model_copy(update={"fallback": fallback})
    site.runtime = replace(site.runtime, config=site.runtime.config.model_copy(update={"peers": {"pacs": peer}}))
    return site


def results(site: Site) -> list[Result]:
    job = site.runtime.jobs.get("j")
    assert job is not None
    return list(job.results)


def refuse(site: Site, result: Result, attempt: int = 1) -> Outcome:
    outcome = after_refusal(site.runtime, "j", result, "pacs", REFUSED)
    site.runtime.jobs.record_delivery("j", result.sop_instance_uid, "pacs", attempt, outcome)
    site.runtime.jobs.settle("j")
    return outcome


def test_the_words_are_tried_in_order_and_masks_kept_until_one_arrives(tmp_path: Path) -> None:
    site = site_with(tmp_path, ["native", "seg"])
    site.publish([0.9, 0.8, 0.7])
    tidy(site.runtime, "j")
    assert site.runtime.masks("j").exists(), "its fallback may need them"
    (labelmap,) = results(site)
    assert refuse(site, labelmap).state == "replaced"
    (native,) = instead(site.runtime, "j", "pacs")
    second = next(each for each in results(site) if each.sop_instance_uid == native.uids[0])
    assert (second.kind, second.peers) == ("labelmap", ("pacs",))
    assert second.sop_instance_uid != labelmap.sop_instance_uid
    assert site.runtime.jobs.state("j") == "delivering", "not delivered before what replaces it is"
    again = after_refusal(site.runtime, "j", labelmap, "pacs", REFUSED)
    assert len(results(site)) == 2, "the same step again makes nothing new"
    assert again.state == "replaced"
    assert refuse(site, second).state == "replaced"
    third = results(site)[-1]
    assert pydicom.dcmread(third.path).SegmentationType == "BINARY"
    assert {uid for each in results(site) for uid in (each.sop_instance_uid, each.series_uid)} <= set(site.own)
    tidy(site.runtime, "j")
    assert site.runtime.masks("j").exists()
    site.runtime.jobs.record_delivery("j", third.sop_instance_uid, "pacs", 1, Outcome("delivered", "0000"))
    site.runtime.jobs.settle("j")
    job = site.runtime.jobs.get("j")
    assert job is not None
    assert job.state == "delivered"
    assert job.sentence.count("is refused by peer 'pacs'") == 2
    assert not instead(site.runtime, "j", "pacs")
    tidy(site.runtime, "j")
    assert not site.runtime.masks("j").exists()


def test_what_cannot_be_replaced_says_what_to_do(tmp_path: Path) -> None:
    site = site_with(tmp_path, ["seg"])
    site.publish([0.9, 0.8, 0.7])
    (labelmap,) = results(site)
    other = replace(REFUSED, refused=False)
    assert after_refusal(site.runtime, "j", labelmap, "pacs", other) == other
    report = replace(labelmap, kind="sr")
    assert after_refusal(site.runtime, "j", report, "pacs", REFUSED) == REFUSED, "only segmentations have substitutes"
    site.runtime.masks("j").unlink()
    gone = after_refusal(site.runtime, "j", labelmap, "pacs", REFUSED)
    assert gone.state == "failed"
    assert "run 'jobs rerun'" in gone.message
    plain = site_with(tmp_path / "plain", [])
    plain.publish([0.9, 0.8, 0.7])
    (labelmap,) = results(plain)
    assert "give the peer a 'fallback'" in after_refusal(plain.runtime, "j", labelmap, "pacs", REFUSED).message
    tidy(plain.runtime, "j")
    assert not plain.runtime.masks("j").exists()
