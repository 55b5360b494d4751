"""Two more tables of the archive's index: what queries ask of a series, and series of which headers were corrected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables, unless opening the archive has made them."""
    uid = sa.String(64)
    op.create_table(
        "voxtell_series_attributes",
        sa.Column("series_uid", uid, primary_key=True),
        sa.Column("attributes", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table("voxtell_corrected_series", sa.Column("series_uid", uid, primary_key=True), if_not_exists=True)
