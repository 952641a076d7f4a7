"""The feed on the wire: cursors, entries, snapshots, long-poll answers and server-sent events (design §3.3).

The format is the contract with every subscriber:

- a cursor is `<epoch>:<n>`: `epoch` names the life of one database (a restored one gets
  a new epoch), `n` counts its entries;
- an entry is `{"cursor", "iss", "what": {"sid" | "jti" | "client_id" | "kid": value}, "at", "until"}`
  with `until` as NumericDate and `at`, when it was caused, as seconds that may have a fraction;
- a heartbeat is `{"cursor": head, "time": seconds with a fraction}` and a promise: a
  subscriber that has read up to `cursor` knew everything there was at `time`. A relay adds `age`, in snapshots too:
  it knew everything there was so many seconds before.

Leaves to the caller: reading the store, authentication, and what a subscriber does with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from portero.core.oauth.errors import invalid_request
from portero.core.revocation.entry import FeedEntry, RevokedKind

MAX_CURSOR_LENGTH = 128
MAX_WAIT_SECONDS = 30

_NAMES = {kind: kind.value for kind in RevokedKind}
_CURSOR = re.compile(r"([A-Za-z0-9_-]{1,64}):(0|[1-9][0-9]{0,17})")
_WAIT = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the feed: everything up to and including `n` has been read."""

    epoch: str
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.n}"


def parse_cursor(text: str) -> Cursor:
    """Parse `<epoch>:<n>`.

    Raises:
        RequestError: `invalid_request`.
    """
    match = _CURSOR.fullmatch(text) if len(text) <= MAX_CURSOR_LENGTH else None
    if match is None:
        raise invalid_request("the cursor must be <epoch>:<number>, as a snapshot or an event gave it")
    return Cursor(epoch=match[1], n=int(match[2]))


def parse_wait(text: str | None) -> int:
    """Parse the `wait` of a long poll: whole seconds, capped at `MAX_WAIT_SECONDS`; absent means 0.

    Raises:
        RequestError: `invalid_request`.
    """
    if text is None:
        return 0
    if not _WAIT.fullmatch(text):
        raise invalid_request("wait must be whole seconds")
    return min(int(text), MAX_WAIT_SECONDS)


def render_entry(entry: FeedEntry) -> bytes:
    """Render one entry as JSON."""
    return orjson.dumps(_members(entry))


def render_entries(entries: Iterable[FeedEntry]) -> bytes:
    """Render several as `render_entry` would, joined by commas: much cheaper than one by one."""
    return orjson.dumps([_members(entry) for entry in entries])[1:-1]


def render_list(cursor: Cursor, entries: Iterable[bytes], *, time: float, age: float | None = None) -> Sequence[bytes]:
    """Render a snapshot or a long-poll answer, as parts to be sent one after the other.

    Args:
        cursor: where the reader stands after these entries.
        entries: rendered by `render_entry`, in order.
        time: when the store was read: seconds since 1970-01-01T00:00:00Z, UTC, with a fraction.
        age: of a relay: seconds before `time` up to which it knew everything.
    """
    head = orjson.dumps(_stated(cursor, time, age))[:-1] + b',"entries":['
    return (head, b",".join(entries), b"]}")


def render_revocation_event(cursor: Cursor, entry: bytes) -> bytes:
    """Render a server-sent event of type `revocation`; `id` is its cursor, where a cut stream resumes."""
    return b"id: %b\nevent: revocation\ndata: %b\n\n" % (str(cursor).encode(), entry)


def render_heartbeat(cursor: Cursor, *, time: float, age: float | None = None) -> bytes:
    """Render a server-sent event of type `heartbeat`: at `time`, less a relay's `age`, the feed ended at `cursor`."""
    data = orjson.dumps(_stated(cursor, time, age))
    return b"id: %b\nevent: heartbeat\ndata: %b\n\n" % (str(cursor).encode(), data)


def _members(entry: FeedEntry) -> dict[str, object]:
    revocation = entry.revocation
    return {
        "cursor": f"{entry.epoch}:{entry.n}",
        "iss": revocation.iss,
        "what": {_NAMES[revocation.kind]: revocation.value},
        "at": revocation.caused_at if revocation.micros else revocation.at,
        "until": revocation.until,
    }


def _stated(cursor: Cursor, time: float, age: float | None) -> dict[str, object]:
    stated: dict[str, object] = {"cursor": str(cursor), "time": time}
    if age is not None:
        stated["age"] = age
    return stated
