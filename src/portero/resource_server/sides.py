"""What runs beside the requests: key keepers and feed followers, on an event loop or in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from portero.adapters.fetch.http import AsyncFetcher, Fetcher
from portero.ports import Clock
from portero.resource_server.issuers import RevocationFeed, TrustedIssuer
from portero.resource_server.key_sets import AsyncKeys, SyncKeys
from portero.resource_server.relay_thread import RelayThread
from portero.resource_server.revocations import AsyncRevocations, OnRevoked, SyncRevocations
from portero.resource_server.trust import Trust


class LoopSide:
    """One Guard on one event loop."""

    def __init__(self, trusts: Sequence[Trust], *, clock: Clock, on_revoked: OnRevoked) -> None:
        self.loop = asyncio.get_running_loop()
        self._relays = _relays(trusts, clock=clock)
        self._fetcher = AsyncFetcher()
        self.keys: dict[str, AsyncKeys] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for trust in trusts:
            keys = self.keys[trust.issuer] = AsyncKeys(trust, fetcher=self._fetcher, clock=clock)
            self._tasks.append(self.loop.create_task(keys.keep(), name=f"keeper of {trust.issuer}"))
            if trust.subscription is not None:
                follower = AsyncRevocations(
                    trust,
                    fetcher=self._fetcher,
                    clock=clock,
                    on_revoked=on_revoked,
                    relay_thread=_relay_of(trust, self._relays),
                )
                self._tasks.append(
                    self.loop.create_task(follower.follow(trust.subscription), name=f"feed of {trust.issuer}")
                )

    async def aclose(self) -> None:
        """Stop, and leave no task and no connection."""
        if self.loop is not asyncio.get_running_loop():
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for keys in self.keys.values():
            await keys.aclose()
        for relay in self._relays.values():
            await asyncio.to_thread(relay.close)
        await self._fetcher.aclose()

    def forget(self) -> None:
        """Another loop's side takes this one's place."""
        for keys in self.keys.values():
            keys.forget()


class ThreadSide:
    """One Guard in one process with threads."""

    def __init__(self, trusts: Sequence[Trust], *, clock: Clock, on_revoked: OnRevoked) -> None:
        self.pid = os.getpid()
        self._relays = _relays(trusts, clock=clock)
        self._fetcher = Fetcher()
        self.keys: dict[str, SyncKeys] = {}
        self._followers: list[SyncRevocations] = []
        for trust in trusts:
            keys = self.keys[trust.issuer] = SyncKeys(trust, fetcher=self._fetcher, clock=clock)
            keys.start()
            if trust.subscription is not None:
                follower = SyncRevocations(
                    trust,
                    fetcher=self._fetcher,
                    clock=clock,
                    on_revoked=on_revoked,
                    relay_thread=_relay_of(trust, self._relays),
                )
                follower.start(trust.subscription)
                self._followers.append(follower)

    def close(self) -> None:
        """Stop, and leave no thread and no connection."""
        for follower in self._followers:
            follower.close()
        for keys in self.keys.values():
            keys.close()
        for relay in self._relays.values():
            relay.close()
        self._fetcher.close()


def _relays(trusts: Iterable[Trust], *, clock: Clock) -> dict[Path, RelayThread]:
    """What this process serves where nobody does: one relay a socket, for all issuers that name it."""
    served: dict[Path, list[tuple[TrustedIssuer, RevocationFeed]]] = {}
    for trust in trusts:
        if trust.feed is not None and trust.feed.relay is not None and trust.feed.serve_relay:
            served.setdefault(trust.feed.relay, []).append((trust.configured, trust.feed))
    return {path: RelayThread(path, issuers, clock=clock) for path, issuers in served.items()}


def _relay_of(trust: Trust, relays: dict[Path, RelayThread]) -> RelayThread | None:
    return None if trust.feed is None or trust.feed.relay is None else relays.get(trust.feed.relay)
