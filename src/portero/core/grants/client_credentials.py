"""The grant `client_credentials` (RFC 6749 §4.4): a client acts for itself. No person, session or refresh token."""

from __future__ import annotations

from typing import Final

from portero.core.grants.grant import Grant, audience_of, check_may_use
from portero.core.jose.base64url import encode
from portero.core.oauth.errors import invalid_scope, unauthorized_client
from portero.core.oauth.token import ClientCredentialsRequest, GrantType
from portero.core.sessions.lifetimes import access_token_exp
from portero.core.sessions.rules import FreshMaterial, RefreshRules
from portero.core.transitions import Client, ClientType
from portero.core.types import Jti, NumericDate, Subject

PERSONAL_SCOPES: Final = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""Scopes that speak of a person (OIDC Core §5.4, §11)."""


def grant_client_credentials(
    client: Client,
    *,
    request: ClientCredentialsRequest,
    cnf_jkt: str | None,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshMaterial,
) -> Grant:
    """Grant an access token to the client itself. Nothing is stored, so there is nothing to decide in a transaction.

    Args:
        client: authenticated.

    Returns:
        The grant; `sub` is the `client_id` (RFC 9068 §2.2), and there is no `sid`.

    Raises:
        RequestError: `unauthorized_client`, `invalid_scope`, `invalid_target`, `invalid_dpop_proof`.
    """
    check_may_use(client, GrantType.CLIENT_CREDENTIALS.value, cnf_jkt=cnf_jkt)
    # RFC 6749 §4.4: "MUST only be used by confidential clients".
    if client.client_type is not ClientType.CONFIDENTIAL:
        raise unauthorized_client("client_credentials is for confidential clients")
    allowed = tuple(scope for scope in client.scope if scope not in PERSONAL_SCOPES)
    if request.scope is not None and not set(request.scope).issubset(allowed):
        raise invalid_scope("the scope is not one this client may have for itself")
    forever = NumericDate(now + rules.access_token_lifetime)
    return Grant(
        subject=Subject(client.client_id),
        client_id=client.client_id,
        scope=allowed if request.scope is None else request.scope,
        audience=audience_of(request.resource, allowed=client.audiences or (str(rules.iss),)),
        jti=Jti(encode(fresh.jti)),
        iat=now,
        exp=access_token_exp(forever, now=now, rules=rules, fresh=fresh),
        cnf_jkt=cnf_jkt,
    )
