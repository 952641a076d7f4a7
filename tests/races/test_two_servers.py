"""Several authorization servers on one database behave as one (issue "a refresh …", proof 4)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx2

from portero.adapters.keys.secrets_file import read_secrets
from portero.core.jose.jws import unverified_payload
from portero.core.tokens.refresh_token import parse_refresh_token
from portero.core.transitions import FamilyKey
from portero.core.types import ClientId, Secret
from tests.races.fleet import (
    BACKEND,
    PAGE,
    SECRET,
    Fleet,
    attempt,
    exchange_form,
    refresh_form,
)

RACERS = 16


def reasons(answers: list[httpx2.Response]) -> set[str]:
    return {"" if answer.status_code == 200 else str(answer.json().get("error_reason")) for answer in answers}


def head_of(fleet: Fleet, token: str) -> int:
    """The generation of the head of the token's family, as stored."""
    tag_keys = read_secrets(fleet.folder / "portero.secrets").tag_keys
    family_id = parse_refresh_token(Secret(token), tag_key=tag_keys.get).family_id
    family = fleet.at_store(lambda store: store.read(FamilyKey(family_id))).family
    assert family is not None
    return family.head.generation


def claims(answer: httpx2.Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unverified_payload(answer.json()["access_token"]))
    return found


# ── refreshes ────────────────────────────────────────────────────────────────────────


def test_racing_tabs_of_one_device_get_one_successor(fleet: Fleet) -> None:
    """N at once with one token and one attempt, on two servers: all are served, with the same successor."""
    (tokens,) = fleet.signed_in()
    form = refresh_form(tokens["refresh_token"], attempt=attempt())

    answers = asyncio.run(fleet.at_once([("/token", form)] * RACERS))

    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len({claims(answer)["jti"] for answer in answers}) == RACERS
    assert head_of(fleet, tokens["refresh_token"]) == 1


def test_a_bound_client_that_races_itself_gets_one_successor(fleet: Fleet) -> None:
    """Profile A: the credential proves every retry; no attempt is needed."""
    (tokens,) = fleet.signed_in(client=BACKEND)
    form = refresh_form(tokens["refresh_token"], client=BACKEND)

    answers = asyncio.run(fleet.at_once([("/token", form)] * RACERS))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert head_of(fleet, tokens["refresh_token"]) == 1


def test_racers_with_attempts_of_their_own_have_one_winner(fleet: Fleet) -> None:
    """Check-then-act is what this would find: one successor, the others softly denied, and the session lives."""
    (tokens,) = fleet.signed_in()
    forms = [refresh_form(tokens["refresh_token"], attempt=attempt()) for _ in range(RACERS)]

    answers = asyncio.run(fleet.at_once([("/token", form) for form in forms]))
    won = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]

    assert len(won) == 1
    assert reasons(answers) == {"", "superseded"}
    assert head_of(fleet, tokens["refresh_token"]) == 1
    assert fleet.refresh(won[0], attempt=attempt(), server=1).status_code == 200


def test_many_devices_race_without_touching_each_other(fleet: Fleet) -> None:
    """Twelve devices, three tabs each, all at once: twelve successors."""
    devices = [(tokens["refresh_token"], attempt()) for tokens in fleet.signed_in(12)]
    forms = [refresh_form(token, attempt=mine) for token, mine in devices * 3]

    answers = asyncio.run(fleet.at_once([("/token", form) for form in forms]))
    successors = [{answers[n + 12 * tab].json()["refresh_token"] for tab in range(3)} for n in range(12)]

    assert {answer.status_code for answer in answers} == {200}
    assert [len(one) for one in successors] == [1] * 12
    assert len(set().union(*successors)) == 12


def test_a_retry_at_the_other_server_gets_the_same_successor(fleet: Fleet) -> None:
    """The answer was lost on its way from one; the other opens the same box."""
    (tokens,) = fleet.signed_in()
    mine = attempt()
    answers = [fleet.refresh(tokens["refresh_token"], attempt=mine, server=n).json() for n in (0, 1)]

    assert answers[0]["refresh_token"] == answers[1]["refresh_token"]


# ── codes ────────────────────────────────────────────────────────────────────────────


def test_a_code_is_exchanged_once_whoever_is_asked(fleet: Fleet) -> None:
    """RFC 6749 §4.1.2: of N exchanges at once one succeeds, and what it opened is ended by the others."""
    (code,) = fleet.codes(1)

    answers = asyncio.run(fleet.at_once([("/token", exchange_form(code))] * RACERS))
    won = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]
    after = fleet.refresh(won[0], attempt=attempt())

    assert len(won) == 1
    assert {answer.json()["error"] for answer in answers if answer.status_code != 200} == {"invalid_grant"}
    assert (after.status_code, after.json()["error_reason"]) == (400, "reused")


# ── ends ─────────────────────────────────────────────────────────────────────────────


def test_a_sign_out_that_races_refreshes_ends_them_all(fleet: Fleet) -> None:
    """Whatever was served in the race, nothing is served after it, and the feed names the session long enough."""
    (tokens,) = fleet.signed_in()
    refreshing = ("/token", refresh_form(tokens["refresh_token"], attempt=attempt()))
    ending = ("/revoke", {"token": tokens["refresh_token"], "client_id": PAGE.client_id})

    answers = asyncio.run(fleet.at_once([refreshing] * 5 + [ending] + [refreshing] * 6))
    served = [answer for answer in answers[:5] + answers[6:] if answer.status_code == 200]
    refused = [answer for answer in answers[:5] + answers[6:] if answer.status_code != 200]
    later = [
        fleet.refresh(answer.json()["refresh_token"], attempt=attempt(), server=n % 2)
        for n, answer in enumerate(served[:2])
    ]
    entry = live_entries(fleet)[session_of(tokens)]

    assert answers[5].status_code == 200
    assert reasons(refused) <= {"revoked"}
    assert reasons(later) <= {"revoked"}
    assert entry["until"] >= max((claims(answer)["exp"] for answer in served), default=0)


def test_what_one_server_ended_the_other_refuses(fleet: Fleet) -> None:
    """At once, and for the access token as well."""
    (tokens,) = fleet.signed_in()
    fleet.post("/revoke", {"token": tokens["refresh_token"], "client_id": PAGE.client_id}, server=0)
    refused = fleet.refresh(tokens["refresh_token"], attempt=attempt(), server=1)

    assert (refused.status_code, refused.json()["error_reason"]) == (400, "revoked")
    assert session_of(tokens) in live_entries(fleet, server=1)


def test_an_end_at_one_server_wakes_the_followers_of_the_other(fleet: Fleet) -> None:
    """A long poll at one is answered by a revocation at the other, before its wait is over."""
    (tokens,) = fleet.signed_in()
    cursor = snapshot(fleet, server=1)["cursor"]

    async def poll_and_end() -> httpx2.Response:
        # Patience for less than the wait that is asked for: only a wake-up answers in time.
        async with httpx2.AsyncClient(timeout=25, trust_env=False) as http:
            url = f"{fleet.servers[1].url}/revocations"
            headers = {"authorization": f"Bearer {service_token(fleet)}"}
            waiting = asyncio.ensure_future(http.get(url, params={"after": cursor, "wait": "30"}, headers=headers))
            await http.post(
                f"{fleet.servers[0].url}/revoke",
                data={"token": tokens["refresh_token"], "client_id": PAGE.client_id},
            )
            return await waiting

    answer = asyncio.run(poll_and_end())

    assert [entry["what"] for entry in answer.json()["entries"]] == [{"sid": session_of(tokens)}]


# ── keys and clients ─────────────────────────────────────────────────────────────────


def test_one_servers_tokens_are_the_others(fleet: Fleet) -> None:
    """One key set, and an access token of either is taken by both."""
    keys = [httpx2.get(f"{server.url}/jwks", trust_env=False).json() for server in fleet.servers]
    tokens = [service_token(fleet, server=n) for n in (0, 1)]
    answers = [snapshot(fleet, server=n, token=tokens[1 - n]) for n in (0, 1)]

    assert keys[0] == keys[1]
    assert answers[0]["cursor"].partition(":")[0] == answers[1]["cursor"].partition(":")[0]


def test_a_client_that_was_added_beside_them_is_known_to_both(fleet: Fleet) -> None:
    """And one that is disabled is refused by both within the second a client is remembered (decision 0041)."""
    added = replace(BACKEND, client_id=ClientId("added"))
    fleet.write(added)
    (tokens,) = fleet.signed_in(client=added)
    both = [
        fleet.post("/token", refresh_form(tokens["refresh_token"], client=added), server=n).status_code for n in (0, 1)
    ]

    assert both == [200, 200]


# ── the service that follows the feed ────────────────────────────────────────────────


def service_token(fleet: Fleet, *, server: int = 0) -> str:
    form = {"grant_type": "client_credentials", "scope": "revocations:read"}
    answer = fleet.post("/token", {**form, "client_id": "service", "client_secret": SECRET}, server=server)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def snapshot(fleet: Fleet, *, server: int = 0, token: str | None = None) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token or service_token(fleet, server=server)}"}
    answer = httpx2.get(f"{fleet.servers[server].url}/revocations/snapshot", headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def live_entries(fleet: Fleet, *, server: int = 0) -> dict[str, Any]:
    """The feed's entries by session."""
    return {entry["what"].get("sid"): entry for entry in snapshot(fleet, server=server)["entries"]}


def session_of(tokens: dict[str, Any]) -> str:
    return str(json.loads(unverified_payload(tokens["access_token"]))["sid"])
