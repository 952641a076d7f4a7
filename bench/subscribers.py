"""So many Guards on one event loop, as another process: they say when each refused a token for the first time.

Run as `python -m bench.subscribers ISSUER NUMBER`, the feed client's secret in `FEED_SECRET`. Each line on stdin is a
command: `token T` admits a token at every Guard and waits for its end; `wait` answers when all have refused all tokens,
with the moments (`time.monotonic`, which all processes of a machine share); `known FIRST LAST` says how many of these
sessions each Guard knows to have ended; `quit`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import uvloop

from portero.core.types import Secret
from portero.resource_server import Guard, Principal, Refusal, RevocationFeed

AUDIENCE = "https://shop.example/orders"
CLIENT = "feed"


def session_id(number: int) -> str:
    """The `sid` of a copy (`bench.crowd`)."""
    return f"s{number:021d}"


def memory() -> tuple[float, float]:
    """Megabytes (10^6 bytes) resident now, and at the most since the process began."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name[:2] == "Vm"
    }
    return found["VmRSS"] * 1024 / 1e6, found["VmHWM"] * 1024 / 1e6


class Subscribers:
    """The Guards, and when each refused."""

    def __init__(self, issuer: str, number: int) -> None:
        feed = RevocationFeed(CLIENT, Secret(os.environ["FEED_SECRET"]))
        self.issuer = issuer
        self.guards = [
            Guard(issuers=[issuer], audience=AUDIENCE, revocation=feed, startup_patience=timedelta(seconds=30))
            for _ in range(number)
        ]
        self.refused: list[float] = []
        self.waiting = 0
        self.over = asyncio.Event()

    async def start(self) -> dict[str, float]:
        """Follow the feed: seconds until the last knew everything, and what that took in memory."""
        # What a service has anyway: the HTTP client, the keys.
        warm = Guard(issuers=[self.issuer], audience=AUDIENCE, revocation=None)
        await warm.start()
        await warm.aclose()
        before, _ = memory()
        began = time.perf_counter()
        for guard in self.guards:
            await guard.start()
        seconds = time.perf_counter() - began
        after, most = memory()
        subscription = self.guards[0].trust(self.issuer).subscription
        assert subscription is not None
        return {
            "seconds": seconds,
            "entries": len(subscription.revoked),
            "memory_mb": (after - before) / len(self.guards),
            "most_mb": most - before,
        }

    def admit(self, token: str) -> None:
        """Every Guard accepts the token, and is told when it is over."""
        for guard in self.guards:
            self._admit(guard, token.encode())

    def _admit(self, guard: Guard, token: bytes) -> None:
        requirement = guard.requires()
        principal = guard.admit(token, requirement)
        if not isinstance(principal, Principal):
            raise SystemExit(f"a good token was refused: {principal}")
        self.waiting += 1

        def when_over(_refusal: Refusal) -> None:
            if isinstance(guard.admit(token, requirement), Principal):
                raise SystemExit("a revoked token was accepted")
            self.refused.append(time.monotonic())
            self.waiting -= 1
            if not self.waiting:
                self.over.set()

        guard.watch(principal, when_over)

    async def all_refused(self) -> list[float]:
        """Wait until every token was refused everywhere."""
        async with asyncio.timeout(60):
            await self.over.wait()
        self.over.clear()
        moments, self.refused = self.refused, []
        return moments

    def known(self, first: int, last: int) -> list[int]:
        """How many of the sessions each Guard knows."""
        counts = []
        for guard in self.guards:
            subscription = guard.trust(self.issuer).subscription
            assert subscription is not None
            names = subscription.revoked.names
            counts.append(sum(names(sid=session_id(n), jti="", client_id="", kid=None) for n in range(first, last)))
        return counts


async def main() -> None:
    subscribers = Subscribers(sys.argv[1], int(sys.argv[2]))
    print(json.dumps(await subscribers.start()), flush=True)
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        match line:
            case ["token", token]:
                subscribers.admit(token)
                answer: object = "admitted"
            case ["wait"]:
                answer = await subscribers.all_refused()
            case ["known", first, last]:
                answer = subscribers.known(int(first), int(last))
            case _:
                break
        print(json.dumps(answer), flush=True)
    for guard in subscribers.guards:
        await guard.aclose()


if __name__ == "__main__":
    uvloop.run(main())
