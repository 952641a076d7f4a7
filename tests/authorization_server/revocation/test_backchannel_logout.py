"""Back-channel logout from a sign-out to the client's endpoint: what is said, and that it arrives."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest

from portero.adapters.fetch.post import Poster
from portero.authorization_server.delivery import Courier
from portero.authorization_server.outbox import Outbox
from portero.core.errors import Unavailable
from portero.core.events import EventName
from portero.core.jose.jws import unverified_header
from portero.core.outbox import KEPT, LEASE
from portero.core.transitions import ClientKey, DueKey, OutboxKey, PendingKey
from portero.core.types import NumericDate
from tests.authorization_server.back_channel import ISSUER, SPA, BackChannel, claims_of
from tests.authorization_server.revocation.receiver import Receiver, receiving, status
from tests.cli.running import CALLBACK, Server, add_people_and_clients, run

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
OUT = "https://shop.example/out"


class Posted:
    """A network in memory: what was posted, and what is answered; an exception is raised."""

    def __init__(self, *answers: int | Unavailable) -> None:
        self.answers = list(answers) or [200]
        self.sent: list[tuple[str, bytes]] = []
        self.reached = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def post(self, uri: str, body: bytes, *, headers: Mapping[str, str]) -> int:
        self.sent.append((uri, body))
        self.reached.set()
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    @property
    def tokens(self) -> list[str]:
        return [parse_qs(body.decode())["logout_token"][0] for _, body in self.sent]


@pytest.fixture
def told() -> Iterator[BackChannel]:
    """A server whose single-page app is told of sign-outs."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner)
        server.put(ClientKey(SPA.client_id), replace(SPA, backchannel_logout_uri=OUT))
        yield server


def signed_out(server: BackChannel) -> dict[str, Any]:
    """Sign in and out again; the access token's claims."""
    tokens = server.signed_in()
    server.post("/revoke", {"token": tokens["refresh_token"], "client_id": SPA.client_id})
    return claims_of(tokens["access_token"])


def outbox(server: BackChannel, posted: Any) -> Outbox:
    return Outbox(server.context, Courier(server.context, posted))


def left(server: BackChannel) -> tuple[int, int]:
    """Notices and deliveries that are still there."""
    notices = server.run(server.store.read(OutboxKey())).notices
    return len(notices), len(server.run(server.store.read(PendingKey(SPA.client_id))))


def test_the_client_is_told_whose_session_ended_and_which(told: BackChannel) -> None:
    """§2.4: typ, iss, aud, iat, exp, jti, events, sub and sid; no nonce; signed with a published key."""
    session = signed_out(told)
    posted = Posted()
    told.run(outbox(told, posted).settle())
    (token,) = posted.tokens
    claims = told.key_ring.verify_own(token, typ="logout+jwt")

    assert posted.sent[0][0] == OUT
    assert unverified_header(token).typ == "logout+jwt"
    assert claims == {
        "iss": ISSUER,
        "aud": SPA.client_id,
        "iat": told.now(),
        "exp": told.now() + 120,
        "jti": claims["jti"],
        "sub": session["sub"],
        "sid": session["sid"],
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }
    assert left(told) == (0, 0)


@pytest.mark.parametrize("code", [200, 204])
def test_a_success_ends_it(told: BackChannel, code: int) -> None:
    """§2.8: 200; 204 is tolerated."""
    signed_out(told)
    told.run(outbox(told, Posted(code)).settle())

    assert left(told) == (0, 0)
    assert told.telemetry.events[-1].name is EventName.DELIVERED


def test_a_400_is_final(told: BackChannel) -> None:
    """§2.8: the client could not do it; saying it again would not help."""
    signed_out(told)
    told.run(outbox(told, Posted(400)).settle())

    assert left(told) == (0, 0)
    assert told.telemetry.events[-1].name is EventName.DELIVERY_GIVEN_UP


@pytest.mark.parametrize("failure", [500, 503, 404, 302, 401, Unavailable("no route")])
def test_anything_else_is_tried_again_with_the_same_jti(told: BackChannel, failure: int | Unavailable) -> None:
    """Later, signed anew; a receiver can tell the repetition by its `jti`. A redirect is not followed."""
    signed_out(told)
    posted = Posted(failure, 200)
    told.run(outbox(told, posted).settle())
    told.clock.advance(3)
    told.run(outbox(told, posted).settle())
    first, second = map(claims_of, posted.tokens)

    assert left(told) == (0, 0)
    assert first["jti"] == second["jti"]
    assert first["iat"] < second["iat"]


def test_it_is_given_up_after_a_day(told: BackChannel) -> None:
    """A client that never answers does not fill the store."""
    signed_out(told)
    posted = Posted(500)
    for _ in range(60):
        told.run(outbox(told, posted).settle())
        told.clock.advance(3600)

    assert left(told) == (0, 0)
    assert 10 < len(posted.sent) < 60
    assert told.clock.now() > KEPT


def test_a_client_that_wants_nothing_leaves_nothing_behind(told: BackChannel) -> None:
    """No URI, no notice."""
    told.put(ClientKey(SPA.client_id), SPA)
    signed_out(told)

    assert left(told) == (0, 0)


def test_a_client_disabled_meanwhile_is_not_told(told: BackChannel) -> None:
    """Its registration at the time of sending counts."""
    signed_out(told)
    posted = Posted(500)
    told.run(outbox(told, posted).settle())
    told.put(ClientKey(SPA.client_id), replace(SPA, backchannel_logout_uri=OUT, enabled=False))
    told.clock.advance(60)
    told.run(outbox(told, posted).settle())

    assert (len(posted.sent), left(told)) == (1, (0, 0))


def test_two_servers_deliver_it_once(told: BackChannel) -> None:
    """While one has it under way the other finds nothing due; once done nothing is left."""
    signed_out(told)
    one, other = Posted(), Posted()

    async def race() -> None:
        one.hold = asyncio.Event()
        first = asyncio.create_task(outbox(told, one).settle())
        await one.reached.wait()
        await outbox(told, other).settle()
        one.hold.set()
        await first

    told.run(race())
    assert (len(one.sent), len(other.sent), left(told)) == (1, 0, (0, 0))


def test_what_a_killed_server_had_taken_is_delivered_after_its_lease(told: BackChannel) -> None:
    """Both sides of the lease; nothing is lost."""
    signed_out(told)
    killed, other = Posted(), Posted()

    async def die() -> None:
        killed.hold = asyncio.Event()
        working = asyncio.create_task(outbox(told, killed).run())
        await killed.reached.wait()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    told.run(die())
    told.clock.advance(LEASE - 1)
    told.run(outbox(told, other).settle())
    before = len(other.sent)
    told.clock.advance(1)
    told.run(outbox(told, other).settle())

    assert (before, len(other.sent), left(told)) == (0, 1, (0, 0))


def test_while_the_store_is_away_nothing_is_lost(told: BackChannel) -> None:
    """The worker goes on when it is back."""
    signed_out(told)
    posted = Posted()

    async def outage() -> None:
        working = asyncio.create_task(outbox(told, posted).run())
        told.store.away = True
        for _ in range(20):
            await asyncio.sleep(0)
        told.store.away = False
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await outbox(told, posted).settle()

    told.run(outage())
    assert (len(posted.sent), left(told)) == (1, (0, 0))


# ── over a socket ────────────────────────────────────────────────────────────────────


def post_to(receiver: Receiver, poster: Poster) -> Any:
    return poster.post(receiver.uri, b"a=b", headers={"content-type": "text/plain"})


def test_a_post_is_one_whole_request() -> None:
    """Host, length, no connection kept; an interim answer is not the answer."""

    async def scenario() -> tuple[int, Receiver]:
        async with receiving() as receiver:
            receiver.answers = [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + status(204)]
            return await post_to(receiver, Poster(networks=HERE)), receiver

    code, receiver = asyncio.run(scenario())
    assert code == 204
    assert receiver.heads[0].startswith("POST /out HTTP/1.1\r\nhost: 127.0.0.1:")
    assert receiver.bodies == [b"a=b"]


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000]
)
def test_what_is_no_answer_is_unavailable(answer: bytes) -> None:
    """Nothing, nonsense, or more than is read."""

    async def scenario() -> None:
        async with receiving() as receiver:
            receiver.answers = [answer]
            await post_to(receiver, Poster(networks=HERE))

    with pytest.raises(Unavailable):
        asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_inside_is_not_connected_to(host: str) -> None:
    """Server-side request forgery: judged before the connection, whatever the name says."""

    async def scenario() -> list[str]:
        async with receiving() as receiver:
            uri = f"http://{host}:{receiver.port}/out"
            with pytest.raises(Unavailable, match="delivery_networks"):
                await Poster(networks=()).post(uri, b"", headers={})
            return receiver.heads

    assert asyncio.run(scenario()) == []


def test_a_header_cannot_begin_another() -> None:
    """What a receiver asked to be sent stays one header."""

    async def scenario() -> None:
        async with receiving() as receiver:
            await Poster(networks=HERE).post(receiver.uri, b"", headers={"authorization": "x\r\ny: z"})

    with pytest.raises(Unavailable):
        asyncio.run(scenario())


def test_a_receiver_that_never_answers_has_a_deadline() -> None:
    """The whole attempt, not each byte."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await Poster(networks=HERE, timeout=0.05).post(f"http://127.0.0.1:{port}/", b"", headers={})
        finally:
            server.close()

    with pytest.raises(Unavailable, match="TimeoutError"):
        asyncio.run(scenario())


# ── the real server ──────────────────────────────────────────────────────────────────


def test_a_sign_out_is_told_after_the_server_was_killed(tmp_path: Path) -> None:
    """What the transaction wrote is delivered by the next start, whoever wrote it: here the command line."""
    answers = [503]
    arrived: list[str] = []
    attempted, told = threading.Event(), threading.Event()

    class Told(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(answers[0])
            self.end_headers()
            (attempted if answers[0] == 503 else told).set()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{receiver.server_address[1]}/out"
        with Server(tmp_path) as server:
            add_people_and_clients(tmp_path)
            page = ("--public", "--first-party", "--redirect-uri", CALLBACK, "--scope", "openid")
            added = run(tmp_path, "client", "add", "told", *page, "--backchannel-logout-uri", uri)
            assert added.returncode == 0, added.stderr
            sid = claims_of(server.sign_in("ana", "correct horse", client_id="told")["access_token"])["sid"]
            assert run(tmp_path, "sessions", "end", sid).returncode == 0
            assert attempted.wait(60)
            server.kill()
            answers[0] = 200
            server.start()

            # At the worst the killed server had not yet noted its first try: then its lease has to end (60 s).
            assert told.wait(90)
        receiver.shutdown()

    tokens = [parse_qs(body)["logout_token"][0] for body in arrived]
    assert {claims_of(token)["sid"] for token in tokens} == {sid}


def test_metadata_says_what_there_is(told: BackChannel) -> None:
    """Back-Channel Logout 1.0 §2.1."""
    metadata = orjson.loads(told.get("/.well-known/openid-configuration").body)

    assert metadata["backchannel_logout_supported"] is True
    assert metadata["backchannel_logout_session_supported"] is True
    assert told.run(told.store.read(DueKey(NumericDate(2**40)))) == ()
