"""A token that is known is served at once (decision 0250), and only where the full path would serve it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from portero.core.policy.credentials import token_of_header
from portero.resource_server import Guard, Principal
from portero.resource_server.asgi import GuardMiddleware, admit_known, principal_of
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE

Headers = list[tuple[bytes, bytes]]


def scope_of(headers: Headers, query: bytes = b"") -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/orders", "headers": headers, "query_string": query}


@pytest.fixture
def token(guard: Guard, issuer: InMemoryIssuer) -> bytes:
    """A token the Guard has verified already."""
    token = issuer.mint(scope="orders:read", sid="session-1").encode()
    assert isinstance(guard.admit(token, guard.requires()), Principal)
    guard.started = True  # by hand: nothing shall ask for the network here
    return token


def serve(guard: Guard, headers: Headers, query: bytes = b"") -> int:
    """The status of one request to an application that needs `orders:read`."""
    statuses = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        assert principal_of(scope).sid == "session-1"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    async def receive() -> Any:
        raise AssertionError("nobody reads")

    guarded = GuardMiddleware(app, guard=guard, requirement=guard.requires(scopes=["orders:read"]))
    asyncio.run(guarded(scope_of(headers, query), receive, send))
    return int(statuses[0])


def test_a_known_token_is_decided_about_at_once(guard: Guard, token: bytes) -> None:
    """Without it, all other tests here would say nothing."""
    scope = scope_of([(b"host", b"shop"), (b"authorization", b"Bearer " + token)])

    assert isinstance(admit_known(guard, scope, guard.requires(scopes=["orders:read"])), Principal)


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        (lambda token: [(b"authorization", b"Bearer " + token)], b"", 200),
        (lambda token: [(b"authorization", b"Bearer " + token)], b"page=2&is_token=0", 200),
        (lambda token: [(b"authorization", b"bearer  " + token)], b"", 200),
        (lambda token: [(b"authorization", b"Bearer " + token)] * 2, b"", 400),
        (lambda token: [(b"authorization", b"Bearer " + token), (b"authorization", b"Basic eA==")], b"", 400),
        (lambda token: [(b"authorization", b"Basic eA=="), (b"authorization", b"Bearer " + token)], b"", 400),
        (lambda token: [(b"authorization", b"Bearer " + token + b", Bearer x")], b"", 400),
        (lambda token: [(b"authorization", b"Bearer " + token)], b"a=1&access%5Ftoken=x", 400),
        (lambda token: [(b"authorization", token)], b"", 401),
        (lambda token: [(b"authorization", b"DPoP " + token)], b"", 401),
        (lambda token: [(b"x-authorization", b"Bearer " + token)], b"", 401),
    ],
)
def test_a_known_token_does_not_excuse_the_request_around_it(
    guard: Guard, token: bytes, headers: Callable[[bytes], Headers], query: bytes, status: int
) -> None:
    """RFC 6750 §2, §3.1: a second credential, or another scheme, is refused whether the token is known or not."""
    assert serve(guard, headers(token), query) == status


def test_only_what_reads_as_the_token_is_found(guard: Guard, token: bytes) -> None:
    """Whatever header value is known, reading it the long way gives the verified token itself."""
    requirement = guard.requires()
    tries = [
        scheme + token + end for scheme in (b"", b"Bearer ", b"Bearer  ", b"bearer ", b"DPoP ") for end in (b"", b" ")
    ]

    found = [value for value in tries if guard.admit_known(value, requirement) is not None]

    assert [b"Bearer " + token] == found
    assert token_of_header(found[0]) == token


def test_a_guard_that_was_stopped_looks_again(guard: Guard, token: bytes) -> None:
    """Nobody follows the feed for it any more: what it knew must not be served without starting anew."""
    scope = scope_of([(b"authorization", b"Bearer " + token)])
    asyncio.run(guard.aclose())

    assert admit_known(guard, scope, guard.requires()) is None


@pytest.mark.parametrize("over", ["expired", "revoked"])
def test_what_was_learned_ends_at_once(
    guard: Guard, issuer: InMemoryIssuer, clock: FakeClock, token: bytes, over: str
) -> None:
    """`exp` and revocations are asked at each hit: nothing is decided at once from then on."""
    requirement, in_header = guard.requires(), b"Bearer " + token
    assert guard.admit_known(in_header, requirement) is not None

    if over == "expired":
        clock.advance(300 + 60)
    else:
        issuer.revoke(sid="session-1")
        issuer.trust_in(guard)

    assert guard.admit_known(in_header, requirement) is None
    assert serve(guard, [(b"authorization", in_header)]) == 401


def test_what_was_learned_ends_with_the_key(issuer: InMemoryIssuer, clock: FakeClock) -> None:
    """A key that is gone takes what it verified with it, where no feed says so, too."""
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, clock=clock)
    issuer.trust_in(guard)
    requirement, token = guard.requires(), issuer.mint().encode()
    guard.admit(token, requirement)
    assert guard.admit_known(b"Bearer " + token, requirement) is not None

    issuer.rotate(keep_old=False)
    issuer.trust_in(guard)

    assert guard.admit_known(b"Bearer " + token, requirement) is None


def test_another_revocation_makes_it_look_once(guard: Guard, issuer: InMemoryIssuer, token: bytes) -> None:
    """A newer state of the feed means one look, not an empty cache."""
    issuer.revoke(sid="another-session")
    issuer.trust_in(guard)
    assert guard.admit_known(b"Bearer " + token, guard.requires()) is None

    assert serve(guard, [(b"authorization", b"Bearer " + token)]) == 200

    assert guard.admit_known(b"Bearer " + token, guard.requires()) is not None


def test_a_known_token_is_judged_at_each_route(guard: Guard, token: bytes) -> None:
    """A hit answers for the token, never for what the route asks of it."""
    in_header = b"Bearer " + token

    assert isinstance(guard.admit_known(in_header, guard.requires(scopes=["orders:read"])), Principal)
    for what in ({"scopes": ["orders:write"]}, {"roles": ["manager"]}, {"acr": ["mfa"]}, {"claims": {"tenant": "a"}}):
        assert not isinstance(guard.admit_known(in_header, guard.requires(**what)), Principal)  # type: ignore[arg-type] # keywords of `requires`


def test_what_tokens_say_alike_is_kept_once(guard: Guard, issuer: InMemoryIssuer) -> None:
    """All cached tokens hold one text for their issuer, audience, client and scope; what they say is unchanged."""
    names = ("iss", "aud", "client_id", "scope")
    said = [issuer.tokens.claims(jti=jti, amr=["pwd"]) for jti in ("one", "another")]
    first, second = (guard.admit(issuer.tokens.compose({}, claims).encode(), guard.requires()) for claims in said)
    assert isinstance(first, Principal)
    assert isinstance(second, Principal)

    assert said == [dict(first.claims), dict(second.claims)]
    assert [name for name in names if first.claims[name] is not second.claims[name]] == []
    assert first.issuer is first.claims["iss"]
    assert first.client_id is first.claims["client_id"]
    assert first.audience is second.audience
    assert first.amr is second.amr
