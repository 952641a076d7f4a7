"""The tables as the statements see them: names, columns, keys; and the few statements every table needs.

Hand-written beside the SQLAlchemy metadata in `schema`, which start-up cannot afford to
import; a test holds the two together. Texts use `?` for parameters, in the order given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]
Query = tuple[str, tuple[Any, ...]]
"""A prebuilt statement text and its parameters."""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    key: str
    columns: tuple[str, ...]

    def qualified(self, alias: str) -> str:
        """All columns for a select list, each with its alias."""
        return ", ".join([f"{alias}.{column}" for column in self.columns])

    def select(self, rest: str) -> str:
        """All columns of the rows that `rest` (a WHERE, ORDER BY, LIMIT text) finds."""
        return " ".join(("SELECT", self.qualified("t"), "FROM", self.name, "t", rest))

    def upsert(self) -> str:
        """Insert a row, or replace every column of the one with its key (without deleting it, which would cascade)."""
        marks = ", ".join("?" * len(self.columns))
        assignments = ", ".join([f"{column} = excluded.{column}" for column in self.columns if column != self.key])
        return " ".join(
            (
                "INSERT INTO",
                self.name,
                "(" + ", ".join(self.columns) + ")",
                f"VALUES ({marks})",
                f"ON CONFLICT ({self.key}) DO UPDATE SET",
                assignments,
            )
        )

    def insert(self) -> str:
        marks = ", ".join("?" * len(self.columns))
        return " ".join(("INSERT INTO", self.name, "(" + ", ".join(self.columns) + ")", f"VALUES ({marks})"))

    def update(self, columns: Iterable[str]) -> str:
        """Set `columns` (their values first) of the row whose key comes last."""
        assignments = ", ".join([f"{column} = ?" for column in columns])
        return " ".join(("UPDATE", self.name, "SET", assignments, "WHERE", self.key, "= ?"))

    def delete(self) -> str:
        return " ".join(("DELETE FROM", self.name, "WHERE", self.key, "= ?"))

    def sweep(self, column: str, *, skip_locked: bool) -> str:
        """Delete rows whose `column` is before the first parameter, at most the second parameter's number."""
        found = ["SELECT", self.key, "FROM", self.name, "WHERE", column, "< ? LIMIT ?"]
        if skip_locked:
            found.append("FOR UPDATE SKIP LOCKED")
        return " ".join(("DELETE FROM", self.name, "WHERE", self.key, "IN (", *found, ")"))


_TOKEN = ("digest", "generation", "issued", "expires", "first_used", "attempt_digest", "successor_box", "retries")

FAMILY_STATIC = (
    "id",
    "sid",
    "client_id",
    "scope",
    "resource",
    "cnf_jkt",
    "profile",
    "acr",
    "amr",
    "auth_time",
    "vouched",
)
FAMILY_MOVING = (
    *(f"head_{name}" for name in _TOKEN),
    *(f"parent_{name}" for name in _TOKEN),
    "ring",
    "sharing_run",
    "status",
    "end_reason",
)
SESSION_STATIC = ("sid", "subject", "client_id", "created", "absolute_end", "status_index")
SESSION_MOVING = (
    "browser_session",
    "device_name",
    "place",
    "last_seen",
    "last_access_exp",
    "idle_end",
    "status",
    "end_reason",
)

BROWSER_SESSIONS = Table(
    "browser_sessions",
    "id_digest",
    (
        "id_digest",
        "subject",
        "auth_time",
        "acr",
        "amr",
        "ends",
        "device",
        "vouched",
        "vouched_session",
    ),
)
DEVICE_SESSIONS = Table("device_sessions", "sid", (*SESSION_STATIC, *SESSION_MOVING, "gone"))
FAMILIES = Table("families", "id", (*FAMILY_STATIC, "created", *FAMILY_MOVING, "gone"))
CLIENTS = Table(
    "clients",
    "client_id",
    (
        "client_id",
        "client_name",
        "client_type",
        "token_endpoint_auth_method",
        "secret_digest",
        "redirect_uris",
        "post_logout_redirect_uris",
        "grant_types",
        "scope",
        "audiences",
        "refresh_profile",
        "rotation",
        "require_pkce",
        "first_party",
        "allowed_origins",
        "jwks",
        "backchannel_logout_uri",
        "enabled",
        "created",
        "dpop_bound_access_tokens",
        "direct_sign_in",
    ),
)
USERS = Table(
    "users",
    "subject",
    (
        "subject",
        "username",
        "username_folded",
        "password_hash",
        "name",
        "email",
        "roles",
        "locale",
        "enabled",
        "created",
    ),
)
LOGIN_TRANSACTIONS = Table("login_transactions", "id_digest", ("id_digest", "request", "created", "expires"))
AUTHORIZATION_CODES = Table(
    "authorization_codes",
    "code_digest",
    (
        "code_digest",
        "client_id",
        "redirect_uri",
        "code_challenge",
        "nonce",
        "scope",
        "resource",
        "subject",
        "browser_session",
        "device_name",
        "place",
        "auth_time",
        "acr",
        "amr",
        "created",
        "expires",
        "claims",
        "dpop_jkt",
        "vouched",
        "used",
        "sid",
    ),
)
REPLAY_MARKS = Table("replay_marks", "digest", ("digest", "expires"))
SIGNING_KEYS = Table(
    "signing_keys",
    "kid",
    (
        "kid",
        "alg",
        "public_jwk",
        "sealed_private",
        "status",
        "created",
        "signs_from",
        "retires",
        "remove_after",
    ),
)
REVOCATIONS = Table("revocations", "n", ("n", "iss", "kind", "value", "at", "until", "micros"))
AUDIT = Table("audit", "n", ("name", "at", "subject", "client_id", "sid", "fields"))
"""Without its `n`, which the database counts."""
NOTICES = Table("notices", "sid", ("sid", "subject", "client_id", "reason", "at"))
DELIVERIES = Table("deliveries", "id", ("id", "kind", "receiver", "claims", "created", "due", "attempts", "expires"))
EVENT_STREAMS = Table(
    "event_streams",
    "stream_id",
    (
        "stream_id",
        "client_id",
        "method",
        "endpoint_url",
        "sealed_authorization",
        "events_requested",
        "description",
        "status",
        "status_reason",
        "created",
        "verified",
    ),
)
COUNTERS = Table("counters", "name", ("name", "value"))
LINKED_IDENTITIES = Table(
    "linked_identities", "id_digest", ("id_digest", "provider", "external", "subject", "label", "linked")
)
CONSENTS = Table("consents", "id_digest", ("id_digest", "subject", "client_id", "scope", "resource", "granted"))
META = Table("meta", "singleton", ("singleton", "epoch", "feed_head"))

ALL = (
    BROWSER_SESSIONS,
    DEVICE_SESSIONS,
    FAMILIES,
    CLIENTS,
    USERS,
    LOGIN_TRANSACTIONS,
    AUTHORIZATION_CODES,
    REPLAY_MARKS,
    SIGNING_KEYS,
    REVOCATIONS,
    AUDIT,
    META,
    NOTICES,
    DELIVERIES,
    EVENT_STREAMS,
    COUNTERS,
    CONSENTS,
    LINKED_IDENTITIES,
)
