"""Transitions and reads per second of a store, and microseconds each.

    python bench/store.py [URL] [--sessions N] [--seconds S] [--tasks T]

One process; `tasks` concurrent callers rotate refresh-token families (load, decide, two
rows written, durable commit), then read them. CPU is this process's, all threads; the time
of a PostgreSQL server is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from portero.adapters.storage.open import open_store
from portero.core.sessions.records import DeviceSession, Family, Profile, TokenRecord
from portero.core.sessions.ring import Ring, SpentToken
from portero.core.transitions import Decision, FamilyAggregate, FamilyKey, Put, SessionKey, User
from portero.core.types import ClientId, Digest, FamilyId, NumericDate, Sid, Subject
from portero.ports import Store

NOW = NumericDate(1_800_000_000)
DAY = 86_400


class SystemRandom:
    def bytes(self, n: int) -> bytes:
        return os.urandom(n)


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def sid(i: int) -> Sid:
    return Sid(f"s{i:020d}")


def family_id(i: int) -> FamilyId:
    return FamilyId(hashlib.sha256(b"f%d" % i).digest()[:16])


def records(i: int) -> tuple[Put, ...]:
    subject = Subject(f"user-{i // 4}")
    session = DeviceSession(
        sid(i), Digest(os.urandom(32)), subject, ClientId("shop"), "Firefox · Linux", "203.0.113.0/24", NOW, NOW,
        NumericDate(NOW + 300), NumericDate(NOW + 30 * DAY), NumericDate(NOW + 7 * DAY),
    )  # fmt: skip
    head = TokenRecord(Digest(os.urandom(32)), 20, NOW, NumericDate(NOW + 14 * DAY))
    family = Family(
        family_id(i), session.sid, session.client_id, ("openid", "orders:read"), ("https://shop.example/orders",),
        None, Profile.ATTEMPT, "1", ("pwd",), NOW, NOW, head, replace(head, generation=19, first_used=NOW),
        Ring.of(*(SpentToken(18 - n, Digest(os.urandom(32)), NOW) for n in range(16))),
    )  # fmt: skip
    user = User(subject, f"user-{i // 4}", None, "A Person", "person@example.com", ("manager",))
    return Put(session), Put(family), Put(user)


def rotate(aggregate: FamilyAggregate) -> Decision[int]:
    family, session = aggregate.family, aggregate.session
    assert family is not None
    assert session is not None
    head = family.head
    spent = SpentToken(head.generation, Digest(bytes(32)), NOW)
    successor = TokenRecord(Digest(os.urandom(32)), head.generation + 1, NOW, NumericDate(NOW + 14 * DAY))
    rotated = replace(
        family,
        head=successor,
        parent=replace(head, first_used=NOW, attempt_digest=Digest(bytes(32)), successor_box=bytes(64)),
        ring=family.ring.pushed(spent, size=16),
    )
    seen = replace(session, last_seen=NumericDate(session.last_seen + 1), last_access_exp=NumericDate(NOW + 400))
    return Decision(successor.generation, (Put(rotated), Put(seen)))


async def fill(store: Store, n: int) -> None:
    for start in range(0, n, 500):
        writes = tuple(put for i in range(start, min(n, start + 500)) for put in records(i))
        await store.transition(SessionKey(Sid("none")), lambda _, w=writes: Decision(None, w), now=NOW)


async def load(store: Store, *, sessions: int, seconds: float, tasks: int) -> dict[str, float]:
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def caller(seed: int) -> None:
        choose = random.Random(seed)
        while (began := time.perf_counter()) < until:
            await store.transition(FamilyKey(family_id(choose.randrange(sessions))), rotate, now=NOW)
            waits.append(time.perf_counter() - began)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(n) for n in range(tasks)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    waits.sort()
    return {
        "transitions/s": len(waits) / took,
        "µs CPU each": cpu / len(waits) * 1e6,
        "ms median": statistics.median(waits) * 1e3,
        "ms p99": waits[int(len(waits) * 0.99)] * 1e3,
    }


async def reads(store: Store, *, sessions: int, n: int, tasks: int) -> float:
    choose = random.Random(1)

    async def caller(count: int) -> None:
        for _ in range(count):
            await store.read(FamilyKey(family_id(choose.randrange(sessions))))

    began = time.perf_counter()
    await asyncio.gather(*(caller(n // tasks) for _ in range(tasks)))
    return (time.perf_counter() - began) / n * 1e6


async def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        url = arguments.url or str(Path(folder) / "bench.db")
        store = await open_store(url, random=SystemRandom(), clock=SystemClock())
        try:
            began = time.perf_counter()
            await fill(store, arguments.sessions)
            print(f"{arguments.sessions} sessions stored in {time.perf_counter() - began:.1f} s")
            for tasks in (1, arguments.tasks):
                one = await load(store, sessions=arguments.sessions, seconds=arguments.seconds, tasks=tasks)
                print(f"{tasks:4d} callers:", ", ".join(f"{value:.1f} {name}" for name, value in one.items()))
                each = await reads(store, sessions=arguments.sessions, n=4096, tasks=tasks)
                print(f"{tasks:4d} callers: {each:.1f} µs a read")
        finally:
            await store.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="")
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tasks", type=int, default=64)
    asyncio.run(main(parser.parse_args()))
