"""The schema as SQLAlchemy Core metadata: what migrations are made from and every statement is checked against.

Imported by migrations and tests only; a running server never pays for it. All points in
time are NumericDate (whole seconds), all digests 32 bytes, all lists JSON arrays of texts.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import TEXT

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Compared byte by byte in both databases, whatever the database's locale.
words = Text().with_variant(TEXT(collation="C"), "postgresql")
seconds = BigInteger()
# SQLite's own row number, so that no second index is needed.
counted = BigInteger().with_variant(Integer, "sqlite")


def _required(name: str, kind: Text | BigInteger | LargeBinary) -> Column[object]:
    return Column(name, kind, nullable=False)


browser_sessions = Table(
    "browser_sessions",
    metadata,
    Column("id_digest", LargeBinary, primary_key=True),
    _required("subject", words),
    _required("auth_time", seconds),
    _required("acr", words),
    _required("amr", words),
    _required("ends", seconds),
    _required("device", words),
    Column("vouched", words),
    Column("vouched_session", LargeBinary),
    Index(None, "subject"),
    Index(None, "ends"),
    Index(None, "vouched_session"),
)

device_sessions = Table(
    "device_sessions",
    metadata,
    Column("sid", words, primary_key=True),
    Column("browser_session", LargeBinary),
    _required("subject", words),
    _required("client_id", words),
    _required("device_name", words),
    _required("place", words),
    _required("created", seconds),
    _required("last_seen", seconds),
    _required("last_access_exp", seconds),
    _required("absolute_end", seconds),
    _required("idle_end", seconds),
    _required("status", words),
    Column("end_reason", words),
    # When the row may be removed, rounded up to a day: a refresh rarely touches the index.
    _required("gone", seconds),
    Column("status_index", BigInteger),
    Index(None, "browser_session"),
    Index(None, "subject"),
    Index(None, "gone"),
    Index(None, "status_index"),
)


def _token(prefix: str, *, nullable: bool) -> list[Column[object]]:
    return [
        Column(f"{prefix}_digest", LargeBinary, nullable=nullable),
        Column(f"{prefix}_generation", BigInteger, nullable=nullable),
        Column(f"{prefix}_issued", seconds, nullable=nullable),
        Column(f"{prefix}_expires", seconds, nullable=nullable),
        Column(f"{prefix}_first_used", seconds),
        Column(f"{prefix}_attempt_digest", LargeBinary),
        Column(f"{prefix}_successor_box", LargeBinary),
        Column(f"{prefix}_retries", BigInteger, nullable=nullable),
    ]


families = Table(
    "families",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("sid", words, ForeignKey("device_sessions.sid", ondelete="CASCADE"), nullable=False),
    _required("client_id", words),
    _required("scope", words),
    _required("resource", words),
    Column("cnf_jkt", words),
    _required("profile", words),
    _required("acr", words),
    _required("amr", words),
    Column("auth_time", seconds),
    _required("created", seconds),
    *_token("head", nullable=False),
    *_token("parent", nullable=True),
    # At most 16 entries of 45 bytes, newest first: generation, first_used, whether an attempt is known, its digest.
    _required("ring", LargeBinary()),
    _required("sharing_run", BigInteger()),
    _required("status", words),
    Column("end_reason", words),
    _required("gone", seconds),
    Column("vouched", words),
    Index(None, "sid"),
    Index(None, "gone"),
    # A refresh changes no indexed column: with room left on the page PostgreSQL updates the row in place (HOT).
    postgresql_with={"fillfactor": 70},
)

clients = Table(
    "clients",
    metadata,
    Column("client_id", words, primary_key=True),
    _required("client_name", words),
    _required("client_type", words),
    _required("token_endpoint_auth_method", words),
    Column("secret_digest", LargeBinary),
    _required("redirect_uris", words),
    _required("post_logout_redirect_uris", words),
    _required("grant_types", words),
    _required("scope", words),
    _required("audiences", words),
    _required("refresh_profile", words),
    _required("rotation", words),
    _required("require_pkce", BigInteger()),
    _required("first_party", BigInteger()),
    _required("allowed_origins", words),
    Column("jwks", words),
    Column("backchannel_logout_uri", words),
    _required("enabled", BigInteger()),
    _required("created", seconds),
    Column("dpop_bound_access_tokens", BigInteger, nullable=False, server_default="0"),
    Column("direct_sign_in", BigInteger, nullable=False, server_default="0"),
)

users = Table(
    "users",
    metadata,
    Column("subject", words, primary_key=True),
    _required("username", words),
    Column("username_folded", words, nullable=False),
    Column("password_hash", words),
    _required("name", words),
    _required("email", words),
    _required("roles", words),
    _required("locale", words),
    _required("enabled", BigInteger()),
    _required("created", seconds),
    Index(None, "username_folded", unique=True),
)

login_transactions = Table(
    "login_transactions",
    metadata,
    Column("id_digest", LargeBinary, primary_key=True),
    _required("request", words),
    _required("created", seconds),
    _required("expires", seconds),
    Index(None, "expires"),
)

authorization_codes = Table(
    "authorization_codes",
    metadata,
    Column("code_digest", LargeBinary, primary_key=True),
    _required("client_id", words),
    _required("redirect_uri", words),
    Column("code_challenge", words),
    Column("nonce", words),
    _required("scope", words),
    _required("resource", words),
    _required("subject", words),
    _required("browser_session", LargeBinary()),
    _required("device_name", words),
    _required("place", words),
    _required("auth_time", seconds),
    _required("acr", words),
    _required("amr", words),
    _required("created", seconds),
    _required("expires", seconds),
    Column("claims", words),
    Column("dpop_jkt", words),
    Column("used", seconds),
    Column("sid", words),
    Column("vouched", words),
    Index(None, "expires"),
)

replay_marks = Table(
    "replay_marks",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    _required("expires", seconds),
    Index(None, "expires"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", words, primary_key=True),
    _required("alg", words),
    _required("public_jwk", words),
    _required("sealed_private", LargeBinary()),
    _required("status", words),
    _required("created", seconds),
    _required("signs_from", seconds),
    Column("retires", seconds),
    Column("remove_after", seconds),
)

revocations = Table(
    "revocations",
    metadata,
    # Given out by meta.feed_head, so that a number never comes back after its row was removed.
    Column("n", counted, primary_key=True, autoincrement=False),
    _required("iss", words),
    _required("kind", words),
    _required("value", words),
    _required("at", seconds),
    _required("until", seconds),
    Column("micros", BigInteger, nullable=False, server_default="0"),
    Index(None, "until"),
)

notices = Table(
    "notices",
    metadata,
    Column("sid", words, primary_key=True),
    _required("subject", words),
    _required("client_id", words),
    _required("reason", words),
    _required("at", seconds),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", words, primary_key=True),
    _required("kind", words),
    _required("receiver", words),
    _required("claims", words),
    _required("created", seconds),
    _required("due", seconds),
    _required("attempts", BigInteger()),
    _required("expires", seconds),
    Index(None, "due"),
    Index(None, "receiver", "created", "id"),
    Index(None, "expires"),
)

event_streams = Table(
    "event_streams",
    metadata,
    Column("stream_id", words, primary_key=True),
    _required("client_id", words),
    _required("method", words),
    _required("endpoint_url", words),
    Column("sealed_authorization", LargeBinary),
    _required("events_requested", words),
    _required("description", words),
    _required("status", words),
    _required("status_reason", words),
    _required("created", seconds),
    _required("verified", seconds),
    Index(None, "client_id"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", words, primary_key=True),
    _required("value", BigInteger()),
)

linked_identities = Table(
    "linked_identities",
    metadata,
    # Of provider and person there: one account here.
    Column("id_digest", LargeBinary, primary_key=True),
    _required("provider", words),
    _required("external", words),
    _required("subject", words),
    _required("label", words),
    _required("linked", seconds),
    Index(None, "subject"),
)

consents = Table(
    "consents",
    metadata,
    # Of person and client: one agreement each.
    Column("id_digest", LargeBinary, primary_key=True),
    _required("subject", words),
    _required("client_id", words),
    _required("scope", words),
    _required("resource", words),
    _required("granted", seconds),
    Index(None, "subject", "client_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("n", counted, primary_key=True, autoincrement=True),
    _required("name", words),
    _required("at", seconds),
    Column("subject", words),
    Column("client_id", words),
    Column("sid", words),
    _required("fields", words),
    Index(None, "subject", "n"),
    Index(None, "at"),
)

meta = Table(
    "meta",
    metadata,
    Column(
        "singleton",
        BigInteger,
        CheckConstraint("singleton = 1", name="one_row"),
        primary_key=True,
        autoincrement=False,
    ),
    _required("epoch", words),
    _required("feed_head", BigInteger()),
)
