"""A server of the previous version, as far as its database can tell: its frozen statements, in its order of locks.

It knows columns by the names in its own texts, and nothing of what came later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = dict[str, Any]

FOLDER = Path(__file__).parent


def statements_of(revision: str) -> dict[str, dict[str, str]]:
    """The frozen texts of the version whose newest revision this was."""
    found: dict[str, dict[str, str]] = json.loads((FOLDER / f"{revision}.json").read_text())
    return found


class PreviousServer:
    """One connection of it (`sqlite3` or `psycopg`, autocommit)."""

    def __init__(self, connection: Any, *, revision: str) -> None:
        self._connection = connection
        self._texts = statements_of(revision)["everywhere"]
        self._is_sqlite = type(connection).__module__ == "sqlite3"

    def rotate(self, family_id: bytes, *, digest: bytes, now: int) -> int:
        """A refresh: the next generation, whose token has this digest; returns it."""
        with self._transaction(family_id):
            (row,) = self._select("loads._FAMILY", family_id)
            family = {name[2:]: value for name, value in row.items() if name.startswith("f.")}
            session = {name[2:]: value for name, value in row.items() if name.startswith("s.")}
            moved = family | {f"parent_{name}": family[f"head_{name}"] for name in _TOKEN}
            moved |= {"parent_first_used": now, "parent_successor_box": b"box"}
            moved |= {"head_digest": digest, "head_generation": family["head_generation"] + 1, "head_issued": now}
            moved |= {"head_first_used": None, "head_attempt_digest": None, "head_successor_box": None}
            self._update("rows_sessions._MOVE_FAMILY", moved, key=family_id)
            touched = session | {"last_seen": max(session["last_seen"], now)}
            self._update("rows_sessions._TOUCH_SESSION", touched, key=session["sid"])
            generation: int = moved["head_generation"]
            return generation

    def end(self, family_id: bytes, *, now: int, iss: str) -> int:
        """End the family's session, with its feed entry and audit row; returns the entry's number."""
        with self._transaction(family_id):
            (row,) = self._select("loads._FAMILY", family_id)
            session = {name[2:]: value for name, value in row.items() if name.startswith("s.")}
            over = session | {"status": "ended", "end_reason": "operator"}
            self._update("rows_sessions._MOVE_SESSION", over, key=session["sid"])
            audit = ("session_ended", now, session["subject"], session["client_id"], session["sid"], "{}")
            self._run("rows_feed._APPEND_AUDIT", *audit)
            ((_, n),) = self._run("rows_feed.NEXT_FEED_NUMBERS", 1)
            entry = {"n": n, "iss": iss, "kind": "sid", "value": session["sid"], "at": now, "until": now + 600}
            self._insert("rows_feed._APPEND_REVOCATION", entry | {"micros": 0})
            number: int = n
            return number

    def copy_device(self, family_id: bytes, *, as_family: bytes, as_sid: str) -> None:
        """A sign-in: rows with all the columns it knows, and no others."""
        with self._transaction(family_id):
            (row,) = self._select("loads._FAMILY", family_id)
            session = {name[2:]: value for name, value in row.items() if name.startswith("s.")}
            family = {name[2:]: value for name, value in row.items() if name.startswith("f.")}
            self._insert("rows_sessions._PUT_SESSION", session | {"sid": as_sid})
            self._insert("rows_sessions._PUT_FAMILY", family | {"id": as_family, "sid": as_sid})

    def register_again(self, client_id: str) -> None:
        """Write a client it read, as `portero client enable` does."""
        with self._transaction(None):
            (row,) = self._select("loads._CLIENT", client_id)
            self._insert("rows_registry._PUT_CLIENT", {name[2:]: value for name, value in row.items()})

    def feed(self, *, after: int, live_at: int) -> list[str]:
        """What its followers are told."""
        return [row["t.value"] for row in self._select("loads._FEED", after, live_at, 1000)]

    def sweep(self, *, now: int) -> None:
        """Remove what it believes expired, of every table."""
        for name in self._texts:
            if name.startswith("sweep "):
                with self._transaction(None):
                    self._run(name, now, 8)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, family_id: bytes | None) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN")
        try:
            if family_id is not None and not self._is_sqlite:
                # Its lock is a statement of its own, ahead of the load (decision 0034).
                lock = "SELECT sid FROM device_sessions WHERE sid = (SELECT sid FROM families WHERE id = %s)"
                self._connection.execute(f"{lock} FOR NO KEY UPDATE", (family_id,))
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _run(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        text = self._texts[name]
        cursor = self._connection.execute(text if self._is_sqlite else text.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description else []

    def _select(self, name: str, *values: Any) -> list[Row]:
        columns = self._texts[name].removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
        rows = self._run(name, *values)
        assert all(len(row) == len(columns) for row in rows)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _update(self, name: str, values: Row, *, key: Any) -> None:
        columns = re.findall(r"(\w+) = \?", self._texts[name].partition(" WHERE ")[0])
        self._run(name, *(values[column] for column in columns), key)

    def _insert(self, name: str, values: Row) -> None:
        listed = re.search(r"\(([^)]*)\) VALUES", self._texts[name])
        assert listed is not None
        self._run(name, *(values[column] for column in listed[1].split(", ")))


_TOKEN = ("digest", "generation", "issued", "expires", "first_used", "attempt_digest", "successor_box", "retries")
