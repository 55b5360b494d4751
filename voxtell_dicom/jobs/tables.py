"""The tables of the job book, as the newest migration leaves them."""

from __future__ import annotations

import json
import zlib
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()


class DeflatedJson(sa.types.TypeDecorator[Any]):
    """JSON, deflated (zlib): a series of 300 instances is 120 kB of text, of which a fifth says something."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> bytes | None:  # noqa: ARG002
        """Return what is stored of a JSON-able value."""
        return None if value is None else deflate(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        """Return the value again."""
        return None if value is None else json.loads(zlib.decompress(value))


def deflate(value: Any) -> bytes:
    """Return a JSON-able value as the bytes that a DeflatedJson column holds."""
    return zlib.compress(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), 9)


job_table = sa.Table(
    "voxtell_job",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.JSON, nullable=False),  # Reason
    sa.Column("rule", sa.Text, nullable=False, default=""),
    sa.Column("study_uid", sa.String(64), nullable=False, default="", index=True),
    sa.Column("series_uid", sa.String(64), nullable=False, default="", index=True),
    sa.Column("series_version", sa.String(64), nullable=False, default=""),
    sa.Column("accession", sa.String(64), nullable=False, default="", index=True),
    sa.Column("plan", DeflatedJson),
    sa.Column("volume", DeflatedJson),
    sa.Column("results", DeflatedJson),
    sa.Column("empty", sa.JSON, nullable=False),
    sa.Column("warnings", sa.JSON, nullable=False),
    sa.Column("supersedes", sa.JSON, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Column("description", sa.Text, nullable=False, server_default=""),  # Series Description
    sa.Column("instances", sa.Integer, nullable=False, server_default="0"),  # of the series version
    sa.Column("headers_digest", sa.String(16), nullable=False, server_default=""),  # what the results were made by
)
# A version of a series as it was handed on: once, however many jobs and queue messages refer to it.
version_table = sa.Table(
    "voxtell_series_version",
    metadata,
    sa.Column("series_uid", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("series", DeflatedJson, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
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
# What a peer was asked to commit to (PS3.4 Annex J); the newest request of each result.
commitment_table = sa.Table(
    "voxtell_commitment",
    metadata,
    sa.Column("job_id", sa.String(16), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
    sa.Column("peer", sa.String(64), primary_key=True),
    sa.Column("transaction_uid", sa.String(64), nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Integer, nullable=False),
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
    sa.Column("result", DeflatedJson, nullable=False),
    sa.Column("send_to", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
