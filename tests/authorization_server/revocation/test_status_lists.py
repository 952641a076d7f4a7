"""Status lists over ASGI: a session's bit from sign-in to sign-out."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from portero.authorization_server import status_indexes
from portero.authorization_server.config import Config
from portero.authorization_server.status_indexes import BLOCK, StatusIndexes
from portero.core.jose.base64url import decode
from portero.core.revocation.status_list import COUNTER, LIST_SIZE
from portero.core.transitions import CounterKey
from tests.authorization_server.back_channel import ISSUER, POST_CLIENT, SECRET, SPA, BackChannel, claims_of


@pytest.fixture
def listing() -> Iterator[BackChannel]:
    """A server with status lists."""
    with asyncio.Runner() as runner:
        yield BackChannel(runner, Config(issuer=ISSUER, access_token_jitter=0, status_list=True))


def place(token: str) -> dict[str, Any]:
    found: dict[str, Any] = claims_of(token)["status"]["status_list"]
    return found


def bit(server: BackChannel, where: dict[str, Any]) -> int:
    """Fetch the list as a stranger's verifier does, and look at the bit."""
    server.clock.advance(1)
    seen = server.get(where["uri"].removeprefix(ISSUER))
    assert seen.status == 200, seen.body
    claims = server.key_ring.verify_own(seen.body.decode(), typ="statuslist+jwt")
    assert claims["sub"] == where["uri"]
    array = zlib.decompress(decode(claims["status_list"]["lst"]))
    return array[where["idx"] // 8] >> where["idx"] % 8 & 1


def test_a_session_s_bit_is_set_when_it_ends(listing: BackChannel) -> None:
    """And no other's: a refresh names the same place, another session another."""
    mine = listing.signed_in()
    refreshed = listing.refresh(mine["refresh_token"]).json
    secret = {"client_id": POST_CLIENT.client_id, "client_secret": SECRET}
    others = listing.post("/token", {**listing.exchange_form(POST_CLIENT), **secret}).json
    before = [bit(listing, place(tokens["access_token"])) for tokens in (mine, others)]
    listing.post("/revoke", {"token": refreshed["refresh_token"], "client_id": SPA.client_id})
    after = [bit(listing, place(tokens["access_token"])) for tokens in (mine, others)]

    assert place(refreshed["access_token"]) == place(mine["access_token"])
    assert (before, after) == ([0, 0], [1, 0])


def test_a_list_is_signed_typed_and_cacheable(listing: BackChannel) -> None:
    """§8.1: the media type; §5.1: the `typ`; signed with a published key."""
    where = place(listing.signed_in()["access_token"])
    seen = listing.get(where["uri"].removeprefix(ISSUER))

    assert seen.header("content-type") == "application/statuslist+jwt"
    assert seen.header("cache-control") == "public, max-age=60"
    assert seen.header("access-control-allow-origin") == "*"
    assert listing.key_ring.verify_own(seen.body.decode(), typ="statuslist+jwt")["exp"] == listing.now() + 600


def test_the_lists_are_named(listing: BackChannel) -> None:
    """§9: the metadata names the endpoint that names the lists."""
    listing.signed_in()
    endpoint = listing.get("/.well-known/oauth-authorization-server").json["status_list_aggregation_endpoint"]

    assert listing.get(endpoint.removeprefix(ISSUER)).json == {"status_lists": [f"{ISSUER}/status-lists/0"]}


@pytest.mark.parametrize("name", ["1", "-1", "00", "0x", "999999999999", "%00"])
def test_other_lists_are_not_there(listing: BackChannel, name: str) -> None:
    """Past the last index given out, or no number: 404, never a 5xx."""
    listing.signed_in()

    assert listing.get(f"/status-lists/{name}").status == 404


def test_an_index_is_given_once(listing: BackChannel) -> None:
    """By any server, before and after a restart; a refused code takes none."""
    one, other = StatusIndexes(listing.context), StatusIndexes(listing.context)

    async def taken() -> list[int]:
        return [await indexes.take() for _ in range(BLOCK + 1) for indexes in (one, other)]

    indexes = listing.run(taken())
    assert len(set(indexes)) == len(indexes)
    assert sorted(indexes) != indexes
    assert max(indexes) < listing.run(listing.store.read(CounterKey(COUNTER))) < LIST_SIZE


def test_a_code_that_is_refused_uses_up_no_index(listing: BackChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guesser does not fill lists."""
    monkeypatch.setattr(status_indexes, "BLOCK", 4)
    for _ in range(10):
        listing.post("/token", {"grant_type": "authorization_code", "code": "x", "client_id": SPA.client_id})
    listing.signed_in()

    assert listing.run(listing.store.read(CounterKey(COUNTER))) == 4


def test_without_the_setting_there_is_nothing_of_it(server: BackChannel) -> None:
    """Off by default: no claim, no endpoint, no metadata."""
    tokens = server.signed_in()

    assert "status" not in claims_of(tokens["access_token"])
    assert server.get("/status-lists/0").status == 404
    assert "status_list_aggregation_endpoint" not in server.get("/.well-known/oauth-authorization-server").json
