"""Snapshot, stream, resume: nothing is lost, nothing is forgotten too early, staleness is known."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.revocation.entry import FeedEntry, Revocation, RevokedKind
from portero.core.revocation.feed import Cursor, render_entry, render_heartbeat, render_list, render_revocation_event
from portero.core.revocation.subscription import Follow, NotAFeed, Resnapshot, Subscription, TakeSnapshot
from portero.core.revocation.subscription_stream import MAX_EVENT_BYTES, EventReader, StreamEvent, StreamTooLong
from portero.core.types import Issuer, NumericDate

ISSUER = Issuer("https://issuer.test")
NOW = NumericDate(1_800_000_000)


def entry(n: int, *, epoch: str = "e1", iss: Issuer = ISSUER, until: int = NOW + 360, sid: str = "") -> FeedEntry:
    revocation = Revocation(iss, RevokedKind.SESSION, sid or f"s{n}", NOW, NumericDate(until))
    return FeedEntry(epoch, n, revocation)


def snapshot(*entries: FeedEntry, epoch: str = "e1", head: int | None = None) -> bytes:
    cursor = Cursor(epoch, head if head is not None else max((one.n for one in entries), default=0))
    return b"".join(render_list(cursor, map(render_entry, entries), time=float(NOW)))


def event(one: FeedEntry) -> bytes:
    return render_revocation_event(Cursor(one.epoch, one.n), render_entry(one))


def heartbeat(n: int, *, epoch: str = "e1", time: float = float(NOW)) -> bytes:
    return render_heartbeat(Cursor(epoch, n), time=time)


def followed(*entries: FeedEntry) -> Subscription:
    subscription = Subscription(ISSUER, stale_after=10)
    subscription.took_snapshot(snapshot(*entries), asked_at=100.0, now=NOW)
    subscription.connected()
    return subscription


def take(
    subscription: Subscription, data: bytes, *, arrived: float = 100.0, now: int = NOW
) -> list[list[Revocation] | Resnapshot]:
    return [subscription.took_event(one, arrived=arrived, now=NumericDate(now)) for one in EventReader().feed(data)]


def revoked(subscription: Subscription, sid: str) -> bool:
    return subscription.revoked.names(sid=sid, jti="j", client_id="c", kid="k")


def test_a_new_subscriber_takes_a_snapshot_and_follows_from_its_cursor() -> None:
    """The cursor is the snapshot's, not that of its last live entry."""
    subscription = Subscription(ISSUER, stale_after=10)
    assert subscription.next_step() == TakeSnapshot()

    subscription.took_snapshot(snapshot(entry(3), head=7), asked_at=1.0, now=NOW)

    assert subscription.next_step() == Follow("e1:7")
    assert revoked(subscription, "s3")


def test_the_cursor_moves_with_what_was_taken_in() -> None:
    """A cut stream resumes right after the last whole event."""
    subscription = followed()

    take(subscription, event(entry(1)) + event(entry(2)))

    assert subscription.next_step() == Follow("e1:2")
    assert revoked(subscription, "s1")
    assert revoked(subscription, "s2")


def test_the_stream_may_be_cut_at_every_byte() -> None:
    """Whatever was cut off comes again after the resume; nothing is lost, nothing is half-read."""
    stream = event(entry(1)) + heartbeat(1) + event(entry(2)) + event(entry(3)) + heartbeat(3)
    for cut in range(len(stream) + 1):
        subscription = followed()
        take(subscription, stream[:cut])
        step = subscription.next_step()
        assert isinstance(step, Follow)
        resumed_after = int(step.after.partition(":")[2])
        for n in range(1, resumed_after + 1):
            assert revoked(subscription, f"s{n}")

        take(subscription, b"".join(event(entry(n)) for n in range(resumed_after + 1, 4)))

        assert all(revoked(subscription, f"s{n}") for n in (1, 2, 3)), cut
        assert subscription.next_step() == Follow("e1:3")


def test_an_event_that_comes_twice_changes_nothing() -> None:
    """Overlap is harmless, and the cursor never goes back."""
    subscription = followed()
    take(subscription, event(entry(1)) + event(entry(2)))
    version = subscription.revoked.version

    taken = take(subscription, event(entry(1)))

    assert taken == [[]]
    assert subscription.revoked.version == version
    assert subscription.next_step() == Follow("e1:2")


def test_a_restored_database_means_a_new_snapshot_and_forgets_nothing() -> None:
    """The backup may lack what was revoked after it was made."""
    subscription = followed(entry(1), entry(2))

    assert isinstance(take(subscription, heartbeat(1, epoch="e2"))[0], Resnapshot)
    assert subscription.next_step() == TakeSnapshot()
    subscription.took_snapshot(snapshot(entry(1, epoch="e2"), epoch="e2"), asked_at=101.0, now=NOW)

    assert revoked(subscription, "s2")
    assert subscription.next_step() == Follow("e2:1")


def test_a_cursor_the_server_refuses_means_a_new_snapshot() -> None:
    """The server may know before any event says it."""
    subscription = followed(entry(1))

    subscription.refused_cursor()

    assert subscription.next_step() == TakeSnapshot()


@pytest.mark.parametrize(("seconds", "kept"), [(360, True), (361, False)])
def test_an_entry_is_kept_until_the_last_token_it_concerns_has_expired(seconds: int, kept: bool) -> None:
    """`until`, both sides."""
    subscription = followed(entry(1, until=NOW + 360))

    take(subscription, heartbeat(1), now=NOW + seconds)

    assert kept == revoked(subscription, "s1")


def test_a_longer_until_keeps_an_entry_longer() -> None:
    """A session may be named twice, the second time with a later end; the version need not move."""
    subscription = followed(entry(1, sid="s", until=NOW + 10))
    version = subscription.revoked.version
    take(subscription, event(entry(2, sid="s", until=NOW + 100)))
    take(subscription, heartbeat(2), now=NOW + 50)

    assert revoked(subscription, "s")
    assert subscription.revoked.version == version


def test_entries_of_another_issuer_are_left_out() -> None:
    """An issuer cannot end another issuer's sessions."""
    subscription = followed()

    taken = take(subscription, event(entry(1, iss=Issuer("https://other.test"))))

    assert taken == [[]]
    assert not revoked(subscription, "s1")


@pytest.mark.parametrize(("seconds", "stale"), [(10.0, False), (10.5, True)])
def test_silence_makes_knowledge_stale(seconds: float, stale: bool) -> None:
    """Both sides of `stale_after`."""
    subscription = followed()
    take(subscription, heartbeat(0), arrived=200.0)

    assert stale == subscription.stale(200.0 + seconds)


def test_a_subscriber_that_was_stopped_does_not_take_old_heartbeats_for_news() -> None:
    """They waited in a buffer for a minute: what they say was true a minute ago."""
    subscription = followed()
    take(subscription, heartbeat(0, time=1000.0), arrived=200.0)

    take(subscription, heartbeat(0, time=1001.0) + heartbeat(0, time=1002.0), arrived=261.0)
    assert subscription.stale(261.0)

    take(subscription, heartbeat(0, time=1061.0), arrived=261.0)
    assert not subscription.stale(261.0)


def test_the_clocks_of_server_and_subscriber_need_not_agree() -> None:
    """An hour apart, in either direction."""
    for offset in (-3600.0, 3600.0):
        subscription = followed()
        take(subscription, heartbeat(0, time=1000.0 + offset), arrived=200.0)

        assert subscription.freshness.age(201.0) == 1.0


def test_a_server_clock_that_was_set_back_is_measured_anew_after_a_reconnect() -> None:
    """It looks stale at first, which opens the connection anew."""
    subscription = followed()
    take(subscription, heartbeat(0, time=1000.0), arrived=200.0)
    take(subscription, heartbeat(0, time=900.0), arrived=211.0)
    assert subscription.stale(211.0)

    subscription.connected()
    take(subscription, heartbeat(0, time=901.0), arrived=212.0)

    assert not subscription.stale(212.0)


def test_the_back_off_grows_to_a_bound_and_ends_with_a_success() -> None:
    """With jitter, so that a crowd does not come back at once."""
    subscription = followed()
    delays = [subscription.broke("down", jitter=0.5) for _ in range(8)]
    spread = {subscription.broke("down", jitter=jitter) for jitter in (0.0, 0.5, 0.999)}

    assert delays == sorted(delays)
    assert delays[0] == pytest.approx(0.2)
    assert max(delays) == 5.0
    assert min(spread) == 2.5
    assert max(spread) < 7.5
    take(subscription, heartbeat(0))
    assert subscription.broke("down", jitter=0.5) == pytest.approx(0.2)


def changed(document: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(document), **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"cursor":"e1:0"}',
        b'{"cursor":"e1","entries":[]}',
        b'{"cursor":"e1:-1","entries":[]}',
        b'{"cursor":null,"entries":[]}',
        b'{"cursor":"e1:1","entries":[1]}',
        changed(snapshot(), entries=[{"iss": ISSUER, "what": {"sid": "s"}, "until": "soon"}]),
        changed(snapshot(), entries=[{"iss": ISSUER, "what": {"sid": 1}, "until": 1}]),
        changed(snapshot(), entries=[{"iss": ISSUER, "what": {"sid": "s", "jti": "j"}, "until": 1}]),
        changed(snapshot(), entries=[{"iss": ISSUER, "what": {"else": "s"}, "until": 1}]),
    ],
)
def test_what_is_no_snapshot_changes_nothing(body: bytes) -> None:
    """Nothing of it is taken in, the cursor stays."""
    subscription = followed(entry(1))

    with pytest.raises(NotAFeed):
        subscription.took_snapshot(body, asked_at=500.0, now=NOW)

    assert subscription.next_step() == Follow("e1:1")
    assert subscription.freshness.known_at == 100.0


def test_an_unknown_event_is_left_out() -> None:
    """A newer server may say more."""
    assert take(followed(), b"event: greeting\ndata: hello\n\n") == [[]]


@given(st.lists(st.integers(1, 40), max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_however_the_bytes_arrive(cuts: list[int], newline: bytes) -> None:
    """In any pieces, with any of the three line ends (HTML §9.2.6)."""
    text = b": comment\nid: e1:1\nevent: revocation\ndata: {\ndata: }\n\nevent: heartbeat\ndata: x\n\n"
    stream = text.replace(b"\n", newline)
    reader, events, start = EventReader(), [], 0
    for length in [*cuts, len(stream)]:
        events += reader.feed(stream[start : start + length])
        start += length
    # With a lone CR the reader cannot know yet whether LF follows, and does not wait for it.
    expected = [StreamEvent("revocation", b"{\n}", "e1:1"), StreamEvent("heartbeat", b"x", "e1:1")]

    assert expected == events


@pytest.mark.parametrize(("size", "accepted"), [(MAX_EVENT_BYTES, True), (MAX_EVENT_BYTES + 1, False)])
def test_an_event_has_a_greatest_size(size: int, accepted: bool) -> None:
    """A peer that never ends its line must not fill the memory."""
    data = b"data: " + b"x" * (size - 6)

    if accepted:
        assert len(EventReader().feed(data + b"\n\n")) == 1
    else:
        with pytest.raises(StreamTooLong):
            EventReader().feed(data)
