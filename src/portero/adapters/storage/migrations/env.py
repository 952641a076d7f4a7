"""Run by Alembic for a connection that `upgrade` hands over; there is no alembic.ini."""

from __future__ import annotations

from alembic import context

from portero.adapters.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
