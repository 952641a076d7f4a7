"""The refresh grant: what the table decided, as the token endpoint renders it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.events import EventName
from portero.core.grants.grant import Denied, Grant
from portero.core.grants.refresh_token import decide_refresh_grant
from portero.core.oauth.token import RefreshRequest
from portero.core.sessions.records import DeviceSession, Profile
from portero.core.sessions.refresh_outcome import Rotated
from portero.core.tokens.refresh_token import RefreshToken, TagKey, parse_refresh_token
from portero.core.transitions import Audit, Client, Decision, FamilyAggregate, Put, RotationPolicy
from portero.core.types import ClientId, Secret
from tests.core.sessions.worlds import BACKEND, PAGE, RULES, USER, World, at, fresh, world

TAG = TagKey(9, Secret(b"t" * 32))
ATTEMPT = Secret("attempt-of-22-characte")


def refresh(
    made: World,
    *,
    after: int = 0,
    token: RefreshToken | None = None,
    client: Client | None = None,
    attempt: Secret[str] | None = ATTEMPT,
    cnf_jkt: str | None = None,
    place: str | None = None,
) -> Decision[Grant | Denied]:
    return decide_refresh_grant(
        FamilyAggregate(made.family, made.session, USER),
        request=RefreshRequest(Secret("the text"), attempt, None, ()),
        token=token or made.token,
        client=client or made.client,
        cnf_jkt=cnf_jkt,
        now=at(after),
        rules=RULES,
        fresh=fresh("grant"),
        tag_key=TAG,
        place=place,
    )


def test_a_rotation_sends_a_token_under_the_current_tag_key() -> None:
    """With the durations a client plans by, and the person as read in the transition."""
    made = world()

    grant = refresh(made).result

    assert isinstance(grant, Grant)
    assert grant.refresh_token is not None
    token = parse_refresh_token(grant.refresh_token, tag_key=lambda key_id: TAG.key if key_id == 9 else None)
    assert (token.family_id, token.generation) == (made.family.id, 1)
    assert (grant.sid, grant.subject, grant.roles, grant.user) == (
        made.session.sid,
        USER.subject,
        USER.roles,
        USER,
    )
    assert grant.audience == made.family.resource
    assert grant.session_expires_in == RULES.session_lifetime
    assert grant.refresh_token_expires_in == RULES.idle_lifetime


def test_no_rotation_sends_no_refresh_token() -> None:
    """RFC 6749 §6: "MAY issue a new refresh token"; the policy is the client's."""
    made = world(Profile.BOUND)

    kept = refresh(made).result
    rotated = refresh(made, client=replace(BACKEND, rotation=RotationPolicy.ALWAYS)).result

    assert isinstance(kept, Grant)
    assert kept.refresh_token is None
    assert kept.refresh_token_expires_in == RULES.idle_lifetime
    assert isinstance(rotated, Grant)
    assert rotated.refresh_token is not None


@pytest.mark.parametrize(
    ("after", "reason", "committed"),
    [(10, "superseded", False), (11, "reused", True)],
)
def test_a_denial_is_a_value_with_its_reason(after: int, reason: str, committed: bool) -> None:
    """A reuse is committed although it answers with an error."""
    made = world()
    rotated = made.refresh(made.token).result
    assert isinstance(rotated, Rotated)
    assert rotated.refresh_token is not None
    made.refresh(rotated.refresh_token)

    decision = refresh(made, after=after, attempt=Secret("x" * 22))

    assert isinstance(decision.result, Denied)
    error = decision.result.as_error()
    assert (error.error, error.status, error.reason) == ("invalid_grant", 400, reason)
    assert bool(decision.writes) is committed


def test_a_missing_attempt_is_the_requests_fault() -> None:
    """`invalid_request`: the client forgot a parameter."""
    result = refresh(world(), attempt=None).result

    assert isinstance(result, Denied)
    assert (result.error, result.reason) == ("invalid_request", None)


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (replace(PAGE, grant_types=("authorization_code",)), "unauthorized_client"),
        (replace(PAGE, enabled=False), "unauthorized_client"),
        (replace(PAGE, dpop_bound_access_tokens=True), "invalid_dpop_proof"),
    ],
)
def test_a_client_may_use_what_it_is_registered_for(client: Client, error: str) -> None:
    """An exception: nothing is to be committed."""
    with pytest.raises(RequestError) as caught:
        refresh(world(), client=client)

    assert caught.value.error == error


def test_another_clients_token_is_refused_without_a_reason() -> None:
    """Who is not its client learns nothing of the session."""
    result = refresh(world(), client=replace(PAGE, client_id=ClientId("other"))).result

    assert result == Denied("invalid_grant", "the refresh token is not valid", None, "refresh refused: OTHER_CLIENT")


def test_the_access_token_carries_the_key_of_the_proof() -> None:
    """RFC 9449 §5: the same key for a bound family; a confidential client may bring any, or a new one."""
    bound = refresh(world(cnf_jkt="jkt"), cnf_jkt="jkt").result
    backend = refresh(world(Profile.BOUND), cnf_jkt="new").result

    assert isinstance(bound, Grant)
    assert isinstance(backend, Grant)
    assert (bound.cnf_jkt, backend.cnf_jkt) == ("jkt", "new")


def test_a_known_place_is_noted() -> None:
    """And an unknown one leaves what was known."""
    made = world()

    noted = refresh(made, place="198.51.0.0/16")
    kept = refresh(made)

    places = [
        write.record.place
        for write in (*noted.writes, *kept.writes)
        if isinstance(write, Put) and isinstance(write.record, DeviceSession)
    ]
    assert places == ["198.51.0.0/16", "192.0.0.0/16"]


# ── what an operator finds later ─────────────────────────────────────────────────────


def rows(decision: Decision[Grant | Denied]) -> list[tuple[EventName, dict[str, str]]]:
    return [(write.event.name, dict(write.event.fields)) for write in decision.writes if isinstance(write, Audit)]


def test_an_ordinary_refresh_leaves_no_row() -> None:
    """Rotated, retried, refused: counted, and never one row per refresh (design §3.2: constant size)."""
    made = world()
    first = refresh(made)
    made.refresh(made.token, attempt=sha256_of(ATTEMPT))
    retried = refresh(made, after=1)
    refused = refresh(made, after=1, attempt=None)

    assert isinstance(retried.result, Grant)
    assert [rows(each) for each in (first, retried, refused)] == [[], [], []]


def test_a_theft_leaves_one_row_that_says_how_it_was_noticed() -> None:
    """The reason, the standing of the token, and what spoke against its holder."""
    made = world()
    made.refresh(made.token)

    stolen = refresh(made, after=60, attempt=Secret("B" * 22))

    reason = {"reason": "refresh_reused", "standing": "ROTATED", "proof": "LATE"}
    assert rows(stolen) == [(EventName.REFRESH_REUSED, reason)]


def test_a_generation_ahead_leaves_a_row() -> None:
    """The alarm of a database that lost what it had promised."""
    made = world()
    token = RefreshToken(made.family.id, 7, Secret(b"7" * 32))

    assert [name for name, _ in rows(refresh(made, token=token))] == [EventName.REFRESH_AHEAD]
