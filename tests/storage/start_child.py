"""A program that opens one file after another at the same moment as its neighbours.

Run as `python -m tests.storage.start_child FILE...`: each line on stdin is a moment of `time.monotonic`, which all
programs of one machine share; then it opens the next file as a server would, says how that went, and keeps the last one
open until stdin ends or it is killed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from portero.adapters.storage.sqlite import SqliteStore
from portero.testing.store_laws.steps import put
from portero.testing.store_samples import replay_mark
from tests.storage.ports import SystemRandom


async def opened(path: Path) -> SqliteStore | str:
    try:
        store = await SqliteStore.open(path, random=SystemRandom())
        await put(store, replay_mark())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return store


async def main() -> None:
    kept: SqliteStore | str = "none yet"
    for name in sys.argv[1:]:
        moment = await asyncio.to_thread(sys.stdin.readline)
        if not moment:
            break
        if isinstance(kept, SqliteStore):
            await kept.aclose()
        while time.monotonic() < float(moment):  # to the microsecond: a sleep would end at another time in each
            pass
        kept = await opened(Path(name))
        print("open" if isinstance(kept, SqliteStore) else kept, flush=True)
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
