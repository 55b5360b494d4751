"""Series Description and the number of instances of a job's series, for lists of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns, empty for the jobs that are there."""
    op.add_column("voxtell_job", sa.Column("description", sa.Text, nullable=False, server_default=""))
    op.add_column("voxtell_job", sa.Column("instances", sa.Integer, nullable=False, server_default="0"))
