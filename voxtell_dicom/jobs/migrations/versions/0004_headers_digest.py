"""By which headers the results of a job were made: a correction of them is found before delivery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column, empty for the jobs that are there."""
    op.add_column("voxtell_job", sa.Column("headers_digest", sa.String(16), nullable=False, server_default=""))
