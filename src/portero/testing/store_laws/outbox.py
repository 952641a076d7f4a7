"""What others are told of: notices only where somebody listens, deliveries taken up once, counters that only grow."""

# ruff: noqa: S101  # a law asserts

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from portero.core.outbox_records import Counter, Delivery, Notice
from portero.core.sessions.records import SessionStatus
from portero.core.transitions import (
    CounterKey,
    Decision,
    Delete,
    DeliveryKey,
    DueKey,
    EndedIndexesKey,
    FeedSizeKey,
    NoticeKey,
    Notify,
    OutboxKey,
    PendingKey,
    Put,
    Revoke,
    StreamKey,
    StreamsKey,
)
from portero.core.types import ClientId, NumericDate, Sid
from portero.ports import Store
from portero.testing.store_laws.steps import MANY, MakeStore, put, with_store, write
from portero.testing.store_samples import NOW, client, delivery, device_session, event_stream, notice, revocation


class OutboxLaws:
    """What is kept for others, and who takes it up."""

    def test_a_notice_is_kept_only_where_somebody_is_to_be_told(self, make_store: MakeStore) -> None:
        """A client with a logout URI that is enabled, or any event stream."""

        async def law(store: Store) -> None:
            told = replace(client("told"), backchannel_logout_uri="https://shop.example/out")
            off = replace(told, client_id=ClientId("off"), enabled=False)
            await put(store, told, off, client("silent"))
            for name in ("told", "off", "silent", "unknown"):
                await write(store, Notify(notice(f"of {name}", client_id=name)))
            before = await store.read(OutboxKey())
            await put(store, event_stream())
            await write(store, Notify(notice("of silent", client_id="silent")))
            after = await store.read(OutboxKey())

            assert before.notices == (notice("of told", client_id="told"),)
            assert [c.client_id for c in before.clients] == ["off", "told"]
            assert [n.sid for n in after.notices] == ["of silent", "of told"]
            assert after.streams == (event_stream(),)

        with_store(make_store, law)

    def test_a_session_is_noticed_once(self, make_store: MakeStore) -> None:
        """The first notice stands; removed, it is gone."""

        async def law(store: Store) -> None:
            await put(store, event_stream())
            await write(store, Notify(notice()), Notify(notice(at=NOW + 1)))
            kept = await store.read(NoticeKey(Sid("sid-1")))
            await write(store, Delete(NoticeKey(Sid("sid-1"))))

            assert kept == notice()
            assert await store.read(NoticeKey(Sid("sid-1"))) is None
            assert (await store.read(OutboxKey())).notices == ()

        with_store(make_store, law)

    def test_notices_come_oldest_first_and_no_more_than_asked_for(self, make_store: MakeStore) -> None:
        """What waits longest is told first."""

        async def law(store: Store) -> None:
            await put(store, event_stream())
            for n, at in enumerate((3, 1, 2)):
                await write(store, Notify(notice(f"s{n}", at=NOW + at)))

            assert [n.sid for n in (await store.read(OutboxKey(limit=2))).notices] == ["s1", "s2"]

        with_store(make_store, law)

    def test_a_delivery_is_due_from_its_second_on(self, make_store: MakeStore) -> None:
        """Both sides of `due`; the longest due first; of one receiver the oldest first."""

        async def law(store: Store) -> None:
            early, now, later = delivery("b", due=NOW - 5), delivery("a"), delivery("c", due=NOW + 1)
            other = delivery("d", receiver="other", created=NOW - 9, due=NOW + 9)
            await put(store, now, later, early, other)

            assert await store.read(DueKey(NOW)) == (early, now)
            assert await store.read(DueKey(NOW, limit=1)) == (early,)
            assert await store.read(PendingKey("shop")) == (now, early, later)
            assert await store.read(PendingKey("shop", limit=2)) == (now, early)
            assert await store.read(PendingKey("nobody")) == ()

        with_store(make_store, law)

    def test_a_due_delivery_is_taken_up_once(self, make_store: MakeStore) -> None:
        """However many ask at once: whoever takes it moves it ahead for all others."""

        async def law(store: Store) -> None:
            await put(store, *(delivery(f"d{n}") for n in range(10)))
            taken = await asyncio.gather(*(take_up(store, limit=3) for _ in range(MANY)))

            assert sorted(id_ for ids in taken for id_ in ids) == [f"d{n}" for n in range(10)]

        with_store(make_store, law)

    def test_what_was_delivered_is_gone(self, make_store: MakeStore) -> None:
        """Deliveries and streams are removed by their key."""

        async def law(store: Store) -> None:
            await put(store, delivery(), event_stream())
            await write(store, Delete(DeliveryKey("d-1")), Delete(StreamKey("stream-1")))

            assert await store.read(DeliveryKey("d-1")) is None
            assert await store.read(StreamKey("stream-1")) is None
            assert await store.read(DueKey(NOW)) == ()

        with_store(make_store, law)

    def test_streams_are_found_by_their_client(self, make_store: MakeStore) -> None:
        """Nobody sees another client's; an operator sees all."""

        async def law(store: Store) -> None:
            mine, theirs = event_stream("b"), event_stream("a", client_id="other")
            await put(store, mine, theirs)

            assert await store.read(StreamsKey(ClientId("shop"))) == (mine,)
            assert await store.read(StreamsKey()) == (theirs, mine)
            assert await store.read(StreamsKey(ClientId("\ud800"))) == ()

        with_store(make_store, law)

    def test_a_counter_gives_each_number_once(self, make_store: MakeStore) -> None:
        """However many count at once: none is given twice, none is left out."""

        async def law(store: Store) -> None:
            counted = await asyncio.gather(
                *(store.transition(CounterKey("c"), count("c"), now=NOW) for _ in range(MANY))
            )

            assert sorted(counted) == list(range(1, MANY + 1))
            assert await store.read(CounterKey("c")) == MANY
            assert await store.read(CounterKey("another")) == 0

        with_store(make_store, law)

    def test_the_indexes_of_ended_sessions_are_found_within_their_list(self, make_store: MakeStore) -> None:
        """Ended ones only, from `first` on, before `first + size`."""

        async def law(store: Store) -> None:
            for index in (9, 10, 11, 19, 20):
                session = replace(device_session(f"s{index}"), status_index=index, status=SessionStatus.ENDED)
                await put(store, session)
            await put(store, replace(device_session("live"), status_index=12), device_session("without"))

            assert await store.read(EndedIndexesKey(10, 10)) == (10, 11, 19)

        with_store(make_store, law)

    def test_the_feed_s_size_is_counted(self, make_store: MakeStore) -> None:
        """What still matters, what is stored, and the latest end."""

        async def law(store: Store) -> None:
            await write(store, Revoke(revocation("a", until=NOW + 10)), Revoke(revocation("b", until=NOW + 20)))
            size = await store.read(FeedSizeKey(NumericDate(NOW + 10)))

            assert (size.head, size.live, size.stored, size.until) == (2, 1, 2, NOW + 20)

        with_store(make_store, law)


async def take_up(store: Store, *, limit: int = 100) -> list[str]:
    """Take up due deliveries: their ids."""

    def decide(due: tuple[Delivery, ...]) -> Decision[list[str]]:
        moved = tuple(Put(replace(each, due=NumericDate(NOW + 60))) for each in due)
        return Decision([each.id for each in due], moved)

    return await store.transition(DueKey(NOW, limit=limit), decide, now=NOW)


def count(name: str) -> Callable[[int], Decision[int]]:
    """Count by one."""

    def decide(value: int) -> Decision[int]:
        return Decision(value + 1, (Put(Counter(name, value + 1)),))

    return decide


def without(notices: tuple[Notice, ...]) -> Decision[list[str]]:
    """Take notices up by removing them."""
    return Decision([each.sid for each in notices], tuple(Delete(NoticeKey(each.sid)) for each in notices))
