"""The feed on the wire."""

from __future__ import annotations

import orjson
import pytest

from portero.core.errors import RequestError
from portero.core.revocation.entry import FeedEntry, Revocation, RevokedKind
from portero.core.revocation.feed import (
    MAX_WAIT_SECONDS,
    Cursor,
    parse_cursor,
    parse_wait,
    render_entry,
    render_heartbeat,
    render_list,
    render_revocation_event,
)
from portero.core.revocation.subscription import Subscription
from portero.core.revocation.subscription_stream import EventReader
from portero.core.types import Issuer, NumericDate

ISS = Issuer("https://as.example")


def entry(kind: RevokedKind = RevokedKind.SESSION, value: str = "s", n: int = 7) -> FeedEntry:
    return FeedEntry("e", n, Revocation(ISS, kind, value, at=NumericDate(100), until=NumericDate(460)))


def test_an_entry_is_what_the_contract_says() -> None:
    """Design §3.3."""
    assert orjson.loads(render_entry(entry())) == {
        "cursor": "e:7",
        "iss": ISS,
        "what": {"sid": "s"},
        "at": 100,
        "until": 460,
    }


@pytest.mark.parametrize("kind", list(RevokedKind))
@pytest.mark.parametrize("value", ["plain", 'quo"te', "new\nline", "ñ\u2028", "id: x\n\nevent: heartbeat"])
def test_our_subscriber_reads_what_we_send(kind: RevokedKind, value: str) -> None:
    """Snapshot, event and heartbeat, with whatever a client_id may hold: no text can forge an event."""
    subscription = Subscription(ISS, stale_after=10)
    body = b"".join(render_list(Cursor("e", 6), [render_entry(entry(value="first", n=6))], time=100.5))
    first = subscription.took_snapshot(body, asked_at=0, now=NumericDate(100))
    events = EventReader().feed(
        render_revocation_event(Cursor("e", 7), render_entry(entry(kind, value)))
        + render_heartbeat(Cursor("e", 7), time=101.5)
    )
    second = [subscription.took_event(event, arrived=1, now=NumericDate(101)) for event in events]

    assert [revocation.value for revocation in first] == ["first"]
    assert second == [[entry(kind, value).revocation], []]
    assert subscription.cursor == "e:7"


def test_a_cursor_survives_its_text() -> None:
    """`<epoch>:<n>`."""
    assert parse_cursor(str(Cursor("aB3_-", 10**17))) == Cursor("aB3_-", 10**17)


@pytest.mark.parametrize("text", ["", ":", "e:", ":1", "e:-1", "e:+1", "e:01", "e:1 ", " e:1", "e:١", "e" * 65 + ":1"])
def test_another_text_is_no_cursor(text: str) -> None:
    """invalid_request."""
    with pytest.raises(RequestError) as refused:
        parse_cursor(text)

    assert refused.value.error == "invalid_request"


def test_a_wait_is_capped() -> None:
    """Proxies cut what hangs for longer."""
    assert (parse_wait(None), parse_wait("0"), parse_wait("9999")) == (0, 0, MAX_WAIT_SECONDS)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "10000", "١"])
def test_a_malformed_wait_is_refused(text: str) -> None:
    """invalid_request."""
    with pytest.raises(RequestError):
        parse_wait(text)
