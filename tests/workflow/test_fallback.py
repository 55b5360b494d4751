"""What goes in the place of a refused object, without a network: what is made and said, how long masks are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom

from tests.workflow.test_gates import Site, site_of
from voxtell_dicom.model import Outcome, Result
from voxtell_dicom.workflow.deliver import RE_ENCODE
from voxtell_dicom.workflow.fallback import encode_again, tidy
from voxtell_dicom.workflow.messages import DeliverMessage

REFUSED = Outcome(RE_ENCODE, "0122", "not delivered")


def site_with(folder: Path, fallback: list[str], **rule: Any) -> Site:
    site = site_of(folder, outputs=["labelmap"], **rule)
    peer = site.runtime.config.peers["pacs"].model_copy(update={"fallback": fallback})
    site.runtime = replace(site.runtime, config=site.runtime.config.model_copy(update={"peers": {"pacs": peer}}))
    return site


def results(site: Site) -> list[Result]:
    job = site.runtime.jobs.get("j")
    assert job is not None
    return list(job.results)


def message_of(result: Result, attempt: int = 1) -> DeliverMessage:
    return DeliverMessage("j", (result.sop_instance_uid,), "pacs", attempt)


def refuse(site: Site, result: Result, attempt: int = 1) -> list[DeliverMessage]:
    """The peer refuses an object: what is sent in its place."""
    site.runtime.jobs.record_delivery("j", result.sop_instance_uid, "pacs", attempt, REFUSED)
    site.runtime.jobs.settle("j")
    assert site.runtime.jobs.state("j") == "delivering"
    return encode_again(site.runtime, message_of(result, attempt))


def outcome_of(site: Site, result: Result) -> Outcome:
    return site.runtime.jobs.last_outcome("j", result.sop_instance_uid, "pacs")


def test_the_words_are_tried_in_order_and_masks_kept_until_one_arrives(tmp_path: Path) -> None:
    site = site_with(tmp_path, ["native", "seg"])
    site.publish([0.9, 0.8, 0.7])
    tidy(site.runtime, "j")
    assert site.runtime.masks("j").exists(), "its fallback may need them"
    (labelmap,) = results(site)
    (native,) = refuse(site, labelmap)
    assert outcome_of(site, labelmap).state == "replaced"
    second = next(each for each in results(site) if each.sop_instance_uid == native.uids[0])
    assert (second.kind, second.peers) == ("labelmap", ("pacs",))
    assert second.sop_instance_uid != labelmap.sop_instance_uid
    assert site.runtime.jobs.state("j") == "delivering", "not delivered before what replaces it is"
    assert encode_again(site.runtime, message_of(labelmap)) == [native], "the same step again says the same"
    assert len(results(site)) == 2, "and makes nothing new"
    assert outcome_of(site, labelmap).state == "replaced"
    assert len(refuse(site, second)) == 1
    assert outcome_of(site, second).state == "replaced"
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
    assert not encode_again(site.runtime, message_of(third))
    tidy(site.runtime, "j")
    assert not site.runtime.masks("j").exists()


def test_what_cannot_be_replaced_says_what_to_do(tmp_path: Path) -> None:
    site = site_with(tmp_path, ["seg"])
    site.publish([0.9, 0.8, 0.7])
    (labelmap,) = results(site)
    site.runtime.masks("j").unlink()
    assert refuse(site, labelmap) == []
    gone = outcome_of(site, labelmap)
    assert gone.state == site.runtime.jobs.state("j") == "failed"
    assert "run 'jobs rerun'" in gone.message
    plain = site_with(tmp_path / "plain", [])
    plain.publish([0.9, 0.8, 0.7])
    (labelmap,) = results(plain)
    assert refuse(plain, labelmap) == []
    assert "give the peer a 'fallback'" in outcome_of(plain, labelmap).message
    tidy(plain.runtime, "j")
    assert not plain.runtime.masks("j").exists()
