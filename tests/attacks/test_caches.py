"""Attacks on what is remembered (rows 19, 20, 26, 60 to 67): collisions, stale answers, crossed issuers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from portero.core.jose import base64url
from portero.core.policy.refusal import Case
from portero.core.types import Secret
from portero.resource_server import Guard, Principal, Refusal, RevocationFeed
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE

ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer(clock: FakeClock) -> InMemoryIssuer:
    return InMemoryIssuer(clock=clock)


@pytest.fixture
def guard(issuer: InMemoryIssuer, clock: FakeClock) -> Guard:
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=RevocationFeed("s", Secret("s")), clock=clock)
    issuer.trust_in(guard)
    return guard


def admitted(guard: Guard, token: str, **what: object) -> bool:
    outcome = guard.admit(token.encode(), guard.requires(**what))  # type: ignore[arg-type] # keywords of `requires`
    return isinstance(outcome, Principal)


def changed_at(token: str, position: int) -> str:
    other = "A" if token[position] != "A" else "B"
    return token[:position] + other + token[position + 1 :]


@pytest.mark.attack(row=60)
def test_the_whole_token_is_the_key(guard: Guard, issuer: InMemoryIssuer) -> None:
    """A token that differs from a cached one in any single character is not served from the cache."""
    token = issuer.mint()
    assert admitted(guard, token)

    assert [n for n in range(len(token)) if admitted(guard, changed_at(token, n))] == []
    assert admitted(guard, token)


@pytest.mark.attack(row=61)
@pytest.mark.attack(row=63)
def test_what_is_appended_or_taken_away_is_another_token(guard: Guard, issuer: InMemoryIssuer) -> None:
    """There is no key builder, no separator, no normal form between token and digest."""
    token = issuer.mint()
    assert admitted(guard, token)

    for other in (token + "=", token + ".", token + "|", token[:-1], " " + token, token + "\n", token.upper()):
        assert not admitted(guard, other)


@pytest.mark.attack(row=62)
def test_a_cached_token_is_judged_at_each_route(guard: Guard, issuer: InMemoryIssuer) -> None:
    """Scope and role are asked at every hit."""
    token = issuer.mint(scope="orders:read")
    assert admitted(guard, token, scopes=["orders:read"])

    assert not admitted(guard, token, scopes=["orders:write"])
    assert not admitted(guard, token, roles=["manager"])
    assert not admitted(guard, token, acr=["mfa"])


@pytest.mark.attack(row=62)
def test_a_guard_of_another_audience_shares_no_cache(guard: Guard, issuer: InMemoryIssuer, clock: FakeClock) -> None:
    """What one service verified is not thereby verified for another."""
    other = Guard(issuers=[issuer.url], audience="https://other.test", revocation=None, clock=clock)
    issuer.trust_in(other)
    token = issuer.mint()
    assert admitted(guard, token)

    assert not admitted(other, token)


@pytest.mark.attack(row=64)
def test_a_cached_token_expires(guard: Guard, issuer: InMemoryIssuer, clock: FakeClock) -> None:
    """At `exp` + leeway, to the second; also where the wall clock was set back and forth in between."""
    token = issuer.mint()
    assert admitted(guard, token)
    clock.set_wall(clock.now() - 30)
    assert admitted(guard, token)

    clock.set_wall(clock.now() + 30 + 359)
    assert admitted(guard, token)
    clock.advance(1)

    assert not admitted(guard, token)


@pytest.mark.attack(row=64)
def test_a_token_without_iat_is_not_cached_as_one_that_lives_for_ever(guard: Guard, issuer: InMemoryIssuer) -> None:
    """It is not accepted in the first place."""
    assert not admitted(guard, issuer.mint(iat=None))


@pytest.mark.attack(row=65)
def test_a_cached_token_dies_with_its_key(guard: Guard, issuer: InMemoryIssuer) -> None:
    """Removed, or replaced by another under the same `kid`."""
    token = issuer.mint()
    assert admitted(guard, token)
    issuer.rotate(keep_old=False)
    issuer.trust_in(guard)
    assert not admitted(guard, token)
    token = issuer.mint()
    assert admitted(guard, token)

    issuer.rotate(keep_old=False, kid=issuer.tokens.key.kid)
    issuer.trust_in(guard)

    assert not admitted(guard, token)


@pytest.mark.attack(row=66)
def test_a_revocation_is_seen_through_the_cache(guard: Guard, issuer: InMemoryIssuer) -> None:
    """At the very next request, and for good."""
    token = issuer.mint(sid="s1")
    assert admitted(guard, token)

    issuer.revoke(sid="s1")
    issuer.trust_in(guard)

    assert [admitted(guard, token) for _ in range(3)] == [False, False, False]


@pytest.mark.attack(row=26)
@pytest.mark.attack(row=66)
def test_the_other_valid_signature_does_not_bring_a_revoked_token_back(guard: Guard, issuer: InMemoryIssuer) -> None:
    """ECDSA: (r, n - s) verifies too. What is revoked is named by ids, never by token bytes."""
    token = issuer.mint(jti="t1", sid="s1")
    head, _, signature = token.rpartition(".")
    raw = base64url.decode(signature.encode())
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    assert decode_dss_signature(encode_dss_signature(r, s)) == (r, s)
    twin = f"{head}.{base64url.encode(r.to_bytes(32, 'big') + (ORDER_OF_P256 - s).to_bytes(32, 'big'))}"
    assert admitted(guard, token)
    assert admitted(guard, twin)

    issuer.revoke(jti="t1")
    issuer.trust_in(guard)

    assert not admitted(guard, token)
    assert not admitted(guard, twin)


@pytest.mark.attack(row=67)
def test_tokens_that_come_at_once_are_not_mixed_up(guard: Guard, issuer: InMemoryIssuer) -> None:
    """200 different callers in 16 threads, cold and warm."""
    tokens = {f"t{n}": issuer.mint(jti=f"t{n}", sub=f"user-{n}").encode() for n in range(200)}
    requirement = guard.requires()

    def ask(jti: str) -> tuple[str, str]:
        outcome = guard.admit(tokens[jti], requirement)
        assert isinstance(outcome, Principal)
        return outcome.jti, outcome.subject

    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(ask, [*tokens, *tokens]))

    assert [(jti, f"user-{jti[1:]}") for jti in [*tokens, *tokens]] == seen


@pytest.mark.attack(row=19)
@pytest.mark.attack(row=20)
def test_keys_never_cross_issuers_not_even_with_names_that_run_together(clock: FakeClock) -> None:
    """Issuer + `kid` is the same text for both; the keys live in different places."""
    first, second = InMemoryIssuer("https://a.test/x", clock=clock), InMemoryIssuer("https://a.test/xkey", clock=clock)
    guard = Guard(issuers=[first.url, second.url], audience=AUDIENCE, revocation=None, clock=clock)
    first.trust_in(guard)
    second.trust_in(guard)
    requirement = guard.requires()

    crossed = guard.admit(second.mint(iss=first.url).encode(), requirement)

    assert isinstance(guard.admit(second.mint().encode(), requirement), Principal)
    assert isinstance(crossed, Refusal)
    assert crossed.case is Case.INVALID_TOKEN
