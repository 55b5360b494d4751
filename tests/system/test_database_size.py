"""Test the bytes that a job of 300 slices takes in the database for ever, the durable engine's own rows included."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.system.made_series import write_ct
from tests.system.node_process import NodeProcess
from tests.system.peers.dcmtk import storescu
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import load_config

LIMIT = 60_000  # bytes; version 0.1: 628,000
RULE = {"name": "bright", "when": {"Modality": "CT"}, "prompts": ["> 900"], "send_to": ["pacs"]}


def bytes_in_use(node: NodeProcess) -> int:
    with sqlite3.connect(node.storage / "node.sqlite", timeout=30) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def by_table(node: NodeProcess) -> list[tuple[str, int]]:
    """For people: the text and blobs of each table, by their lengths."""
    with sqlite3.connect(node.storage / "node.sqlite", timeout=30) as connection:
        found = []
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
            lengths = " + ".join(f'coalesce(sum(length(cast("{column}" as blob))), 0)' for column in columns)
            found.append((name, int(connection.execute(f'SELECT {lengths} FROM "{name}"').fetchone()[0])))
    return sorted(found, key=lambda pair: -pair[1])


def drop_series(node: NodeProcess) -> None:
    """Drop what the archive holds, as retention does a day after the delivery; the jobs stay."""
    config = load_config(node.yaml)
    archive = Archive(node.storage / "spool", open_database(config), config.receive)
    try:
        for series in list(archive.summaries()):
            assert archive.drop(series.series_uid, series.version)
    finally:
        archive.close()


def test_a_job_of_300_slices(tmp_path: Path) -> None:
    peers = {"pacs": {"folder": str(tmp_path / "out")}}
    used: list[int] = []
    with NodeProcess(tmp_path / "node", peers=peers, rules=[RULE]) as node:
        for number in range(3):
            storescu(write_ct(tmp_path / f"ct{number}", slices=300, rows=16, columns=16, seed=number), node.port)
            node.wait_for_jobs(*["delivered"] * (number + 1), timeout_s=120)
            assert node.wait_until_idle(30)
            assert node.stop() == 0
            drop_series(node)
            used.append(bytes_in_use(node))
            node.start()
        tables = by_table(node)
    each = (used[2] - used[0]) / 2
    print(f"{each:.0f} bytes for each job; by table, of three: {tables[:6]}")
    assert each <= LIMIT, tables
