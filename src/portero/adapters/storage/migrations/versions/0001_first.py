"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

words = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("n", counted, autoincrement=True, nullable=False),
        sa.Column("name", words, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("subject", words, nullable=True),
        sa.Column("client_id", words, nullable=True),
        sa.Column("sid", words, nullable=True),
        sa.Column("fields", words, nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_subject_n"), "audit", ["subject", "n"], unique=False)

    op.create_table(
        "authorization_codes",
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", words, nullable=False),
        sa.Column("redirect_uri", words, nullable=False),
        sa.Column("code_challenge", words, nullable=True),
        sa.Column("nonce", words, nullable=True),
        sa.Column("scope", words, nullable=False),
        sa.Column("resource", words, nullable=False),
        sa.Column("subject", words, nullable=False),
        sa.Column("browser_session", sa.LargeBinary(), nullable=False),
        sa.Column("device_name", words, nullable=False),
        sa.Column("place", words, nullable=False),
        sa.Column("auth_time", sa.BigInteger(), nullable=False),
        sa.Column("acr", words, nullable=False),
        sa.Column("amr", words, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("claims", words, nullable=True),
        sa.Column("dpop_jkt", words, nullable=True),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.Column("sid", words, nullable=True),
        sa.PrimaryKeyConstraint("code_digest", name=op.f("pk_authorization_codes")),
    )
    op.create_index(op.f("ix_authorization_codes_expires"), "authorization_codes", ["expires"], unique=False)

    op.create_table(
        "browser_sessions",
        sa.Column("id_digest", sa.LargeBinary(), nullable=False),
        sa.Column("subject", words, nullable=False),
        sa.Column("auth_time", sa.BigInteger(), nullable=False),
        sa.Column("acr", words, nullable=False),
        sa.Column("amr", words, nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("device", words, nullable=False),
        sa.PrimaryKeyConstraint("id_digest", name=op.f("pk_browser_sessions")),
    )
    op.create_index(op.f("ix_browser_sessions_ends"), "browser_sessions", ["ends"], unique=False)
    op.create_index(op.f("ix_browser_sessions_subject"), "browser_sessions", ["subject"], unique=False)

    op.create_table(
        "clients",
        sa.Column("client_id", words, nullable=False),
        sa.Column("client_name", words, nullable=False),
        sa.Column("client_type", words, nullable=False),
        sa.Column("token_endpoint_auth_method", words, nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=True),
        sa.Column("redirect_uris", words, nullable=False),
        sa.Column("post_logout_redirect_uris", words, nullable=False),
        sa.Column("grant_types", words, nullable=False),
        sa.Column("scope", words, nullable=False),
        sa.Column("audiences", words, nullable=False),
        sa.Column("refresh_profile", words, nullable=False),
        sa.Column("rotation", words, nullable=False),
        sa.Column("require_pkce", sa.BigInteger(), nullable=False),
        sa.Column("first_party", sa.BigInteger(), nullable=False),
        sa.Column("allowed_origins", words, nullable=False),
        sa.Column("jwks", words, nullable=True),
        sa.Column("backchannel_logout_uri", words, nullable=True),
        sa.Column("enabled", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_clients")),
    )
    op.create_table(
        "device_sessions",
        sa.Column("sid", words, nullable=False),
        sa.Column("browser_session", sa.LargeBinary(), nullable=True),
        sa.Column("subject", words, nullable=False),
        sa.Column("client_id", words, nullable=False),
        sa.Column("device_name", words, nullable=False),
        sa.Column("place", words, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_access_exp", sa.BigInteger(), nullable=False),
        sa.Column("absolute_end", sa.BigInteger(), nullable=False),
        sa.Column("idle_end", sa.BigInteger(), nullable=False),
        sa.Column("status", words, nullable=False),
        sa.Column("end_reason", words, nullable=True),
        sa.Column("gone", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sid", name=op.f("pk_device_sessions")),
    )
    op.create_index(op.f("ix_device_sessions_browser_session"), "device_sessions", ["browser_session"], unique=False)
    op.create_index(op.f("ix_device_sessions_gone"), "device_sessions", ["gone"], unique=False)
    op.create_index(op.f("ix_device_sessions_subject"), "device_sessions", ["subject"], unique=False)

    op.create_table(
        "login_transactions",
        sa.Column("id_digest", sa.LargeBinary(), nullable=False),
        sa.Column("request", words, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id_digest", name=op.f("pk_login_transactions")),
    )
    op.create_index(op.f("ix_login_transactions_expires"), "login_transactions", ["expires"], unique=False)

    op.create_table(
        "meta",
        sa.Column("singleton", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", words, nullable=False),
        sa.Column("feed_head", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_meta")),
    )
    op.create_table(
        "replay_marks",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_replay_marks")),
    )
    op.create_index(op.f("ix_replay_marks_expires"), "replay_marks", ["expires"], unique=False)

    op.create_table(
        "revocations",
        sa.Column("n", counted, autoincrement=False, nullable=False),
        sa.Column("iss", words, nullable=False),
        sa.Column("kind", words, nullable=False),
        sa.Column("value", words, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_revocations")),
    )
    op.create_index(op.f("ix_revocations_until"), "revocations", ["until"], unique=False)

    op.create_table(
        "signing_keys",
        sa.Column("kid", words, nullable=False),
        sa.Column("alg", words, nullable=False),
        sa.Column("public_jwk", words, nullable=False),
        sa.Column("sealed_private", sa.LargeBinary(), nullable=False),
        sa.Column("status", words, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("signs_from", sa.BigInteger(), nullable=False),
        sa.Column("retires", sa.BigInteger(), nullable=True),
        sa.Column("remove_after", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "users",
        sa.Column("subject", words, nullable=False),
        sa.Column("username", words, nullable=False),
        sa.Column("username_folded", words, nullable=False),
        sa.Column("password_hash", words, nullable=True),
        sa.Column("name", words, nullable=False),
        sa.Column("email", words, nullable=False),
        sa.Column("roles", words, nullable=False),
        sa.Column("locale", words, nullable=False),
        sa.Column("enabled", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_users")),
    )
    op.create_index(op.f("ix_users_username_folded"), "users", ["username_folded"], unique=True)

    op.create_table(
        "families",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("sid", words, nullable=False),
        sa.Column("client_id", words, nullable=False),
        sa.Column("scope", words, nullable=False),
        sa.Column("resource", words, nullable=False),
        sa.Column("cnf_jkt", words, nullable=True),
        sa.Column("profile", words, nullable=False),
        sa.Column("acr", words, nullable=False),
        sa.Column("amr", words, nullable=False),
        sa.Column("auth_time", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("head_digest", sa.LargeBinary(), nullable=False),
        sa.Column("head_generation", sa.BigInteger(), nullable=False),
        sa.Column("head_issued", sa.BigInteger(), nullable=False),
        sa.Column("head_expires", sa.BigInteger(), nullable=False),
        sa.Column("head_first_used", sa.BigInteger(), nullable=True),
        sa.Column("head_attempt_digest", sa.LargeBinary(), nullable=True),
        sa.Column("head_successor_box", sa.LargeBinary(), nullable=True),
        sa.Column("head_retries", sa.BigInteger(), nullable=False),
        sa.Column("parent_digest", sa.LargeBinary(), nullable=True),
        sa.Column("parent_generation", sa.BigInteger(), nullable=True),
        sa.Column("parent_issued", sa.BigInteger(), nullable=True),
        sa.Column("parent_expires", sa.BigInteger(), nullable=True),
        sa.Column("parent_first_used", sa.BigInteger(), nullable=True),
        sa.Column("parent_attempt_digest", sa.LargeBinary(), nullable=True),
        sa.Column("parent_successor_box", sa.LargeBinary(), nullable=True),
        sa.Column("parent_retries", sa.BigInteger(), nullable=True),
        sa.Column("ring", sa.LargeBinary(), nullable=False),
        sa.Column("sharing_run", sa.BigInteger(), nullable=False),
        sa.Column("status", words, nullable=False),
        sa.Column("end_reason", words, nullable=True),
        sa.Column("gone", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["sid"], ["device_sessions.sid"], name=op.f("fk_families_sid"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_families")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(op.f("ix_families_gone"), "families", ["gone"], unique=False)
    op.create_index(op.f("ix_families_sid"), "families", ["sid"], unique=False)
