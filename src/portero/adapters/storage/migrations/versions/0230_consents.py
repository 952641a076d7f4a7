"""What people allowed applications of others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0230"
down_revision = "0002"
branch_labels = None
depends_on = None

words = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("id_digest", sa.LargeBinary(), nullable=False),
        sa.Column("subject", words, nullable=False),
        sa.Column("client_id", words, nullable=False),
        sa.Column("scope", words, nullable=False),
        sa.Column("resource", words, nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id_digest", name=op.f("pk_consents")),
    )
    op.create_index(op.f("ix_consents_subject_client_id"), "consents", ["subject", "client_id"], unique=False)
