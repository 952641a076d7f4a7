"""The refresh decision, row by row, at both sides of every limit; and each known failure of the field by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.core.events import EventName
from portero.core.revocation.entry import RevokedKind
from portero.core.sessions.ending import end_device_session
from portero.core.sessions.records import EndReason, Family, Profile, SessionStatus
from portero.core.sessions.refresh import decide_refresh
from portero.core.sessions.refresh_outcome import (
    Presented,
    RefreshOutcome,
    Refusal,
    Refused,
    Retried,
    Reused,
    Rotated,
    SoftDenied,
    Unchanged,
)
from portero.core.sessions.refresh_table import Proof, Standing
from portero.core.tokens.refresh_token import MAX_GENERATION, RefreshToken
from portero.core.transitions import (
    Audit,
    BrowserKey,
    Decision,
    Delete,
    FamilyAggregate,
    Notify,
    Put,
    Revoke,
    RotationPolicy,
)
from portero.core.types import ClientId, NumericDate, Secret, Subject
from tests.core.sessions.worlds import BROWSER, HONEST, NOW, OTHER, RULES, USER, World, at, fresh, world

DAY = 86_400
ALL = tuple(Profile)


def successor(decision: Decision[RefreshOutcome]) -> RefreshToken:
    """The refresh token of a success that sends one."""
    outcome = decision.result
    assert isinstance(outcome, Rotated | Retried), outcome
    assert outcome.refresh_token is not None
    return outcome.refresh_token


def always(profile: Profile) -> World:
    """A family that rotates with every refresh, whatever its client's policy."""
    made = world(profile)
    made.client = replace(made.client, rotation=RotationPolicy.ALWAYS)
    return made


# ── HEAD ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("profile", ALL)
def test_a_due_head_rotates(profile: Profile) -> None:
    """The successor is one generation on, and storage sees only its digest and a box."""
    made = always(profile)

    decision = made.refresh(made.token)

    token = successor(decision)
    assert isinstance(decision.result, Rotated)
    assert (token.generation, made.family.head.generation) == (1, 1)
    parent = made.family.parent
    assert parent is not None
    assert parent.first_used == NOW
    assert parent.successor_box is not None
    assert token.secret.reveal() not in parent.successor_box


def test_an_undue_head_of_a_bound_family_goes_on() -> None:
    """Profile A near its end: below 70 % of its life no new token is sent (RFC 6749 §6: MAY), at 70 % one is."""
    life = RULES.refresh_token_lifetime
    made = world(Profile.BOUND)
    made.rules = replace(RULES, idle_lifetime=30 * DAY)
    made.session = replace(made.session, idle_end=made.session.absolute_end)

    before = made.refresh(made.token, after=life * 70 // 100 - 1)
    at_limit = made.refresh(made.token, after=life * 70 // 100)

    assert isinstance(before.result, Unchanged)
    assert before.result.refresh_token is None
    assert isinstance(at_limit.result, Rotated)


@pytest.mark.parametrize("profile", [Profile.ATTEMPT, Profile.PLAIN])
def test_an_unbound_family_rotates_whatever_the_policy_says(profile: Profile) -> None:
    """RFC 9700 §4.14.2: without binding, every refresh rotates, even if `near_end` slipped into a registration."""
    made = world(profile)
    made.client = replace(made.client, rotation=RotationPolicy.NEAR_END)

    decision = made.refresh(made.token)

    assert isinstance(decision.result, Rotated)


def test_a_token_that_lives_to_the_absolute_end_is_not_replaced_near_it() -> None:
    """C.2: a successor could not live any longer."""
    made = world(Profile.BOUND, rules=replace(RULES, session_lifetime=DAY))

    decision = made.refresh(made.token, after=DAY - 1)

    assert isinstance(decision.result, Unchanged)


def test_using_the_successor_erases_the_box_where_nothing_rotates() -> None:
    """HEAD, no rotation due: the parent becomes SUPERSEDED, and its box is gone from storage."""
    made = always(Profile.BOUND)
    token = successor(made.refresh(made.token))
    made.client = replace(made.client, rotation=RotationPolicy.NEAR_END)

    made.refresh(token, after=1)

    assert made.family.parent is not None
    assert made.family.parent.successor_box is None


@pytest.mark.parametrize("profile", ALL)
def test_a_head_is_good_until_it_expires(profile: Profile) -> None:
    """At `expires` it is expired, a second before it is not."""
    made = world(profile)
    made.family = replace(made.family, head=replace(made.family.head, expires=at(100)))
    late = replace(made)

    assert isinstance(made.refresh(made.token, after=99).result, Rotated | Unchanged)
    assert late.refresh(late.token, after=100).result == Refused(Refusal.TOKEN_EXPIRED)


def test_a_successor_that_expired_unseen_is_not_handed_out_again() -> None:
    """A retry could only give what is of no use."""
    made = always(Profile.ATTEMPT)
    made.refresh(made.token)
    made.family = replace(made.family, head=replace(made.family.head, expires=at(100)))

    assert isinstance(made.refresh(made.token, after=99).result, Retried)
    assert made.refresh(made.token, after=100).result == Refused(Refusal.TOKEN_EXPIRED)


def test_the_last_generation_is_at_its_end() -> None:
    """Four bytes of generation: no overflow, the person signs in again."""
    made = world(Profile.ATTEMPT)
    made.family = replace(made.family, head=replace(made.family.head, generation=MAX_GENERATION))
    last = replace(made.token, generation=MAX_GENERATION)

    assert made.refresh(last).result == Refused(Refusal.TOKEN_EXPIRED)


# ── retries ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("profile", ALL)
def test_a_proven_retry_gets_the_same_successor(profile: Profile) -> None:
    """The answer was lost: the same successor again, never a second branch."""
    made = always(profile)
    first = successor(made.refresh(made.token))

    again = made.refresh(made.token, after=5)

    assert isinstance(again.result, Retried)
    assert successor(again).secret.matches(first.secret)
    assert successor(again).generation == first.generation


@pytest.mark.parametrize("profile", [Profile.BOUND, Profile.ATTEMPT])
def test_fapi_retries_after_thirty_seconds(profile: Profile) -> None:
    """FAPI 2.0 §5.3.2.1: "retrying with the previous refresh token" succeeds; its suite waits 30 s, a laptop a week."""
    made = always(profile)
    first = successor(made.refresh(made.token))

    for seconds in (30, 3600, 6 * DAY):
        assert successor(made.refresh(made.token, after=seconds)).secret.matches(first.secret)


def test_a_plain_retry_is_answered_for_thirty_seconds() -> None:
    """Profile C at 30 s, and not a second later: then it counts as reuse."""
    made = always(Profile.PLAIN)
    made.refresh(made.token)
    late = replace(made)

    assert isinstance(made.refresh(made.token, after=30).result, Retried)
    assert isinstance(late.refresh(late.token, after=31).result, Reused)


def test_a_plain_retry_is_answered_twice() -> None:
    """Profile C: the third time the window still makes it a soft denial."""
    made = always(Profile.PLAIN)
    made.refresh(made.token)

    outcomes = [made.refresh(made.token, after=seconds).result for seconds in (1, 2, 3)]

    assert [type(outcome) for outcome in outcomes] == [Retried, Retried, SoftDenied]


def test_three_plain_generations_with_retries_are_two_holders() -> None:
    """Profile C: sharing; a generation without a retry in between starts the count again."""
    made = always(Profile.PLAIN)
    tokens = [made.token]
    for _ in range(2):
        tokens.append(successor(made.refresh(tokens[-1])))
        assert isinstance(made.refresh(tokens[-2]).result, Retried)
    innocent = replace(made)
    tokens.append(successor(made.refresh(tokens[-1])))

    shared = made.refresh(tokens[-2])
    unretried = successor(innocent.refresh(tokens[-2]))
    head = successor(innocent.refresh(unretried))
    forgiven = innocent.refresh(unretried)

    assert isinstance(shared.result, Reused)
    assert head.generation == 4
    assert isinstance(forgiven.result, Retried)


# ── spent tokens ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("profile", "window"), [(Profile.ATTEMPT, 10), (Profile.PLAIN, 30)])
def test_an_unproven_use_is_soft_until_the_window_closes(profile: Profile, window: int) -> None:
    """Within the window nothing is issued and nothing revoked; a second later the session ends."""
    made = always(profile)
    made.refresh(successor(made.refresh(made.token)))
    late = replace(made)

    soft = made.refresh(made.token, after=window, attempt=OTHER)
    reuse = late.refresh(late.token, after=window + 1, attempt=OTHER)

    assert soft.result == SoftDenied(Standing.SUPERSEDED, Proof.RECENT)
    assert soft.writes == ()
    assert isinstance(reuse.result, Reused)


def test_the_window_counts_from_first_use_and_is_never_extended() -> None:
    """A thief who keeps asking does not keep the window open."""
    made = always(Profile.ATTEMPT)
    made.refresh(made.token)

    outcomes = [made.refresh(made.token, after=seconds, attempt=OTHER).result for seconds in (4, 8, 11)]

    assert [type(outcome) for outcome in outcomes] == [SoftDenied, SoftDenied, Reused]


def test_a_late_honest_request_is_no_theft_while_the_ring_remembers_it() -> None:
    """Profile B: the parent and 16 generations behind it are proven by their attempt, a day late; the 17th is not."""
    made = always(Profile.ATTEMPT)
    tokens = [made.token]
    for _ in range(18):
        tokens.append(successor(made.refresh(tokens[-1])))
    remembered = tokens[18 - 1 - 16]
    forgotten = tokens[18 - 1 - 17]

    assert made.refresh(remembered, after=DAY).result == SoftDenied(Standing.SUPERSEDED, Proof.PROVEN)
    assert isinstance(made.refresh(forgotten, after=DAY).result, Reused)


def test_a_bound_family_never_calls_it_theft() -> None:
    """Profile A: the credential or key proves any generation, remembered or not."""
    made = always(Profile.BOUND)
    token = made.token
    for _ in range(20):
        token = successor(made.refresh(token))

    assert made.refresh(made.token, after=DAY).result == SoftDenied(Standing.SUPERSEDED, Proof.PROVEN)


def test_reuse_ends_one_device_and_enters_the_feed() -> None:
    """Session, browser session, feed entry, notice and audit event stand in one commit."""
    made = always(Profile.ATTEMPT)
    rotated = made.refresh(made.token)
    assert isinstance(rotated.result, Rotated)

    decision = made.refresh(made.token, after=11, attempt=OTHER)

    ended, browser, revoke, notify, audit = decision.writes
    assert isinstance(ended, Put)
    assert made.session.status is SessionStatus.ENDED
    assert made.session.end_reason is EndReason.REFRESH_REUSED
    assert browser == Delete(BrowserKey(BROWSER))
    assert isinstance(revoke, Revoke)
    assert (revoke.revocation.kind, revoke.revocation.value) == (RevokedKind.SESSION, made.session.sid)
    assert revoke.revocation.until == rotated.result.exp + RULES.leeway
    assert isinstance(notify, Notify)
    assert notify.notice.sid == made.session.sid
    assert isinstance(audit, Audit)
    assert audit.event.name is EventName.REFRESH_REUSED


def test_after_reuse_nobody_is_served_again() -> None:
    """Supabase 52614: a descendant refreshed 287 ms after "family revoked". Here the head is dead with the session."""
    made = always(Profile.ATTEMPT)
    head = successor(made.refresh(successor(made.refresh(made.token))))
    made.refresh(made.token, after=11, attempt=OTHER)

    assert made.refresh(head, after=11).result == Refused(Refusal.REUSED_BEFORE)


# ── the known failures of the field (refresh-tokens.md C.1, C.2) ─────────────────────


def test_grace_is_not_for_grandparents() -> None:
    """django-oauth-toolkit #1617: a token two generations old is never answered, not even at once."""
    made = always(Profile.ATTEMPT)
    made.refresh(successor(made.refresh(made.token)))

    assert isinstance(made.refresh(made.token).result, SoftDenied)


def test_two_racers_cannot_both_win() -> None:
    """Keycloak #45647, seamless-auth-api #296: in one serialized step the second sees what the first wrote."""
    made = always(Profile.ATTEMPT)

    first, second = made.refresh(made.token), made.refresh(made.token)

    assert successor(first).secret.matches(successor(second).secret)
    assert made.family.head.generation == 1


def test_a_racing_thief_does_not_win_a_branch() -> None:
    """The same second, another attempt: nothing."""
    made = always(Profile.ATTEMPT)
    made.refresh(made.token)

    assert made.refresh(made.token, attempt=OTHER).result == SoftDenied(Standing.ROTATED, Proof.RECENT)


@pytest.mark.parametrize("profile", ALL)
def test_the_wrong_client_revokes_nothing(profile: Profile) -> None:
    """Whoever holds an old string would otherwise end other people's sessions."""
    made = always(profile)
    made.refresh(successor(made.refresh(made.token)))

    decision = made.refresh(made.token, after=DAY, client_id=ClientId("stranger"), attempt=OTHER)

    assert decision.result == Refused(Refusal.OTHER_CLIENT)
    assert decision.writes == ()


def test_the_wrong_key_revokes_nothing() -> None:
    """RFC 9449 §5: a public client's refresh token is good with its key only."""
    made = world(cnf_jkt="the-key")

    wrong, missing = made.refresh(made.token, cnf_jkt="another"), made.refresh(made.token)

    assert [wrong.result, missing.result] == [Refused(Refusal.OTHER_KEY)] * 2
    assert (wrong.writes, missing.writes) == ((), ())
    assert isinstance(made.refresh(made.token, cnf_jkt="the-key", attempt=None).result, Rotated)


def test_a_nonce_challenge_does_not_consume() -> None:
    """RFC 9449 §8: the request without a good proof is refused; the same token then rotates as if nothing was."""
    made = world(cnf_jkt="the-key")
    before = made.family

    made.refresh(made.token)

    assert made.family is before
    assert successor(made.refresh(made.token, cnf_jkt="the-key")).generation == 1


def test_a_gateway_that_cannot_store_the_new_token_keeps_its_session() -> None:
    """open-bank-oss #3600: a bound client that loses every answer is served again each time."""
    made = always(Profile.BOUND)

    outcomes = [made.refresh(made.token, after=60 * i).result for i in range(50)]

    assert all(isinstance(outcome, Rotated | Retried) for outcome in outcomes)


def test_a_refused_request_rotates_nothing() -> None:
    """C.2: scope, resource, attempt and person are checked before any state changes."""
    made = always(Profile.ATTEMPT)
    before = (made.family, made.session)

    results = [
        made.refresh(made.token, scope=("admin",)).result,
        made.refresh(made.token, resource=("https://elsewhere.example",)).result,
        made.refresh(made.token, attempt=None).result,
    ]
    made.user = replace(USER, enabled=False)
    results.append(made.refresh(made.token).result)
    made.user = None
    results.append(made.refresh(made.token).result)

    assert results == [
        Refused(Refusal.SCOPE),
        Refused(Refusal.TARGET),
        Refused(Refusal.ATTEMPT_MISSING),
        Refused(Refusal.USER_INACTIVE),
        Refused(Refusal.USER_INACTIVE),
    ]
    assert (made.family, made.session) == before


def test_a_client_that_acts_for_itself_needs_no_person() -> None:
    """RFC 9068 §5: `sub` is the client."""
    made = always(Profile.BOUND)
    made.user = None
    made.session = replace(made.session, subject=Subject(made.client.client_id))

    assert isinstance(made.refresh(made.token).result, Rotated)


def test_a_token_without_an_attempt_is_never_treated_as_plain() -> None:
    """Profile B: `invalid_request`, not thirty seconds of trust."""
    made = always(Profile.ATTEMPT)
    made.refresh(made.token)

    decision = made.refresh(made.token, attempt=None)

    assert decision.result == Refused(Refusal.ATTEMPT_MISSING)
    assert Refusal.ATTEMPT_MISSING.error == "invalid_request"


# ── ends ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["absolute_end", "idle_end"])
def test_a_session_is_good_until_its_ends(end: str) -> None:
    """A second before it is served, at the end it is not."""
    made = world()
    made.session = replace(made.session, **{end: at(100)})
    late = replace(made)

    assert isinstance(made.refresh(made.token, after=99).result, Rotated)
    assert late.refresh(late.token, after=100).result == Refused(Refusal.EXPIRED)


def test_the_idle_end_moves_and_never_passes_the_absolute_end() -> None:
    """The absolute end never moves; nothing issued outlives it."""
    made = world(rules=replace(RULES, session_lifetime=10 * DAY))
    end = made.session.absolute_end
    token = successor(made.refresh(made.token, after=1))
    moved = made.session.idle_end

    last = made.refresh(token, after=7 * DAY)

    assert moved == at(1 + 7 * DAY)
    assert made.session.absolute_end == made.session.idle_end == end
    assert isinstance(last.result, Rotated)
    assert last.result.refresh_token_expires_in == last.result.session_expires_in == 3 * DAY
    assert made.family.head.expires == end


def test_an_access_token_never_outlives_the_session() -> None:
    """Two seconds before the absolute end it lives two seconds."""
    made = world()
    made.session = replace(made.session, absolute_end=at(100), idle_end=at(100))

    outcome = made.refresh(made.token, after=98).result

    assert isinstance(outcome, Rotated)
    assert (outcome.exp, outcome.refresh_after) == (at(100), 1)


def test_a_clock_set_back_moves_nothing_back() -> None:
    """`last_access_exp` of what was issued before still matters, and nobody is called a thief."""
    made = always(Profile.ATTEMPT)
    made.refresh(made.token, after=1000)
    before = made.session

    decision = made.refresh(made.token, after=0)

    assert isinstance(decision.result, Retried)
    assert made.session.last_access_exp == before.last_access_exp
    assert made.session.idle_end == before.idle_end
    assert made.session.last_seen == before.last_seen
    assert isinstance(made.refresh(made.token, after=0, attempt=OTHER).result, SoftDenied)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (EndReason.SIGNED_OUT, Refusal.REVOKED),
        (EndReason.REFRESH_REUSED, Refusal.REUSED_BEFORE),
        (EndReason.CODE_REUSED, Refusal.REUSED_BEFORE),
    ],
)
def test_an_ended_session_says_why(reason: EndReason, expected: Refusal) -> None:
    """The reason a client can act on; only with an authentic tag, and only to its own client."""
    made = world()
    made.session = replace(made.session, status=SessionStatus.ENDED, end_reason=reason)

    assert made.refresh(made.token).result == Refused(expected)
    assert made.refresh(made.token, client_id=ClientId("stranger")).result == Refused(Refusal.OTHER_CLIENT)


def test_an_ended_family_is_over_in_a_live_session() -> None:
    """One family of several may be over."""
    made = world()
    made.family = replace(made.family, status=SessionStatus.ENDED, end_reason=EndReason.FAMILY_LIMIT)

    assert made.refresh(made.token).result == Refused(Refusal.REVOKED)


def test_a_family_that_was_swept_is_expired() -> None:
    """Its tag says that it was ours."""
    made = world()
    presented = Presented(made.token, made.client.client_id)

    decision = decide_refresh(FamilyAggregate(None, None, None), presented, now=NOW, rules=RULES, fresh=fresh(0))

    assert decision.result == Refused(Refusal.UNKNOWN)
    assert decision.writes == ()


# ── a generation ahead, and other branches ───────────────────────────────────────────


def ahead(made: World) -> RefreshToken:
    """An authentic token whose generation the restored database does not know."""
    return RefreshToken(made.family.id, 7, Secret(b"7" * 32))


@pytest.mark.parametrize("profile", ALL)
def test_a_generation_ahead_is_refused_with_an_alarm(profile: Profile) -> None:
    """Undeclared, it is refused for every profile, and nothing is revoked."""
    made = always(profile)

    decision = made.refresh(ahead(made))

    assert decision.result == Refused(Refusal.AHEAD)
    assert decision.writes == ()
    assert [event.name for event in decision.events] == [EventName.REFRESH_AHEAD]


@pytest.mark.parametrize("rotation", RotationPolicy)
def test_after_a_declared_restore_a_bound_head_moves(rotation: RotationPolicy) -> None:
    """Profile A: the client goes on as if the database had not lost the generations; there is still one branch."""
    made = world(Profile.BOUND)
    made.client = replace(made.client, rotation=rotation)
    made.rules = replace(RULES, restored_at=at(10))
    token = ahead(made)

    decision = made.refresh(token, after=20)

    assert isinstance(decision.result, Unchanged if rotation is RotationPolicy.NEAR_END else Rotated)
    assert made.family.head.generation == (7 if rotation is RotationPolicy.NEAR_END else 8)
    assert decision.events[0].name is EventName.REFRESH_AHEAD
    assert isinstance(made.refresh(made.token, after=21).result, SoftDenied)
    assert isinstance(made.refresh(token, after=22).result, Unchanged | Retried)


@pytest.mark.parametrize("profile", [Profile.ATTEMPT, Profile.PLAIN])
def test_a_declared_restore_does_not_move_an_unbound_head(profile: Profile) -> None:
    """B and C sign in again: nothing tells their owner from a thief."""
    made = always(profile)
    made.rules = replace(RULES, restored_at=at(10))

    assert made.refresh(ahead(made), after=20).result == Refused(Refusal.AHEAD)


def test_a_declared_restore_is_for_families_older_than_it() -> None:
    """A family started after the restore has lost nothing."""
    made = always(Profile.BOUND)
    made.rules = replace(RULES, restored_at=NumericDate(NOW - 1))
    older = replace(made, rules=replace(RULES, restored_at=NOW))

    assert made.refresh(ahead(made)).result == Refused(Refusal.AHEAD)
    assert isinstance(older.refresh(ahead(older)).result, Rotated)


@pytest.mark.parametrize("generation", [0, 1])
def test_another_branch_is_softly_denied_with_an_alarm(generation: int) -> None:
    """Ours by its tag, of a stored generation, with another secret: of a history this database does not have."""
    made = always(Profile.ATTEMPT)
    made.refresh(made.token)
    stranger = RefreshToken(made.family.id, generation, Secret(b"?" * 32))

    decision = made.refresh(stranger, after=DAY)

    assert isinstance(decision.result, SoftDenied)
    assert decision.writes == ()
    assert [event.name for event in decision.events] == [EventName.REFRESH_AHEAD]


# ── what the answer carries ──────────────────────────────────────────────────────────


def test_scope_and_resource_narrow_one_access_token_only() -> None:
    """RFC 6749 §6, RFC 8707 §2.2: the next refresh may have all of it again."""
    made = always(Profile.ATTEMPT)

    narrow = made.refresh(made.token, scope=("orders:read",), resource=("https://shop.example/orders",)).result
    assert isinstance(narrow, Rotated)
    assert narrow.refresh_token is not None
    wide = made.refresh(narrow.refresh_token).result

    assert (narrow.scope, narrow.audience) == (("orders:read",), ("https://shop.example/orders",))
    assert isinstance(wide, Rotated)
    assert (wide.scope, wide.audience) == (made.family.scope, made.family.resource)


def test_the_access_token_is_fixed_inside_the_transition() -> None:
    """The session remembers how long a revocation of it will matter; jitter only takes off, at most a tenth."""
    made = always(Profile.ATTEMPT)

    outcome = made.refresh(made.token).result

    assert isinstance(outcome, Rotated)
    assert outcome.iat == NOW
    assert 270 <= outcome.exp - NOW <= 300
    assert outcome.session.last_access_exp == outcome.exp
    assert outcome.refresh_after == (outcome.exp - NOW) * 80 // 100


def test_a_family_is_of_constant_size() -> None:
    """A hundred rotations later there are a head, a parent and sixteen spent generations."""
    made = always(Profile.ATTEMPT)
    token = made.token
    for _ in range(100):
        token = successor(made.refresh(token))

    assert len(made.family.ring) == 16
    assert [spent.generation for spent in made.family.ring] == list(range(98, 82, -1))


def test_the_decision_may_run_again() -> None:
    """A store repeats it after a conflict: the same aggregate and material give the same writes."""
    made = always(Profile.ATTEMPT)
    aggregate = FamilyAggregate(made.family, made.session, USER)
    presented = Presented(made.token, made.client.client_id, attempt_digest=HONEST)

    def families() -> list[Family]:
        decision = decide_refresh(aggregate, presented, now=NOW, rules=RULES, fresh=fresh(1))
        return [
            write.record for write in decision.writes if isinstance(write, Put) and isinstance(write.record, Family)
        ]

    assert families() == families() != []


def test_a_session_ended_meanwhile_is_not_served() -> None:
    """Sign-out first, refresh second: the refresh sees it."""
    made = always(Profile.ATTEMPT)
    writes = end_device_session(made.session, reason=EndReason.SIGNED_OUT, now=NOW, iss=RULES.iss, leeway=RULES.leeway)
    ended = writes[0]
    assert isinstance(ended, Put)
    made.session = replace(made.session, status=SessionStatus.ENDED, end_reason=EndReason.SIGNED_OUT)

    assert ended.record == made.session
    assert made.refresh(made.token).result == Refused(Refusal.REVOKED)
