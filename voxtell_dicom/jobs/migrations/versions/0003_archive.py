"""The archive's index: series, instances, associations, versions handed on, UIDs of our own results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of `archive/tables.py`, unless `archive rebuild` has made them."""
    uid = sa.String(64)
    op.create_table(
        "voxtell_series",
        sa.Column("series_uid", uid, primary_key=True),
        sa.Column("study_uid", uid, nullable=False),
        sa.Column("patient_id", sa.Text, nullable=False),
        sa.Column("calling_ae", sa.String(64), nullable=False),
        sa.Column("called_ae", sa.String(64), nullable=False),
        sa.Column("last_at", sa.Float, nullable=False),
        sa.Column("has_new_instances", sa.Boolean, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_voxtell_series_study_uid", "voxtell_series", ["study_uid"], if_not_exists=True)
    op.create_index("ix_voxtell_series_last_at", "voxtell_series", ["last_at"], if_not_exists=True)
    pending = sa.column("has_new_instances", sa.Boolean) == sa.true()
    op.create_index(
        "ix_voxtell_series_due",
        "voxtell_series",
        ["due_at"],
        sqlite_where=pending,
        postgresql_where=pending,
        if_not_exists=True,
    )
    op.create_table(
        "voxtell_instance",
        sa.Column("sop_uid", uid, primary_key=True),
        sa.Column("series_uid", uid, nullable=False),
        sa.Column("sop_class", uid, nullable=False),
        sa.Column("transfer_syntax", uid, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("frames", sa.Integer, nullable=False),
        sa.Column("images_in_acquisition", sa.Integer, nullable=False),
        sa.Column("own", sa.Boolean, nullable=False),
        sa.Column("association", sa.String(64), nullable=False),
        sa.Column("object", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("arrived", sa.Float, nullable=False),
        sa.Column("header", sa.LargeBinary),
        sa.Column("header_version", sa.String(64)),
        if_not_exists=True,
    )
    op.create_index("ix_voxtell_instance_series_uid", "voxtell_instance", ["series_uid"], if_not_exists=True)
    op.create_table(
        "voxtell_hold",
        sa.Column("series_uid", uid, primary_key=True),
        sa.Column("association", sa.String(64), primary_key=True),
        sa.Column("receiver", sa.String(64), nullable=False),
        sa.Column("calling_ae", sa.String(64), nullable=False),
        sa.Column("opened", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("released", sa.Boolean),
        if_not_exists=True,
    )
    op.create_index("ix_voxtell_hold_association", "voxtell_hold", ["association"], if_not_exists=True)
    is_open = sa.column("ended").is_(None)
    op.create_index(
        "ix_voxtell_hold_open",
        "voxtell_hold",
        ["series_uid"],
        sqlite_where=is_open,
        postgresql_where=is_open,
        if_not_exists=True,
    )
    op.create_table(
        "voxtell_unstored",
        sa.Column("series_uid", uid, primary_key=True),
        sa.Column("sop_uid", uid, primary_key=True),
        if_not_exists=True,
    )
    op.create_table(
        "voxtell_handed_on",
        sa.Column("series_uid", uid, primary_key=True),
        sa.Column("version", sa.String(64), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("incomplete", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table("voxtell_own_object", sa.Column("uid", uid, primary_key=True), if_not_exists=True)
    op.create_table("voxtell_dropped_series", sa.Column("series_uid", uid, primary_key=True), if_not_exists=True)
    op.create_table(
        "voxtell_archive",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("store_id", sa.String(64), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
