"""Attack rows 84 to 91: what was authorized is what is sent on, and what could be read in two ways is refused."""

from __future__ import annotations

import pytest

from portero.core.policy.path import normal_path
from tests.gateway.world import World

REFUSED = [
    "/api/orders/../admin",
    "/api/orders/%2e%2e/admin",
    "/api/orders/%2E./admin",
    "/api/./admin",
    "/api/orders/..;x=1/admin",
    "/api/health/../admin",
    "/api/health/..",
    "//api/admin",
    "/api//admin",
    "/api/health%2f..%2fadmin",
    "/api%2Fadmin",
    "/api%5cadmin",
    "/api\\admin",
    "/api/health/..\\admin",
    "/api/%252e%252e/admin",
    "/api/%2561dmin",
    "/api/admin%00",
    "/api/admin%0d%0aX: 1",
    "/api/%c0%ae%c0%ae/admin",
    "/api/%ff",
    "/api/admin%",
    "/api/admin%zz",
]


@pytest.mark.attack(row=84)
@pytest.mark.attack(row=85)
@pytest.mark.parametrize("target", REFUSED)
def test_an_ambiguous_path_is_refused(gateway: World, target: str) -> None:
    """400 before anything is decided, with the best of tokens; no service sees it."""
    token = gateway.token(roles=["admin", "manager"], scope="orders:read orders:write files:read")

    assert gateway.gateway.request("GET", target, token=token).status == 400
    assert gateway.seen == []


@pytest.mark.attack(row=86)
@pytest.mark.parametrize(
    "target", ["/api/health#/../admin", "/api/admin#/health", "/api/health?x#y", "#", "/api/health%23"]
)
def test_a_fragment_is_no_part_of_a_request(gateway: World, target: str) -> None:
    """RFC 9112 §3.2: raw `#` is 400. Encoded it is a character of the path like any other."""
    assert gateway.gateway.request("GET", target).status == (403 if target.endswith("%23") else 400)
    assert gateway.seen == []


@pytest.mark.attack(row=87)
@pytest.mark.parametrize(
    "target",
    ["/api/admin?/api/health", "/api/admin?/health", "/api/orders?x=/api/health", "/api/admin?a=b&/api/health"],
)
def test_the_query_is_no_part_of_the_match(gateway: World, target: str) -> None:
    """An open route's name behind the question mark opens nothing."""
    assert gateway.gateway.request("GET", target).status == 401
    assert gateway.seen == []


@pytest.mark.attack(row=88)
@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/api/orders", "/orders"),
        ("/api/orders/api/", "/orders/api/"),
        ("/api/api/orders", None),
        ("/api/orders/5?next=/api/admin", "/orders/5?next=/api/admin"),
        ("/api/files/api/admin", "/files/api/admin"),
        ("/api/caf%c3%a9", "/caf%C3%A9"),
        ("/stock/open/stock", "/open/stock"),
    ],
)
def test_the_path_that_is_sent_is_the_one_that_was_decided(gateway: World, target: str, sent: str | None) -> None:
    """The prefix is taken off once, and nothing else changes."""
    answer = gateway.gateway.request("GET", target, token=gateway.token(scope="orders:read files:read"))

    assert answer.status == (403 if sent is None else 200)
    assert [seen.target for seen in gateway.seen] == ([] if sent is None else [sent])


@pytest.mark.attack(row=89)
@pytest.mark.parametrize("char", ["%3b", "%25", "%3f", "%23", "%3F", "%2523", ";", "|", "^", "%7e", "%41", "%2C"])
def test_reserved_characters_mean_one_thing(gateway: World, char: str) -> None:
    """Either refused, or sent on in the normal form in which it was decided."""
    target = f"/api/files/a{char}b"
    answer = gateway.gateway.request("GET", target, token=gateway.token(scope="files:read"))

    assert answer.status in (200, 400)
    assert len(gateway.seen) == (answer.status == 200)
    for seen in gateway.seen:
        assert "/api" + seen.target == normal_path(target.encode())


@pytest.mark.attack(row=90)
@pytest.mark.parametrize(
    "target", ["/API/health", "/api/HEALTH", "/api/Health", "/api/health%C2%A0", "/api/%EF%BD%88ealth"]
)
def test_letters_are_not_folded(gateway: World, target: str) -> None:
    """Another case, a wide letter, a space that looks like none: another path, and nobody's."""
    assert gateway.gateway.request("GET", target, token=gateway.token()).status == 403
    assert gateway.seen == []


@pytest.mark.attack(row=90)
@pytest.mark.parametrize("target", ["/api/%68ealth", "/api/caf%C3%a9", "/api/caf%c3%A9"])
def test_the_case_of_an_escape_changes_nothing(gateway: World, target: str) -> None:
    """RFC 3986 §6.2.2: one path, decided and sent on in its normal form."""
    assert gateway.gateway.request("GET", target).status == 200
    assert "/api" + gateway.orders.seen[0].target == normal_path(target.encode())


@pytest.mark.attack(row=91)
@pytest.mark.parametrize("target", ["/api/orders/5/items", "/api/health/deep", "/api/orders/5/refund/x"])
def test_a_route_that_says_nothing_is_not_open(gateway: World, target: str) -> None:
    """Below a route that is open, or that asks for something: the service's default decides, and it denies."""
    assert gateway.gateway.request("GET", target).status == 403
    assert gateway.gateway.request("GET", target, token=gateway.token()).status == 403
    assert gateway.seen == []
