"""Attack rows 69 to 81: who is calling, the gateway alone says. What a service saw was authorized as itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portero.core.jose import base64url
from portero.testing.tokens import new_key
from tests.gateway.engines import Answer
from tests.gateway.world import ORDERS, World

NAMES = ["X-User-Id", "X-Portero-Subject", "X-Auth-Request-Email", "Remote-User", "X-Consumer-Username", "X-JWT-Claims"]


def raw(world: World, head: list[str], body: bytes = b"") -> Answer:
    return world.gateway.exchange(("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body)


def subjects_of(world: World) -> list[str]:
    """Who the services were told is calling."""
    tokens = [value.split(" ")[1] for seen in world.seen for value in seen.values("authorization")]
    return [json.loads(base64url.decode(token.split(".")[1]))["sub"] for token in tokens]


@pytest.mark.attack(row=69)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("path", "with_token"), [("/api/orders/5", True), ("/api/health", False), ("/api/recent", True)]
)
def test_an_identity_header_never_passes(gateway: World, name: str, path: str, with_token: bool) -> None:
    """On every branch: where Envoy decides, where the Guard does, and where nobody is asked."""
    token = gateway.token() if with_token else None
    assert gateway.gateway.request("GET", path, token=token, headers={name: "admin"}).status == 200

    (seen,) = gateway.orders.seen
    assert "admin" not in [value for _, value in seen.headers]


@pytest.mark.attack(row=70)
def test_a_claim_that_is_missing_leaves_no_header_behind(gateway: World) -> None:
    """A token without `sid`: what the caller sent under such a name is gone, not kept for want of a better."""
    names = {"x-portero-0-sid": "other", "x-portero-subject": "admin", "x-portero-scope": "orders:write"}
    answer = gateway.gateway.request("GET", "/api/orders/5", token=gateway.token(sid=None), headers=names)

    assert answer.status == 200
    (seen,) = gateway.orders.seen
    assert [name for name, _ in seen.headers if name.startswith("x-portero")] == []


@pytest.mark.attack(row=70)
@pytest.mark.attack(row=79)
def test_headers_cannot_stand_in_for_claims(gateway: World) -> None:
    """Scope, client and token id are believed from a verified token only."""
    names = {"x-portero-scope": "orders:read", "x-portero-0-jti": "1", "x-portero-0-client-id": "c"}

    weak = gateway.gateway.request("GET", "/api/orders", token=gateway.token(scope="x"), headers=names)
    none = gateway.gateway.request("GET", "/api/orders", headers=names)
    assert (weak.status, none.status, gateway.seen) == (403, 401, [])


@pytest.mark.attack(row=71)
def test_no_copy_of_a_repeated_header_survives(gateway: World) -> None:
    """A reader that takes the first, and one that takes the last, see nothing of the caller's."""
    answer = raw(
        gateway,
        ["GET /api/orders/5 HTTP/1.1", "Host: a", "X-User-Id: admin", f"Authorization: Bearer {gateway.token()}",
         "X-User-Id: root"],
    )  # fmt: skip

    assert answer.status == 200
    assert gateway.orders.seen[0].values("x-user-id") == []
    assert len(gateway.orders.seen[0].values("authorization")) == 1


@pytest.mark.attack(row=72)
@pytest.mark.parametrize("name", ["X_User_Id", "x_user-id", "X_PORTERO_SUBJECT", "Authorization_"])
def test_a_name_with_an_underscore_is_refused(gateway: World, name: str) -> None:
    """400: WSGI and CGI servers would read it as the other name."""
    assert gateway.gateway.request("GET", "/api/health", headers={name: "admin"}).status == 400
    assert gateway.seen == []


@pytest.mark.attack(row=73)
@pytest.mark.parametrize("name", ["x-USER-id", "X-uSeR-iD", "x-PORTERO-subject"])
def test_any_case_is_the_same_name(gateway: World, name: str) -> None:
    """RFC 9110 §5.1."""
    assert gateway.gateway.request("GET", "/api/health", headers={name: "admin"}).status == 200
    assert gateway.orders.seen[0].values(name.lower()) == []


@pytest.mark.attack(row=74)
@pytest.mark.parametrize("named", ["authorization", "Authorization, x-request-id", "close, AUTHORIZATION"])
def test_connection_cannot_take_off_what_the_gateway_sets(gateway: World, named: str) -> None:
    """What names itself hop-by-hop is taken off before, never after."""
    answer = gateway.gateway.request(
        "GET", "/api/orders/5", token=gateway.token(), headers={"connection": named, "x-user-id": "admin"}
    )

    # Refused, or served with the caller that was verified: never served without one.
    assert answer.status in (200, 400, 401)
    assert len(subjects_of(gateway)) == len(gateway.seen)
    assert set(subjects_of(gateway)) <= {"alice"}


@pytest.mark.attack(row=75)
@pytest.mark.parametrize("value", ["user,admin", "user, admin", "admin"])
def test_roles_in_a_header_are_no_roles(gateway: World, value: str) -> None:
    """However many are in it."""
    headers = {"role": value, "roles": value, "x-roles": value, "x-portero-roles": value}
    answer = gateway.gateway.request("GET", "/api/admin", token=gateway.token(roles=["user"]), headers=headers)

    assert (answer.status, gateway.seen) == (403, [])


@pytest.mark.attack(row=76)
@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-uri": "/api/health"},
        {"x-original-url": "/api/health"},
        {"x-rewrite-url": "/api/health"},
        {"x-envoy-original-path": "/api/health"},
        {"x-forwarded-prefix": "/stock/open"},
        {"x-http-method-override": "OPTIONS"},
        {"x-forwarded-host": "other.test", "forwarded": "host=other.test;for=127.0.0.1"},
    ],
)
def test_where_a_request_goes_is_what_it_asked_for(gateway: World, headers: dict[str, str]) -> None:
    """Forged routing headers decide nothing, and do not arrive."""
    refused = gateway.gateway.request("GET", "/api/admin", token=gateway.token(), headers=headers)
    served = gateway.gateway.request("GET", "/api/health", headers=headers)

    assert (refused.status, served.status) == (403, 200)
    arrived = [value for _, value in gateway.orders.seen[0].headers]
    assert not set(headers.values()) & set(arrived)


@pytest.mark.attack(row=76)
def test_where_a_request_came_from_is_what_the_gateway_saw(gateway: World) -> None:
    """No list to append to."""
    forged = {"x-forwarded-for": "10.0.0.1", "x-real-ip": "10.0.0.1", "x-forwarded-proto": "gopher"}
    assert gateway.gateway.request("GET", "/api/health", headers=forged).status == 200

    (seen,) = gateway.orders.seen
    assert seen.values("x-forwarded-for") == ["127.0.0.1"]
    assert seen.values("x-forwarded-proto") == ["http"]
    assert seen.values("x-real-ip") == []


@pytest.mark.attack(row=77)
@pytest.mark.parametrize("agent", ["ELB-HealthChecker/2.0", "GoogleHC/1.0", "kube-probe/1.30", "Envoy/HC"])
def test_a_health_checkers_name_opens_nothing(gateway: World, agent: str) -> None:
    """Nor does any other header of theirs."""
    headers = {"user-agent": agent, "x-envoy-internal": "true", "x-health-check": "1"}

    assert gateway.gateway.request("GET", "/api/orders", headers=headers).status == 401
    assert gateway.seen == []


@pytest.mark.attack(row=78)
@pytest.mark.parametrize("subject", ["a\r\nX-Admin: 1", "a\nX-Admin: 1", "a\x00b", "jos\u00e9 \u2603", '"},{"'])
@pytest.mark.parametrize("path", ["/api/orders/5", "/api/recent"])
def test_a_claim_cannot_write_headers(gateway: World, subject: str, path: str) -> None:
    """Special bytes in a claim end in no header of their own."""
    answer = gateway.gateway.request("GET", path, token=gateway.token(sub=subject))

    assert answer.status in (200, 401, 400)
    for seen in gateway.seen:
        assert seen.values("x-admin") == []
        assert {name for name, _ in seen.headers} <= {
            "host", "authorization", "x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
            "traceparent", "connection", "via",
        }  # fmt: skip


@pytest.mark.attack(row=79)
@pytest.mark.parametrize("path", ["/api/health", "/stock/open/x"])
def test_claims_that_nobody_verified_are_not_handed_on(gateway: World, path: str) -> None:
    """A public route with a forged token: the service is told nothing about its caller."""
    forged = gateway.server.issuer.tokens.mint(key=new_key(kid="key-1"), aud=ORDERS, sub="admin")
    assert gateway.gateway.request("GET", path, token=forged).status == 200

    (seen,) = gateway.seen
    named = [value for name, value in seen.headers if name != "authorization"]
    assert "admin" not in " ".join(named)


@pytest.mark.attack(row=80)
def test_a_token_on_an_open_route_reaches_no_service_in_the_gateway_layout(asserting: World) -> None:
    """There the only Authorization a service ever sees is the gateway's."""
    assert asserting.gateway.request("GET", "/api/health", token=asserting.token()).status == 200

    assert asserting.orders.seen[0].values("authorization") == []


@pytest.mark.attack(row=81)
def test_no_token_is_in_the_log_or_in_an_answer(gateway: World) -> None:
    """Served and refused, in the header, the query and the cookie."""
    secrets: list[str] = []
    answers: list[Answer] = []
    cases: list[tuple[str, dict[str, Any]]] = [
        ("/api/orders/5", {}), ("/api/orders/5", {"exp": 1}), ("/api/recent", {"auth_time": 1}), ("/api/admin", {}),
    ]  # fmt: skip
    for path, changes in cases:
        token = gateway.token(**changes)
        secrets += token.split(".")[1:]
        answers.append(gateway.gateway.request("GET", path, token=token))
        answers.append(gateway.gateway.request("GET", f"{path}?access_token={token}"))
        answers.append(gateway.gateway.request("GET", path, headers={"cookie": f"access={token}"}))
    gateway.gateway.request("GET", "/api/health?marker=logged")

    log = gateway.gateway.wait_for_log(b'"/health"', b'"/api/health"')
    said = log + b"".join(answer.body + repr(answer.headers).encode() for answer in answers)
    assert [secret for secret in secrets if secret.encode() in said] == []
    assert b"marker" not in said
