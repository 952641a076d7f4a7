"""Limits on `/token`: who is held back, and above all who is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from portero.authorization_server.config import Config, check_config
from portero.authorization_server.limits import Levels, TokenLimits, TooManyRequests
from portero.core.errors import ConfigurationError
from portero.core.events import EventName
from portero.core.limits import Rate
from portero.core.transitions import ClientKey
from portero.core.types import ClientId
from tests.authorization_server.back_channel import ATTEMPT, BFF, GUARD, ISSUER, SECRET, SPA, BackChannel, Seen, basic

LIMITED = Config(
    issuer=ISSUER,
    access_token_jitter=0,
    token_limit_invented="3/1m",
    token_limit_refused="3/1m",
    token_limit_session="3/1m",
    token_limit_client="3/1m",
)
MADE_UP = {"grant_type": "authorization_code", "code": "x" * 43, "redirect_uri": SPA.redirect_uris[0]}
MADE_UP |= {"client_id": SPA.client_id, "code_verifier": "v" * 43}


@pytest.fixture
def strict() -> Iterator[BackChannel]:
    """A server that allows three of everything in a minute."""
    with asyncio.Runner() as runner:
        yield BackChannel(runner, LIMITED)


def assert_limited(seen: Seen, *, seconds: int = 20) -> None:
    assert seen.status == 429, seen.body
    assert seen.header("retry-after") == str(seconds)
    assert seen.json["error"] == "temporarily_unavailable"
    assert b"invalid_grant" not in seen.body


def attempt(number: int) -> str:
    return f"{number:022d}"


def signed_in(server: BackChannel) -> Any:
    return server.post("/token", {**server.exchange_form(SPA), "client_id": SPA.client_id})


def exhausted_by_dead_tokens(server: BackChannel) -> dict[str, Any]:
    """A session that was signed out, whose device goes on sending its dead token."""
    tokens: dict[str, Any] = server.refresh(server.signed_in()["refresh_token"]).json
    server.post("/revoke", {"token": tokens["refresh_token"], "client_id": SPA.client_id})
    for _ in range(3):
        assert server.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    return tokens


# ── what is invented ─────────────────────────────────────────────────────────────────


def test_invented_refresh_tokens_count_per_address(strict: BackChannel) -> None:
    """The fourth failure in a minute is 429 and says when to come back; then a failure is a failure again."""
    answers = [strict.refresh("prt1.made-up") for _ in range(4)]
    strict.clock.advance(20)
    later = strict.refresh("prt1.made-up")

    assert [seen.status for seen in answers] == [400, 400, 400, 429]
    assert_limited(answers[3])
    assert later.json["error"] == "invalid_grant"


def test_an_authentic_token_from_the_same_address_is_served(strict: BackChannel) -> None:
    """A stranger behind the same router makes nobody wait."""
    tokens = strict.signed_in()
    for _ in range(9):
        strict.refresh("prt1.made-up")

    assert strict.refresh(tokens["refresh_token"]).status == 200


def test_a_real_code_from_the_same_address_is_served(strict: BackChannel) -> None:
    """Guessed codes hold back guesses only."""
    guesses = [strict.post("/token", MADE_UP) for _ in range(4)]

    assert [seen.status for seen in guesses] == [400, 400, 400, 429]
    assert signed_in(strict).status == 200


def test_an_address_that_guesses_codes_does_not_reach_the_writer(strict: BackChannel) -> None:
    """Past the limit a code is looked up first: no transition for what is not there."""
    for _ in range(3):
        strict.post("/token", MADE_UP)
    before = strict.store.transitions
    strict.post("/token", MADE_UP)

    assert strict.store.transitions == before


def test_wrong_credentials_count_apart_from_wrong_tokens(strict: BackChannel) -> None:
    """Each kind of invention has its own count, and who has the right secret is served."""
    form = {"grant_type": "client_credentials"}
    wrong = [strict.post("/token", form, authorization=basic(GUARD.client_id, "wrong")) for _ in range(4)]
    right = strict.post("/token", form, authorization=basic(GUARD.client_id, SECRET))

    assert [seen.status for seen in wrong] == [401, 401, 401, 429]
    assert right.status == 200
    assert strict.refresh("prt1.made-up").json["error"] == "invalid_grant"


def test_addresses_are_counted_apart(strict: BackChannel) -> None:
    """What one network makes up is not another's fault: here told apart by a trusted proxy."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner, replace(LIMITED, trusted_proxies=("192.0.2.0/24",)))
        for _ in range(4):
            server.refresh("prt1.made-up", x_forwarded_for="203.0.113.5")

        assert server.refresh("prt1.made-up", x_forwarded_for="203.0.113.5").status == 429
        assert server.refresh("prt1.made-up", x_forwarded_for="203.0.113.6").status == 400


# ── what is authentic ────────────────────────────────────────────────────────────────


def test_a_dead_refresh_token_that_is_sent_for_ever_is_429_without_a_look(strict: BackChannel) -> None:
    """The fourth time nothing is read."""
    tokens = exhausted_by_dead_tokens(strict)
    before = strict.store.transitions
    seen = strict.refresh(tokens["refresh_token"])

    assert_limited(seen)
    assert strict.store.transitions == before


def test_dead_refresh_tokens_never_block_the_way_to_repair(strict: BackChannel) -> None:
    """The device signs in anew and refreshes, from the same address, at once."""
    tokens = exhausted_by_dead_tokens(strict)
    assert strict.refresh(tokens["refresh_token"]).status == 429
    fresh = signed_in(strict)

    assert fresh.status == 200
    assert strict.refresh(fresh.json["refresh_token"]).status == 200


def test_a_session_that_refreshes_in_a_loop_waits_and_then_goes_on(strict: BackChannel) -> None:
    """429 refuses no token: after the wait the very same one is good."""
    token = strict.signed_in()["refresh_token"]
    for number in range(3):
        token = strict.refresh(token, attempt=attempt(number)).json["refresh_token"]
    refused = strict.refresh(token, attempt=attempt(3))
    strict.clock.advance(20)
    served = strict.refresh(token, attempt=attempt(3))

    assert_limited(refused)
    assert served.status == 200


def test_one_session_does_not_use_up_anothers_refreshes(strict: BackChannel) -> None:
    """Sessions of one person, client and address count apart."""
    first, second = strict.signed_in()["refresh_token"], strict.signed_in()["refresh_token"]
    for number in range(4):
        answer = strict.refresh(first, attempt=attempt(number))
        first = answer.json.get("refresh_token")

    assert answer.status == 429
    assert strict.refresh(second).status == 200


def test_the_holder_of_an_old_token_does_not_slow_the_owner(strict: BackChannel) -> None:
    """Refusals count per token: the live one of the same family is another."""
    old = strict.signed_in()["refresh_token"]
    live = strict.refresh(old).json["refresh_token"]
    for number in range(4):
        seen = strict.refresh(old, attempt=attempt(number + 50))

    assert seen.status == 429
    assert strict.refresh(live, attempt=attempt(1)).status == 200


def test_another_client_that_holds_the_live_token_does_not_slow_the_owner(strict: BackChannel) -> None:
    """A public client's name is anybody's: refusals count per client, too."""
    live = strict.signed_in()["refresh_token"]
    other = replace(SPA, client_id=ClientId("other"))
    strict.put(ClientKey(other.client_id), other)
    form = {"grant_type": "refresh_token", "refresh_token": live, "client_id": "other", "refresh_attempt": ATTEMPT}
    answers = [strict.post("/token", form).status for _ in range(4)]

    assert answers == [400, 400, 400, 429]
    assert strict.refresh(live).status == 200


# ── clients ──────────────────────────────────────────────────────────────────────────


def test_an_authenticated_client_is_limited_in_what_it_asks_for_itself(strict: BackChannel) -> None:
    """Per client: another one is served."""
    form = {"grant_type": "client_credentials", "scope": "orders:read"}
    answers = [strict.post("/token", form, authorization=basic(GUARD.client_id, SECRET)) for _ in range(4)]
    other = replace(GUARD, client_id=ClientId("other-guard"))
    strict.put(ClientKey(other.client_id), other)

    assert [seen.status for seen in answers] == [200, 200, 200, 429]
    assert_limited(answers[3])
    assert strict.post("/token", form, authorization=basic(other.client_id, SECRET)).status == 200


def test_one_person_does_not_use_up_what_a_whole_client_needs(strict: BackChannel) -> None:
    """Refreshes are never counted per client: every one of these is another person's, as far as the client knows."""
    credentials = basic(BFF.client_id, SECRET)
    for _ in range(6):
        tokens = strict.post("/token", strict.exchange_form(BFF), authorization=credentials).json
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}

        assert strict.post("/token", form, authorization=credentials).status == 200


def test_what_a_client_asks_for_one_person_does_not_use_up_anothers() -> None:
    """Token exchange (RFC 8693) counts per client and person, apart from what the client asks for itself."""
    limits = TokenLimits(LIMITED, monotonic=lambda: 0.0)
    for _ in range(3):
        limits.take_client(GUARD.client_id, for_subject="ana")
    with pytest.raises(TooManyRequests):
        limits.take_client(GUARD.client_id, for_subject="ana")

    limits.take_client(GUARD.client_id, for_subject="bruno")
    limits.take_client(GUARD.client_id)


# ── what it costs, and how it is set ─────────────────────────────────────────────────


def test_a_limit_is_counted_for_operators_with_its_kind(strict: BackChannel) -> None:
    """One event per 429; its client only where one was authenticated or registered."""
    for _ in range(4):
        strict.refresh("prt1.made-up")
    told = [event for event in strict.telemetry.events if event.name is EventName.TOKEN_LIMITED]
    refused = [event for event in strict.telemetry.events if event.name is EventName.REFRESH_REFUSED]

    assert [(event.client_id, event.fields["limit"]) for event in told] == [(SPA.client_id, "invented")]
    assert [event.fields["because"] for event in refused] == ["invented"] * 4


def test_the_table_is_bounded_and_forgets_the_least_recently_touched() -> None:
    """A million addresses cost what a few do; one that is still active is not forgotten for them."""
    levels = Levels(Rate(2, 60.0), capacity=100)
    for _ in range(2):
        levels.spend("busy", at=0.0)
    for number in range(10_000):
        levels.spend(number, at=0.0)
        if number % 50 == 0:
            levels.spend("busy", at=0.0)

    assert len(levels) <= 200
    assert levels.wait("busy", at=0.0) > 0
    assert levels.wait(0, at=0.0) <= 0


def test_what_moves_to_the_young_half_keeps_its_level() -> None:
    """A crowd of others wins nobody a fresh bucket while they go on asking."""
    levels = Levels(Rate(2, 60.0), capacity=10)
    for _ in range(2):
        levels.spend("busy", at=0.0)
    for number in range(10):
        levels.spend(number, at=0.0)
    levels.spend("busy", at=0.0)

    assert levels.wait("busy", at=0.0) > 0


def test_hammering_does_not_prolong_the_wait() -> None:
    """What was refused is not counted."""
    levels = Levels(Rate(1, 60.0))
    for _ in range(1000):
        levels.spend("key", at=0.0)

    assert levels.wait("key", at=59.9) > 0
    assert levels.wait("key", at=60.1) <= 0


def test_off_is_said_and_then_there_is_no_limit() -> None:
    """The word `off`, and nothing shorter, turns a limit off."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner, replace(LIMITED, token_limit_invented="off"))

        assert {server.refresh("prt1.made-up").status for _ in range(20)} == {400}


@pytest.mark.parametrize("name", ["invented", "refused", "session", "client"])
def test_a_rate_nobody_can_read_stops_the_start(name: str) -> None:
    """An absent or misspelt limit is never no limit."""
    with pytest.raises(ConfigurationError) as refusal:
        check_config(replace(Config(), **{f"token_limit_{name}": ""}))  # type: ignore[arg-type]  # a text, by its name

    assert refusal.value.setting == f"authorization_server.token_limit_{name}"


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect", "/userinfo"])
def test_our_own_failure_says_when_to_come_back(server: BackChannel, path: str) -> None:
    """503 with `Retry-After` as the store says, at every endpoint; never the caller's fault."""
    tokens = server.signed_in()
    server.clock.advance(2)  # what was known of the client is read again
    server.store.away = True
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "refresh_attempt": ATTEMPT}
    form |= {"token": tokens["refresh_token"]}
    if path == "/userinfo":
        seen = server.get(path, authorization=f"Bearer {tokens['access_token']}")
    elif path == "/introspect":
        seen = server.post(path, form, authorization=basic(GUARD.client_id, SECRET))
    else:
        seen = server.post(path, {**form, "client_id": SPA.client_id})

    assert (seen.status, seen.header("retry-after")) == (503, "7")
    assert seen.json["error"] == "temporarily_unavailable"
