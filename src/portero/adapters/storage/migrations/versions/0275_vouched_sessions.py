"""Sign-ins are found by the name of their session at the party that vouched: a logout token may say no more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0275"
down_revision = "0270"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Sign-ins from before have no digest and are found by their person alone; they end with their lifetime.
    op.add_column("browser_sessions", sa.Column("vouched_session", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_browser_sessions_vouched_session"), "browser_sessions", ["vouched_session"], unique=False)
