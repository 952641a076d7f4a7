"""What others are told of: notices, deliveries, event streams, the status list; and finer times of revocations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

words = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("clients", sa.Column("dpop_bound_access_tokens", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("device_sessions", sa.Column("status_index", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_device_sessions_status_index"), "device_sessions", ["status_index"], unique=False)
    op.add_column("revocations", sa.Column("micros", sa.BigInteger(), nullable=False, server_default="0"))

    op.create_table(
        "notices",
        sa.Column("sid", words, nullable=False),
        sa.Column("subject", words, nullable=False),
        sa.Column("client_id", words, nullable=False),
        sa.Column("reason", words, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sid", name=op.f("pk_notices")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", words, nullable=False),
        sa.Column("kind", words, nullable=False),
        sa.Column("receiver", words, nullable=False),
        sa.Column("claims", words, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_due"), "deliveries", ["due"], unique=False)
    op.create_index(op.f("ix_deliveries_expires"), "deliveries", ["expires"], unique=False)
    op.create_index(
        op.f("ix_deliveries_receiver_created_id"), "deliveries", ["receiver", "created", "id"], unique=False
    )
    op.create_table(
        "event_streams",
        sa.Column("stream_id", words, nullable=False),
        sa.Column("client_id", words, nullable=False),
        sa.Column("method", words, nullable=False),
        sa.Column("endpoint_url", words, nullable=False),
        sa.Column("sealed_authorization", sa.LargeBinary(), nullable=True),
        sa.Column("events_requested", words, nullable=False),
        sa.Column("description", words, nullable=False),
        sa.Column("status", words, nullable=False),
        sa.Column("status_reason", words, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("verified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", name=op.f("pk_event_streams")),
    )
    op.create_index(op.f("ix_event_streams_client_id"), "event_streams", ["client_id"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", words, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
