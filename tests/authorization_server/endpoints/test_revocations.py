"""The feed over ASGI: snapshot, stream, long poll; who may read it, and that nothing is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from portero.adapters.storage.memory import MemoryStore
from portero.authorization_server.endpoints import hub as hub_module
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.subscription_stream import EventReader, StreamEvent
from portero.core.transitions import ClientKey, Decision, Put, Revoke
from portero.core.types import Issuer, NumericDate
from tests.authorization_server.back_channel import GUARD, ISSUER, SECRET, BackChannel, ask, basic, claims_of


@dataclass
class Reader:
    """One open stream: what has arrived, and the status it began with."""

    events: list[StreamEvent]
    task: asyncio.Task[None]
    arrived: asyncio.Event
    gone: asyncio.Event
    """Set: the peer has closed the connection."""
    status: int = 0
    finished: bool = False
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: the peer takes nothing more."""

    async def until(self, count: int, event: str = "revocation") -> list[dict[str, Any]]:
        """Wait until `count` events of that kind have arrived."""
        async with asyncio.timeout(60):
            while len(found := [orjson.loads(e.data) for e in self.events if e.event == event]) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return found


@asynccontextmanager
async def stream(server: BackChannel, token: str, after: str) -> AsyncIterator[Reader]:
    """Open the stream, and leave it at the end of the block."""
    gone = asyncio.Event()
    reader = EventReader()
    seen = Reader([], asyncio.create_task(asyncio.sleep(0)), asyncio.Event(), gone)
    seen.reads.set()

    async def receive() -> dict[str, Any]:
        if seen.status == 0 and not hasattr(receive, "asked"):
            receive.asked = True  # type: ignore[attr-defined]  # remembers that the body was delivered
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await seen.reads.wait()
        if message["type"] == "http.response.start":
            seen.status = message["status"]
        else:
            seen.events.extend(reader.feed(message.get("body", b"")))
            seen.finished = not message.get("more_body", False)
        seen.arrived.set()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/revocations/stream",
        "root_path": "",
        "query_string": f"after={after}".encode(),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        "client": ("192.0.2.7", 50000),
    }
    seen.task = asyncio.create_task(server.app(scope, receive, send))  # type: ignore[arg-type]  # a plain dict is a scope
    try:
        yield seen
    finally:
        gone.set()
        seen.task.cancel()
        await asyncio.gather(seen.task, return_exceptions=True)


async def revoke(server: BackChannel, *sids: str) -> None:
    now = server.now()

    def decide(_: Any) -> Decision[None]:
        until = NumericDate(now + 360)
        return Decision(
            None, tuple(Revoke(Revocation(Issuer(ISSUER), RevokedKind.SESSION, sid, now, until)) for sid in sids)
        )

    await server.store.transition(ClientKey(GUARD.client_id), decide, now=now)


def auth(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def snapshot(server: BackChannel, token: str) -> dict[str, Any]:
    seen = server.get("/revocations/snapshot", **auth(token))
    assert seen.status == 200, seen.body
    document: dict[str, Any] = seen.json
    return document


# ── snapshot ─────────────────────────────────────────────────────────────────────────


def test_a_snapshot_holds_every_live_entry_in_the_contract_s_form(server: BackChannel) -> None:
    """Design §3.3: cursor, iss, what, until."""
    token = server.guard_token()
    tokens = server.signed_in()
    server.post("/revoke", {"token": tokens["refresh_token"], "client_id": "spa"})
    document = snapshot(server, token)

    claims = claims_of(tokens["access_token"])
    (entry,) = document["entries"]
    assert entry == {
        "cursor": document["cursor"],
        "iss": ISSUER,
        "what": {"sid": claims["sid"]},
        "at": server.now(),
        "until": claims["exp"] + 120,
    }


def test_entries_leave_when_the_last_token_they_concern_has_expired_everywhere(server: BackChannel) -> None:
    """Both sides of `until`: the feed stays bounded."""
    server.run(revoke(server, "a"))
    server.clock.advance(359)
    before = snapshot(server, server.guard_token())["entries"]
    server.clock.advance(1)
    after = snapshot(server, server.guard_token())["entries"]

    assert (len(before), len(after)) == (1, 0)


def test_a_snapshot_of_many_pages_is_whole(server: BackChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paging loses and repeats nothing."""
    monkeypatch.setattr(hub_module, "PAGE", 10)
    names = [f"s{i}" for i in range(101)]
    server.run(revoke(server, *names))
    document = snapshot(server, server.guard_token())

    assert [entry["what"]["sid"] for entry in document["entries"]] == names


# ── who may read ─────────────────────────────────────────────────────────────────────

PATHS = ("/revocations/snapshot", "/revocations/stream?after=x:0", "/revocations?after=x:0")


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_it_is_401_with_a_challenge(server: BackChannel, path: str) -> None:
    """RFC 6750 §3."""
    seen = server.get(path)

    assert (seen.status, seen.header("www-authenticate")) == (401, 'Bearer realm="portero"')


@pytest.mark.parametrize("path", PATHS)
def test_another_scope_is_403(server: BackChannel, path: str) -> None:
    """The scope is revocations:read."""
    form = {"grant_type": "client_credentials", "scope": "orders:read"}
    token = server.post("/token", form, authorization=basic("guard", SECRET)).json["access_token"]
    seen = server.get(path, **auth(token))

    assert (seen.status, seen.json["error"]) == (403, "insufficient_scope")


@pytest.mark.attack(row=36)
@pytest.mark.parametrize("path", PATHS)
def test_a_token_for_another_audience_is_401(server: BackChannel, path: str) -> None:
    """A service that was sent a token cannot use it here."""
    server.put(ClientKey(GUARD.client_id), replace(GUARD, audiences=("https://elsewhere.example",)))
    server.clock.advance(1)
    seen = server.get(path, **auth(server.guard_token()))

    assert (seen.status, seen.json["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("cursor", ["", "x", "x:", ":1", "x:-1", "x:01", "x:1:2", "x:1e3", "x:" + "9" * 19, "x y:1"])
@pytest.mark.parametrize("path", ["/revocations/stream", "/revocations"])
def test_a_malformed_cursor_is_400(server: BackChannel, path: str, cursor: str) -> None:
    """invalid_request, never a 5xx."""
    seen = server.get(f"{path}?after={cursor.replace(' ', '%20')}", **auth(server.guard_token()))

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/revocations/stream", "/revocations"])
def test_an_unknown_epoch_is_409_take_a_snapshot(server: BackChannel, path: str) -> None:
    """A restored database has a new epoch (decision 0040)."""
    seen = server.get(f"{path}?after=another:0", **auth(server.guard_token()))

    assert (seen.status, seen.json["error"]) == (409, "unknown_cursor")


@pytest.mark.parametrize("path", ["/revocations/stream", "/revocations"])
def test_a_cursor_past_the_end_is_409(server: BackChannel, path: str) -> None:
    """A cursor nobody was given: to follow from there would skip what comes first."""
    token = server.guard_token()
    epoch = snapshot(server, token)["cursor"].partition(":")[0]
    seen = server.get(f"{path}?after={epoch}:1", **auth(token))

    assert seen.status == 409


# ── stream ───────────────────────────────────────────────────────────────────────────


def test_a_stream_brings_each_entry_with_its_cursor_as_id(server: BackChannel) -> None:
    """Design §3.3: `id` = cursor, `event: revocation`, the entry as JSON."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> list[StreamEvent]:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")
            await revoke(server, "a", "b")
            await reader.until(2)
            return [event for event in reader.events if event.event == "revocation"]

    events = server.run(scenario())
    assert [orjson.loads(event.data)["what"] for event in events] == [{"sid": "a"}, {"sid": "b"}]
    assert [event.id for event in events] == [orjson.loads(event.data)["cursor"] for event in events]


def test_a_cut_stream_resumes_without_a_gap(server: BackChannel) -> None:
    """From any cursor in the past, exactly what came after it."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> list[str]:
        await revoke(server, "a", "b", "c")
        async with stream(server, token, cursor) as reader:
            first = (await reader.until(3))[0]["cursor"]
        await revoke(server, "d")
        async with stream(server, token, first) as reader:
            return [entry["what"]["sid"] for entry in await reader.until(3)]

    assert server.run(scenario()) == ["b", "c", "d"]


def test_a_heartbeat_never_claims_more_than_was_sent(server: BackChannel) -> None:
    """In each stream, everything up to a heartbeat's cursor came before the heartbeat."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> list[StreamEvent]:
        async with stream(server, token, cursor) as reader:
            for number in range(20):
                await revoke(server, f"s{number}")
                server.clock.advance(1)
                await reader.until(number + 1)
            return reader.events

    events = server.run(scenario())
    assert sum(event.event == "heartbeat" for event in events) >= 10

    sent = 0
    for event in events:
        n = int(orjson.loads(event.data)["cursor"].partition(":")[2])
        if event.event == "revocation":
            assert n == sent + 1
            sent = n
        else:
            assert n <= sent


def test_no_heartbeat_while_the_store_is_away(server: BackChannel) -> None:
    """A server that has lost its store must not say that nothing was revoked; when it is back, all of it comes."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> tuple[int, int]:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")
            server.store.away = True
            before = len(reader.events)
            for _ in range(5):
                server.clock.advance(1)
                await revoke_quietly(server)
            after = len(reader.events)
            server.store.away = False
            await revoke_quietly(server)
            await reader.until(6)
            await reader.until(2, "heartbeat")
            return before, after

    before, after = server.run(scenario())
    assert before == after


def test_many_entries_at_once_come_whole_and_in_order(server: BackChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers at the same place share one write, of a bounded size, however many entries there are."""
    monkeypatch.setattr(hub_module, "JOINED_ENTRIES", 3)
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]
    names = [f"s{number}" for number in range(10)]

    async def scenario() -> list[list[str]]:
        async with stream(server, token, cursor) as one, stream(server, token, cursor) as other:
            await one.until(1, "heartbeat")
            await other.until(1, "heartbeat")
            await revoke(server, *names)
            return [[entry["what"]["sid"] for entry in await reader.until(10)] for reader in (one, other)]

    assert server.run(scenario()) == [names, names]


async def revoke_quietly(server: BackChannel) -> None:
    """Commit behind the back of the interrupted store: the wake-up comes, the reading fails."""

    def decide(_: Any) -> Decision[None]:
        revocation = Revocation(Issuer(ISSUER), RevokedKind.SESSION, "x", server.now(), NumericDate(server.now() + 9))
        return Decision(None, (Revoke(revocation),))

    await server.store.store.transition(ClientKey(GUARD.client_id), decide, now=server.now())
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_reader_older_than_the_ring_is_served_from_the_store(
    server: BackChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring is a shortcut; falling out of it loses nothing."""
    monkeypatch.setattr(hub_module, "RING_ENTRIES", 5)
    server = BackChannel(server.runner)  # its hub has the small ring
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]
    names = [f"s{i}" for i in range(23)]

    async def scenario() -> list[str]:
        async with stream(server, token, cursor) as slow, stream(server, token, cursor) as quick:
            await slow.until(1, "heartbeat")
            slow.reads.clear()
            for name in names:
                await revoke(server, name)
            await quick.until(23)
            slow.reads.set()
            return [entry["what"]["sid"] for entry in await slow.until(23)]

    assert server.run(scenario()) == names


@pytest.mark.attack(row=96)
def test_a_stream_ends_when_its_token_expires(server: BackChannel) -> None:
    """A connection that outlives its token is closed."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> bool:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")
            server.clock.advance(300)
            await revoke(server, "wake")
            async with asyncio.timeout(60):
                await reader.task
            return reader.finished

    assert server.run(scenario())


def test_a_stream_ends_when_its_client_is_disabled(server: BackChannel) -> None:
    """Checked with each heartbeat."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> bool:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")

            def decide(_: Any) -> Decision[None]:
                return Decision(None, (Put(replace(GUARD, enabled=False)),))

            await server.store.transition(ClientKey(GUARD.client_id), decide, now=server.now())
            server.clock.advance(2)
            await revoke(server, "wake")
            async with asyncio.timeout(60):
                await reader.task
            return reader.finished

    assert server.run(scenario())


def test_a_heartbeat_of_an_older_reading_is_not_sent(server: BackChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that the store took further than the hub has read is not told to go back."""

    async def never() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(server.store, "changes", never)
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> list[str]:
        async with stream(server, token, cursor) as first:
            await first.until(1, "heartbeat")
            await revoke(server, "a")  # the hub is not woken
            async with stream(server, token, cursor) as second:
                await second.until(1)
                for _ in range(50):
                    await asyncio.sleep(0)
                return [event.event for event in second.events]

    assert server.run(scenario()) == ["revocation"]


def test_a_stream_ends_when_the_database_was_restored(server: BackChannel) -> None:
    """Another epoch: nothing of this stream's cursors is of that feed."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> bool:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")
            before, server.store.store = server.store.store, MemoryStore(random=server.random)
            wake = Revocation(Issuer(ISSUER), RevokedKind.SESSION, "x", server.now(), NumericDate(server.now() + 9))
            await before.transition(
                ClientKey(GUARD.client_id), lambda _: Decision(None, (Revoke(wake),)), now=server.now()
            )
            async with asyncio.timeout(60):
                await reader.task
            return reader.finished

    assert server.run(scenario())


def test_a_peer_that_leaves_is_noticed(server: BackChannel) -> None:
    """A server's `send` says nothing when the peer is gone."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> int:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")
            reader.gone.set()
            await revoke(server, "x")
            async with asyncio.timeout(60):
                await reader.task
        return server.hub.subscribers

    assert server.run(scenario()) == 0


def test_one_reading_serves_all_subscribers(server: BackChannel) -> None:
    """A revocation costs the store one read for the hub, not one per subscriber."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> int:
        async with (
            stream(server, token, cursor) as a,
            stream(server, token, cursor) as b,
            stream(server, token, cursor) as c,
        ):
            for reader in (a, b, c):
                await reader.until(1, "heartbeat")
            before = server.store.reads
            await revoke(server, "x")
            for reader in (a, b, c):
                await reader.until(1)
            return server.store.reads - before

    assert server.run(scenario()) <= 2


def test_the_hub_stops_reading_when_nobody_listens(server: BackChannel) -> None:
    """No task is left behind."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> list[str]:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")
        return [task.get_name() for task in asyncio.all_tasks() if "revocation feed" in task.get_name()]

    assert server.run(scenario()) == []


# ── long poll ────────────────────────────────────────────────────────────────────────


def test_a_poll_answers_at_once_where_there_is_something(server: BackChannel) -> None:
    """Entries after the cursor, and the next cursor."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]
    server.run(revoke(server, "a", "b"))
    first = server.get(f"/revocations?after={cursor}&wait=30", **auth(token)).json
    second = server.get(f"/revocations?after={first['cursor']}", **auth(token)).json

    assert [entry["what"]["sid"] for entry in first["entries"]] == ["a", "b"]
    assert (second["entries"], second["cursor"]) == ([], first["cursor"])


def test_a_poll_waits_for_what_comes(server: BackChannel) -> None:
    """The wake-up ends the wait."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> Any:
        polling = asyncio.create_task(
            ask(server.app, "GET", f"/revocations?after={cursor}&wait=30", headers=auth(token))
        )
        for _ in range(20):
            await asyncio.sleep(0)
        waiting = not polling.done()
        await revoke(server, "a")
        async with asyncio.timeout(25):
            return waiting, (await polling).json

    waiting, answer = server.run(scenario())
    assert waiting
    assert [entry["what"]["sid"] for entry in answer["entries"]] == ["a"]


@pytest.mark.parametrize("wait", ["-1", "x", "1.5", "99999"])
def test_a_malformed_wait_is_400(server: BackChannel, wait: str) -> None:
    """invalid_request."""
    seen = server.get(f"/revocations?after=x:0&wait={wait}", **auth(server.guard_token()))

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


def test_a_server_that_stops_ends_streams_and_polls_at_once(server: BackChannel) -> None:
    """Nobody waits for a reader that never leaves by itself; what comes after is 503, and the reader resumes."""
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> Any:
        async with stream(server, token, cursor) as reader:
            await reader.until(1, "heartbeat")
            polling = asyncio.create_task(
                ask(server.app, "GET", f"/revocations?after={cursor}&wait=30", headers=auth(token))
            )
            for _ in range(20):
                await asyncio.sleep(0)
            server.hub.close()
            async with asyncio.timeout(25):
                await reader.task
                answer = await polling
        late = await ask(server.app, "GET", f"/revocations/stream?after={cursor}", headers=auth(token))
        return reader.finished, answer.status, answer.json["entries"], late.status

    assert server.run(scenario()) == (True, 200, [], 503)


def test_one_subscriber_more_than_the_server_serves_is_503(
    server: BackChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded; both sides of the limit."""
    monkeypatch.setattr(hub_module, "MAX_SUBSCRIBERS", 1)
    token = server.guard_token()
    cursor = snapshot(server, token)["cursor"]

    async def scenario() -> tuple[int, int]:
        async with stream(server, token, cursor) as first:
            await first.until(1, "heartbeat")
            second = await ask(server.app, "GET", f"/revocations/stream?after={cursor}", headers=auth(token))
            return first.status, second.status

    assert server.run(scenario()) == (200, 503)
