"""Who elsewhere is which person here, and what the party that vouched said, with each sign-in and its tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0240"
down_revision = "0230"
branch_labels = None
depends_on = None

words = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("browser_sessions", sa.Column("vouched", words, nullable=True))
    op.add_column("authorization_codes", sa.Column("vouched", words, nullable=True))
    op.add_column("families", sa.Column("vouched", words, nullable=True))
    op.create_table(
        "linked_identities",
        sa.Column("id_digest", sa.LargeBinary(), nullable=False),
        sa.Column("provider", words, nullable=False),
        sa.Column("external", words, nullable=False),
        sa.Column("subject", words, nullable=False),
        sa.Column("label", words, nullable=False),
        sa.Column("linked", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id_digest", name=op.f("pk_linked_identities")),
    )
    op.create_index(op.f("ix_linked_identities_subject"), "linked_identities", ["subject"], unique=False)
