"""Event streams under WSGI, Flask and Django: none sends anything after its token is over (design §3.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from flask import Flask, Response

from portero.resource_server import Guard
from portero.resource_server import django as on_django
from portero.resource_server import flask as on_flask
from portero.resource_server.wsgi import GuardMiddleware
from portero.testing.clock import FakeClock
from portero.testing.stand_in import StandIn, stand_in_for

GUARD = Guard(issuers=["https://id.example"], audience="https://shop.example/orders", revocation=None)
EVENTS = (b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def guard() -> Guard:
    from tests.resource_server.conftest import FEED

    return Guard(issuers=["https://id.example"], audience="https://shop.example/orders", revocation=FEED)


@pytest.fixture
def issuer(guard: Guard, clock: FakeClock) -> Iterator[StandIn]:
    with stand_in_for(guard, clock=clock) as stand_in:
        yield stand_in


def ends_how(how: str, guard: Guard, issuer: StandIn, clock: FakeClock) -> None:
    """The token is over, in one of the two ways."""
    if how == "revoked":
        issuer.revoke(sid="session-1")
        issuer.trust_in(guard)
    else:
        clock.advance(300 + 60)


def by_wsgi(guard: Guard, issuer: StandIn) -> Iterator[bytes]:
    """A generator that starts its response with its first event, as PEP 3333 allows."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream; charset=utf-8")])
        yield from EVENTS

    guarded = GuardMiddleware(app, guard=guard, requirement=guard.requires(scopes=["orders:read"]))
    authorization = issuer.bearer()["Authorization"]
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/events", "HTTP_AUTHORIZATION": authorization}
    answer: Any = guarded(environ, lambda *_: None)  # type: ignore[arg-type,misc,return-value]
    yield from answer
    answer.close()


def by_flask(guard: Guard, issuer: StandIn) -> Iterator[bytes]:
    app = Flask(__name__)
    on_flask.protect(app, guard)

    @app.get("/events")
    @on_flask.requires(guard, scopes=["orders:read"])
    def events() -> Response:
        return Response(iter(EVENTS), content_type="text/event-stream")

    with app.test_client() as client:
        answer = client.get("/events", headers=issuer.bearer(), buffered=False)
        yield from answer.iter_encoded()


def by_django(guard: Guard, issuer: StandIn) -> Iterator[bytes]:
    @on_django.requires(guard, scopes=["orders:read"])
    def events(_: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(iter(EVENTS), content_type="text/event-stream")

    edge = django_edge(guard, events)
    response = edge(RequestFactory().get("/events", headers=issuer.bearer()))
    yield from response.streaming_content
    response.close()


def django_edge(guard: Guard, view: Any) -> on_django.GuardEdge:
    with override_settings(PORTERO_GUARD=guard):
        return on_django.GuardEdge(view)


STREAMS = [by_wsgi, by_flask, by_django]


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_goes_to_its_end_while_its_token_is_good(stream: Any, guard: Guard, issuer: StandIn) -> None:
    """And nothing is left registered."""
    assert tuple(stream(guard, issuer)) == EVENTS
    assert not guard.connections._by_key


@pytest.mark.parametrize("how", ["revoked", "expired"])
@pytest.mark.parametrize("stream", STREAMS)
def test_no_event_is_sent_after_the_token_is_over(
    stream: Any, how: str, guard: Guard, issuer: StandIn, clock: FakeClock
) -> None:
    """Row 96, for streams of threads: they end at their next event."""
    events = stream(guard, issuer)
    assert next(events) == EVENTS[0]

    ends_how(how, guard, issuer, clock)

    assert list(events) == []
    assert not guard.connections._by_key


def test_an_async_stream_of_django_ends_at_the_moment_its_token_does(
    guard: Guard, issuer: StandIn, clock: FakeClock
) -> None:
    """Although its next event would never come."""
    left: list[str] = []

    async def forever() -> AsyncIterator[bytes]:
        try:
            yield EVENTS[0]
            await asyncio.Event().wait()
        finally:
            left.append("the application's own end")

    @on_django.requires(guard, scopes=["orders:read"])
    async def events(_: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(forever(), content_type="text/event-stream")

    async def story() -> list[bytes]:
        edge = django_edge(guard, events)
        response = await edge(AsyncRequestFactory().get("/events", headers=issuer.bearer()))
        seen = []
        async with asyncio.timeout(60):
            async for event in response.streaming_content:
                seen.append(event)
                issuer.revoke(sid="session-1")
                issuer.trust_in(guard)
        response.close()
        return seen

    assert asyncio.run(story()) == [EVENTS[0]]
    assert left == ["the application's own end"]
    assert not guard.connections._by_key


def test_other_answers_are_handed_on_as_they_are(guard: Guard, issuer: StandIn) -> None:
    """A server may know a quicker way for what an application returns (`wsgi.file_wrapper`)."""
    parts = iter([b"a", b"b"])

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return parts

    guarded = GuardMiddleware(app, guard=guard, requirement=guard.requires())
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "HTTP_AUTHORIZATION": issuer.bearer()["Authorization"],
    }

    assert guarded(environ, lambda *_: None) is parts  # type: ignore[arg-type,misc,return-value]
