"""Run by Alembic for each upgrade and downgrade, inside the transaction of response.migrate."""

from __future__ import annotations

from alembic import context

from response.db import Tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Tables.metadata,
    render_as_batch=True,  # SQLite cannot alter a column: the table is built anew
    transactional_ddl=True,
)
context.run_migrations()
