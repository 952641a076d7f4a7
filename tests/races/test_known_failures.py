"""Each known failure of the field (refresh tokens, C.1 and C.2) at the token endpoint: HTTP, checks and store included.

The pure forms are in tests/core/sessions/test_refresh.py. Races of several processes are in test_two_servers.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from portero.adapters.keys.generate import generate_private_key
from portero.core.events import EventName
from portero.core.jose.jwk import PrivateKey
from portero.core.tokens.refresh_token import parse_refresh_token
from portero.core.transitions import (
    ClientKey,
    FamilyAggregate,
    FamilyKey,
    RefreshProfile,
    RotationPolicy,
    SubjectKey,
)
from portero.core.types import ClientId, Secret
from tests.authorization_server.back_channel import (
    ANA,
    ATTEMPT,
    BFF,
    SECRET,
    SPA,
    BackChannel,
    Seen,
    ask,
    basic,
    claims_of,
    proof,
)

HALF_AN_HOUR = 1800
NEAR_END = replace(BFF, client_id=ClientId("near-end"), rotation=RotationPolicy.NEAR_END)
PLAIN = replace(SPA, client_id=ClientId("plain"), refresh_profile=RefreshProfile.PLAIN)


def attempt(number: int) -> str:
    return f"{number:022d}"


def reason(seen: Seen) -> Any:
    return (seen.status, seen.json.get("error"), seen.json.get("error_reason"))


SUPERSEDED = (400, "invalid_grant", "superseded")
REUSED = (400, "invalid_grant", "reused")
REVOKED = (400, "invalid_grant", "revoked")
UNSAID = (400, "invalid_grant", None)


def stored(server: BackChannel, token: str) -> FamilyAggregate:
    """The family of a token with its session, as committed."""
    family_id = parse_refresh_token(Secret(token), tag_key=server.secrets.tag_keys.get).family_id
    found: FamilyAggregate = server.run(server.store.store.read(FamilyKey(family_id)))
    return found


def signed_in_at(server: BackChannel, client: Any) -> dict[str, Any]:
    """A token answer for a client that authenticates by Basic, or a public one."""
    form, headers = server.exchange_form(client), {}
    if client.secret_digest is None:
        form["client_id"] = client.client_id
    else:
        headers["authorization"] = basic(client.client_id, SECRET)
    seen = server.post("/token", form, **headers)
    assert seen.status == 200, seen.body
    tokens: dict[str, Any] = seen.json
    return tokens


def refresh_as(server: BackChannel, client: Any, token: str, **more: str) -> Seen:
    form = {"grant_type": "refresh_token", "refresh_token": token, **more}
    if client.secret_digest is None:
        return server.post("/token", {**form, "client_id": client.client_id})
    return server.post("/token", form, authorization=basic(client.client_id, SECRET))


@pytest.fixture
def with_more_clients(server: BackChannel) -> BackChannel:
    """A server that also knows a client that rotates near the end and one without attempts."""
    for client in (NEAR_END, PLAIN):
        server.put(ClientKey(client.client_id), client)
    return server


# ── C.1: what products got wrong ─────────────────────────────────────────────────────


def test_fapi_s_retry_after_thirty_seconds_succeeds(server: BackChannel) -> None:
    """FAPI 2.0 §5.3.2.1: the response was not stored; thirty seconds later the previous token is sent again."""
    tokens = signed_in_at(server, BFF)
    lost = refresh_as(server, BFF, tokens["refresh_token"])
    server.clock.advance(30)
    again = refresh_as(server, BFF, tokens["refresh_token"])

    assert again.status == 200
    assert again.json["refresh_token"] == lost.json["refresh_token"]


@pytest.mark.parametrize("later", [30, 3600, 6 * 86400])
def test_a_lost_answer_costs_no_public_client_its_session(server: BackChannel, later: int) -> None:
    """Five percent of devices a day elsewhere: with the same attempt the same successor comes, however late."""
    tokens = server.signed_in()
    lost = server.refresh(tokens["refresh_token"])
    server.clock.advance(later)
    again = server.refresh(tokens["refresh_token"])

    assert again.status == 200
    assert again.json["refresh_token"] == lost.json["refresh_token"]


def test_grace_is_not_for_grandparents(server: BackChannel) -> None:
    """The second-to-last token is answered to nobody: softly denied at once, and called theft later."""
    first = server.signed_in()["refresh_token"]
    second = server.refresh(first, attempt=attempt(1)).json["refresh_token"]
    server.refresh(second, attempt=attempt(2))
    mine = server.refresh(first, attempt=attempt(1))
    stranger_at_once = server.refresh(first, attempt=attempt(9))
    server.clock.advance(11)
    stranger_later = server.refresh(first, attempt=attempt(9))

    assert reason(mine) == SUPERSEDED
    assert reason(stranger_at_once) == SUPERSEDED
    assert reason(stranger_later) == REUSED


def test_a_thief_who_loses_the_race_gets_no_branch_of_his_own(server: BackChannel) -> None:
    """Two winners, of which revocation reaches one: here the second gets nothing, and the first goes on."""
    stolen = server.signed_in()["refresh_token"]
    honest = server.refresh(stolen, attempt=attempt(1)).json["refresh_token"]
    thief = server.refresh(stolen, attempt=attempt(2))

    assert reason(thief) == SUPERSEDED
    assert server.refresh(honest, attempt=attempt(3)).status == 200


def test_a_descendant_is_dead_in_the_moment_its_family_is(server: BackChannel) -> None:
    """Elsewhere a descendant was refreshed 287 ms after "family revoked"."""
    first = server.signed_in()["refresh_token"]
    second = server.refresh(first, attempt=attempt(1)).json["refresh_token"]
    third = server.refresh(second, attempt=attempt(2)).json["refresh_token"]
    server.clock.advance(11)
    theft = server.refresh(first, attempt=attempt(9))
    descendants = [server.refresh(token, attempt=attempt(n)) for n, token in ((1, first), (2, second), (3, third))]

    assert reason(theft) == REUSED
    assert [reason(seen) for seen in descendants] == [REUSED] * 3


def test_a_gateway_that_lost_the_new_token_keeps_its_session(with_more_clients: BackChannel) -> None:
    """A server component that cannot store a new token sends the old one for hours: nothing rotates, nothing ends."""
    server = with_more_clients
    token = signed_in_at(server, NEAR_END)["refresh_token"]
    answers = []
    for _ in range(10):
        server.clock.advance(HALF_AN_HOUR)
        answers.append(refresh_as(server, NEAR_END, token))

    assert {seen.status for seen in answers} == {200}
    assert all("refresh_token" not in seen.json for seen in answers)
    assert all(seen.json["refresh_token_expires_in"] > 0 for seen in answers)


def test_near_its_end_a_bound_token_is_replaced_and_the_old_one_still_answers(with_more_clients: BackChannel) -> None:
    """From 70 % of its life, not a second earlier; and who could not store the new one is answered again."""
    server = with_more_clients
    tokens = signed_in_at(server, NEAR_END)
    life = int(server.config.refresh_token_lifetime.total_seconds())
    # The idle end would come first: a refresh in the middle moves it.
    server.clock.advance(life * 7 // 10 // 2)
    refresh_as(server, NEAR_END, tokens["refresh_token"])
    server.clock.advance(life * 7 // 10 - life * 7 // 10 // 2 - 1)
    before = refresh_as(server, NEAR_END, tokens["refresh_token"])
    server.clock.advance(1)
    at = refresh_as(server, NEAR_END, tokens["refresh_token"])
    again = refresh_as(server, NEAR_END, tokens["refresh_token"])

    assert "refresh_token" not in before.json
    assert at.json["refresh_token"] == again.json["refresh_token"] != tokens["refresh_token"]


def test_several_tabs_are_not_counted_against_their_device(server: BackChannel) -> None:
    """One reuse counter for a device broke several tabs elsewhere: ten tabs retry three generations, nobody is out."""
    token = server.signed_in()["refresh_token"]
    for generation in range(3):
        answers = [server.refresh(token, attempt=attempt(generation)) for _ in range(10)]
        assert {seen.status for seen in answers} == {200}
        assert len({seen.json["refresh_token"] for seen in answers}) == 1
        token = answers[0].json["refresh_token"]

    retried = [event for event in server.telemetry.events if event.name is EventName.REFRESH_RETRIED]

    assert len(retried) == 3 * 9
    assert server.refresh(token, attempt=attempt(4)).status == 200


def test_a_plain_client_s_retries_are_few_and_in_few_generations(with_more_clients: BackChannel) -> None:
    """Profile C: twice at most, and the third generation in a row with a retry is two holders."""
    server = with_more_clients
    token = signed_in_at(server, PLAIN)["refresh_token"]
    statuses = []
    for _ in range(3):
        first = refresh_as(server, PLAIN, token)
        statuses.append((first.status, refresh_as(server, PLAIN, token).status))
        token = first.json["refresh_token"]

    assert statuses == [(200, 200), (200, 200), (200, 400)]


@pytest.mark.parametrize("after", [0, 5, 3600])
def test_a_token_that_was_revoked_on_purpose_has_no_grace(server: BackChannel, after: int) -> None:
    """A grace period that also forgives revocation: here a proven retry of a revoked family is refused."""
    first = server.signed_in()["refresh_token"]
    second = server.refresh(first).json["refresh_token"]
    server.post("/revoke", {"token": second, "client_id": SPA.client_id})
    server.clock.advance(after)

    assert reason(server.refresh(first)) == REVOKED
    assert reason(server.refresh(second, attempt=attempt(2))) == REVOKED


def test_the_window_is_never_extended_by_use(server: BackChannel) -> None:
    """It counts from first use: a thief who knocks every five seconds is found out at the eleventh."""
    token = server.signed_in()["refresh_token"]
    server.refresh(token, attempt=attempt(1))
    knocks = []
    for _ in range(2):
        server.clock.advance(5)
        knocks.append(reason(server.refresh(token, attempt=attempt(9))))
    server.clock.advance(1)
    knocks.append(reason(server.refresh(token, attempt=attempt(9))))

    assert knocks == [SUPERSEDED, SUPERSEDED, REUSED]


def test_one_stolen_device_is_one_device(server: BackChannel) -> None:
    """A family that spans all of a person's devices signs them out of all: here the other one goes on."""
    stolen, other = server.signed_in()["refresh_token"], signed_in_at(server, BFF)["refresh_token"]
    server.refresh(stolen, attempt=attempt(1))
    server.clock.advance(11)
    server.refresh(stolen, attempt=attempt(9))

    assert refresh_as(server, BFF, other).status == 200


def test_rotation_never_moves_the_absolute_end(server: BackChannel) -> None:
    """RFC 10017: a rotated token must not outlive the first one's preset end."""
    tokens = server.signed_in()
    ends = {server.now() + tokens["session_expires_in"]}
    token = tokens["refresh_token"]
    for number in range(6):
        server.clock.advance(6 * 86400)
        seen = server.refresh(token, attempt=attempt(number))
        if seen.status != 200:
            break
        ends.add(server.now() + seen.json["session_expires_in"])
        assert seen.json["refresh_token_expires_in"] <= seen.json["session_expires_in"]
        token = seen.json["refresh_token"]

    assert len(ends) == 1
    assert reason(seen) == (400, "invalid_grant", "expired")


# ── C.2: when nothing may be consumed ────────────────────────────────────────────────


@pytest.fixture
def bound(server: BackChannel) -> tuple[BackChannel, PrivateKey, str, str]:
    """A DPoP-bound session: server, key, refresh token, nonce."""
    key = generate_private_key("ES256")
    form = {**server.exchange_form(SPA), "client_id": "spa"}
    nonce = server.post("/token", form, dpop=proof(key, now=server.now())).header("dpop-nonce")
    assert nonce is not None
    tokens = server.post("/token", form, dpop=proof(key, now=server.now(), nonce=nonce, jti="exchange"))
    assert tokens.status == 200, tokens.body
    return server, key, tokens.json["refresh_token"], nonce


def test_a_nonce_challenge_consumes_nothing(bound: tuple[BackChannel, PrivateKey, str, str]) -> None:
    """RFC 9449 §8: the server asks for a nonce; the same refresh token then works, unrotated until then."""
    server, key, token, _ = bound
    before = stored(server, token)
    asked = server.refresh(token, attempt=None, dpop=proof(key, now=server.now(), jti="1"))
    unchanged = stored(server, token)
    nonce = asked.header("dpop-nonce")
    done = server.refresh(token, attempt=None, dpop=proof(key, now=server.now(), nonce=nonce, jti="2"))

    assert (asked.status, asked.json["error"]) == (400, "use_dpop_nonce")
    assert unchanged == before
    assert done.status == 200


def test_a_bound_retry_is_proven_by_the_key_however_late(bound: tuple[BackChannel, PrivateKey, str, str]) -> None:
    """Profile A for a public client: no attempt, another proof of the same key, an hour later."""
    server, key, token, nonce = bound
    lost = server.refresh(token, attempt=None, dpop=proof(key, now=server.now(), nonce=nonce, jti="1"))
    server.clock.advance(3600)
    nonce = server.refresh(token, attempt=None, dpop=proof(key, now=server.now(), jti="2")).header("dpop-nonce")
    again = server.refresh(token, attempt=None, dpop=proof(key, now=server.now(), nonce=nonce, jti="3"))

    assert again.status == 200, again.body
    assert again.json["refresh_token"] == lost.json["refresh_token"]
    assert claims_of(again.json["access_token"])["cnf"] == {"jkt": key.public.thumbprint}


@pytest.mark.parametrize("wrong", ["no proof", "another key", "a used proof", "another client"])
def test_what_speaks_for_somebody_else_changes_nothing(
    bound: tuple[BackChannel, PrivateKey, str, str], wrong: str
) -> None:
    """Else whoever holds an old string could sign its owner out."""
    server, key, token, nonce = bound
    used = proof(key, now=server.now(), nonce=nonce, jti="exchange")
    stranger = proof(generate_private_key("ES256"), now=server.now(), nonce=nonce, jti="stranger")
    before = stored(server, token)
    seen = {
        "no proof": lambda: server.refresh(token),
        "another key": lambda: server.refresh(token, dpop=stranger),
        "a used proof": lambda: server.refresh(token, dpop=used),
        "another client": lambda: refresh_as(server, BFF, token),
    }[wrong]()

    assert seen.status == 400
    assert stored(server, token) == before
    assert server.refresh(token, dpop=proof(key, now=server.now(), nonce=nonce, jti="right")).status == 200


@pytest.mark.parametrize("spent", [False, True], ids=["live", "spent"])
def test_another_client_revokes_nothing_however_old_the_token(server: BackChannel, spent: bool) -> None:
    """A wrong client with a live or a long spent token, at the token and the revocation endpoint."""
    first = server.signed_in()["refresh_token"]
    live = first
    if spent:
        live = server.refresh(first, attempt=attempt(1)).json["refresh_token"]
        server.clock.advance(3600)
    before = stored(server, first)
    refused = refresh_as(server, BFF, first)
    server.post("/revoke", {"token": first}, authorization=basic(BFF.client_id, SECRET))

    assert reason(refused) == UNSAID
    assert stored(server, first) == before
    assert server.refresh(live, attempt=attempt(2)).status == 200


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"scope": "orders:write"}, "invalid_scope"),
        ({"scope": "orders:read admin"}, "invalid_scope"),
        ({"resource": "https://bank.example/"}, "invalid_target"),
        ({"resource": "no uri"}, "invalid_target"),
        ({"refresh_attempt": "too short"}, "invalid_request"),
    ],
)
def test_a_request_that_is_refused_consumes_nothing(server: BackChannel, more: dict[str, str], error: str) -> None:
    """Rotation comes after all checks: the token refused with it works in the next request."""
    token = server.signed_in()["refresh_token"]
    before = stored(server, token)
    form = {"grant_type": "refresh_token", "refresh_token": token, "refresh_attempt": ATTEMPT, "client_id": "spa"}
    refused = server.post("/token", {**form, **more})

    assert (refused.status, refused.json["error"]) == (400, error)
    assert stored(server, token) == before
    assert server.refresh(token).status == 200


def test_a_wrong_secret_consumes_nothing(server: BackChannel) -> None:
    """RFC 6749 §5.2: invalid_client, and the family is as it was."""
    token = signed_in_at(server, BFF)["refresh_token"]
    before = stored(server, token)
    form = {"grant_type": "refresh_token", "refresh_token": token}
    refused = server.post("/token", form, authorization=basic(BFF.client_id, "wrong"))

    assert (refused.status, refused.json["error"]) == (401, "invalid_client")
    assert stored(server, token) == before


def test_a_disabled_person_is_refused_and_nothing_is_consumed(server: BackChannel) -> None:
    """Enabled again, they go on where they were (their sessions were not ended by this bare flag)."""
    token = server.signed_in()["refresh_token"]
    server.put(SubjectKey(ANA.subject), replace(ANA, enabled=False))
    before = stored(server, token)
    refused = server.refresh(token)
    after = stored(server, token)
    server.put(SubjectKey(ANA.subject), ANA)

    assert (refused.status, refused.json["error"]) == (400, "invalid_grant")
    assert (after.family, after.session) == (before.family, before.session)
    assert server.refresh(token).status == 200


def test_refreshes_at_once_in_one_server_are_serialized(server: BackChannel) -> None:
    """Forty at once through one event loop: one successor."""
    token = server.signed_in()["refresh_token"]
    body = f"grant_type=refresh_token&client_id=spa&refresh_attempt={ATTEMPT}&refresh_token={token}".encode()
    headers = [("content-type", "application/x-www-form-urlencoded")]

    async def together() -> list[Seen]:
        return await asyncio.gather(*(ask(server.app, "POST", "/token", headers=headers, body=body) for _ in range(40)))

    answers = server.run(together())

    assert {seen.status for seen in answers} == {200}
    assert len({seen.json["refresh_token"] for seen in answers}) == 1
