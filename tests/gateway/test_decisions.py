"""What a gateway decides and hands on, whatever its engine and layout (design §3.4 to §3.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portero.core.jose import base64url
from portero.testing.tokens import new_key
from tests.gateway.world import ORDERS, PAGE, STOCK, World

PROBLEM = "application/problem+json"


def claims_of(authorization: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64url.decode(authorization.split(" ")[1].split(".")[1]))
    return document


def test_a_good_token_reaches_the_service(gateway: World) -> None:
    """Path without its prefix, and one Authorization: the token's, or an assertion for this service."""
    answer = gateway.gateway.request("GET", "/api/orders/5?full=1", token=gateway.token())

    assert answer.status == 200
    (seen,) = gateway.orders.seen
    assert (seen.method, seen.target) == ("GET", "/orders/5?full=1")
    (authorization,) = seen.values("authorization")
    assert claims_of(authorization)["aud"] == ORDERS
    assert claims_of(authorization)["sid"] == "session-1"


def test_an_assertion_is_not_the_token(asserting: World) -> None:
    """The service never sees what the caller could use elsewhere; who calls and for whom stands in it."""
    asserting.forget()
    token = asserting.token()
    asserting.gateway.request("GET", "/api/orders/5", token=token)

    raw = asserting.orders.seen[-1].raw.decode()
    assert token not in raw
    assert token.split(".")[2] not in raw
    claims = claims_of(asserting.orders.seen[-1].values("authorization")[0])
    assert claims["iss"] == f"http://127.0.0.1:{asserting.gateway.port}"
    assert claims["sub_id"] == {"format": "iss_sub", "iss": asserting.server.url, "sub": "alice"}


def test_the_keys_of_assertions_are_published(asserting: World) -> None:
    """On the gateway's own listener; no private member is among them."""
    answer = asserting.gateway.request("GET", "/.well-known/portero-gateway/jwks.json")

    (key,) = json.loads(answer.body)["keys"]
    assert answer.status == 200
    assert key["kty"] == "EC"
    assert "d" not in key


@pytest.mark.parametrize(
    ("changes", "error", "word"),
    [
        ({"exp": 1000}, "invalid_token", "expired"),
        ({"aud": "https://other.test"}, "invalid_token", "audience"),
        ({"iss": "https://other.test"}, "invalid_token", "issuer"),
        ({"sub": None}, "invalid_token", ""),
        ({"jti": None}, "invalid_token", ""),
        ({"client_id": None}, "invalid_token", ""),
        ({"exp": None}, "invalid_token", ""),
        ({"cnf": {"jkt": "thumb"}}, "invalid_token", "bound"),
    ],
)
def test_a_token_that_will_not_do_is_401_and_says_why(
    gateway: World, changes: dict[str, Any], error: str, word: str
) -> None:
    """With a problem document and a challenge, and the service is not asked."""
    answer = gateway.gateway.request("GET", "/api/orders/5", token=gateway.token(**changes))

    challenge = answer.header("www-authenticate") or ""
    assert answer.status == 401
    assert answer.problem["error"] == error
    assert f'error="{error}"' in challenge
    assert word in challenge
    assert 'resource_metadata="https://shop.test/.well-known/oauth-protected-resource/orders"' in challenge
    assert gateway.seen == []


def test_no_token_is_401_without_an_error(gateway: World) -> None:
    """RFC 6750 §3.1."""
    answer = gateway.gateway.request("GET", "/api/orders/5")

    assert answer.status == 401
    assert "error" not in answer.problem
    assert "error=" not in (answer.header("www-authenticate") or "")


@pytest.mark.parametrize("header", [{"typ": "logout+jwt"}, {"typ": "JWT"}, {"typ": None}])
def test_another_kind_of_token_is_refused(gateway: World, header: dict[str, Any]) -> None:
    """RFC 9068 §4: signed by the same key, for another purpose."""
    token = gateway.server.issuer.tokens.mint(header=header, aud=ORDERS, scope="orders:read")

    assert gateway.gateway.request("GET", "/api/orders/5", token=token).status == 401
    assert gateway.seen == []


def test_a_forged_signature_is_refused(gateway: World) -> None:
    """The issuer's kid, somebody else's key."""
    forged = gateway.server.issuer.tokens.mint(key=new_key(kid=gateway.server.issuer.keys[0].kid), aud=ORDERS)

    assert gateway.gateway.request("GET", "/api/orders/5", token=forged).status == 401
    assert gateway.seen == []


@pytest.mark.parametrize(
    ("method", "path", "changes", "status"),
    [
        ("GET", "/api/orders", {}, 200),
        ("GET", "/api/orders/", {}, 200),
        ("HEAD", "/api/orders", {}, 200),
        ("GET", "/api/orders", {"scope": "orders"}, 403),
        ("GET", "/api/orders", {"scope": "xorders:read orders:readx"}, 403),
        ("GET", "/api/orders", {"scope": "a orders:read b"}, 200),
        ("POST", "/api/orders", {}, 403),
        ("POST", "/api/orders/5/refund", {"scope": "orders:write"}, 403),
        ("POST", "/api/orders/5/refund", {"scope": "orders:write", "roles": ["manager"]}, 200),
        ("POST", "/api/orders/5/refund", {"scope": "orders:write", "roles": ["managers"]}, 403),
        ("GET", "/api/audit", {"scope": "orders:audit"}, 200),
        ("GET", "/api/audit", {"roles": ["auditor"]}, 200),
        ("GET", "/api/audit", {}, 403),
        ("DELETE", "/api/files/a/b", {"scope": "files:write"}, 200),
        ("GET", "/api/files/a", {"scope": "files:read"}, 200),
        ("GET", "/api/files", {"scope": "files:read"}, 403),
        ("GET", "/api/recent", {}, 200),
        ("GET", "/api/recent", {"auth_time": 1000}, 401),
        ("GET", "/api/strong", {}, 401),
        ("GET", "/api/strong", {"acr": "phr"}, 200),
        ("GET", "/api/unnamed", {}, 403),
        ("GET", "/elsewhere", {}, 403),
        ("GET", "/apix/orders", {}, 403),
        ("GET", "/stock/unnamed", {"aud": STOCK}, 200),
        ("GET", "/stock/unnamed", {}, 401),
        ("GET", "/stock", {"aud": STOCK}, 200),
    ],
)
def test_each_route_asks_for_what_the_manifest_says(
    gateway: World, method: str, path: str, changes: dict[str, Any], status: int
) -> None:
    """And what is not served is not seen by any service."""
    answer = gateway.gateway.request(method, path, token=gateway.token(**changes))

    assert answer.status == status
    assert len(gateway.seen) == (status == 200)


def test_a_missing_scope_is_named(gateway: World) -> None:
    """RFC 6750 §3.1: the scopes a client would have to ask for."""
    answer = gateway.gateway.request("GET", "/api/orders", token=gateway.token(scope="x"))

    assert answer.problem["scope"] == "orders:read"
    assert 'scope="orders:read"' in (answer.header("www-authenticate") or "")


def test_a_browser_of_a_listed_origin_may_read_a_refusal(gateway: World) -> None:
    """Otherwise it sees a network error and no refresh ever starts."""
    answer = gateway.gateway.request("GET", "/api/orders", headers={"origin": PAGE})
    other = gateway.gateway.request("GET", "/api/orders", headers={"origin": "https://evil.test"})

    assert answer.header("access-control-allow-origin") == PAGE
    assert "WWW-Authenticate" in (answer.header("access-control-expose-headers") or "")
    assert other.header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": PAGE, "x-portero": "1"}, 200),
        ({"origin": "https://evil.test", "x-portero": "1"}, 401),
        ({"origin": PAGE}, 401),
        ({"x-portero": "1", "sec-fetch-site": "same-origin"}, 200),
        ({"x-portero": "1"}, 401),
    ],
)
def test_a_cookie_counts_from_our_page_only(gateway: World, headers: dict[str, str], status: int) -> None:
    """Exact origin and the header that no other page can send; the cookie itself goes no further."""
    cookie = f"theme=dark; access={gateway.token()}"
    answer = gateway.gateway.request("GET", "/api/by-cookie", headers={**headers, "cookie": cookie})

    assert answer.status == status
    for seen in gateway.orders.seen:
        assert seen.values("cookie") == ["theme=dark"]
        assert len(seen.values("authorization")) == 1


def test_a_cookie_is_no_token_elsewhere(gateway: World) -> None:
    """Only routes that say so."""
    headers = {"origin": PAGE, "x-portero": "1", "cookie": f"access={gateway.token()}"}

    assert gateway.gateway.request("GET", "/api/orders", headers=headers).status == 401


def test_a_session_that_ended_is_refused(gateway: World) -> None:
    """As soon as the feed says so; another session goes on."""
    sid = f"lost-{gateway.gateway.port}"
    lost, kept = gateway.token(sid=sid), gateway.token(sid=f"{sid}-not")
    assert gateway.gateway.request("GET", "/api/orders", token=lost).status == 200
    gateway.server.issuer.revoke(sid=sid)
    while (answer := gateway.gateway.request("GET", "/api/orders", token=lost)).status == 200:
        pass

    assert answer.status == 401
    assert answer.problem["detail"] == "The access token was revoked."
    assert gateway.gateway.request("GET", "/api/orders", token=kept).status == 200
    assert gateway.gateway.request("GET", "/api/orders", token=lost).status == 401


def test_the_resource_says_where_tokens_come_from(gateway: World) -> None:
    """RFC 9728, on the gateway's listener."""
    answer = gateway.gateway.request("GET", "/.well-known/oauth-protected-resource/orders")

    assert json.loads(answer.body)["authorization_servers"] == [gateway.server.url]


def test_metrics_and_readiness_have_the_same_names(gateway: World) -> None:
    """Whatever the engine."""
    status, body = gateway.gateway.ask("/metrics")

    assert status == 200
    assert b"portero_gateway_ready 1" in body
    assert b'portero_gateway_responses_total{class="2xx"}' in body
    assert b"portero_gateway_revocations{" in body
    assert gateway.gateway.ask("/livez")[0] == 200
