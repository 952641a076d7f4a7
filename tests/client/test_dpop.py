"""Tokens bound to a key of the session (behaviours 51 to 53)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx2
import orjson
import pytest

from portero.client import Auth, FileStore, NotReplayableError, SignInRequired, State
from portero.client.tokens import parse_tokens, render_tokens
from portero.core.jose.jws import unverified_payload
from tests.client.world import PLAIN, World

LATER = 1800.0
TAKES_ALL = "{}/refuses?status=200"


@pytest.mark.behaviour(51)
@pytest.mark.behaviour(52)
def test_every_request_has_a_proof_of_its_own(world: World, tmp_path: Path) -> None:
    """A fresh `jti` each, for this address and this token; the refresh is proven with the same key."""
    session = world.session(store=FileStore(tmp_path / "tokens.json"), dpop=True)
    with httpx2.Client(auth=Auth(session), **PLAIN) as http:
        for _ in range(3):
            http.post(TAKES_ALL.format(world.api), content=b"rye")
        world.advance(LATER)
        http.get(TAKES_ALL.format(world.api))

    assert all(request.headers["authorization"].startswith("DPoP ") for request in world.requests)
    claims = [orjson.loads(unverified_payload(request.headers["dpop"])) for request in world.requests]
    assert len(claims) == len({claim["jti"] for claim in claims})
    assert all("ath" in claim for claim in claims)
    assert {(f"{world.api}/refuses", "POST"), (f"{world.api}/refuses", "GET")} == {
        (claim["htu"], claim["htm"]) for claim in claims
    }
    assert world.refreshes[-1].status == 200


@pytest.mark.behaviour(52)
def test_a_client_whose_clock_is_two_hours_off_proves_by_the_servers_clock(world: World) -> None:
    """One proof is refused, the next is right."""
    session = world.session(dpop=True)
    world.clock.set_wall(world.clock.now() + 7200)
    session.refresh()

    assert [post.status for post in world.refreshes] == [400, 200]
    first, second = world.refreshes
    assert first.form == second.form


@pytest.mark.behaviour(53)
def test_a_key_that_is_lost_is_one_clean_sign_in(world: World, tmp_path: Path) -> None:
    """No loop, and no request with half a credential."""
    path = tmp_path / "tokens.json"
    world.session(store=FileStore(path), dpop=True).close()
    tokens = parse_tokens(path.read_text())
    assert tokens is not None
    path.write_text(render_tokens(replace(tokens, key=None)))
    session = world.session(store=FileStore(path), dpop=True, sign_in=False)
    with httpx2.Client(auth=Auth(session), **PLAIN) as http, pytest.raises(SignInRequired, match="key_lost"):
        http.get(f"{world.api}/orders")

    assert State.SIGNED_OUT is session.state
    assert world.requests == []


@pytest.mark.behaviour(50)
@pytest.mark.behaviour(51)
def test_each_sign_in_has_a_key_of_its_own(world: World) -> None:
    """And none of them is shown."""
    first, second = world.session(dpop=True), world.session(dpop=True)

    assert first.core.tokens is not None
    assert second.core.tokens is not None
    keys = [tokens.key for tokens in (first.core.tokens, second.core.tokens)]
    assert keys[0] is not None
    assert keys[1] is not None
    assert not keys[0].matches(keys[1])
    assert keys[0].reveal()[:20] not in repr(first.core.tokens)


def test_a_stream_that_needs_another_proof_is_not_sent_again(world: World) -> None:
    """The nonce is asked for with a body that is gone: a named error."""
    session = world.session(dpop=True)
    challenge = 'DPoP error="use_dpop_nonce"'
    with httpx2.Client(auth=Auth(session), **PLAIN) as http, pytest.raises(NotReplayableError):
        http.post(f"{world.api}/refuses", params={"challenge": challenge, "nonce": "n1"}, content=iter([b"once"]))
