"""OHIF browses the node itself: what was stored by STOW-RS is listed, opened, and its segmentation held as it is."""

from __future__ import annotations

from pathlib import Path

import requests

from tests.system.node_process import NodeProcess
from tests.viewers.ohif import dist, view
from tests.viewers.proxy import Site
from tests.viewers.studies import phantom_study
from tests.viewers.test_ohif import assert_held, assert_shown, three_slices
from tests.web.messages import store


def test_a_study_of_the_node_is_opened_with_its_segmentation(tmp_path: Path) -> None:
    study = phantom_study(tmp_path / "phantom", ("liver", "spleen"), shape=(72, 72))
    slices = three_slices(study)[:1]
    with (
        NodeProcess(tmp_path / "node", peers={}, rules=[], http={}) as node,
        Site(dist(), node.http_port, "/dicomweb") as site,
    ):
        assert store(node, [path.read_bytes() for path in study.files]).status_code == 200
        found = requests.get(f"{site.url}/dicom-web/studies", params={"StudyInstanceUID": study.uid}, timeout=30).json()
        assert found[0]["00080061"]["Value"] == ["CT", "SEG"]
        [viewed] = view(site.url, [(study, slices)], tmp_path / "viewed")
    assert_held(viewed, study)
    assert_shown(viewed, study, slices)
