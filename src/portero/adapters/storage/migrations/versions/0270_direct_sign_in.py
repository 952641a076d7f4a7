"""Which clients may ask for name and password themselves: none that was registered before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0270"
down_revision = "0240"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("clients", sa.Column("direct_sign_in", sa.BigInteger(), nullable=False, server_default="0"))
