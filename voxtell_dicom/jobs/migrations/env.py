"""How alembic runs a migration: on the connection, and in the transaction, that `upgrade` gives it."""

from __future__ import annotations

from alembic import context

from voxtell_dicom.jobs.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
