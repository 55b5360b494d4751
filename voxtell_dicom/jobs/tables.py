"""The tables of the job book."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
_JSON = sa.JSON
job_table = sa.Table(
    "voxtell_job",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("rule", sa.Text, nullable=False, default=""),
    sa.Column("study_uid", sa.String(64), nullable=False, default=""),
    sa.Column("series_uid", sa.String(64), nullable=False, default="", index=True),
    sa.Column("series_version", sa.String(64), nullable=False, default=""),
    sa.Column("accession", sa.String(64), nullable=False, default="", index=True),
    sa.Column("series", _JSON),
    sa.Column("plan", _JSON),
    sa.Column("volume", _JSON),
    sa.Column("results", _JSON),
    sa.Column("empty", _JSON),
    sa.Column("warnings", _JSON),
    sa.Column("supersedes", _JSON),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
)
delivery_table = sa.Table(
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
stage_table = sa.Table(
    "voxtell_stage",
    metadata,
    sa.Column("job_id", sa.String(16), primary_key=True),
    sa.Column("stage", sa.String(64), primary_key=True),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("detail", sa.Text, nullable=False, default=""),
)
# Receipts of what gave no result (refused, failed, held, dropped): apart from `results`, which they are none of.
notice_table = sa.Table(
    "voxtell_notice",
    metadata,
    sa.Column("job_id", sa.String(16), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("result", _JSON, nullable=False),
    sa.Column("send_to", _JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
