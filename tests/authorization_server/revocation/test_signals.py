"""Shared Signals: streams that strangers make, and a sign-out that reaches them, pushed (RFC 8935) or polled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from portero.authorization_server.delivery import Courier
from portero.authorization_server.outbox import Outbox
from portero.core.errors import Unavailable
from portero.core.events import EventName
from portero.core.jose.jws import unverified_header
from portero.core.outbox import KEPT
from portero.core.signals.security_event import SESSION_REVOKED, VERIFICATION
from portero.core.transitions import ClientKey, PendingKey, StreamKey
from portero.core.types import ClientId
from tests.authorization_server.back_channel import GUARD, ISSUER, SECRET, SPA, BackChannel, Seen, ask, basic, claims_of

RECEIVER = replace(GUARD, client_id=ClientId("receiver"), scope=("ssf.read", "ssf.manage", "orders:read"))
OTHER = replace(RECEIVER, client_id=ClientId("other"))
PUSH_URL = "https://receiver.example/events"
PUSH = {
    "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": PUSH_URL, "authorization_header": "Bearer of theirs"}
}
POLL = {"delivery": {"method": "urn:ietf:rfc:8936"}}


class Network:
    """What was pushed, and what is answered."""

    def __init__(self, *answers: int | Unavailable) -> None:
        self.answers = list(answers) or [202]
        self.sent: list[tuple[str, str, dict[str, str]]] = []

    async def post(self, uri: str, body: bytes, *, headers: dict[str, str]) -> int:
        self.sent.append((uri, body.decode(), dict(headers)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Unavailable):
            raise answer
        return answer


class Transmitter(BackChannel):
    """A server, and two receivers that are its clients."""

    def token(self, client_id: str = "receiver", scope: str = "ssf.manage") -> str:
        form = {"grant_type": "client_credentials", "scope": scope}
        seen = self.post("/token", form, authorization=basic(client_id, SECRET))
        assert seen.status == 200, seen.body
        return str(seen.json["access_token"])

    def ask(self, method: str, target: str, document: Any = None, *, token: str | None = None) -> Seen:
        headers = {"authorization": f"Bearer {token or self.token()}", "content-type": "application/json"}
        body = b"" if document is None else orjson.dumps(document)
        return self.request(method, target, headers=headers, body=body)

    def stream(self, document: Any, **what: Any) -> dict[str, Any]:
        seen = self.ask("POST", "/ssf/streams", document, **what)
        assert seen.status == 201, seen.body
        made: dict[str, Any] = seen.json
        return made

    def sign_out(self) -> dict[str, Any]:
        tokens = self.signed_in()
        self.post("/revoke", {"token": tokens["refresh_token"], "client_id": SPA.client_id})
        return claims_of(tokens["access_token"])

    def settle(self, *answers: int | Unavailable) -> Network:
        network = Network(*answers)
        self.run(Outbox(self.context, Courier(self.context, network)).settle())
        return network

    def polled(self, stream: dict[str, Any], **asked: Any) -> dict[str, Any]:
        target = stream["delivery"]["endpoint_url"].removeprefix(ISSUER)
        seen = self.ask("POST", target, {"returnImmediately": True, **asked})
        assert seen.status == 200, seen.body
        answer: dict[str, Any] = seen.json
        return answer

    def waiting(self, stream: dict[str, Any]) -> int:
        return len(self.run(self.store.read(PendingKey(stream["stream_id"]))))


@pytest.fixture
def transmitter() -> Iterator[Transmitter]:
    with asyncio.Runner() as runner:
        transmitter = Transmitter(runner)
        for client in (RECEIVER, OTHER):
            transmitter.put(ClientKey(client.client_id), client)
        yield transmitter


# ── what is said ─────────────────────────────────────────────────────────────────────


def test_the_metadata_says_what_there_is(transmitter: Transmitter) -> None:
    """SSF 1.0 §7.1: version, keys, ways of delivery, endpoints; whoever reads it finds each of them."""
    metadata = transmitter.get("/.well-known/ssf-configuration").json

    assert metadata["spec_version"] == "1_0"
    assert metadata["issuer"] == ISSUER
    assert metadata["jwks_uri"] == f"{ISSUER}/jwks"
    assert metadata["delivery_methods_supported"] == ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"]
    assert metadata["authorization_schemes"] == [{"spec_urn": "urn:ietf:rfc:6749"}]
    for name in ("configuration_endpoint", "status_endpoint", "verification_endpoint"):
        assert transmitter.request("OPTIONS", metadata[name].removeprefix(ISSUER)).status != 404


def test_a_sign_out_is_pushed_as_session_revoked(transmitter: Transmitter) -> None:
    """CAEP 1.0 §3.1 in a Security Event Token: typed, of our key, one event, no `sub`, no `exp`."""
    stream = transmitter.stream(PUSH)
    session = transmitter.sign_out()
    ((uri, token, headers),) = transmitter.settle(202).sent
    claims = transmitter.key_ring.verify_own(token, typ="secevent+jwt")

    assert uri == PUSH_URL
    assert headers["authorization"] == "Bearer of theirs"
    assert headers["content-type"] == "application/secevent+jwt"
    assert unverified_header(token).typ == "secevent+jwt"
    assert claims == {
        "iss": ISSUER,
        "aud": "receiver",
        "iat": transmitter.now(),
        "jti": claims["jti"],
        "txn": claims["txn"],
        "sub_id": {
            "format": "complex",
            "session": {"format": "opaque", "id": session["sid"]},
            "user": {"format": "iss_sub", "iss": ISSUER, "sub": session["sub"]},
        },
        "events": {
            SESSION_REVOKED: {
                "event_timestamp": transmitter.now(),
                "initiating_entity": "user",
                "reason_admin": {"en": "the client gave its token back", "es": "la aplicación devolvió su token"},
            }
        },
    }
    assert transmitter.waiting(stream) == 0


def test_every_receiver_is_told_of_the_same_thing(transmitter: Transmitter) -> None:
    """One `txn`, another `jti` each: a receiver with two streams can tell."""
    transmitter.stream(PUSH)
    transmitter.stream(PUSH, token=transmitter.token("other"))
    transmitter.sign_out()
    claims = [claims_of(token) for _, token, _ in transmitter.settle().sent]

    assert sorted(one["aud"] for one in claims) == ["other", "receiver"]
    assert len({one["txn"] for one in claims}) == 1
    assert len({one["jti"] for one in claims}) == 2


@pytest.mark.parametrize("failure", [400, 401, 500, 503, 302, Unavailable("no route")])
def test_a_push_that_was_not_taken_comes_again_with_the_same_jti(
    transmitter: Transmitter, failure: int | Unavailable
) -> None:
    """RFC 8935 §2: not acknowledged, sent again; the receiver can tell the repetition, which says the same."""
    stream = transmitter.stream(PUSH)
    transmitter.sign_out()
    first = transmitter.settle(failure).sent
    transmitter.clock.advance(3)
    second = transmitter.settle(202).sent

    assert claims_of(first[0][1]) == claims_of(second[0][1])
    assert transmitter.waiting(stream) == 0


# ── polling ──────────────────────────────────────────────────────────────────────────


def test_a_polled_event_stays_until_it_is_acknowledged(transmitter: Transmitter) -> None:
    """RFC 8936 §2.4: handed out again and again, gone with its `ack`."""
    stream = transmitter.stream(POLL)
    session = transmitter.sign_out()
    assert transmitter.settle().sent == []
    first, again = transmitter.polled(stream), transmitter.polled(stream)
    ((jti, token),) = first["sets"].items()
    after = transmitter.polled(stream, ack=[jti])

    assert list(again["sets"]) == [jti]
    claims = transmitter.key_ring.verify_own(token, typ="secevent+jwt")
    assert (claims["jti"], claims["sub_id"]["session"]["id"]) == (jti, session["sid"])
    assert after == {"sets": {}}
    assert transmitter.telemetry.events[-1].name is EventName.DELIVERED


def test_more_than_was_asked_for_is_said_to_be_there(transmitter: Transmitter) -> None:
    """`maxEvents` bounds the answer, `moreAvailable` says to come again; 0 only acknowledges."""
    stream = transmitter.stream(POLL)
    for _ in range(3):
        transmitter.sign_out()
    transmitter.settle()
    two = transmitter.polled(stream, maxEvents=2)
    none = transmitter.polled(stream, maxEvents=0, ack=list(two["sets"]))
    last = transmitter.polled(stream, maxEvents=2)

    assert (len(two["sets"]), two["moreAvailable"]) == (2, True)
    assert none == {"sets": {}}
    assert len(last["sets"]) == 1
    assert "moreAvailable" not in last


def test_an_event_the_receiver_cannot_read_is_not_sent_again(transmitter: Transmitter) -> None:
    """RFC 8936 §2.6: `setErrs` ends it, and the log says why."""
    stream = transmitter.stream(POLL)
    transmitter.sign_out()
    transmitter.settle()
    (jti,) = transmitter.polled(stream)["sets"]
    answer = transmitter.polled(stream, setErrs={jti: {"err": "invalid_audience", "description": "not mine"}})

    assert answer == {"sets": {}}
    event = transmitter.telemetry.events[-1]
    assert (event.name, event.fields["answer"]) == (EventName.DELIVERY_GIVEN_UP, "invalid_audience")


def test_a_poll_waits_for_what_comes(transmitter: Transmitter) -> None:
    """Without `returnImmediately` the answer comes with the event, not at the next poll."""
    stream = transmitter.stream(POLL)
    token = transmitter.token()
    target = stream["delivery"]["endpoint_url"].removeprefix(ISSUER)
    tokens = transmitter.signed_in()

    async def scenario() -> Any:
        headers = {"authorization": f"Bearer {token}"}
        poll = asyncio.create_task(ask(transmitter.app, "POST", target, headers=headers, body=b"{}"))
        for _ in range(20):  # the poll has found nothing, and waits
            await asyncio.sleep(0)
        form = f"token={tokens['refresh_token']}&client_id={SPA.client_id}".encode()
        await ask(
            transmitter.app,
            "POST",
            "/revoke",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=form,
        )
        await Outbox(transmitter.context, Courier(transmitter.context, Network())).settle()
        return await poll

    assert len(transmitter.run(scenario()).json["sets"]) == 1


def test_another_streams_event_cannot_be_acknowledged(transmitter: Transmitter) -> None:
    """A receiver that knows a `jti` of somebody else's takes nothing away."""
    mine = transmitter.stream(POLL)
    theirs = transmitter.stream(POLL, token=transmitter.token("other"))
    transmitter.sign_out()
    transmitter.settle()
    (jti,) = [one.id for one in transmitter.run(transmitter.store.read(PendingKey(theirs["stream_id"])))]
    transmitter.polled(mine, ack=[jti])

    assert transmitter.waiting(theirs) == 1


def test_what_nobody_polls_for_is_given_up(transmitter: Transmitter) -> None:
    """A day after; both sides of it."""
    stream = transmitter.stream(POLL)
    transmitter.sign_out()
    transmitter.settle()
    transmitter.clock.advance(KEPT - 1)
    transmitter.settle()
    before = transmitter.waiting(stream)
    transmitter.clock.advance(1)
    transmitter.settle()

    assert (before, transmitter.waiting(stream)) == (1, 0)


# ── streams ──────────────────────────────────────────────────────────────────────────


def test_a_stream_says_what_it_is_and_never_its_secret(transmitter: Transmitter) -> None:
    """§8.1.1: ours and theirs; the authorization header goes in and does not come out, of the store neither."""
    stream = transmitter.stream({**PUSH, "events_requested": [SESSION_REVOKED, "urn:other"], "description": "SIEM"})
    read = transmitter.ask("GET", f"/ssf/streams?stream_id={stream['stream_id']}").json
    stored = transmitter.run(transmitter.store.read(StreamKey(stream["stream_id"])))

    assert stream == read
    assert read == {
        "stream_id": stream["stream_id"],
        "iss": ISSUER,
        "aud": "receiver",
        "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": PUSH_URL},
        "events_supported": [SESSION_REVOKED],
        "events_requested": [SESSION_REVOKED, "urn:other"],
        "events_delivered": [SESSION_REVOKED],
        "min_verification_interval": 10,
        "description": "SIEM",
    }
    assert stored is not None
    assert stored.sealed_authorization is not None
    assert b"theirs" not in stored.sealed_authorization


def test_all_streams_of_a_client_are_listed_and_no_others(transmitter: Transmitter) -> None:
    """§8.1.1.2 without `stream_id`."""
    transmitter.stream(POLL, token=transmitter.token("other"))
    made = [transmitter.stream(POLL)["stream_id"] for _ in range(2)]
    listed = transmitter.ask("GET", "/ssf/streams", token=transmitter.token(scope="ssf.read")).json

    assert {one["stream_id"] for one in listed} == set(made)


def test_patch_changes_what_it_says_and_put_the_rest_too(transmitter: Transmitter) -> None:
    """§8.1.1.3 and §8.1.1.4."""
    stream = transmitter.stream({**PUSH, "description": "SIEM", "events_requested": []})
    named = {"stream_id": stream["stream_id"]}
    patched = transmitter.ask("PATCH", "/ssf/streams", {**named, "events_requested": [SESSION_REVOKED]}).json
    put = transmitter.ask("PUT", "/ssf/streams", named).json

    assert (patched["description"], patched["delivery"], patched["events_delivered"]) == (
        "SIEM",
        stream["delivery"],
        [SESSION_REVOKED],
    )
    assert "description" not in put
    assert put["delivery"]["method"] == "urn:ietf:rfc:8936"


def test_what_is_the_transmitters_to_say_is_not_changed(transmitter: Transmitter) -> None:
    """Sent back as it was it is fine, changed it is 400."""
    stream = transmitter.stream(POLL)

    assert transmitter.ask("PATCH", "/ssf/streams", {**stream, "delivery": POLL["delivery"]}).status == 200
    assert transmitter.ask("PATCH", "/ssf/streams", {**stream, "aud": "somebody else"}).status == 400


def test_an_event_that_was_not_asked_for_is_not_sent(transmitter: Transmitter) -> None:
    """`events_requested` decides."""
    stream = transmitter.stream({**PUSH, "events_requested": ["urn:other"]})
    transmitter.sign_out()

    assert transmitter.settle().sent == []
    assert transmitter.waiting(stream) == 0


def test_a_deleted_stream_is_gone_with_all_that_was_on_it(transmitter: Transmitter) -> None:
    """204, then 404."""
    stream = transmitter.stream(POLL)
    transmitter.sign_out()
    transmitter.settle()
    target = f"/ssf/streams?stream_id={stream['stream_id']}"

    assert transmitter.ask("DELETE", target).status == 204
    assert transmitter.ask("GET", target).status == 404
    assert transmitter.waiting(stream) == 0


def test_a_client_has_a_bounded_number_of_streams(transmitter: Transmitter) -> None:
    """Five; the sixth is 409."""
    for _ in range(5):
        transmitter.stream(POLL)

    assert transmitter.ask("POST", "/ssf/streams", POLL).status == 409


@pytest.mark.parametrize(
    "document",
    [
        {"delivery": "push"},
        {"delivery": {"method": "urn:other"}},
        {"delivery": {"method": "urn:ietf:rfc:8935"}},
        {"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "http://receiver.example/"}},
        {"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://u:p@receiver.example/"}},
        {"delivery": {**PUSH["delivery"], "authorization_header": "a\r\nb: c"}},
        {"events_requested": "all"},
        {"events_requested": [1]},
        {"description": 7},
        {"description": "x" * 1001},
        [],
    ],
)
def test_a_malformed_stream_is_400(transmitter: Transmitter, document: Any) -> None:
    """Nothing is made."""
    assert transmitter.ask("POST", "/ssf/streams", document).status == 400
    assert transmitter.ask("GET", "/ssf/streams").json == []


# ── status and verification ──────────────────────────────────────────────────────────


def set_status(transmitter: Transmitter, stream: dict[str, Any], status: str) -> None:
    document = {"stream_id": stream["stream_id"], "status": status, "reason": "maintenance"}
    assert transmitter.ask("POST", "/ssf/status", document).json == document


@pytest.mark.parametrize("how", [PUSH, POLL])
def test_a_paused_stream_keeps_its_events(transmitter: Transmitter, how: dict[str, Any]) -> None:
    """§8.1.2: nothing comes while it is paused, everything once it is enabled."""
    stream = transmitter.stream(how)
    set_status(transmitter, stream, "paused")
    transmitter.sign_out()
    quiet = transmitter.settle()
    assert transmitter.ask("GET", f"/ssf/status?stream_id={stream['stream_id']}").json["status"] == "paused"
    paused = [] if how is PUSH else list(transmitter.polled(stream)["sets"])
    set_status(transmitter, stream, "enabled")
    sent = transmitter.settle().sent if how is PUSH else list(transmitter.polled(stream)["sets"])

    assert (quiet.sent, paused, len(sent)) == ([], [], 1)


def test_a_disabled_stream_drops_its_events(transmitter: Transmitter) -> None:
    """What waits and what comes."""
    stream = transmitter.stream(POLL)
    transmitter.sign_out()
    transmitter.settle()
    set_status(transmitter, stream, "disabled")
    transmitter.sign_out()
    transmitter.settle()
    set_status(transmitter, stream, "enabled")

    assert transmitter.polled(stream) == {"sets": {}}


def test_a_verification_comes_over_the_stream(transmitter: Transmitter) -> None:
    """§8.1.4: with the receiver's own `state`; a second one too soon is 429."""
    stream = transmitter.stream(PUSH)
    asked = {"stream_id": stream["stream_id"], "state": "VGhpcyBpcyBhbiBleGFtcGxl"}
    first = transmitter.ask("POST", "/ssf/verify", asked)
    second = transmitter.ask("POST", "/ssf/verify", asked)
    ((_, token, _),) = transmitter.settle().sent
    claims = transmitter.key_ring.verify_own(token, typ="secevent+jwt")

    assert (first.status, second.status, second.header("retry-after")) == (204, 429, "10")
    assert claims["sub_id"] == {"format": "opaque", "id": stream["stream_id"]}
    assert claims["events"] == {VERIFICATION: {"state": "VGhpcyBpcyBhbiBleGFtcGxl"}}
    transmitter.clock.advance(10)
    assert transmitter.ask("POST", "/ssf/verify", asked).status == 204


# ── who may ──────────────────────────────────────────────────────────────────────────

REQUESTS = [
    ("GET", "/ssf/streams?stream_id={id}", None),
    ("PATCH", "/ssf/streams", {"stream_id": "{id}"}),
    ("PUT", "/ssf/streams", {"stream_id": "{id}"}),
    ("DELETE", "/ssf/streams?stream_id={id}", None),
    ("GET", "/ssf/status?stream_id={id}", None),
    ("POST", "/ssf/status", {"stream_id": "{id}", "status": "disabled"}),
    ("POST", "/ssf/verify", {"stream_id": "{id}"}),
    ("POST", "/ssf/poll/{id}", {"returnImmediately": True}),
]


@pytest.mark.parametrize(("method", "target", "document"), REQUESTS)
def test_another_clients_stream_is_not_there(
    transmitter: Transmitter, method: str, target: str, document: dict[str, Any] | None
) -> None:
    """404 as for one that never was, and it is as it was."""
    stream = transmitter.stream(POLL, token=transmitter.token("other"))
    named = orjson.loads(orjson.dumps(document).replace(b"{id}", stream["stream_id"].encode()))
    seen = transmitter.ask(method, target.format(id=stream["stream_id"]), named)
    status = transmitter.ask(
        "GET", f"/ssf/status?stream_id={stream['stream_id']}", token=transmitter.token("other")
    ).json

    assert seen.status == 404
    assert status["status"] == "enabled"


@pytest.mark.parametrize(("method", "target", "document"), [("POST", "/ssf/streams", POLL), *REQUESTS])
@pytest.mark.parametrize(("scope", "status"), [("orders:read", 403), (None, 401)])
def test_without_the_scope_or_a_token_nothing_is_done(
    transmitter: Transmitter, method: str, target: str, document: dict[str, Any] | None, scope: str | None, status: int
) -> None:
    """With a challenge."""
    token = transmitter.token(scope=scope) if scope else "nonsense"
    seen = transmitter.ask(method, target.format(id="x"), document, token=token)

    assert seen.status == status
    assert (seen.header("www-authenticate") or "").startswith("Bearer")


@pytest.mark.parametrize(("method", "target", "document"), [one for one in REQUESTS if one[0] != "GET"][:5])
def test_reading_rights_change_nothing(
    transmitter: Transmitter, method: str, target: str, document: dict[str, Any] | None
) -> None:
    """`ssf.read` reads and polls."""
    stream = transmitter.stream(POLL)
    named = orjson.loads(orjson.dumps(document).replace(b"{id}", stream["stream_id"].encode()))
    token = transmitter.token(scope="ssf.read")

    assert transmitter.ask(method, target.format(id=stream["stream_id"]), named, token=token).status == 403


def test_a_disabled_client_is_told_nothing(transmitter: Transmitter) -> None:
    """Its streams end with it."""
    stream = transmitter.stream(PUSH)
    transmitter.sign_out()
    transmitter.put(ClientKey(RECEIVER.client_id), replace(RECEIVER, enabled=False))

    assert transmitter.settle().sent == []
    assert transmitter.waiting(stream) == 0


@pytest.mark.parametrize(
    "document",
    [{"maxEvents": -1}, {"maxEvents": "3"}, {"returnImmediately": 1}, {"ack": "x"}, {"ack": [1]}, {"setErrs": []}],
)
def test_a_malformed_poll_is_400(transmitter: Transmitter, document: dict[str, Any]) -> None:
    """And acknowledges nothing."""
    stream = transmitter.stream(POLL)
    target = stream["delivery"]["endpoint_url"].removeprefix(ISSUER)

    assert transmitter.ask("POST", target, document).status == 400
