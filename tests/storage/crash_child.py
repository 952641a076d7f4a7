"""A program to be killed: changes sessions and uses codes as fast as it can, and says on stdout what was acknowledged.

Arguments: database URL, seed. Lines: `s <n> <value>` (session n stands at value), `c <n>` (code n was used by us).
"""

from __future__ import annotations

import asyncio
import random
import sys

from portero.adapters.storage.open import open_store
from portero.core.errors import Unavailable
from portero.core.transitions import CodeKey, SessionKey
from portero.core.types import Sid
from portero.testing.store_laws.steps import seen_once_more, use
from portero.testing.store_samples import NOW, digest
from tests.storage.ports import SystemClock, SystemRandom

SESSIONS = 8
CODES = 4000


async def main(url: str, seed: int) -> None:
    store = await open_store(url, random=SystemRandom(), clock=SystemClock())
    print("ready", flush=True)

    async def sessions(choose: random.Random) -> None:
        while True:
            n = choose.randrange(SESSIONS)
            try:
                value = await store.transition(SessionKey(Sid(f"s{n}")), seen_once_more, now=NOW)
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                print(f"s {n} {value}", flush=True)

    async def codes(choose: random.Random) -> None:
        while True:
            n = choose.randrange(CODES)
            try:
                ours = await store.transition(CodeKey(digest(f"c{n}")), use, now=NOW)
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                if ours:
                    print(f"c {n}", flush=True)

    await asyncio.gather(*(work(random.Random(seed * 100 + i)) for i in range(8) for work in (sessions, codes)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
