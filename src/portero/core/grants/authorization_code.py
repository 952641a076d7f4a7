"""The grant `authorization_code` (RFC 6749 §4.1, RFC 7636): a code is issued, and exchanged once.

The exchange opens or joins a device session, starts a family, and fixes the first access token. A second
exchange by whoever could have made the first ends what the first opened (RFC 6749 §4.1.2).

Leaves to the caller: client authentication, the DPoP proof, and all checks of the authorization request.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from portero.core.digests import sha256_of
from portero.core.events import Event, EventName
from portero.core.grants.grant import Denied, Grant, audience_of, check_may_use
from portero.core.jose.base64url import encode
from portero.core.oauth.authorization_challenge import DIRECT_REDIRECT
from portero.core.oauth.device import DEVICE_REDIRECT
from portero.core.oauth.errors import invalid_grant
from portero.core.oauth.token import CodeExchangeRequest, GrantType
from portero.core.sessions.ending import end_device_session
from portero.core.sessions.lifetimes import access_token_exp, refresh_after, touch
from portero.core.sessions.records import BrowserSession, EndReason
from portero.core.sessions.rules import FreshStart, RefreshRules
from portero.core.sessions.starting import open_or_join, start_family
from portero.core.tokens.refresh_token import TagKey, render_refresh_token
from portero.core.transitions import (
    Audit,
    AuthorizationCode,
    Client,
    ClientType,
    CodeAggregate,
    Decision,
    Put,
    User,
    Write,
)
from portero.core.types import ClientId, Digest, Jti, NumericDate, Secret
from portero.core.vouched import claims_of


def issue_code(
    browser: BrowserSession,
    *,
    code: Secret[str],
    client_id: ClientId,
    redirect_uri: str,
    code_challenge: str | None,
    nonce: str | None,
    scope: tuple[str, ...],
    resource: tuple[str, ...],
    place: str,
    now: NumericDate,
    lifetime: int,
    claims: str | None = None,
    dpop_jkt: str | None = None,
) -> AuthorizationCode:
    """Build the record of a code for the person of a browser session.

    Args:
        code: at least 128 random bits as text; only its digest is kept.
        code_challenge: of method S256 (RFC 7636 §4.2); `plain` is not offered.
        place: coarse place of the browser.
        lifetime: seconds (RFC 6749 §4.1.2: 10 minutes at most).

    Does not check: the request; that was `authorize`'s.
    """
    return AuthorizationCode(
        code_digest=sha256_of(code),
        client_id=client_id,
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
        nonce=nonce,
        scope=scope,
        resource=resource,
        subject=browser.subject,
        browser_session=browser.id_digest,
        device_name=browser.device,
        place=place,
        auth_time=browser.auth_time,
        acr=browser.acr,
        amr=browser.amr,
        created=now,
        expires=NumericDate(now + lifetime),
        claims=claims,
        dpop_jkt=dpop_jkt,
        vouched=claims_of(browser.vouched),
    )


def decide_code_exchange(
    aggregate: CodeAggregate,
    *,
    request: CodeExchangeRequest,
    client: Client,
    cnf_jkt: str | None,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshStart,
    tag_key: TagKey,
) -> Decision[Grant | Denied]:
    """Exchange a code.

    Args:
        client: authenticated.
        cnf_jkt: thumbprint of the key whose DPoP proof was found good; None: no proof was sent.

    Returns:
        A `Grant`, or for a second use a `Denied` whose writes end the session of the first.

    Raises:
        RequestError: anything else that is wrong: `invalid_grant`, `invalid_target`, `unauthorized_client`,
            `invalid_dpop_proof`. Nothing was committed, and the code may still be used by its owner.
    """
    check_may_use(client, GrantType.AUTHORIZATION_CODE.value, cnf_jkt=cnf_jkt)
    code = aggregate.code
    if code is None:
        raise invalid_grant("the code is not valid", detail="unknown code, or swept after it expired")
    # Who asks comes before whether it is the second time: a code read from an address bar, without the
    # verifier or the client's credential, ends nobody's session.
    _check_presenter(code, request=request, client=client, cnf_jkt=cnf_jkt)
    if code.used is not None:
        return second_use(aggregate, client_id=client.client_id, now=now, rules=rules)
    user = check_person(aggregate, code, now=now)
    return first_use(
        aggregate,
        code,
        user,
        browser_session=code.browser_session,
        grant_type=GrantType.AUTHORIZATION_CODE,
        resource=request.resource,
        client=client,
        cnf_jkt=cnf_jkt,
        now=now,
        rules=rules,
        fresh=fresh,
        tag_key=tag_key,
    )


def check_person(aggregate: CodeAggregate, code: AuthorizationCode, *, now: NumericDate) -> User:
    """Return the person a code speaks for, whose sign-in must be live still.

    Raises:
        RequestError: `invalid_grant`. Nothing was committed.
    """
    if now >= code.expires:
        raise invalid_grant("the code has expired", reason="expired")
    browser, user = aggregate.browser, aggregate.user
    # A sign-out between the code and its exchange: what it would open was ended before it was opened.
    if browser is None or now >= browser.ends or browser.subject != code.subject:
        raise invalid_grant("the sign-in is over", reason="revoked")
    if user is None or not user.enabled:
        raise invalid_grant("the account is not active", reason="revoked")
    return user


def _check_presenter(
    code: AuthorizationCode, *, request: CodeExchangeRequest, client: Client, cnf_jkt: str | None
) -> None:
    # RFC 6749 §4.1.3: "ensure that the authorization code was issued to the authenticated client".
    if code.client_id != client.client_id:
        raise invalid_grant("the code is not valid", detail="the code was issued to another client")
    # A device's code has a grant of its own (`device_code`).
    if code.redirect_uri == DEVICE_REDIRECT:
        raise invalid_grant("the code is not valid", detail="the code of a device")
    # RFC 6749 §4.1.3: the values "MUST be identical", or both absent.
    if request.redirect_uri != (None if code.redirect_uri == DIRECT_REDIRECT else code.redirect_uri):
        raise invalid_grant("redirect_uri is not the one of the authorization request")
    _check_verifier(code, request.code_verifier, client)
    # RFC 9449 §10: the code is bound to the key named in the authorization request.
    if code.dpop_jkt is not None and cnf_jkt != code.dpop_jkt:
        raise invalid_grant("the code is bound to another key")


def _check_verifier(code: AuthorizationCode, code_verifier: Secret[str] | None, client: Client) -> None:
    if code.code_challenge is None:
        # RFC 9700 §2.1.1: a verifier without a challenge means that somebody removed the challenge.
        if code_verifier is not None:
            raise invalid_grant("code_verifier was sent for a code without code_challenge")
        if client.require_pkce or client.client_type is ClientType.PUBLIC:
            raise invalid_grant("the code has no code_challenge, which this client needs")
        return
    if code_verifier is None:
        raise invalid_grant("code_verifier is missing")
    # RFC 7636 §4.6: BASE64URL-ENCODE(SHA256(ASCII(code_verifier))) == code_challenge.
    computed = encode(hashlib.sha256(code_verifier.reveal().encode()).digest())
    if not hmac.compare_digest(computed.encode(), code.code_challenge.encode()):
        raise invalid_grant("code_verifier does not match")


def second_use(
    aggregate: CodeAggregate, *, client_id: ClientId, now: NumericDate, rules: RefreshRules
) -> Decision[Grant | Denied]:
    """Deny a code that was used, and end what its first use opened."""
    # RFC 6749 §4.1.2: deny, and revoke what the first use gave. A value: the end has to be committed.
    session = aggregate.session
    if session is None:
        event = Event(EventName.CODE_REUSED, now, client_id=client_id)
        return Decision(_code_reused(), (), (event,))
    event = Event(EventName.CODE_REUSED, now, session.subject, client_id, session.sid)
    writes = end_device_session(session, reason=EndReason.CODE_REUSED, now=now, iss=rules.iss, leeway=rules.leeway)
    return Decision(_code_reused(), writes, (event,))


def first_use(
    aggregate: CodeAggregate,
    code: AuthorizationCode,
    user: User,
    *,
    browser_session: Digest | None,
    grant_type: GrantType,
    resource: tuple[str, ...],
    client: Client,
    cnf_jkt: str | None,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshStart,
    tag_key: TagKey,
) -> Decision[Grant | Denied]:
    """Open or join a device session and start a family; the caller has checked everything else.

    Args:
        browser_session: None: another machine than the browser, with a session of its own.
        resource: what the exchange itself asks for (RFC 8707 §2.2).
    """
    allowed = code.resource or client.audiences or (str(rules.iss),)
    audience = audience_of(resource, allowed=allowed)
    joined = open_or_join(
        aggregate.session,
        browser_session=browser_session,
        subject=code.subject,
        client_id=client.client_id,
        device_name=code.device_name,
        place=code.place,
        now=now,
        rules=rules,
        fresh=fresh,
    )
    exp = access_token_exp(joined.session.absolute_end, now=now, rules=rules, fresh=fresh.material)
    session = touch(joined.session, exp=exp, now=now, rules=rules, place=code.place)
    event = Event(
        EventName.TOKEN_ISSUED,
        now,
        session.subject,
        client.client_id,
        session.sid,
        {"grant_type": grant_type.value, "session": "opened" if joined.opened else "joined"},
    )
    writes: list[Write] = [Put(replace(code, used=now, sid=session.sid)), Put(session)]
    grant = Grant(
        subject=session.subject,
        client_id=client.client_id,
        scope=code.scope,
        audience=audience,
        jti=Jti(encode(fresh.material.jti)),
        iat=now,
        exp=exp,
        sid=session.sid,
        auth_time=code.auth_time,
        acr=code.acr,
        amr=code.amr,
        roles=user.roles,
        cnf_jkt=cnf_jkt,
        session_expires_in=session.absolute_end - now,
        user=user,
        nonce=code.nonce,
        claims=code.claims,
        status_index=session.status_index,
        vouched=code.vouched,
    )
    if GrantType.REFRESH_TOKEN.value in client.grant_types:
        started = start_family(
            session,
            aggregate.families if not joined.opened else (),
            client=client,
            scope=code.scope,
            resource=allowed,
            cnf_jkt=cnf_jkt,
            acr=code.acr,
            amr=code.amr,
            auth_time=code.auth_time,
            now=now,
            rules=rules,
            fresh=fresh,
            vouched=code.vouched,
        )
        writes += started.writes
        grant = replace(
            grant,
            refresh_token=render_refresh_token(started.refresh_token, tag_key=tag_key),
            refresh_after=refresh_after(exp, now=now, rules=rules),
            refresh_token_expires_in=min(started.family.head.expires, session.idle_end) - now,
        )
    if joined.opened:
        writes.append(Audit(event))
    return Decision(grant, tuple(writes), (event,))


def _code_reused() -> Denied:
    return Denied("invalid_grant", "the code was used before; the session it opened was ended", "reused")
