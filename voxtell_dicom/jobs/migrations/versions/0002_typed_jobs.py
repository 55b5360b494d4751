"""Deflated values, a series version once, reasons as codes. Absolute paths of old values stay: they are still read."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_old = sa.Table(
    "voxtell_job_0001",
    sa.MetaData(),
    *(sa.Column(name, sa.Text) for name in ("id", "state", "reason", "rule", "study_uid", "series_uid")),
    *(sa.Column(name, sa.Text) for name in ("series_version", "accession")),
    *(sa.Column(name, sa.JSON) for name in ("series", "plan", "volume", "results", "empty", "warnings", "supersedes")),
    sa.Column("created", sa.Float),
    sa.Column("updated", sa.Float),
)
_old_notice = sa.Table(
    "voxtell_notice_0001",
    sa.MetaData(),
    *(sa.Column(name, sa.Text) for name in ("job_id", "sop_instance_uid")),
    *(sa.Column(name, sa.JSON) for name in ("result", "send_to")),
    sa.Column("at", sa.Float),
)


def upgrade() -> None:
    """Make the new tables, and bring every old row into them, one by one."""
    connection = op.get_bind()
    for name in ("ix_voxtell_job_state", "ix_voxtell_job_series_uid", "ix_voxtell_job_accession"):
        op.drop_index(name, "voxtell_job")
    for name in ("voxtell_job", "voxtell_notice"):
        op.rename_table(name, f"{name}_0001")
    if connection.dialect.name == "postgresql":  # a primary key keeps its name when its table is renamed
        for name in ("voxtell_job", "voxtell_notice"):
            op.execute(f"ALTER INDEX {name}_pkey RENAME TO {name}_0001_pkey")
    versions = op.create_table(
        "voxtell_series_version",
        sa.Column("series_uid", sa.String(64), primary_key=True),
        sa.Column("version", sa.String(64), primary_key=True),
        sa.Column("series", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    jobs = op.create_table(
        "voxtell_job",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.JSON, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        *(sa.Column(name, sa.String(64), nullable=False) for name in ("study_uid", "series_uid")),
        *(sa.Column(name, sa.String(64), nullable=False) for name in ("series_version", "accession")),
        *(sa.Column(name, sa.LargeBinary) for name in ("plan", "volume", "results")),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("empty", "warnings", "supersedes")),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    notices = op.create_table(
        "voxtell_notice",
        sa.Column("job_id", sa.String(16), primary_key=True),
        sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
        sa.Column("result", sa.LargeBinary, nullable=False),
        sa.Column("send_to", sa.JSON, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    seen: set[tuple[str, str]] = set()
    for id_ in connection.scalars(sa.select(_old.c.id).order_by(_old.c.created)).all():  # one in memory at a time
        row = connection.execute(sa.select(_old).where(_old.c.id == id_)).mappings().one()
        key = (row["series_uid"], row["series_version"])
        if row["series"] and key not in seen:
            seen.add(key)
            values = {"series_uid": key[0], "version": key[1], "series": _deflate(row["series"])}
            connection.execute(sa.insert(versions).values(**values, created=row["created"]))
        connection.execute(sa.insert(jobs).values(**_job(row)))
    for row in connection.execute(sa.select(_old_notice)).mappings().all():
        connection.execute(sa.insert(notices).values(**{**row, "result": _deflate(row["result"])}))
    op.drop_table("voxtell_job_0001")
    op.drop_table("voxtell_notice_0001")
    for name in ("state", "study_uid", "series_uid", "accession"):
        op.create_index(f"ix_voxtell_job_{name}", "voxtell_job", [name])


def _job(row: sa.RowMapping) -> dict[str, Any]:
    columns = ("id", "state", "rule", "study_uid", "series_uid", "series_version", "accession", "created", "updated")
    return {
        **{name: row[name] for name in columns},
        "reason": _reason(row["state"], row["reason"] or ""),
        **{name: _deflate(row[name]) for name in ("plan", "volume", "results")},
        **{name: row[name] or [] for name in ("empty", "warnings", "supersedes")},
    }


def _reason(state: str, said: str) -> dict[str, Any]:
    """Return what the code reads out of a reason; of anything else the sentence is enough."""
    if not said:
        return {"code": "", "parameters": {}}
    drops = "the rule drops a result with this finding: "
    if state == "dropped" and said.startswith(drops):
        return {"code": "dropped-by-rule", "parameters": {"findings": said.removeprefix(drops)}}
    if unexpected := re.match(r"unexpected (\w+): (.*)", said, re.DOTALL):
        return {"code": "unexpected", "parameters": {"kind": unexpected[1], "message": unexpected[2]}}
    code, colon, message = said.partition(": ")
    if state in ("refused", "set_aside") and colon:
        return {"code": "refusal", "parameters": {"code": code, "message": message, "rule": ""}}
    return {"code": "text", "parameters": {"text": said}}


def _deflate(value: Any) -> bytes | None:
    if value is None:
        return None
    return zlib.compress(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), 9)
