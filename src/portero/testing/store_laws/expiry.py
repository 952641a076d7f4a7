"""Expired records go with other commits, and the revocation feed loses nothing else."""

# ruff: noqa: S101  # a law asserts

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from portero.core.transitions import (
    Decision,
    FamilyAggregate,
    FamilyKey,
    FeedKey,
    Put,
    Revoke,
)
from portero.core.types import NumericDate
from portero.ports import Store
from portero.testing.store_laws.steps import (
    MakeStore,
    follow_while_many_append,
    put,
    stored,
    with_store,
    write,
)
from portero.testing.store_samples import (
    DAY,
    NOW,
    authorization_code,
    browser_session,
    device_session,
    family,
    login_transaction,
    replay_mark,
    revocation,
)


class ExpiryLaws:
    """Removal of what has expired."""

    def test_commits_remove_what_has_expired_and_nothing_else(self, make_store: MakeStore) -> None:
        """There is no clean-up job: whoever writes also removes; a session takes its families along."""

        async def law(store: Store) -> None:
            over = (
                device_session("old", absolute_end=NOW + DAY),
                family("of old", sid="old", expires=NOW + 90 * DAY),
                device_session("kept", absolute_end=NOW + 900 * DAY),
                replace(device_session("kept", absolute_end=NOW + 900 * DAY), idle_end=NumericDate(NOW + 800 * DAY)),
                family("expired", sid="kept", expires=NOW + DAY),
                family("fresh", sid="kept", expires=NOW + 90 * DAY),
                browser_session("old", ends=NOW + DAY),
                browser_session("fresh", ends=NOW + 90 * DAY),
                login_transaction("old", expires=NOW + DAY),
                login_transaction("fresh", expires=NOW + 90 * DAY),
                authorization_code("old", expires=NOW + DAY),
                authorization_code("fresh", expires=NOW + 90 * DAY),
                replay_mark("old", expires=NOW + DAY),
                replay_mark("fresh", expires=NOW + 90 * DAY),
            )
            await put(store, *over)
            await write(
                store, Revoke(revocation("old", until=NOW + DAY)), Revoke(revocation("fresh", until=NOW + 90 * DAY))
            )
            for n in range(30):
                await put(store, replay_mark(f"busy {n}", expires=NOW + 90 * DAY), now=NOW + 30 * DAY)

            gone = [r for r in over if await stored(store, r) is None]
            feed = await store.read(FeedKey(after=0, live_at=NumericDate(0)))
            assert gone == [r for i, r in enumerate(over) if i in (0, 1, 4, 6, 8, 10, 12)]
            assert [e.revocation.value for e in feed.entries] == ["fresh"]

        with_store(make_store, law)

    def test_what_a_refresh_prolongs_is_kept(self, make_store: MakeStore) -> None:
        """The end that counts is the present one, of the family and of its session."""

        def refresh(found: FamilyAggregate) -> Decision[None]:
            assert found.family is not None
            assert found.session is not None
            head = replace(found.family.head, generation=1, expires=NumericDate(NOW + 60 * DAY))
            session = replace(found.session, idle_end=NumericDate(NOW + 60 * DAY))
            return Decision(None, (Put(replace(found.family, head=head)), Put(session)))

        async def law(store: Store) -> None:
            await put(store, device_session(absolute_end=NOW + 90 * DAY), family(expires=NOW + 8 * DAY))
            await store.transition(FamilyKey(family().id), refresh, now=NOW)
            for n in range(30):
                await put(store, replay_mark(f"busy {n}", expires=NOW + 90 * DAY), now=NOW + 30 * DAY)
            found = await store.read(FamilyKey(family().id))

            assert found.family is not None
            assert found.family.head.generation == 1
            assert found.session is not None

        with_store(make_store, law)

    def test_nothing_is_removed_before_its_time(self, make_store: MakeStore) -> None:
        """A record that expires this very second is still there."""

        async def law(store: Store) -> None:
            records = (browser_session(ends=NOW), login_transaction(expires=NOW), replay_mark(expires=NOW))
            await put(store, *records)
            for n in range(30):
                await put(store, replay_mark(f"busy {n}"), now=NOW)

            assert [await stored(store, r) for r in records] == list(records)

        with_store(make_store, law)


class FeedLaws:
    """Order, numbers, cursors and wake-ups of the feed."""

    def test_the_feed_is_read_in_order_from_any_cursor(self, make_store: MakeStore) -> None:
        """Numbers start at 1; a slice that is cut ends at its last entry, one that is whole at the head."""

        async def law(store: Store) -> None:
            empty = await store.read(FeedKey(after=0, live_at=NOW))
            await write(store, *(Revoke(revocation(f"s{n}", until=NOW + n)) for n in range(1, 6)))
            whole = await store.read(FeedKey(after=0, live_at=NOW))
            cut = await store.read(FeedKey(after=1, live_at=NOW, limit=2))
            live = await store.read(FeedKey(after=0, live_at=NumericDate(NOW + 3), limit=2))
            beyond = await store.read(FeedKey(after=10**30, live_at=NumericDate(-(10**30)), limit=10**30))

            assert (empty.entries, empty.head) == ((), 0)
            assert [(e.n, e.revocation.value) for e in whole.entries] == [(n, f"s{n}") for n in range(1, 6)]
            assert {e.epoch for e in whole.entries} == {whole.epoch} == {empty.epoch}
            assert ([e.n for e in cut.entries], cut.head, whole.head) == ([2, 3], 3, 5)
            assert ([e.n for e in live.entries], live.head) == ([4, 5], 5)
            assert (beyond.entries, beyond.head) == ((), 5)

        with_store(make_store, law)

    def test_a_number_never_comes_back(self, make_store: MakeStore) -> None:
        """Not even when the newest entries have expired and are gone."""

        async def law(store: Store) -> None:
            await write(store, Revoke(revocation("s1", until=NOW)))
            for n in range(30):
                await put(store, replay_mark(f"busy {n}", expires=NOW + 90 * DAY), now=NOW + DAY)
            await write(store, Revoke(revocation("s2", until=NOW + 2 * DAY)))

            feed = await store.read(FeedKey(after=0, live_at=NumericDate(0)))
            assert [(e.n, e.revocation.value) for e in feed.entries] == [(2, "s2")]

        with_store(make_store, law)

    def test_a_follower_misses_no_entry(self, make_store: MakeStore) -> None:
        """Who resumes at each slice's head sees every number once, in order, while many append."""
        with_store(make_store, lambda store: follow_while_many_append(store, [store]))

    def test_an_append_wakes_followers_who_began_before_it(self, make_store: MakeStore) -> None:
        """Even when it happened between `changes()` and the first wait; closing ends the iteration."""

        async def law(store: Store) -> None:
            changes = store.changes()
            await write(store, Revoke(revocation()))
            await asyncio.wait_for(anext(changes), 10)
            await store.aclose()

            with suppress(StopAsyncIteration):
                while True:
                    await asyncio.wait_for(anext(changes), 10)

        with_store(make_store, law)
