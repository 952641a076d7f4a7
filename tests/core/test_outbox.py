"""From a notice to deliveries, and what becomes of each attempt."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from portero.core.events import EventName
from portero.core.outbox import KEPT, LEASE, Answer, Attempt, expand, finish, retry_after, take_up
from portero.core.outbox_records import Delivery, DeliveryKind
from portero.core.transitions import Client, Decision, Delete, DeliveryKey, NoticeKey, OutboxAggregate, Put
from portero.core.types import ClientId, Issuer, NumericDate, Sid
from portero.testing.store_samples import NOW, client, delivery, notice

ISSUER = Issuer("https://as.example")

TOLD: Client = replace(client("told"), backchannel_logout_uri="https://shop.example/out")


def deliveries(decision: Decision[int]) -> list[Delivery]:
    return [w.record for w in decision.writes if isinstance(w, Put) and isinstance(w.record, Delivery)]


def test_a_notice_becomes_one_delivery_to_its_client() -> None:
    """Whose session and which; due now; the notice goes in the same step."""
    decision = expand(OutboxAggregate((notice(client_id="told"),), (TOLD,), ()), issuer=ISSUER, now=NOW)
    (made,) = deliveries(decision)

    assert Delete(NoticeKey(Sid("sid-1"))) in decision.writes
    assert (made.kind, made.receiver, made.due, made.attempts) == (DeliveryKind.LOGOUT, "told", NOW, 0)
    assert made.expires == NOW + KEPT
    assert orjson.loads(made.claims) == {
        "sub": "ana",
        "sid": "sid-1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }


@pytest.mark.parametrize("clients", [(), (replace(TOLD, enabled=False),), (replace(TOLD, client_id=ClientId("b")),)])
def test_nobody_else_is_told(clients: tuple[Client, ...]) -> None:
    """A disabled client, another client: the notice goes, and nothing comes of it."""
    decision = expand(OutboxAggregate((notice(client_id="told"),), clients, ()), issuer=ISSUER, now=NOW)

    assert deliveries(decision) == []
    assert decision.writes == (Delete(NoticeKey(Sid("sid-1"))),)


def test_two_servers_that_expand_one_notice_make_one_delivery() -> None:
    """The id follows from what is told to whom; other sessions and clients have others."""
    one = OutboxAggregate((notice(client_id="told"),), (TOLD,), ())
    another = OutboxAggregate((notice("sid-2", client_id="told"),), (TOLD,), ())
    (first,), (second,), (third,) = (deliveries(expand(a, issuer=ISSUER, now=NOW)) for a in (one, one, another))

    assert first.id == second.id
    assert first.id != third.id
    assert "sid-1" not in first.id


def test_taking_up_is_a_lease() -> None:
    """Until it is over nobody else finds the delivery due."""
    (taken,) = take_up((delivery(),), now=NOW).result

    assert (taken.due, taken.attempts) == (NOW + LEASE, 1)


def done(answer: Answer, *, attempts: int = 1, expires: int = NOW + KEPT, stored_attempts: int = 1) -> Decision[None]:
    taken = replace(delivery(), attempts=attempts, expires=NumericDate(expires))
    stored = replace(taken, attempts=stored_attempts)
    return finish(stored, taken=taken, attempt=Attempt(answer, "x"), now=NOW, jitter=0.5)


@pytest.mark.parametrize(
    ("answer", "event"),
    [(Answer.ACCEPTED, EventName.DELIVERED), (Answer.REFUSED, EventName.DELIVERY_GIVEN_UP)],
)
def test_an_answer_that_is_final_ends_the_delivery(answer: Answer, event: EventName) -> None:
    """Accepted, or refused for good."""
    decision = done(answer)

    assert decision.writes == (Delete(DeliveryKey("d-1")),)
    assert [e.name for e in decision.events] == [event]


def test_without_an_answer_it_is_due_again_later() -> None:
    """And the attempts are remembered."""
    decision = done(Answer.NONE)
    (write,) = decision.writes

    assert isinstance(write, Put)
    assert write.record == replace(delivery(), attempts=1, expires=NumericDate(NOW + KEPT), due=NumericDate(NOW + 2))
    assert [e.name for e in decision.events] == [EventName.DELIVERY_FAILED]


@pytest.mark.parametrize(("expires", "kept"), [(NOW + 3, True), (NOW + 2, False)])
def test_what_would_come_too_late_is_given_up(expires: int, kept: bool) -> None:
    """Both sides of `expires`."""
    decision = done(Answer.NONE, expires=expires)

    assert isinstance(decision.writes[0], Put) is kept


def test_whoever_lost_its_lease_changes_nothing() -> None:
    """Another server has taken it up since: its attempt counts."""
    assert done(Answer.ACCEPTED, stored_attempts=2).writes == ()
    taken = delivery()
    gone = finish(None, taken=taken, attempt=Attempt(Answer.NONE, ""), now=NOW, jitter=0)
    assert gone.writes == ()


def test_retries_grow_up_to_an_hour() -> None:
    """2, 6, 18 … 3600 seconds, times 0.5 to 1.5."""
    assert [retry_after(n, jitter=0.5) for n in range(1, 11)] == [2, 6, 18, 54, 162, 486, 1458, 3600, 3600, 3600]
    assert (retry_after(1, jitter=0), retry_after(10_000, jitter=0)) == (1, 1800)
