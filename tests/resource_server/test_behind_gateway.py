"""A service in the layout `gateway`: it believes the gateway's assertions, and nobody who comes around (row 80)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from portero.core.jose.jwk_set import parse_jwk_set
from portero.core.policy.manifest_parser import parse_manifest
from portero.core.policy.principal import Principal
from portero.core.policy.refusal import REVOKED, Case, Refusal
from portero.core.policy.requirement import Requirement
from portero.core.types import NumericDate
from portero.gateway.assertions import AssertionKeys, Assertions
from portero.gateway.guards import GatewayGuards
from portero.resource_server.guard import Guard
from portero.resource_server.manifest_guard import guard_of
from portero.testing.jwks_server import CLIENT_ID, CLIENT_SECRET, JwksServer
from portero.testing.tokens import AUDIENCE

ENVIRON = {"FEED_SECRET": CLIENT_SECRET}


def manifest_text(issuer: str) -> str:
    return f"""
layout = "gateway"
[issuers.main]
issuer = "{issuer}"
revocation = {{ client_id = "{CLIENT_ID}", secret_env = "FEED_SECRET" }}
[services.orders]
audience = "{AUDIENCE}"
upstreams = ["http://127.0.0.1:1"]
[services.stock]
audience = "https://stock.test"
upstreams = ["http://127.0.0.1:1"]
[gateway]
listen = "127.0.0.1:1"
"""


class World:
    """An issuer, the gateway's Guards and keys, and the service behind it."""

    def __init__(self, folder: Path, issuer: JwksServer) -> None:
        self.issuer = issuer
        manifest = parse_manifest(manifest_text(issuer.url), file="portero.toml")
        self.edge = GatewayGuards(manifest, ENVIRON, file="portero.toml")
        self.assertions = Assertions(AssertionKeys.open(folder / "keys"), issuer="http://127.0.0.1:1")
        self.service = guard_of(manifest, manifest.services["orders"], ENVIRON)
        trust = self.service.trust(issuer.url)
        monotonic = self.service.clock.monotonic()
        trust.keys.fetched(parse_jwk_set(self.assertions.keys.jwk_set()), now=monotonic)
        self.hear()

    def hear(self) -> None:
        """Let the service hear the feed's present state."""
        trust = self.service.trust(self.issuer.url)
        assert trust.subscription is not None
        now = NumericDate(int(self.service.clock.now()))
        trust.subscription.took_snapshot(
            self.issuer.issuer.snapshot(), asked_at=self.service.clock.monotonic(), now=now
        )

    async def assertion(self, token: str, *, audience: str = AUDIENCE) -> bytes:
        """What the gateway sends instead of the token."""
        admitted = await self.edge.guard("orders").check(token.encode(), Requirement())
        assert isinstance(admitted, Principal), admitted
        now = int(self.service.clock.now())
        return self.assertions.header_for(admitted, audience=audience, now=now).removeprefix(b"Bearer ")


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    with JwksServer() as issuer:
        here = World(folder, issuer)
        await here.edge.start()
        try:
            yield here
        finally:
            await here.edge.aclose()


def outcome(guard: Guard, token: bytes) -> Principal | Refusal:
    return guard.admit(token, Requirement())


def test_the_service_knows_the_caller_without_the_token(tmp_path: Path) -> None:
    """The principal is the edge's, of the token's own issuer."""

    async def story() -> None:
        async with world(tmp_path) as here:
            admitted = outcome(here.service, await here.assertion(here.issuer.issuer.mint(roles=["manager"])))

            assert isinstance(admitted, Principal), admitted
            assert (here.issuer.url, "alice", "session-1") == (admitted.issuer, admitted.subject, admitted.sid)
            assert (frozenset({"orders:read"}), frozenset({"manager"})) == (admitted.scopes, admitted.roles)

    asyncio.run(story())


@pytest.mark.attack(row=80)
def test_who_comes_around_the_gateway_is_refused(tmp_path: Path) -> None:
    """A good token of a trusted issuer, straight to the service; an assertion made for another service."""

    async def story() -> None:
        async with world(tmp_path) as here:
            token = here.issuer.issuer.mint()
            around = outcome(here.service, token.encode())
            sideways = outcome(here.service, await here.assertion(token, audience="https://stock.test"))

            assert isinstance(around, Refusal), around
            assert around.case is Case.INVALID_TOKEN
            assert isinstance(sideways, Refusal), sideways
            assert sideways.fault == "audience"

    asyncio.run(story())


def test_a_session_that_ended_is_refused_behind_the_gateway_too(tmp_path: Path) -> None:
    """The service follows the feed of the token's issuer."""

    async def story() -> None:
        async with world(tmp_path) as here:
            assertion = await here.assertion(here.issuer.issuer.mint(sid="lost-phone"))
            assert isinstance(outcome(here.service, assertion), Principal)
            here.issuer.issuer.revoke(sid="lost-phone")
            here.hear()

            assert outcome(here.service, assertion) is REVOKED

    asyncio.run(story())


def test_an_assertion_is_made_once_per_token_and_service(tmp_path: Path) -> None:
    """The second request costs no signature."""

    async def story() -> None:
        async with world(tmp_path) as here:
            token = here.issuer.issuer.mint()

            assert await here.assertion(token) is not None
            assert await here.assertion(token) == await here.assertion(token)

    asyncio.run(story())


def test_keys_that_others_may_read_are_not_used(tmp_path: Path) -> None:
    """Mode 0600, and the message says how."""
    path = tmp_path / "keys"
    made = AssertionKeys.open(path)
    assert made.jwk_set() == AssertionKeys.open(path).jwk_set()
    path.chmod(0o644)

    with pytest.raises(Exception, match="chmod 600"):
        AssertionKeys.open(path)
