"""One refresh: find the row of `refresh_table` and carry it out.

Pure. Runs inside the store's transaction, serialized per device session, and may run again
after a conflict. Implements RFC 6749 §6, RFC 9700 §4.14.2, RFC 8707 §2.2 (narrowing) and
the retry FAPI 2.0 §5.3.2.1 asks for.

Leaves to the caller, before the transition: parsing and the tag (`core.tokens.refresh_token`), client
authentication, the DPoP proof with its nonce and replay mark. None of those consumes anything here.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Final, assert_never

from portero.core.digests import sha256_of
from portero.core.events import Event, EventName
from portero.core.jose.base64url import encode
from portero.core.quick import quick
from portero.core.sessions.ending import end_device_session, ended
from portero.core.sessions.lifetimes import access_token_exp, refresh_after, refresh_token_expires, touch
from portero.core.sessions.records import (
    DeviceSession,
    EndReason,
    Family,
    Profile,
    SessionStatus,
    TokenRecord,
)
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
from portero.core.sessions.refresh_table import Action, Proof, Row, Standing, row_for
from portero.core.sessions.ring import Ring, SpentToken
from portero.core.sessions.rules import FreshMaterial, RefreshRules
from portero.core.sessions.sealing import open_successor, seal_successor
from portero.core.tokens.refresh_token import MAX_GENERATION, RefreshToken
from portero.core.transitions import Decision, FamilyAggregate, Put, RotationPolicy, User
from portero.core.types import Jti, NumericDate

_REUSE: Final = (EndReason.REFRESH_REUSED, EndReason.CODE_REUSED)


def decide_refresh(
    aggregate: FamilyAggregate,
    presented: Presented,
    *,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshMaterial,
) -> Decision[RefreshOutcome]:
    """Decide one refresh.

    Args:
        aggregate: the family the token names, its device session and its person.
        presented: the authentic token and what came with it.
        rules: the numbers; `rotation` is the client's.
        fresh: randomness for a successor that may be made, and for the access token.

    Returns:
        The outcome and the writes that must be committed with it. Everything is a value: a refusal writes
        nothing, and a reuse must be committed although it answers with an error.
    """
    family, session = aggregate.family, aggregate.session
    if family is None or session is None:
        return _refuse(Refusal.UNKNOWN, presented, now)
    step = _Step(family, session, aggregate.user, presented, now, rules, fresh)
    refusal = _refusal(step)
    if refusal is not None:
        return _refuse(refusal, presented, now, session)
    return _apply(step)


@quick
@dataclass(frozen=True, slots=True)
class _Step:
    """Everything one decision looks at."""

    family: Family
    session: DeviceSession
    user: User | None
    presented: Presented
    now: NumericDate
    rules: RefreshRules
    fresh: FreshMaterial


# ── before any row: nothing here changes anything ────────────────────────────────────


def _refusal(step: _Step) -> Refusal | None:
    family, session, user, presented = step.family, step.session, step.user, step.presented
    # RFC 6749 §6: bound to the client it was issued to; RFC 9449 §5: and to the key. Nothing is revoked:
    # whoever holds an old string would otherwise end other people's sessions.
    if presented.client_id != family.client_id:
        return Refusal.OTHER_CLIENT
    if family.cnf_jkt is not None and presented.cnf_jkt != family.cnf_jkt:
        return Refusal.OTHER_KEY
    if session.status is not SessionStatus.ACTIVE or family.status is not SessionStatus.ACTIVE:
        reused = session.end_reason in _REUSE or family.end_reason in _REUSE
        return Refusal.REUSED_BEFORE if reused else Refusal.REVOKED
    if step.now >= session.absolute_end or step.now >= session.idle_end:
        return Refusal.EXPIRED
    if family.profile is Profile.ATTEMPT and presented.attempt_digest is None:
        return Refusal.ATTEMPT_MISSING
    # RFC 6749 §6: "MUST NOT include any scope not originally granted".
    if presented.scope is not None and not set(presented.scope).issubset(family.scope):
        return Refusal.SCOPE
    # RFC 8707 §2.2: the resource may be narrowed, never widened.
    if presented.resource and not set(presented.resource).issubset(family.resource):
        return Refusal.TARGET
    if user is None:
        # Only a client that acts for itself has no person behind it (RFC 9068 §5).
        return None if str(session.subject) == str(session.client_id) else Refusal.USER_INACTIVE
    return None if user.enabled else Refusal.USER_INACTIVE


def _refuse(
    refusal: Refusal, presented: Presented, now: NumericDate, session: DeviceSession | None = None
) -> Decision[RefreshOutcome]:
    sid, subject = (None, None) if session is None else (session.sid, session.subject)
    event = Event(EventName.REFRESH_REFUSED, now, subject, presented.client_id, sid, {"because": refusal.name.lower()})
    return Decision(Refused(refusal), (), (event,))


# ── which row ────────────────────────────────────────────────────────────────────────


def _standing(step: _Step) -> Standing:
    family, token = step.family, step.presented.token
    head, parent = family.head, family.parent
    if token.generation == head.generation:
        if not _is(head, token):
            return Standing.OTHER_BRANCH
        if step.now >= head.expires or head.generation == MAX_GENERATION:
            return Standing.HEAD_EXPIRED
        return Standing.HEAD if _rotation_due(step) else Standing.HEAD_KEPT
    if token.generation > head.generation:
        restored_at = step.rules.restored_at
        declared = restored_at is not None and family.created <= restored_at
        return Standing.AHEAD_OF_RESTORE if declared and family.profile is Profile.BOUND else Standing.AHEAD
    if parent is not None and token.generation == parent.generation:
        if not _is(parent, token):
            return Standing.OTHER_BRANCH
        if parent.successor_box is None:
            return Standing.SUPERSEDED
        return Standing.ROTATED_EXPIRED if step.now >= head.expires else Standing.ROTATED
    return Standing.SUPERSEDED


def _rotation_due(step: _Step) -> bool:
    # RFC 9700 §4.14.2: a token that is bound to nothing rotates with every refresh, whatever the policy says.
    if step.family.profile is not Profile.BOUND or step.rules.rotation is RotationPolicy.ALWAYS:
        return True
    head = step.family.head
    if head.expires >= step.session.absolute_end:
        return False  # a successor could not live any longer
    return 100 * (step.now - head.issued) >= step.rules.rotate_at_percent * (head.expires - head.issued)


def _proof(step: _Step, standing: Standing) -> Proof:
    if standing is not Standing.ROTATED and standing is not Standing.SUPERSEDED:
        return Proof.ANY
    family, presented, rules = step.family, step.presented, step.rules
    if family.profile is Profile.BOUND:
        return Proof.PROVEN  # the credential or key was checked on the way here
    spent = _spent(family, presented.token.generation)
    if spent is None or spent.first_used is None:
        return Proof.LATE
    age = step.now - spent.first_used
    if family.profile is Profile.ATTEMPT:
        mine, theirs = spent.attempt_digest, presented.attempt_digest
        if mine is not None and theirs is not None and hmac.compare_digest(mine, theirs):
            return Proof.PROVEN
    elif isinstance(spent, TokenRecord) and standing is Standing.ROTATED and age <= rules.plain_soft_window:
        if spent.retries == 0 and family.sharing_run + 1 >= rules.plain_sharing_run:
            return Proof.SHARED
        if spent.retries < rules.plain_retries:
            return Proof.PROVEN
    return Proof.RECENT if age <= rules.soft_window(family.profile) else Proof.LATE


def _spent(family: Family, generation: int) -> TokenRecord | SpentToken | None:
    if family.parent is not None and family.parent.generation == generation:
        return family.parent
    return family.ring.find(generation)


def _is(record: TokenRecord, token: RefreshToken) -> bool:
    return hmac.compare_digest(record.digest, sha256_of(token.secret))


# ── what happens ─────────────────────────────────────────────────────────────────────


def _apply(step: _Step) -> Decision[RefreshOutcome]:
    standing = _standing(step)
    row = row_for(standing, _proof(step, standing))
    match row.action:
        case Action.ROTATE:
            return _rotate(step, row)
        case Action.KEEP:
            return _keep(step, row)
        case Action.RETRY:
            return _retry(step, row)
        case Action.SOFT_DENY:
            return Decision(SoftDenied(row.standing, row.proof), (), (_event(step, row),))
        case Action.END:
            return _end(step, row)
        case Action.REFUSE_EXPIRED:
            return _refuse(Refusal.TOKEN_EXPIRED, step.presented, step.now, step.session)
        case Action.REFUSE_AHEAD:
            return Decision(Refused(Refusal.AHEAD), (), (_event(step, row),))
        case Action.ADOPT:
            return _adopt(step, row)
        case _:
            assert_never(row.action)


def _rotate(step: _Step, row: Row) -> Decision[RefreshOutcome]:
    family, now, fresh, rules = step.family, step.now, step.fresh, step.rules
    head, parent = family.head, family.parent
    successor = TokenRecord(
        sha256_of(fresh.secret), head.generation + 1, now, refresh_token_expires(step.session, now=now, rules=rules)
    )
    rotated = TokenRecord(
        head.digest,
        head.generation,
        head.issued,
        head.expires,
        now,
        step.presented.attempt_digest if family.profile is Profile.ATTEMPT else None,
        seal_successor(fresh.secret, presented=step.presented.token, nonce=fresh.nonce),
    )
    ring, sharing_run = family.ring, family.sharing_run
    if parent is not None:
        first_used = parent.first_used if parent.first_used is not None else now
        ring = ring.pushed(SpentToken(parent.generation, parent.attempt_digest, first_used), size=rules.ring_size)
        if parent.retries == 0:
            sharing_run = 0  # a generation without a retry: no longer in a row
    moved = _with_chain(family, successor, rotated, ring, sharing_run)
    token = RefreshToken(family.id, successor.generation, fresh.secret)
    outcome = _succeed(Rotated, step, moved, token)
    return Decision(outcome, (Put(outcome.session), Put(moved)), (_event(step, row),))


def _keep(step: _Step, row: Row) -> Decision[RefreshOutcome]:
    family, parent = step.family, step.family.parent
    if parent is None or parent.successor_box is None:
        outcome = _succeed(Unchanged, step, family, None)
        return Decision(outcome, (Put(outcome.session),), (_event(step, row),))
    family = replace(family, parent=replace(parent, successor_box=None))
    outcome = _succeed(Unchanged, step, family, None)
    return Decision(outcome, (Put(outcome.session), Put(family)), (_event(step, row),))


def _retry(step: _Step, row: Row) -> Decision[RefreshOutcome]:
    family, head, parent = step.family, step.family.head, step.family.parent
    if parent is None or parent.successor_box is None:
        raise AssertionError("a ROTATED token has a record and a box")
    secret = open_successor(parent.successor_box, presented=step.presented.token)
    first_retry_of_plain = family.profile is Profile.PLAIN and parent.retries == 0
    family = _with_chain(
        family,
        head,
        replace(parent, retries=parent.retries + 1),
        family.ring,
        family.sharing_run + 1 if first_retry_of_plain else family.sharing_run,
    )
    outcome = _succeed(Retried, step, family, RefreshToken(family.id, head.generation, secret))
    return Decision(outcome, (Put(outcome.session), Put(family)), (_event(step, row),))


def _end(step: _Step, row: Row) -> Decision[RefreshOutcome]:
    # Reuse of a spent token (RFC 9700 §4.14.2). A value, not an exception: the end has to be committed, and
    # a raised error would roll it back.
    reason, rules = EndReason.REFRESH_REUSED, step.rules
    writes = end_device_session(step.session, reason=reason, now=step.now, iss=rules.iss, leeway=rules.leeway)
    return Decision(Reused(ended(step.session, reason=reason), reason), writes, (_event(step, row),))


def _adopt(step: _Step, row: Row) -> Decision[RefreshOutcome]:
    # What lay between the stored head and this token is lost; all of it is spent, and of a bound family a
    # spent token is softly denied whether it is remembered or not.
    token, now = step.presented.token, step.now
    expires = refresh_token_expires(step.session, now=now, rules=step.rules)
    head = TokenRecord(sha256_of(token.secret), token.generation, now, expires)
    adopted = replace(step, family=_with_chain(step.family, head, None, Ring(), 0))
    decision = _apply(adopted)
    moved = any(isinstance(write, Put) and isinstance(write.record, Family) for write in decision.writes)
    writes = decision.writes if moved else (*decision.writes, Put(adopted.family))
    return Decision(decision.result, writes, (_event(step, row), *decision.events))


def _with_chain(
    family: Family,
    head: TokenRecord,
    parent: TokenRecord | None,
    ring: Ring,
    sharing_run: int,
) -> Family:
    # Every field named in place: `replace` would cost this path three times as much.
    return Family(
        family.id,
        family.sid,
        family.client_id,
        family.scope,
        family.resource,
        family.cnf_jkt,
        family.profile,
        family.acr,
        family.amr,
        family.auth_time,
        family.created,
        head,
        parent,
        ring,
        sharing_run,
        family.status,
        family.end_reason,
        family.vouched,
    )


def _succeed(
    kind: type[Rotated] | type[Unchanged] | type[Retried], step: _Step, family: Family, token: RefreshToken | None
) -> Rotated | Unchanged | Retried:
    session, presented, now, rules, fresh = step.session, step.presented, step.now, step.rules, step.fresh
    exp = access_token_exp(session.absolute_end, now=now, rules=rules, fresh=fresh)
    session = touch(session, exp=exp, now=now, rules=rules, place=presented.place)
    return kind(
        session=session,
        family=family,
        user=step.user,
        refresh_token=token,
        scope=family.scope if presented.scope is None else presented.scope,
        audience=presented.resource or family.resource,
        cnf_jkt=presented.cnf_jkt,
        jti=Jti(encode(fresh.jti)),
        iat=now,
        exp=exp,
        refresh_after=refresh_after(exp, now=now, rules=rules),
        refresh_token_expires_in=min(family.head.expires, session.idle_end) - now,
        session_expires_in=session.absolute_end - now,
    )


def _event(step: _Step, row: Row) -> Event:
    session = step.session
    return Event(row.event, step.now, session.subject, session.client_id, session.sid, row.fields)
