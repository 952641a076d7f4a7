"""A client for itself: no person, no session, no refresh token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portero.core.errors import RequestError
from portero.core.grants.client_credentials import grant_client_credentials
from portero.core.grants.grant import Grant
from portero.core.oauth.token import ClientCredentialsRequest
from portero.core.transitions import Client
from tests.core.sessions.worlds import BACKEND, NOW, PAGE, RULES, fresh


def grant(client: Client = BACKEND, *, scope: tuple[str, ...] | None = None, resource: tuple[str, ...] = ()) -> Grant:
    return grant_client_credentials(
        client,
        request=ClientCredentialsRequest(scope, resource),
        cnf_jkt=None,
        now=NOW,
        rules=RULES,
        fresh=fresh("credentials"),
    )


def test_the_subject_is_the_client() -> None:
    """RFC 9068 §2.2: and nothing that speaks of a person."""
    given = grant()

    assert (given.subject, given.client_id) == ("backend", "backend")
    assert (given.sid, given.user, given.roles, given.auth_time, given.acr) == (None, None, (), None, None)
    assert (given.refresh_token, given.refresh_after, given.session_expires_in) == (None, None, None)
    assert given.scope == ("orders:read", "orders:write")
    assert given.audience == BACKEND.audiences
    assert 270 <= given.exp - given.iat <= 300


def test_scope_and_resource_may_be_narrowed() -> None:
    """To what is registered."""
    given = grant(scope=("orders:read",), resource=("https://shop.example/stock",))

    assert (given.scope, given.audience) == (("orders:read",), ("https://shop.example/stock",))


@pytest.mark.parametrize(
    ("client", "arguments", "error"),
    [
        (BACKEND, {"scope": ("admin",)}, "invalid_scope"),
        (BACKEND, {"scope": ("orders:read", "openid")}, "invalid_scope"),
        (BACKEND, {"resource": ("https://elsewhere.example",)}, "invalid_target"),
        (replace(BACKEND, grant_types=("refresh_token",)), {}, "unauthorized_client"),
        (replace(BACKEND, enabled=False), {}, "unauthorized_client"),
        (replace(PAGE, grant_types=("client_credentials",)), {}, "unauthorized_client"),
        (replace(BACKEND, dpop_bound_access_tokens=True), {}, "invalid_dpop_proof"),
    ],
)
def test_more_than_is_registered_is_refused(client: Client, arguments: dict[str, Any], error: str) -> None:
    """Scopes of a person, foreign resources, public clients (RFC 6749 §4.4)."""
    with pytest.raises(RequestError) as caught:
        grant(client, **arguments)

    assert caught.value.error == error


def test_a_client_without_audiences_gets_a_token_for_the_issuer() -> None:
    """The revocation feed's reader, for example; `aud` is never absent."""
    assert grant(replace(BACKEND, audiences=())).audience == (RULES.iss,)
