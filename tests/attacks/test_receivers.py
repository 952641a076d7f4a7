"""Receivers of security events: who may become one, and where nothing is ever sent."""

from __future__ import annotations

import asyncio

import pytest

from portero.core.logout.receivers import may_be_told
from portero.core.transitions import ClientKey
from tests.authorization_server.back_channel import SPA, claims_of
from tests.authorization_server.revocation.test_signals import POLL, RECEIVER, Transmitter


@pytest.mark.parametrize("claims", [{"sub": "u-ana"}, {"sid": "s-1"}])
def test_a_person_who_signs_in_to_a_receiver_does_not_hear_of_everybody_s_sessions(claims: dict[str, str]) -> None:
    """A token with `ssf.manage` that a person granted makes no stream, reads none and polls none."""
    with asyncio.Runner() as runner:
        transmitter = Transmitter(runner)
        transmitter.put(ClientKey(RECEIVER.client_id), RECEIVER)
        stream = transmitter.stream(POLL)
        own = claims_of(transmitter.token())
        token = transmitter.context.key_ring.sign({**own, **claims}, typ="at+jwt")
        assert own["client_id"] != SPA.client_id

        for method, target, document in (
            ("POST", "/ssf/streams", POLL),
            ("GET", "/ssf/streams", None),
            ("POST", f"/ssf/poll/{stream['stream_id']}", {"returnImmediately": True}),
        ):
            seen = transmitter.ask(method, target, document, token=token)
            assert (seen.status, seen.json["error"]) == (403, "insufficient_scope"), seen.body


@pytest.mark.parametrize("address", ["fec0::1", "feff::a00:1"])
def test_what_was_site_local_is_inside(address: str) -> None:
    """`fec0::/10` is out of use since 2004; a network that still uses it means its own inside."""
    assert not may_be_told(address, networks=())
