"""The lines for backup and restore in the guide, run as they stand: jobs come back, nothing is delivered twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.made_series import write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from tests.system.peers.orthanc import Orthanc
from tests.test_repository import ROOT
from tests.workflow.conftest import postgresql_url

__all__ = ["postgresql_url"]

GUIDE = (ROOT / "docs" / "administrator.md").read_text(encoding="utf-8")
BACKUP, RESTORE = re.findall(
    r"^(?:Back up|Restore), the node stopped:\n\n```sh\n(.*?)```$", GUIDE, re.MULTILINE | re.DOTALL
)


@pytest.mark.timeout(900)  # nine starts of programs, on a machine that may be busy
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_backup_and_restore_by_hand(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = request.getfixturevalue("postgresql_url") if kind == "postgresql" else None
    first, second = write_ct(tmp_path / "first"), write_ct(tmp_path / "second", seed=1)
    with (
        Orthanc(tmp_path / "orthanc") as pacs,
        NodeProcess(
            tmp_path / "etc", peers={"pacs": pacs.dimse_settings}, storage=tmp_path / "lib", database=database
        ) as node,
    ):
        storescu(first, node.port)
        pacs.wait_for(1, timeout_s=120)
        assert node.stop() == 0
        (tmp_path / "backup").mkdir()
        variables = {
            "SETTINGS": str(node.folder),
            "STORAGE": str(node.storage),
            "BACKUP": str(tmp_path / "backup"),
            "DATABASE": database or "",
        }
        run(BACKUP, variables)

        node.start()
        before = states(node)
        assert list(before.values()) == ["delivered"]
        storescu(second, node.port)
        results = pacs.wait_for(2, timeout_s=120)
        node.kill()

        shutil.rmtree(node.storage)
        node.yaml.unlink()
        run(RESTORE, variables)
        node.start()
        assert states(node) == before
        storescu(first, node.port)  # is known: nothing starts
        storescu(second, node.port)  # came after the backup: the same object again
        node.wait(lambda: is_done(states(node)), what="the second job again", every_s=1, timeout_s=120)
        assert before.items() <= states(node).items()
        assert sorted(pacs.instances(modality="SEG")) == sorted(results)
        assert node.stop() == 0


def run(script: str, variables: dict[str, str]) -> None:
    """Run lines of the guide."""
    environment = {**os.environ, **variables}
    subprocess.run(["bash", "-eu", "-c", script], env=environment, check=True, capture_output=True, text=True)


def states(node: NodeProcess) -> dict[str, str]:
    """Return job → state, as `jobs list` shows them."""
    return {job["id"]: job["state"] for job in node.jobs_cli()}


def is_done(jobs: dict[str, str]) -> bool:
    """Return whether both series have their job, and its result is in the PACS."""
    return list(jobs.values()) == ["delivered", "delivered"]
