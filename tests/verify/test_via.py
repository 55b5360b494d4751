"""`verify --via`: the SEG goes to a real PACS and the copy that comes back is compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.series import slices
from tests.system.peers.orthanc import Orthanc
from voxtell_dicom.cli import app


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("via")
    with Orthanc(folder / "orthanc", settings={"DicomAlwaysAllowGet": True, "DicomAlwaysAllowStore": True}) as orthanc:
        peers = {
            "dimse": {"ae_title": orthanc.ae_title, "host": "127.0.0.1", "port": orthanc.dicom_port},
            "web": {"dicomweb": orthanc.dicomweb},
            "folder": {"folder": str(folder / "drop")},
            "away": {"ae_title": "NOBODY", "host": "127.0.0.1", "port": 1},
        }
        (folder / "drop").mkdir()
        content = {"version": 1, "model": {"engine": "threshold"}, "peers": peers}
        (folder / "node.yaml").write_text(yaml.safe_dump(content))
        yield folder / "node.yaml"


@pytest.mark.parametrize("peer", ["dimse", "web", "folder"])
def test_there_and_back(peer: str, settings: Path, tmp_path: Path) -> None:
    slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "data")
    arguments = ["verify", str(tmp_path / "data"), "--json", "--via", peer, "-c", str(settings)]
    result = CliRunner().invoke(app, [*arguments, "--keep", str(tmp_path / "kept")])
    assert result.exit_code == 0, result.output
    (volume,) = json.loads(result.stdout)
    assert volume["outcome"] == "exact", volume["reason"]
    assert list((tmp_path / "kept").glob(f"*.from-{peer}.dcm"))


def test_peer_that_is_away_is_named(settings: Path, tmp_path: Path) -> None:
    slices.save(slices.stack(slices.noise((6, 24, 20))), tmp_path / "data")
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "data"), "--json", "--via", "away", "-c", str(settings)])
    (volume,) = json.loads(result.stdout)
    assert volume["outcome"] == "unproven"
    assert "away did not take the SEG" in volume["reason"]
    unknown = CliRunner().invoke(app, ["verify", str(tmp_path / "data"), "--via", "nowhere", "-c", str(settings)])
    assert unknown.exit_code == 2
    assert "no peer 'nowhere'" in unknown.output
