"""The revocations file beside a database: what was taken back, kept where a restore of the database does not reach.

One JSON object per line: `epoch`, `n`, `iss`, `kind`, `value`, `at`, `until` (NumericDate), `micros`.
A line is on the disk before the transaction that caused it commits, so a restore that
replays the file misses nothing that was acknowledged; after a crash it may name a
revocation that was never committed, which a replay makes true.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from portero.adapters.storage.row_values import by_value
from portero.core.revocation.entry import FeedEntry, Revocation, RevokedKind

_LARGEST: Final = 64 * 1024 * 1024
"""Bytes after which the file becomes `.1` and a new one begins: several hundred thousand revocations each."""
_KIND = by_value(RevokedKind)


class Journal:
    """The file. Appended inside the database's write transaction, so by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._older = path.with_name(path.name + ".1")

    def append(self, entries: list[FeedEntry]) -> None:
        """Append and make durable.

        Raises:
            OSError: not durable (the disk is full, …); what was written of it is taken off again.
        """
        lines = b"".join([orjson.dumps(_to_json(entry)) + b"\n" for entry in entries])
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size > _LARGEST:
                self.path.replace(self._older)
                os.close(descriptor)
                descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
                size = 0
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                lines = b"\n" + lines  # the last append was cut by a crash
            try:
                written = os.write(descriptor, lines)
                if written != len(lines):
                    raise OSError(f"wrote {written} of {len(lines)} bytes to {self.path}")
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    @property
    def was_cut(self) -> bool:
        """Whether the file has begun anew at least once: what is older than both parts is gone."""
        return self._older.exists()

    def entries(self) -> Iterator[FeedEntry]:
        """Everything the files hold, oldest first; a line cut by a crash is passed over."""
        for path in (self._older, self.path):
            if not path.exists():
                continue
            with path.open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
                        yield _from_json(line)


def journal_of(database: Path) -> Journal:
    """The journal beside a SQLite database: its path with `.revocations` appended."""
    return Journal(database.with_name(database.name + ".revocations"))


def _to_json(entry: FeedEntry) -> dict[str, str | int]:
    revocation = entry.revocation
    return {
        "epoch": entry.epoch,
        "n": entry.n,
        "iss": revocation.iss,
        "kind": revocation.kind.value,
        "value": revocation.value,
        "at": revocation.at,
        "until": revocation.until,
        "micros": revocation.micros,
    }


def _from_json(line: bytes) -> FeedEntry:
    entry = orjson.loads(line)
    kind, micros = _KIND[entry["kind"]], entry.get("micros", 0)
    revocation = Revocation(entry["iss"], kind, entry["value"], entry["at"], entry["until"], micros)
    return FeedEntry(entry["epoch"], entry["n"], revocation)
