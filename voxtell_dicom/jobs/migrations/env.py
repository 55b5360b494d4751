"""Alembic environment: run migrations on the connection, and in the transaction, that `upgrade` gives."""

from __future__ import annotations

from alembic import context

from voxtell_dicom.jobs.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
