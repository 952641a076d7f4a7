"""Many sessions at once: copies of one real one, written with SQL while no server runs.

The template signed in and refreshed until its ring was full, so every copy is as large as a session grows. Copies
differ in their keys and share the template's live token secret, so each has a live refresh token that can be written
down without asking. They have the same tables, columns and indexes as if they had signed in one by one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import psycopg

from portero.adapters.keys.secrets_file import open_secrets
from portero.adapters.storage.tables import DEVICE_SESSIONS, FAMILIES, USERS, Table
from portero.adapters.system import SystemRandom
from portero.core.tokens.refresh_token import RefreshToken, TagKey, parse_refresh_token, render_refresh_token
from portero.core.types import FamilyId, Secret

_KEYS: dict[str, dict[str, dict[str, str]]] = {
    "sqlite": {
        "users": {"subject": "printf('u%021d', n.i)", "username": "printf('user-%d', n.i)",
                  "username_folded": "printf('user-%d', n.i)"},
        "device_sessions": {"sid": "printf('s%021d', n.i)", "subject": "printf('u%021d', n.i)",
                            "browser_session": "CAST(printf('%032d', n.i) AS BLOB)"},
        "families": {"id": "CAST(printf('%016d', n.i) AS BLOB)", "sid": "printf('s%021d', n.i)"},
    },
    "postgresql": {
        "users": {"subject": "'u' || lpad(n.i::text, 21, '0')", "username": "'user-' || n.i",
                  "username_folded": "'user-' || n.i"},
        "device_sessions": {"sid": "'s' || lpad(n.i::text, 21, '0')", "subject": "'u' || lpad(n.i::text, 21, '0')",
                            "browser_session": "convert_to(lpad(n.i::text, 32, '0'), 'UTF8')"},
        "families": {"id": "convert_to(lpad(n.i::text, 16, '0'), 'UTF8')", "sid": "'s' || lpad(n.i::text, 21, '0')"},
    },
}  # fmt: skip
_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last} - 1)",
    "postgresql": "WITH n(i) AS (SELECT generate_series({first}, {last} - 1))",
}


class Crowd:
    """The copies of one session in one database.

    Args:
        database: a file, or a PostgreSQL URL.
        secrets: the server's secrets file, for the tag key.
        template: the live refresh token of the session to copy.
    """

    def __init__(self, database: str, *, secrets: Path, template: str) -> None:
        self._database = database
        tag_keys = open_secrets(secrets, database_is_new=False, random=SystemRandom()).tag_keys
        self._tag_key = TagKey(tag_keys.current, tag_keys.current_key)
        self._template = parse_refresh_token(Secret(template), tag_key=tag_keys.get)
        self.size = 0
        self._used: set[int] = set()

    def take(self, numbers: Iterable[int]) -> list[str]:
        """The live refresh tokens of those copies that nobody has taken yet."""
        fresh = [number for number in numbers if number not in self._used]
        self._used.update(fresh)
        return [self.token(number) for number in fresh]

    def token(self, number: int) -> str:
        """The live refresh token of a copy that has not been used."""
        copy = RefreshToken(FamilyId(b"%016d" % number), self._template.generation, self._template.secret)
        return render_refresh_token(copy, tag_key=self._tag_key).reveal()

    def grow(self, size: int) -> None:
        """Add copies until there are `size`. No server may run on the database."""
        if size <= self.size:
            return
        if self._database.startswith("postgresql:"):
            with psycopg.connect(self._database, autocommit=True) as connection:
                connection.execute("SET synchronous_commit = off")
                for text in self._statements("postgresql", size):
                    connection.execute(text.encode())
                for table in (USERS, DEVICE_SESSIONS, FAMILIES):
                    connection.execute(f"VACUUM (ANALYZE) {table.name}".encode())
                connection.execute("CHECKPOINT")
        else:
            rows = sqlite3.connect(self._database, isolation_level=None)
            # The server sets its own durable mode when it opens the file.
            for pragma in ("journal_mode = off", "synchronous = off", "cache_size = -1000000"):
                rows.execute(f"PRAGMA {pragma}")
            for text in self._statements("sqlite", size):
                rows.execute(text)
            rows.close()
        self.size = size

    def _statements(self, dialect: str, size: int) -> list[str]:
        literal = f"X'{self._template.family_id.hex()}'"
        if dialect == "postgresql":
            literal = f"decode('{self._template.family_id.hex()}', 'hex')"
        of_template = (
            "families f JOIN device_sessions s ON s.sid = f.sid JOIN users u ON u.subject = s.subject "
            f"WHERE f.id = {literal}"
        )
        numbers = _NUMBERS[dialect].format(first=self.size, last=size)

        def copies(table: Table, alias: str) -> str:
            keys = _KEYS[dialect][table.name]
            values = ", ".join(keys.get(column, f"{alias}.{column}") for column in table.columns)
            select = f"SELECT {values} FROM n, {of_template}"  # noqa: S608 - names and numbers of this module
            return f"INSERT INTO {table.name} ({', '.join(table.columns)}) {numbers} {select}"

        return [copies(USERS, "u"), copies(DEVICE_SESSIONS, "s"), copies(FAMILIES, "f")]
