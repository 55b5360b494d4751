"""Series of which headers were corrected, until the jobs that it concerns know of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table, unless opening the archive has made it."""
    uid = sa.Column("series_uid", sa.String(64), primary_key=True)
    op.create_table("voxtell_corrected_series", uid, if_not_exists=True)
