"""Several handles on one database."""

# ruff: noqa: S101  # a law asserts

from __future__ import annotations

import asyncio

from portero.core.transitions import (
    CodeKey,
    CounterKey,
    FeedKey,
    Notify,
    OutboxKey,
    ReplayKey,
    Revoke,
    SessionKey,
)
from portero.core.types import Sid
from portero.ports import Store
from portero.testing.store_laws.outbox import count, take_up, without
from portero.testing.store_laws.steps import (
    MANY,
    MakeStore,
    follow_while_many_append,
    mark,
    put,
    seen_once_more,
    use,
    with_stores,
    write,
)
from portero.testing.store_samples import (
    NOW,
    authorization_code,
    delivery,
    device_session,
    digest,
    event_stream,
    notice,
    revocation,
)


class SharedLaws:
    """The laws of several handles (servers, a command line) on one database."""

    def test_handles_use_a_code_once_between_them(self, make_store: MakeStore) -> None:
        """Single use, and single first sight, hold across servers."""

        async def law(stores: list[Store]) -> None:
            await put(stores[0], authorization_code())
            uses = (store.transition(CodeKey(digest("code")), use, now=NOW) for store in stores * MANY)
            marks = (store.transition(ReplayKey(digest("jti")), mark("jti"), now=NOW) for store in stores * MANY)
            used, marked = await asyncio.gather(asyncio.gather(*uses), asyncio.gather(*marks))

            assert (sum(used), sum(marked)) == (1, 1)

        with_stores(make_store, law)

    def test_handles_lose_no_change_of_a_session(self, make_store: MakeStore) -> None:
        """Several sessions changed at once through every handle, in different orders."""

        async def law(stores: list[Store]) -> None:
            sids = [Sid(f"s{n}") for n in range(5)]
            await put(stores[0], *(device_session(sid) for sid in sids))
            steps = [
                store.transition(SessionKey(sid), seen_once_more, now=NOW)
                for i in range(MANY)
                for n, store in enumerate(stores)
                for sid in (sids if (i + n) % 2 else reversed(sids))
            ]
            await asyncio.gather(*steps)

            for sid in sids:
                session = (await stores[0].read(SessionKey(sid))).session
                assert session is not None
                assert session.last_seen == NOW + MANY * len(stores)

        with_stores(make_store, law)

    def test_a_delivery_is_taken_up_by_one_server(self, make_store: MakeStore) -> None:
        """Several servers on one database do not deliver the same thing at the same time; nor count a number twice."""

        async def law(stores: list[Store]) -> None:
            await put(stores[0], event_stream(), *(delivery(f"d{n}") for n in range(20)))
            await write(stores[0], *(Notify(notice(f"s{n}")) for n in range(20)))
            taken, noticed, counted = await asyncio.gather(
                asyncio.gather(*(take_up(store, limit=3) for store in stores * MANY)),
                asyncio.gather(
                    *(store.transition(OutboxKey(3), lambda a: without(a.notices), now=NOW) for store in stores * MANY)
                ),
                asyncio.gather(*(store.transition(CounterKey("c"), count("c"), now=NOW) for store in stores * MANY)),
            )

            assert sorted(id_ for ids in taken for id_ in ids) == sorted(f"d{n}" for n in range(20))
            assert sorted(sid for sids in noticed for sid in sids) == sorted(f"s{n}" for n in range(20))
            assert sorted(counted) == list(range(1, MANY * len(stores) + 1))

        with_stores(make_store, law)

    def test_a_follower_misses_no_entry_of_any_handle(self, make_store: MakeStore) -> None:
        """A transaction that commits late with a lower number is not passed over (design §3.3)."""
        with_stores(make_store, lambda stores: follow_while_many_append(stores[0], stores))

    def test_an_append_by_one_handle_wakes_the_others(self, make_store: MakeStore) -> None:
        """The command line beside a running server: the server notices."""

        async def law(stores: list[Store]) -> None:
            changes = stores[0].changes()
            # More than one: the first wake-up may be that of beginning to follow.
            for n in range(1, 4):
                await write(stores[1], Revoke(revocation(f"s{n}")))
                await asyncio.wait_for(anext(changes), 10)
                while len((feed := await stores[0].read(FeedKey(after=0, live_at=NOW))).entries) < n:
                    await asyncio.wait_for(anext(changes), 10)

            assert [e.revocation.value for e in feed.entries] == ["s1", "s2", "s3"]
            assert feed.epoch == (await stores[1].read(FeedKey(after=0, live_at=NOW))).epoch

        with_stores(make_store, law)
