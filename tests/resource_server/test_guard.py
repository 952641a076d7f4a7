"""The one path: what is asked of every token, the first time and every time after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from portero.core.errors import ConfigurationError
from portero.core.policy.refusal import Case
from portero.core.types import Secret
from portero.resource_server import FeedStart, Guard, Principal, Refusal, RevocationFeed, TrustedIssuer
from portero.resource_server.trust import KeysWanted
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE, new_key

Admit = Callable[..., Principal | Refusal]
FEED = RevocationFeed("service", Secret("service-secret"))


def refusal(outcome: Principal | Refusal) -> Refusal:
    assert isinstance(outcome, Refusal)
    return outcome


@pytest.mark.parametrize(("seconds_past_exp", "admitted"), [(59, True), (60, False)])
def test_a_token_lives_until_exp_and_leeway_cached_or_not(
    seconds_past_exp: int, admitted: bool, admit: Admit, issuer: InMemoryIssuer, clock: FakeClock
) -> None:
    """RFC 7519 §4.1.4, with the fleet's leeway of 60 s, at the first look and at a hit."""
    cached, fresh = issuer.mint(), issuer.mint()
    assert isinstance(admit(cached), Principal)

    clock.advance(300 + seconds_past_exp)

    assert admitted == isinstance(admit(fresh), Principal)
    assert admitted == isinstance(admit(cached), Principal)


def test_a_cached_token_is_found_and_not_verified_again(guard: Guard, admit: Admit, issuer: InMemoryIssuer) -> None:
    """The same principal object serves all requests of one token."""
    token = issuer.mint()

    assert admit(token) is admit(token)


@pytest.mark.parametrize("what", ["sid", "jti", "client_id", "kid"])
def test_what_the_feed_names_is_refused_at_the_next_request(
    what: str, guard: Guard, admit: Admit, issuer: InMemoryIssuer
) -> None:
    """Each kind of revocation, for a token that was admitted and is cached."""
    token = issuer.mint(jti="t1", sid="s1", client_id="c1")
    other = issuer.mint(jti="t2", sid="s2", client_id="c2")
    assert isinstance(admit(token), Principal)
    assert isinstance(admit(other), Principal)

    issuer.revoke(**{what: {"sid": "s1", "jti": "t1", "client_id": "c1", "kid": "key-1"}[what]})
    issuer.trust_in(guard)

    assert refusal(admit(token)).fault == "revoked"
    assert isinstance(admit(other), Refusal if what == "kid" else Principal)


def test_a_revocation_of_another_issuer_concerns_nobody_here(
    guard: Guard, admit: Admit, issuer: InMemoryIssuer
) -> None:
    """An issuer takes back its own tokens only."""
    token = issuer.mint(sid="s1")
    issuer.move_to("https://another.test")
    issuer.revoke(sid="s1")
    issuer.move_to("https://issuer.test")
    issuer.trust_in(guard)

    assert isinstance(admit(token), Principal)


def test_a_key_that_disappeared_refuses_its_cached_tokens(guard: Guard, admit: Admit, issuer: InMemoryIssuer) -> None:
    """The cache is tied to the keys' epoch."""
    token = issuer.mint()
    assert isinstance(admit(token), Principal)

    issuer.rotate(keep_old=False)
    issuer.trust_in(guard)

    assert refusal(admit(token)).fault == "unknown_key"


def test_a_key_that_was_added_disturbs_nobody(guard: Guard, admit: Admit, issuer: InMemoryIssuer) -> None:
    """A rotation that keeps the old key is not an empty cache."""
    token = issuer.mint()
    before = admit(token)

    issuer.rotate(keep_old=True)
    issuer.trust_in(guard)

    assert before is admit(token)
    assert isinstance(admit(issuer.mint()), Principal)


@pytest.mark.parametrize(("age", "usable"), [(6 * 3600 - 1, True), (6 * 3600, False)])
def test_keys_outlive_an_outage_for_a_bounded_time(
    age: int, usable: bool, guard: Guard, issuer: InMemoryIssuer, clock: FakeClock
) -> None:
    """After that a cached token is not served either: it is unavailable, never invalid."""
    requirement = guard.requires()
    token = issuer.mint(exp=int(clock.now()) + 86400).encode()
    assert isinstance(guard.admit(token, requirement), Principal)

    clock.advance(age)

    if usable:
        assert isinstance(guard.admit(token, requirement), Principal)
    else:
        with pytest.raises(KeysWanted):
            guard.admit(token, requirement)


def test_a_stale_feed_refuses_where_the_route_says_so_and_only_there(
    admit: Admit, issuer: InMemoryIssuer, clock: FakeClock
) -> None:
    """`when_stale`: both sides of `stale_after`, with a cached token."""
    token = issuer.mint()
    assert isinstance(admit(token, when_stale="deny"), Principal)

    clock.advance(10)
    assert isinstance(admit(token, when_stale="deny"), Principal)
    clock.advance(1)

    assert refusal(admit(token, when_stale="deny")).case is Case.UNAVAILABLE
    assert isinstance(admit(token, when_stale="allow"), Principal)


@pytest.mark.parametrize(("start", "admitted"), [(FeedStart.WAIT, False), (FeedStart.DEGRADED, True)])
def test_before_the_first_snapshot_a_guard_waits_or_goes_on_by_choice(
    start: FeedStart, admitted: bool, issuer: InMemoryIssuer, clock: FakeClock
) -> None:
    """A restarted service must not forget what was revoked, unless it was told that it may."""
    feed = RevocationFeed("service", Secret("x"), start=start)
    with_keys = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, clock=clock)
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=feed, clock=clock)
    issuer.trust_in(with_keys)
    keys = with_keys.trust(issuer.url).keys.keys
    assert keys is not None
    guard.trust(issuer.url).keys.fetched(keys, now=clock.monotonic())

    outcome = guard.admit(issuer.mint().encode(), guard.requires())

    assert admitted == isinstance(outcome, Principal)
    if not admitted:
        assert refusal(outcome).case is Case.UNAVAILABLE


def test_a_bound_token_is_no_bearer_token(admit: Admit, issuer: InMemoryIssuer) -> None:
    """RFC 9449 §7.2: without its proof it is refused, whatever the route requires."""
    outcome = admit(issuer.mint(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}))

    assert refusal(outcome).fault == "sender_constraint"


@pytest.mark.parametrize(("length", "fault"), [(8193, "malformed"), (8192, "malformed")])
def test_a_long_token_is_refused_before_it_is_looked_at(length: int, fault: str, admit: Admit) -> None:
    """8 KB; at the limit it is refused for what it is instead."""
    outcome = refusal(admit("x" * length))

    assert outcome.fault == fault
    assert ("longer" in outcome.description) == (length > 8192)


def test_roles_can_imply_scopes(issuer: InMemoryIssuer, clock: FakeClock) -> None:
    """The manifest's `[roles]`."""
    guard = Guard(
        issuers=[issuer.url],
        audience=AUDIENCE,
        revocation=None,
        role_scopes={"manager": ["orders:write"]},
        clock=clock,
    )
    issuer.trust_in(guard)

    outcome = guard.admit(issuer.mint(roles=["manager"]).encode(), guard.requires(scopes=["orders:write"]))

    assert isinstance(outcome, Principal)


def test_another_issuers_shape_is_accepted_where_it_is_described(issuer: InMemoryIssuer, clock: FakeClock) -> None:
    """Keycloak's: `typ: JWT`, `azp`, roles in an object. Each relaxation is written down."""
    relaxed = TrustedIssuer(
        issuer.url,
        roles_claim="realm_access.roles",
        client_id_claim="azp",
        insecure_accept_typ_jwt=True,
    )
    guard = Guard(issuers=[relaxed], audience=AUDIENCE, revocation=None, clock=clock)
    issuer.trust_in(guard)
    token = issuer.mint(header={"typ": "JWT"}, client_id=None, azp="shop", realm_access={"roles": ["manager"]})

    outcome = guard.admit(token.encode(), guard.requires(roles=["manager"]))

    assert isinstance(outcome, Principal)
    assert outcome.client_id == "shop"


def test_a_second_issuers_keys_verify_its_own_tokens_only(clock: FakeClock) -> None:
    """Two issuers, both trusted, the same `kid`."""
    first, second = InMemoryIssuer("https://a.test", clock=clock), InMemoryIssuer("https://b.test", clock=clock)
    guard = Guard(issuers=[first.url, second.url], audience=AUDIENCE, revocation=None, clock=clock)
    first.trust_in(guard)
    second.trust_in(guard)
    crossed = second.mint(iss=first.url)

    assert isinstance(guard.admit(second.mint().encode(), guard.requires()), Principal)
    assert refusal(guard.admit(crossed.encode(), guard.requires())).fault == "signature"


@pytest.mark.parametrize(
    ("setting", "arguments"),
    [
        ("issuers", {"issuers": []}),
        ("issuers", {"issuers": ["https://a.test", "https://a.test"]}),
        ("issuers.issuer", {"issuers": ["http://a.test"]}),
        ("issuers.issuer", {"issuers": ["file:///etc/passwd"]}),
        ("audience", {"audience": ""}),
        ("cors_origins", {"cors_origins": ["*"]}),
        ("cors_origins", {"cors_origins": ["https://shop.test/"]}),
        ("algorithms", {"issuers": [lambda: TrustedIssuer("https://a.test", algorithms=("HS256",))]}),
        ("algorithms", {"issuers": [lambda: TrustedIssuer("https://a.test", algorithms=())]}),
    ],
)
def test_a_setting_that_cannot_be_meant_stops_at_start_up(setting: str, arguments: dict[str, object]) -> None:
    """The message names the setting, its value and what it may be."""

    def build() -> Guard:
        settings: dict[str, object] = {"issuers": ["https://a.test"], "audience": AUDIENCE, **arguments}
        issuers = [issuer() if callable(issuer) else issuer for issuer in settings.pop("issuers")]  # type: ignore[attr-defined] # a list
        return Guard(issuers=issuers, revocation=None, **settings)  # type: ignore[arg-type] # wrong on purpose

    with pytest.raises(ConfigurationError) as stopped:
        build()

    assert stopped.value.setting == setting


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("scopes", {"scopes": "orders:read"}),
        ("when_stale", {"when_stale": "perhaps"}),
        ("max_auth_age", {"max_auth_age": timedelta(seconds=-1)}),
        ("dpop", {"dpop": True}),
    ],
)
def test_a_requirement_that_cannot_be_meant_stops_at_start_up(
    setting: str, what: dict[str, object], guard: Guard
) -> None:
    """A text where names are wanted would otherwise require single letters."""
    with pytest.raises(ConfigurationError) as stopped:
        guard.requires(**what)  # type: ignore[arg-type] # wrong on purpose

    assert stopped.value.setting == setting


def test_deny_when_stale_needs_a_feed(issuer: InMemoryIssuer) -> None:
    """Absent configuration never means unchecked."""
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None)

    with pytest.raises(ConfigurationError):
        guard.requires(when_stale="deny")


def test_a_refused_token_is_not_kept(guard: Guard, admit: Admit, issuer: InMemoryIssuer) -> None:
    """Only successes are cached: garbage cannot push good tokens out."""
    for _ in range(20):
        admit(issuer.mint(key=new_key(kid="key-1")))

    assert len(guard._cache) == 0
