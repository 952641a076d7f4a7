"""The grant `refresh_token` (RFC 6749 §6): request and family → grant or refusal.

The thinking is in `core.sessions`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from portero.core.digests import sha256_of
from portero.core.events import EventName
from portero.core.grants.grant import Denied, Grant, check_may_use
from portero.core.oauth.token import GrantType, RefreshRequest
from portero.core.sessions.refresh import decide_refresh
from portero.core.sessions.refresh_outcome import (
    Presented,
    RefreshOutcome,
    Refused,
    Retried,
    Reused,
    Rotated,
    SoftDenied,
    Success,
    Unchanged,
)
from portero.core.sessions.rules import FreshMaterial, RefreshRules
from portero.core.tokens.refresh_token import RefreshToken, TagKey, render_refresh_token
from portero.core.transitions import Audit, Client, Decision, FamilyAggregate, Write
from portero.core.types import NumericDate

_GRANT_TYPE: Final = GrantType.REFRESH_TOKEN.value


def decide_refresh_grant(
    aggregate: FamilyAggregate,
    *,
    request: RefreshRequest,
    token: RefreshToken,
    client: Client,
    cnf_jkt: str | None,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshMaterial,
    tag_key: TagKey,
    place: str | None = None,
) -> Decision[Grant | Denied]:
    """Decide a refresh for the token endpoint.

    Args:
        token: `request.refresh_token`, parsed and found authentic.
        client: authenticated.
        cnf_jkt: thumbprint of the key whose DPoP proof was found good, nonce and replay included.
        rules: the client's rotation policy is taken from `client`.
        tag_key: tags a new refresh token.
        place: coarse place of use where the request comes from the person's own device; None: unknown.

    Returns:
        A `Grant` to render, or a `Denied` to raise after the commit.

    Raises:
        RequestError: the client may not use this grant. Nothing was committed.
    """
    check_may_use(client, _GRANT_TYPE, cnf_jkt=cnf_jkt)
    attempt = request.refresh_attempt
    presented = Presented(
        token,
        client.client_id,
        cnf_jkt,
        None if attempt is None else sha256_of(attempt),
        request.scope,
        request.resource,
        place,
    )
    decision = decide_refresh(aggregate, presented, now=now, rules=rules.for_rotation(client.rotation), fresh=fresh)
    return Decision(_answer(decision.result, tag_key), _audited(decision), decision.events)


def _audited(decision: Decision[RefreshOutcome]) -> tuple[Write, ...]:
    """Return the writes, with what an operator must find later.

    An alarm gets a row of its own (how many there can be is bounded by the token endpoint's limits), and the row of a
    reuse also says how it was noticed. Ordinary refreshes leave no row: counters tell of them.
    """
    alarms = tuple(Audit(event) for event in decision.events if event.name is EventName.REFRESH_AHEAD)
    if not isinstance(decision.result, Reused):
        return (*decision.writes, *alarms) if alarms else decision.writes
    noticed = {name: value for event in decision.events for name, value in event.fields.items() if name != "action"}
    return tuple(
        Audit(replace(write.event, fields={**write.event.fields, **noticed})) if isinstance(write, Audit) else write
        for write in decision.writes
    )


def _answer(outcome: RefreshOutcome, tag_key: TagKey) -> Grant | Denied:
    match outcome:
        case Rotated() | Unchanged() | Retried():
            return _grant(outcome, tag_key)
        case SoftDenied():
            return Denied("invalid_grant", "a newer refresh token has been issued", "superseded")
        case Reused():
            return Denied("invalid_grant", "the refresh token was used twice; the session was ended", "reused")
        case Refused(refusal):
            return Denied(refusal.error, refusal.description, refusal.reason, f"refresh refused: {refusal.name}")
        case _:
            assert_never(outcome)


def _grant(outcome: Success, tag_key: TagKey) -> Grant:
    session, family, user, token = outcome.session, outcome.family, outcome.user, outcome.refresh_token
    return Grant(
        subject=session.subject,
        client_id=session.client_id,
        scope=outcome.scope,
        audience=outcome.audience,
        jti=outcome.jti,
        iat=outcome.iat,
        exp=outcome.exp,
        sid=session.sid,
        status_index=session.status_index,
        auth_time=family.auth_time,
        acr=family.acr,
        amr=family.amr,
        roles=() if user is None else user.roles,
        cnf_jkt=outcome.cnf_jkt,
        refresh_token=None if token is None else render_refresh_token(token, tag_key=tag_key),
        refresh_after=outcome.refresh_after,
        refresh_token_expires_in=outcome.refresh_token_expires_in,
        session_expires_in=outcome.session_expires_in,
        user=user,
        vouched=family.vouched,
    )
