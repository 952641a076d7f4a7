"""`grant_type=urn:ietf:params:oauth:grant-type:token-exchange` at the token endpoint (RFC 8693)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portero.adapters.fetch.client_credentials import ServiceToken
from portero.adapters.fetch.requests import Fetched
from portero.adapters.fetch.token_exchange import ExchangeRefused, exchange_token
from portero.core.digests import sha256_of
from portero.core.transitions import Client, ClientKey
from portero.core.types import ClientId, Secret
from tests.authorization_server.back_channel import AUDIENCE, GUARD, SECRET, BackChannel, Seen, basic, claims_of

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
SHIPPING = "https://shop.example/shipping"

ORDERS = replace(
    GUARD,
    client_id=ClientId("orders-service"),
    secret_digest=sha256_of(Secret(SECRET)),
    grant_types=(EXCHANGE,),
    scope=("orders:read", "shipping:read"),
    audiences=(AUDIENCE, SHIPPING),
)


@pytest.fixture
def shop(server: BackChannel) -> BackChannel:
    server.put(ClientKey(ORDERS.client_id), ORDERS)
    return server


def exchange(server: BackChannel, token: str, *, client: Client = ORDERS, **changes: str | None) -> Seen:
    form: dict[str, str | None] = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "resource": SHIPPING,
        **changes,
    }
    kept = {name: value for name, value in form.items() if value is not None}
    return server.post("/token", kept, authorization=basic(client.client_id, SECRET))


def test_an_exchanged_token_is_narrower_and_names_who_acts(shop: BackChannel) -> None:
    """RFC 8693 §2.2.1, §4.1: another audience, scopes in common, the same person and session, `act`."""
    subject = shop.signed_in()["access_token"]

    seen = exchange(shop, subject)

    before, after = claims_of(subject), claims_of(seen.json["access_token"])
    assert seen.status == 200, seen.body
    assert seen.json["issued_token_type"] == ACCESS_TOKEN
    assert seen.json["token_type"] == "Bearer"
    assert "refresh_token" not in seen.json
    assert "id_token" not in seen.json
    assert after["aud"] == SHIPPING
    assert after["scope"] == "orders:read"
    assert after["act"] == {"sub": "orders-service"}
    assert after["client_id"] == "orders-service"
    assert [after[name] for name in ("sub", "sid", "auth_time", "acr")] == [
        before[name] for name in ("sub", "sid", "auth_time", "acr")
    ]
    assert after["jti"] != before["jti"]


def test_an_exchanged_token_never_outlives_the_one_it_came_from(shop: BackChannel) -> None:
    """The session remembers the end of the token it issued, so a revocation covers every exchange of it."""
    subject = shop.signed_in()["access_token"]
    shop.clock.advance(200)

    after = claims_of(exchange(shop, subject).json["access_token"])

    assert after["exp"] == claims_of(subject)["exp"]


def test_a_chain_of_services_tells_the_way_the_request_came(shop: BackChannel) -> None:
    """RFC 8693 §4.1: the outermost actor acts now, the inner ones acted before."""
    billing = replace(ORDERS, client_id=ClientId("shipping-service"), audiences=(SHIPPING, "https://shop.example/maps"))
    shop.put(ClientKey(billing.client_id), billing)
    first = exchange(shop, shop.signed_in()["access_token"]).json["access_token"]

    seen = exchange(shop, first, client=billing, resource="https://shop.example/maps")

    assert claims_of(seen.json["access_token"])["act"] == {"sub": "shipping-service", "act": {"sub": "orders-service"}}


def test_a_chain_has_an_end(shop: BackChannel) -> None:
    """Services that call each other in a circle are stopped, not followed."""
    token = shop.signed_in()["access_token"]
    back = {"resource": AUDIENCE}
    for _ in range(4):
        token = exchange(shop, token, **back).json["access_token"]

    seen = exchange(shop, token, **back)

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


def test_a_revoked_session_cannot_be_exchanged(shop: BackChannel) -> None:
    """Signed out means out: the subject token is looked up in the feed."""
    tokens = shop.signed_in()
    shop.post("/revoke", {"token": tokens["refresh_token"], "client_id": "spa"})

    seen = exchange(shop, tokens["access_token"])

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


def test_an_expired_token_cannot_be_exchanged(shop: BackChannel) -> None:
    """At `exp` it is over; a second before, it is not."""
    subject = shop.signed_in()["access_token"]
    life = claims_of(subject)["exp"] - shop.now()
    shop.clock.advance(life - 1)
    last = exchange(shop, subject)
    shop.clock.advance(1)

    assert [last.status, exchange(shop, subject).status] == [200, 400]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token": "x.y.z"}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"actor_token_type": ACCESS_TOKEN}, "invalid_request"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"audience": "https://elsewhere.example"}, "invalid_target"),
        ({"scope": "shipping:read"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
    ],
)
def test_what_cannot_be_exchanged_says_why(shop: BackChannel, changes: dict[str, Any], error: str) -> None:
    """RFC 8693 §2.2.2: the registered error; a scope the caller did not give is not added."""
    subject = shop.signed_in()["access_token"]

    seen = exchange(shop, subject, **changes)

    assert (seen.status, seen.json["error"]) == (400, error)


def test_a_service_trades_only_what_was_meant_for_it(shop: BackChannel) -> None:
    """A token that leaked to a service it was not for opens nothing there."""
    stranger = replace(ORDERS, client_id=ClientId("stranger"), audiences=(SHIPPING,))
    shop.put(ClientKey(stranger.client_id), stranger)
    subject = shop.signed_in()["access_token"]

    seen = exchange(shop, subject, client=stranger)

    assert (seen.status, seen.json["error"]) == (400, "invalid_request")


def test_a_client_that_is_not_registered_for_it_may_not(shop: BackChannel) -> None:
    """The grant is opted into, client by client."""
    seen = exchange(shop, shop.signed_in()["access_token"], client=GUARD)

    assert (seen.status, seen.json["error"]) == (400, "unauthorized_client")


def test_a_services_helper_and_this_server_understand_each_other(shop: BackChannel) -> None:
    """What `resource_server.calling` sends is what this endpoint reads, and the other way round."""
    subject = shop.signed_in()["access_token"]

    def asked(subject_token: str) -> ServiceToken:
        conversation = exchange_token(
            token_endpoint="https://as.example/token",
            client_id=ORDERS.client_id,
            client_secret=Secret(SECRET),
            subject_token=Secret(subject_token),
            resource=SHIPPING,
            scope="orders:read",
        )
        request = next(conversation)
        assert request.form is not None
        seen = shop.post("/token", dict(request.form), authorization=request.headers["authorization"])
        with pytest.raises(StopIteration) as end:
            conversation.send(Fetched(seen.status, {}, seen.body))
        answer: ServiceToken = end.value.value
        return answer

    exchanged = asked(subject)
    assert claims_of(exchanged.token.reveal())["aud"] == SHIPPING
    assert 0 < exchanged.expires_in <= 400
    with pytest.raises(ExchangeRefused) as refused:
        asked("no token")
    assert refused.value.error == "invalid_request"
