"""What the laws are made of: opening a store, writing, reading back, and small decisions."""

# ruff: noqa: S101  # a law asserts

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from portero.core.consent import Consent
from portero.core.linked import LinkedIdentity
from portero.core.outbox_records import Counter, Delivery, EventStream
from portero.core.sessions.records import BrowserSession, DeviceSession, Family
from portero.core.transitions import (
    AuthorizationCode,
    BrowserKey,
    Client,
    ClientKey,
    CodeAggregate,
    CodeKey,
    ConsentKey,
    CounterKey,
    Decision,
    DeliveryKey,
    FamilyKey,
    FeedKey,
    Key,
    LinkedKey,
    LoginKey,
    LoginTransaction,
    Put,
    Record,
    ReplayKey,
    ReplayMark,
    Revoke,
    SessionAggregate,
    SessionKey,
    SigningKey,
    SigningKeysKey,
    StreamKey,
    SubjectKey,
    User,
    Write,
)
from portero.core.types import NumericDate, Sid
from portero.ports import Store
from portero.testing.store_samples import (
    NOW,
    family,
    replay_mark,
    revocation,
)

R = TypeVar("R")
MakeStore = Callable[[], Awaitable[Store]]
MANY = 40
"""How many transitions a law starts at once."""


def with_store(make_store: MakeStore, law: Callable[[Store], Coroutine[Any, Any, R]]) -> R:
    """Run `law` on a new store, and close it."""

    async def run() -> R:
        store = await make_store()
        try:
            return await law(store)
        finally:
            await store.aclose()

    return asyncio.run(run())


async def write(store: Store, *writes: Write, now: int = NOW) -> None:
    """Commit `writes` together, whatever is there."""
    key = SessionKey(Sid("of nobody"))
    await store.transition(key, lambda _: Decision(None, writes), now=NumericDate(now))


async def put(store: Store, *records: Record, now: int = NOW) -> None:
    await write(store, *map(Put, records), now=now)


async def stored(store: Store, record: Record) -> Record | None:
    """Read the record back by its key."""
    match record:
        case BrowserSession():
            return (await store.read(BrowserKey(record.id_digest))).browser
        case DeviceSession():
            return (await store.read(SessionKey(record.sid))).session
        case Family():
            return (await store.read(FamilyKey(record.id))).family
        case Client():
            return (await store.read(ClientKey(record.client_id))).client
        case User():
            return (await store.read(SubjectKey(record.subject))).user
        case LoginTransaction():
            return await store.read(LoginKey(record.id_digest))
        case AuthorizationCode():
            return (await store.read(CodeKey(record.code_digest))).code
        case ReplayMark():
            return await store.read(ReplayKey(record.digest))
        case SigningKey():
            return next((k for k in await store.read(SigningKeysKey()) if k.kid == record.kid), None)
        case Delivery():
            return await store.read(DeliveryKey(record.id))
        case EventStream():
            return await store.read(StreamKey(record.stream_id))
        case Counter():
            return Counter(record.name, await store.read(CounterKey(record.name)))
        case LinkedIdentity():
            return await store.read(LinkedKey(record.provider, record.external))
        case Consent():
            return await store.read(ConsentKey(record.subject, record.client_id))


def seen_once_more(aggregate: SessionAggregate) -> Decision[int]:
    """Count: the session's `last_seen` goes up by one."""
    session = aggregate.session
    assert session is not None
    later = replace(session, last_seen=NumericDate(session.last_seen + 1))
    return Decision(later.last_seen, (Put(later),))


def orphan(_: object) -> Decision[None]:
    """A write that no store takes: a family whose device session does not exist."""
    return Decision(None, (Put(replay_mark("orphan")), Put(family("orphan", sid="nowhere"))))


def use(aggregate: CodeAggregate) -> Decision[bool]:
    """Use a code the first time; tell whether it was."""
    code = aggregate.code
    if code is None or code.used is not None:
        return Decision(False)
    return Decision(True, (Put(replace(code, used=NOW)),))


def mark(name: str) -> Callable[[ReplayMark | None], Decision[bool]]:
    """Remember a value; tell whether it was new."""

    def decide(found: ReplayMark | None) -> Decision[bool]:
        return Decision(False) if found else Decision(True, (Put(replay_mark(name)),))

    return decide


def with_stores(make_store: MakeStore, law: Callable[[list[Store]], Coroutine[Any, Any, R]]) -> R:
    """Run `law` on two handles of one database, and close them."""

    async def run() -> R:
        stores = [await make_store(), await make_store()]
        try:
            return await law(stores)
        finally:
            for store in stores:
                await store.aclose()

    return asyncio.run(run())


async def follow_while_many_append(followed: Store, stores: list[Store]) -> None:
    """Append through `stores` while a follower reads `followed`; it must see 1, 2, 3, … and every value."""
    total = MANY * len(stores)
    seen: list[tuple[int, str]] = []

    async def follow() -> None:
        cursor = 0
        while len(seen) < total:
            part = await followed.read(FeedKey(after=cursor, live_at=NOW, limit=7))
            seen.extend((entry.n, entry.revocation.value) for entry in part.entries)
            cursor = part.head
            await asyncio.sleep(0)

    async def append(store: Store, value: str) -> None:
        key: Key[Any] = SessionKey(Sid(value))
        await store.transition(key, lambda _: Decision(None, (Revoke(revocation(value)),)), now=NOW)

    values = [f"{n} by {i}" for n in range(MANY) for i in range(len(stores))]
    appends = (append(stores[n % len(stores)], value) for n, value in enumerate(values))
    await asyncio.wait_for(asyncio.gather(follow(), *appends), 60)

    assert [n for n, _ in seen] == list(range(1, total + 1))
    assert {value for _, value in seen} == set(values)
