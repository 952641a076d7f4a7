"""Clocks that differ: up to the leeway no revoked token comes back, no good one is refused; beyond it, an alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from portero.core.jose.jwk_set import parse_jwk_set
from portero.core.types import NumericDate, Secret
from portero.resource_server import Guard, Principal, RevocationFeed
from portero.testing.clock import FakeClock
from tests.authorization_server.back_channel import AUDIENCE, ISSUER, SECRET, SPA, BackChannel, claims_of

LEEWAY = 60


@pytest.fixture
def server() -> Iterator[BackChannel]:
    with asyncio.Runner() as runner:
        yield BackChannel(runner)


def guard_beside(server: BackChannel, *, ahead: float) -> tuple[Guard, FakeClock]:
    """A service that has just started, its clock `ahead` of the server's; it has the keys and a snapshot."""
    clock = FakeClock()
    clock.set_wall(server.clock.now() + ahead)
    feed = RevocationFeed("guard", Secret(SECRET))
    guard = Guard(issuers=[ISSUER], audience=AUDIENCE, revocation=feed, clock=clock)
    trust = guard.trust(ISSUER)
    trust.keys.fetched(parse_jwk_set(server.key_ring.jwk_set()), now=clock.monotonic())
    snapshot = server.get("/revocations/snapshot", authorization=f"Bearer {server.guard_token()}")
    assert trust.subscription is not None
    trust.subscription.took_snapshot(snapshot.body, asked_at=clock.monotonic(), now=NumericDate(int(clock.now())))
    return guard, clock


@pytest.mark.parametrize("ahead", [-LEEWAY, -1, 0, 1, LEEWAY])
def test_a_revoked_token_is_refused_by_whoever_starts_at_any_moment(server: BackChannel, ahead: int) -> None:
    """The feed remembers it for as long as a verifier whose clock is off by the leeway might still accept it."""
    tokens = server.signed_in()
    server.post("/revoke", {"token": tokens["refresh_token"], "client_id": SPA.client_id})
    token = tokens["access_token"].encode()
    left = claims_of(tokens["access_token"])["exp"] - server.now()
    # Every moment around the ends of the token's life, by each clock.
    moments = sorted({0, *(left + offset for offset in range(-LEEWAY, 3 * LEEWAY + 1, 7)), left + LEEWAY, left + 119})
    now = 0
    for moment in moments:
        server.clock.advance(moment - now)
        now = moment
        guard, _ = guard_beside(server, ahead=ahead)

        assert not isinstance(guard.admit(token, guard.requires()), Principal), f"{moment - left} s after exp"


@pytest.mark.parametrize("ahead", [-LEEWAY, LEEWAY - 1])
def test_a_good_token_is_accepted_with_clocks_a_leeway_apart(server: BackChannel, ahead: int) -> None:
    """From its first second to its last."""
    token = server.signed_in()["access_token"]
    guard, _ = guard_beside(server, ahead=ahead)
    assert isinstance(guard.admit(token.encode(), guard.requires()), Principal)

    server.clock.advance(claims_of(token)["exp"] - server.now() - 1)
    guard, _ = guard_beside(server, ahead=ahead)
    assert isinstance(guard.admit(token.encode(), guard.requires()), Principal)


@pytest.mark.parametrize(("ahead", "alarms"), [(-61.0, 1), (-60.0, 0), (0.0, 0), (60.0, 0), (61.0, 1)])
def test_beyond_the_leeway_there_is_an_alarm(server: BackChannel, ahead: float, alarms: int) -> None:
    """Both sides of it; it names the issuer, the difference and what to do, and requests are served."""
    guard, clock = guard_beside(server, ahead=ahead)
    subscription = guard.trust(ISSUER).subscription
    assert subscription is not None
    subscription.connected()
    subscription.freshness.heartbeat(time=server.clock.now(), arrived=clock.monotonic())
    readiness = guard.readiness()

    assert len(readiness.alarms) == alarms
    assert all("NTP" in alarm and ISSUER in alarm and f"{-ahead:+.0f} s" in alarm for alarm in readiness.alarms)
    assert readiness.ready
    assert f'portero_clock_skew_seconds{{issuer="{ISSUER}"}} {0 - ahead:g}\n' in guard.metrics()
