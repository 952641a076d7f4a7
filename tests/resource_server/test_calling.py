"""Calling the next service for the caller: passing their token on, and trading it (RFC 8693)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import httpx
import httpx2
import pytest

from portero.core.errors import ConfigurationError, Unavailable
from portero.core.types import Secret
from portero.resource_server import Guard, Principal
from portero.resource_server.asgi import GuardMiddleware, received_token
from portero.resource_server.calling import (
    ExchangeRefused,
    PassOn,
    ReceivedToken,
    TokenExchange,
    WrongDestination,
)
from portero.resource_server.calling_grpc import NextServiceInterceptor, aio_interceptors
from portero.resource_server.calling_httpx import NextServiceAuth as ForHttpx
from portero.resource_server.calling_httpx2 import NextServiceAuth as ForHttpx2
from portero.resource_server.grpc import GuardInterceptor, current_principal
from portero.testing.adapter_conformance import serve_asgi
from portero.testing.jwks_server import CLIENT_ID, CLIENT_SECRET, Behaviour, JwksServer
from portero.testing.proofs import DpopKey
from portero.testing.stand_in import stand_in_for

STOCK = "https://shop.example/stock"


class Shop:
    """Two services over the network: whoever calls `/orders` has it call `/stock` for them."""

    def __init__(self, stack: ExitStack) -> None:
        self.issuer_server = stack.enter_context(JwksServer())
        self.issuer = self.issuer_server.issuer
        self.stock_guard = self._guard(STOCK)
        self.stock = stack.enter_context(serve_asgi(guarded(self.stock_guard, who)))
        self.exchange = TokenExchange(
            issuer=self.issuer.url,
            client_id=CLIENT_ID,
            client_secret=Secret(CLIENT_SECRET),
            resource=STOCK,
            scope=["stock:read"],
            to=self.stock,
        )
        stack.callback(self.exchange.close)

    def _guard(self, audience: str) -> Guard:
        return Guard(issuers=[self.issuer.url], audience=audience, revocation=self.issuer_server.feed())

    def received(self, **changes: Any) -> ReceivedToken:
        token = self.issuer.mint(**{"scope": "orders:read stock:read", **changes})
        guard = Guard(issuers=[self.issuer.url], audience=self.issuer.tokens.audience, revocation=None)
        self.issuer.trust_in(guard)
        admitted = guard.admit(token.encode(), guard.requires())
        assert isinstance(admitted, Principal)
        return ReceivedToken(Secret(token), admitted)


def guarded(guard: Guard, app: Any) -> Any:
    return GuardMiddleware(app, guard=guard, requirement=guard.requires(scopes=["stock:read"]))


async def who(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    principal = scope["portero.principal"]
    said = {"sub": principal.subject, "act": principal.claims.get("act"), "scopes": sorted(principal.scopes)}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})


@pytest.fixture
def shop() -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(stack)


def asked_by_httpx2(url: str, source: Any) -> Any:
    with httpx2.Client(auth=ForHttpx2(source)) as client:
        return client.get(url)


def asked_by_httpx(url: str, source: Any) -> Any:
    with httpx.Client(auth=ForHttpx(source)) as client:
        return client.get(url)


def asked_by_async_httpx2(url: str, source: Any) -> Any:
    async def ask() -> Any:
        async with httpx2.AsyncClient() as client:
            return await client.get(url, auth=ForHttpx2(source))

    return asyncio.run(ask())


def asked_by_async_httpx(url: str, source: Any) -> Any:
    async def ask() -> Any:
        async with httpx.AsyncClient() as client:
            return await client.get(url, auth=ForHttpx(source))

    return asyncio.run(ask())


CLIENTS = [asked_by_httpx2, asked_by_httpx, asked_by_async_httpx2, asked_by_async_httpx]
Ask = Callable[[str, Any], Any]


@pytest.mark.parametrize("ask", CLIENTS)
def test_an_exchanged_token_is_accepted_by_the_next_service(shop: Shop, ask: Ask) -> None:
    """It is for that service's audience, says who acts, and has no more scope than was asked for."""
    answer = ask(f"{shop.stock}/items", shop.exchange.on_behalf_of(shop.received(sub="bob")))

    assert answer.status_code == 200, answer.text
    assert answer.json() == {"sub": "bob", "act": {"sub": CLIENT_ID}, "scopes": ["stock:read"]}


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_passed_on_token_is_the_callers_own(shop: Shop, ask: Ask) -> None:
    """For services that share an audience."""
    received = shop.received(sub="bob", aud=[shop.issuer.tokens.audience, STOCK])

    answer = ask(f"{shop.stock}/items", PassOn(received, to=shop.stock))

    assert (answer.status_code, answer.json()["sub"], answer.json()["act"]) == (200, "bob", None)


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_token_goes_to_its_destination_and_nowhere_else(shop: Shop, ask: Ask) -> None:
    """A URL that somebody else chose must not carry a token away."""
    for source in (PassOn(shop.received(), to="https://stock.example"), shop.exchange.on_behalf_of(shop.received())):
        with pytest.raises(WrongDestination):
            ask("http://127.0.0.1:9/items", source)
    assert shop.issuer_server.exchanges == 0


def test_one_exchange_serves_many_calls_until_near_the_tokens_end(shop: Shop) -> None:
    """Threads that begin together wait for one; the next caller's token is another one."""
    passed = [0.0]
    shop.exchange._monotonic = lambda: passed[0]
    source = shop.exchange.on_behalf_of(shop.received(exp=int(shop.issuer.clock.now()) + 300))

    with ThreadPoolExecutor(8) as pool:
        tokens = {one.reveal() for one in pool.map(lambda _: source.token(), range(40))}
    assert (len(tokens), shop.issuer_server.exchanges) == (1, 1)

    passed[0] = 238.0
    assert source.token().reveal() in tokens
    passed[0] = 241.0
    assert source.token().reveal() not in tokens
    shop.exchange.on_behalf_of(shop.received()).token()
    assert shop.issuer_server.exchanges == 3


def test_tasks_that_begin_together_wait_for_one_exchange(shop: Shop) -> None:
    """And one that gives up takes nothing from the others."""

    async def story() -> set[str]:
        source = shop.exchange.on_behalf_of(shop.received())
        tasks = [asyncio.ensure_future(source.atoken()) for _ in range(20)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return {one.reveal() for one in await asyncio.gather(*tasks[1:])}

    assert len(asyncio.run(story())) == 1
    assert shop.issuer_server.exchanges == 1


def test_a_thread_that_is_interrupted_interrupts_nobody_who_waits_for_its_exchange(shop: Shop) -> None:
    """Those who wait are told that there is no token now; the next to ask exchanges."""
    received = shop.received()
    waiters: list[Future[Secret[str]]] = []

    def interrupted() -> float:
        shop.exchange._monotonic = time.monotonic
        waiters.extend(shop.exchange._flights.values())
        raise KeyboardInterrupt

    shop.exchange._monotonic = interrupted
    with pytest.raises(KeyboardInterrupt):
        shop.exchange.on_behalf_of(received).token()

    assert [type(waiter.exception(0)) for waiter in waiters] == [Unavailable]
    assert shop.exchange.on_behalf_of(received).token()


def test_the_oldest_unused_token_goes_first(shop: Shop) -> None:
    """The cache is bounded."""
    shop.exchange._max_entries = 2
    first, second, third = (shop.exchange.on_behalf_of(shop.received()) for _ in range(3))
    for source in (first, second, first, third, first):
        source.token()
    assert shop.issuer_server.exchanges == 3

    second.token()

    assert shop.issuer_server.exchanges == 4


def test_a_token_that_the_next_service_refuses_is_not_used_again(shop: Shop) -> None:
    """Its keys or its session may have changed: the next call asks anew, and is told why where it cannot be."""
    received = shop.received(sid="session-to-end")
    source = shop.exchange.on_behalf_of(received)
    assert asked_by_httpx2(f"{shop.stock}/items", source).status_code == 200

    entry = shop.issuer.revoke(sid="session-to-end")
    asked_until(lambda: asked_by_httpx2(f"{shop.stock}/items", source).status_code == 401)

    assert entry.n == 1
    with pytest.raises(ExchangeRefused) as refused:
        source.token()
    assert refused.value.error == "invalid_request"


def asked_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come"


def test_an_authorization_server_that_does_not_answer_is_the_worlds_fault(shop: Shop) -> None:
    """`Unavailable`, never the caller's; and nothing is kept of it."""
    source = shop.exchange.on_behalf_of(shop.received())
    for behaviour in (Behaviour.FAIL, Behaviour.GARBAGE, Behaviour.REDIRECT):
        shop.issuer_server.behave(behaviour, path="/token")
        with pytest.raises(Unavailable):
            source.token()
        with pytest.raises(Unavailable):
            asyncio.run(source.atoken())

    shop.issuer_server.behave(None, path="/token")
    assert source.token()


def test_a_wrong_secret_is_told_as_what_it_is(shop: Shop) -> None:
    """An operator's mistake, by its registered code."""
    exchange = TokenExchange(
        issuer=shop.issuer.url,
        client_id=CLIENT_ID,
        client_secret=Secret("wrong"),
        resource=STOCK,
        to=shop.stock,
    )

    with pytest.raises(ExchangeRefused) as refused:
        exchange.on_behalf_of(shop.received()).token()

    assert refused.value.error == "invalid_client"
    assert "wrong" not in str(refused.value)


def test_a_bound_token_is_not_passed_on(shop: Shop) -> None:
    """The next service would refuse it: it is worth nothing without the caller's key."""
    received = shop.received()
    bound = ReceivedToken(received.token, replace(received.principal, cnf_jkt=DpopKey().thumbprint))

    with pytest.raises(ValueError, match="exchange it"):
        PassOn(bound, to=shop.stock)


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "http://stock.example"},
        {"to": "stock.example"},
        {"issuer": "http://id.example"},
        {"scope": "stock:read"},
    ],
)
def test_an_exchange_that_cannot_be_meant_is_refused_at_start(changes: dict[str, Any]) -> None:
    """No token is sent where anybody could read it."""
    settings: dict[str, Any] = {
        "issuer": "https://id.example",
        "client_id": "orders",
        "client_secret": Secret("x"),
        "resource": STOCK,
        "to": "https://stock.example",
    }

    with pytest.raises(ConfigurationError):
        TokenExchange(**{**settings, **changes})
    assert TokenExchange(**settings, insecure_plain_http=True).to


def test_the_token_of_an_admitted_asgi_request_can_be_asked_for() -> None:
    """And of one that was not admitted it cannot."""
    guard = Guard(issuers=["https://id.example"], audience="https://shop.example/orders", revocation=None)
    seen: list[ReceivedToken] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(received_token(scope))

    async def send(_: Any) -> None:
        return

    with stand_in_for(guard) as issuer:
        token = issuer.mint()
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }
        asyncio.run(GuardMiddleware(app, guard=guard, requirement=guard.requires())(scope, None, send))  # type: ignore[arg-type]

    assert [one.token.reveal() for one in seen] == [token]
    assert token not in repr(seen)
    with pytest.raises(LookupError):
        received_token({"type": "http", "headers": scope["headers"]})


# ── gRPC ─────────────────────────────────────────────────────────────────────────────

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


@pytest.fixture
def stock_port(shop: Shop) -> Iterator[int]:
    def one(_request: Any, _context: Any) -> bytes:
        return current_principal().subject.encode()

    def many(_request: Any, _context: Any) -> Iterator[bytes]:
        yield current_principal().subject.encode()

    handlers = {
        kind: getattr(grpc, f"{kind}_rpc_method_handler")(many if kind.endswith("stream") else one) for kind in KINDS
    }
    interceptor = GuardInterceptor(shop.stock_guard, requirement=shop.stock_guard.requires(scopes=["stock:read"]))
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[interceptor])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Stock", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait(60)
    shop.stock_guard.close()


def test_every_kind_of_rpc_carries_the_token(shop: Shop, stock_port: int) -> None:
    """Of whoever is called for at that moment: the channel is shared."""
    sources = [shop.exchange.on_behalf_of(shop.received(sub=name)) for name in ("bob", "eve")]
    present = iter(source for _ in KINDS for source in sources)
    channel = grpc.insecure_channel(f"127.0.0.1:{stock_port}")
    with grpc.intercept_channel(channel, NextServiceInterceptor(lambda: next(present))) as intercepted:
        for kind in KINDS:
            for name in ("bob", "eve"):
                request = iter([b""]) if kind.startswith("stream") else b""
                answer = getattr(intercepted, kind)(f"/test.Stock/{kind}")(request, timeout=30)
                assert (next(answer) if kind.endswith("stream") else answer) == name.encode()
    assert shop.issuer_server.exchanges == 2


def test_every_kind_of_rpc_carries_the_token_on_an_event_loop(shop: Shop, stock_port: int) -> None:
    """The same, by grpc.aio."""

    async def story() -> list[bytes]:
        source = shop.exchange.on_behalf_of(shop.received(sub="bob"))
        answers = []
        target = f"127.0.0.1:{stock_port}"
        async with grpc.aio.insecure_channel(target, interceptors=aio_interceptors(source)) as channel:
            for kind in KINDS:
                request = iter([b""]) if kind.startswith("stream") else b""
                call = getattr(channel, kind)(f"/test.Stock/{kind}")(request, timeout=30)
                answers.append(await call.read() if kind.endswith("stream") else await call)
        return answers

    assert asyncio.run(story()) == [b"bob"] * 4


@pytest.mark.parametrize("by_loop", [False, True])
def test_a_token_that_an_rpc_refuses_is_not_used_again(shop: Shop, stock_port: int, by_loop: bool) -> None:
    """As over HTTP."""
    source = shop.exchange.on_behalf_of(shop.received(sid="rpc-session", exp=int(shop.issuer.clock.now()) + 300))
    digest = source._digest  # type: ignore[attr-defined]
    target, method = f"127.0.0.1:{stock_port}", "/test.Stock/unary_unary"

    def refused() -> bool:
        try:
            if by_loop:
                asyncio.run(ask_on_loop())
            else:
                with grpc.intercept_channel(grpc.insecure_channel(target), NextServiceInterceptor(source)) as channel:
                    channel.unary_unary(method)(b"", timeout=30)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    async def ask_on_loop() -> None:
        async with grpc.aio.insecure_channel(target, interceptors=aio_interceptors(source)) as channel:
            try:
                await channel.unary_unary(method)(b"", timeout=30)
            finally:
                # The refusal is noticed by a task of its own.
                asked = asyncio.all_tasks() - {asyncio.current_task()}
                await asyncio.wait(asked, timeout=30) if asked else None

    assert not refused()
    kept = shop.exchange.kept(digest)
    assert kept is not None

    shop.issuer.revoke(sid="rpc-session")
    asked_until(refused)

    assert shop.exchange.kept(digest) is None
