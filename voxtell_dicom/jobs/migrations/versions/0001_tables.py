"""The tables of version 0.1, which made them itself: what is there is left as it is, and gets the revision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

metadata = sa.MetaData()
sa.Table(
    "voxtell_job",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("study_uid", sa.String(64), nullable=False),
    sa.Column("series_uid", sa.String(64), nullable=False, index=True),
    sa.Column("series_version", sa.String(64), nullable=False),
    sa.Column("accession", sa.String(64), nullable=False, index=True),
    *(sa.Column(name, sa.JSON) for name in ("series", "plan", "volume", "results", "empty", "warnings", "supersedes")),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
)
sa.Table(
    "voxtell_delivery",
    metadata,
    sa.Column("job_id", sa.String(16), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("peer", sa.String(64), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("warning", sa.Boolean, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
sa.Table(
    "voxtell_stage",
    metadata,
    sa.Column("job_id", sa.String(16), primary_key=True),
    sa.Column("stage", sa.String(64), primary_key=True),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("detail", sa.Text, nullable=False),
)
sa.Table(
    "voxtell_notice",
    metadata,
    sa.Column("job_id", sa.String(16), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("result", sa.JSON, nullable=False),
    sa.Column("send_to", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
sa.Table(
    "voxtell_lease",
    metadata,
    sa.Column("executor_id", sa.String(128), primary_key=True),
    sa.Column("expires", sa.Float, nullable=False),
)


def upgrade() -> None:
    """Make the tables that are not there yet."""
    metadata.create_all(op.get_bind(), checkfirst=True)
