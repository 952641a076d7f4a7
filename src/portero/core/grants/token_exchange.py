"""The grant `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693): a service calls the next one for its caller.

A confidential client trades the access token it was called with for one that the next service accepts: a narrower
audience, no more scope than the caller gave, no longer life, the same session, and `act` naming who acts. Ending the
session ends the exchanged token with it, because it carries the same `sid`.

Leaves to the caller: client authentication, and that the subject token is ours, live and not taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portero.core.errors import RequestError
from portero.core.grants.client_credentials import PERSONAL_SCOPES
from portero.core.grants.grant import Grant, audience_of, check_may_use
from portero.core.jose.base64url import encode
from portero.core.oauth.errors import invalid_request, invalid_scope, unauthorized_client
from portero.core.oauth.token import GrantType, TokenExchangeRequest
from portero.core.sessions.lifetimes import access_token_exp
from portero.core.sessions.rules import FreshMaterial, RefreshRules
from portero.core.transitions import Client, ClientType
from portero.core.types import Jti, NumericDate, Sid, Subject

MAX_ACTORS: Final = 4
"""How many services may act one for another: a longer chain is a loop more likely than a design."""


def grant_token_exchange(
    client: Client,
    *,
    request: TokenExchangeRequest,
    subject_claims: Mapping[str, Any],
    cnf_jkt: str | None,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshMaterial,
) -> Grant:
    """Grant an access token for the next service. Nothing is stored, so there is nothing to decide in a transaction.

    Args:
        client: authenticated.
        subject_claims: of `request.subject_token`: an access token of this server, verified, live, not taken back.
        cnf_jkt: thumbprint of the key whose DPoP proof the client brought; the new token is bound to it.

    Returns:
        The grant, without a refresh token: whoever needs another token asks again with a live one.

    Raises:
        RequestError: `unauthorized_client`, `invalid_request` (the subject token is not for this client, RFC 8693
            §2.2.2), `invalid_scope`, `invalid_target`. Nothing was committed.
    """
    check_may_use(client, GrantType.TOKEN_EXCHANGE.value, cnf_jkt=cnf_jkt)
    # RFC 8693 §5: whoever may exchange can act for people, so a client that anybody can claim to be may not.
    if client.client_type is not ClientType.CONFIDENTIAL:
        raise unauthorized_client("token exchange is for confidential clients")
    # A service trades what was meant for it. Otherwise one leaked token opens every service a client can name.
    if _audience(subject_claims).isdisjoint(client.audiences):
        raise invalid_request("the subject token is not for an audience of this client")
    held = tuple(str(subject_claims.get("scope", "")).split())
    allowed = tuple(scope for scope in held if scope in client.scope and scope not in PERSONAL_SCOPES)
    if request.scope is not None and not set(request.scope).issubset(allowed):
        raise invalid_scope("the scope is more than the subject token and this client have in common")
    end = NumericDate(int(subject_claims["exp"]))
    sid, acr, auth_time = subject_claims.get("sid"), subject_claims.get("acr"), subject_claims.get("auth_time")
    return Grant(
        subject=Subject(str(subject_claims["sub"])),
        client_id=client.client_id,
        scope=allowed if request.scope is None else request.scope,
        audience=audience_of(request.resource, allowed=client.audiences),
        jti=Jti(encode(fresh.jti)),
        iat=now,
        # Never past the token it came from: the device session remembers that one's end, and no later one.
        exp=min(end, access_token_exp(end, now=now, rules=rules, fresh=fresh)),
        sid=Sid(sid) if isinstance(sid, str) else None,
        auth_time=NumericDate(auth_time) if isinstance(auth_time, int) else None,
        acr=acr if isinstance(acr, str) else None,
        amr=tuple(str(method) for method in subject_claims.get("amr", ())),
        roles=tuple(str(role) for role in subject_claims.get("roles", ())),
        cnf_jkt=cnf_jkt,
        act=_actor(client, subject_claims.get("act")),
    )


def _audience(claims: Mapping[str, Any]) -> frozenset[str]:
    aud = claims.get("aud")
    return frozenset(str(name) for name in (aud if isinstance(aud, list) else [aud]))


def _actor(client: Client, before: object) -> Mapping[str, Any]:
    # RFC 8693 §4.1: the outermost is who acts now; those inside tell the way the request came.
    depth, inner = 1, before
    while isinstance(inner, Mapping):
        depth, inner = depth + 1, inner.get("act")
    if depth > MAX_ACTORS:
        raise RequestError("invalid_request", f"more than {MAX_ACTORS} services act one for another")
    return {"sub": str(client.client_id)} if before is None else {"sub": str(client.client_id), "act": before}
