"""The tables of the archive's index. Times are seconds since the epoch on the index's clock (see `clock.py`)."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

metadata = sa.MetaData()
_UID: Final = sa.String(64)

# One row per Series Instance UID that is here. `due_at` is when completion looks at it next, `last_at` a lower bound
# of its last arrival.
series = sa.Table(
    "voxtell_series",
    metadata,
    sa.Column("series_uid", _UID, primary_key=True),
    sa.Column("study_uid", _UID, nullable=False, index=True),
    sa.Column("patient_id", sa.Text, nullable=False),
    sa.Column("calling_ae", sa.String(64), nullable=False),  # who brought the newest instances
    sa.Column("called_ae", sa.String(64), nullable=False),
    sa.Column("last_at", sa.Float, nullable=False, index=True),
    sa.Column("has_new_instances", sa.Boolean, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
)
sa.Index(
    "ix_voxtell_series_due",
    series.c.due_at,
    sqlite_where=series.c.has_new_instances == sa.true(),
    postgresql_where=series.c.has_new_instances == sa.true(),
)

instance = sa.Table(
    "voxtell_instance",
    metadata,
    sa.Column("sop_uid", _UID, primary_key=True),
    sa.Column("series_uid", _UID, nullable=False, index=True),
    sa.Column("sop_class", _UID, nullable=False),
    sa.Column("transfer_syntax", _UID, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("frames", sa.Integer, nullable=False),
    sa.Column("images_in_acquisition", sa.Integer, nullable=False),
    sa.Column("own", sa.Boolean, nullable=False),  # made by this program, as the object itself says
    sa.Column("association", sa.String(64), nullable=False),
    sa.Column("object", sa.Text),  # its key in the store
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("arrived", sa.Float, nullable=False),
    sa.Column("header", sa.LargeBinary),  # deflated dataset before the pixels, until a version holds it
    sa.Column("header_version", sa.String(64)),  # the version whose pack holds the header
)

# An association that brought new instances to a series. Open (`ended` null): it holds the series.
hold = sa.Table(
    "voxtell_hold",
    metadata,
    sa.Column("series_uid", _UID, primary_key=True),
    sa.Column("association", sa.String(64), primary_key=True, index=True),
    sa.Column("receiver", sa.String(64), nullable=False),  # the run of the process that has the association
    sa.Column("calling_ae", sa.String(64), nullable=False),
    sa.Column("opened", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("released", sa.Boolean),
)
sa.Index(
    "ix_voxtell_hold_open",
    hold.c.series_uid,
    sqlite_where=hold.c.ended.is_(None),
    postgresql_where=hold.c.ended.is_(None),
)

# What queries ask of a series: attributes of its newest header, as DICOM JSON (PS3.18 annex F). Patient names are here.
series_attributes = sa.Table(
    "voxtell_series_attributes",
    metadata,
    sa.Column("series_uid", _UID, primary_key=True),
    sa.Column("attributes", sa.Text, nullable=False),
)

# Instances that were sent and could not be stored: their series waits for them.
unstored = sa.Table(
    "voxtell_unstored",
    metadata,
    sa.Column("series_uid", _UID, primary_key=True),
    sa.Column("sop_uid", _UID, primary_key=True),
)

# Versions handed on, for ever.
series_version = sa.Table(
    "voxtell_handed_on",
    metadata,
    sa.Column("series_uid", _UID, primary_key=True),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("incomplete", sa.Text, nullable=False),
)

# SOP and Series Instance UIDs of our results, for ever.
own_object = sa.Table("voxtell_own_object", metadata, sa.Column("uid", _UID, primary_key=True))

# Series whose rows are gone and whose objects may still lie in the store.
dropped_series = sa.Table("voxtell_dropped_series", metadata, sa.Column("series_uid", _UID, primary_key=True))

# Series of which headers were corrected, until the jobs that it concerns know of it.
corrected_series = sa.Table("voxtell_corrected_series", metadata, sa.Column("series_uid", _UID, primary_key=True))

# One row: which store this index belongs to, and how far it had got (see `marker.py`).
marker = sa.Table(
    "voxtell_archive",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("store_id", sa.String(64), nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
)
