"""The authorization challenge endpoint's messages (draft-ietf-oauth-first-party-apps-04): a code without a redirect.

An application of the house asks for name and password itself, and sends them with the authorization request. What is
missing comes back as `insufficient_authorization`, with an `auth_session` that stands for the request from then on;
what only a page of ours can do, as `redirect_to_web`.

Beyond the draft, in a refusal: `asks`, the names of the fields to send; `problems`, texts for the person, each with
the field it is about; `auth_session_expires_in`, seconds.

Stricter than the draft: PKCE always. A follow-up is the stored request and what the person typed; whatever else it
repeats does not count.

Leaves to the caller: client authentication, the DPoP proof, who the person is, and issuing the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.oauth.authorization import (
    AuthorizationRequest,
    Prompt,
    ResponseMode,
    ResponseTarget,
    refused,
    response_target,
    validate_authorization_request,
)
from portero.core.oauth.errors import invalid_dpop_proof, invalid_request
from portero.core.oauth.forms import Parameters
from portero.core.oauth.pushed_authorization import PREFIX
from portero.core.transitions import Client, LoginTransaction
from portero.core.types import ClientId, NumericDate, Secret

DIRECT_REDIRECT: Final = "urn:portero:direct"
"""What stands for the redirect URI in a code that was asked for without one: no client can name it (it is no URL)."""

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_KEPT: Final = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "response_mode",
    "nonce",
    "prompt",
    "max_age",
    "ui_locales",
    "id_token_hint",
    "login_hint",
    "acr_values",
    "claims",
    "request",
    "request_uri",
    "registration",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "dpop_jkt",
)
"""The parameters of an authorization request. What a person typed is never among what is stored."""


@dataclass(frozen=True, slots=True)
class StoredChallenge:
    """An authorization request that waits for what its person types next."""

    record: LoginTransaction
    client_id: ClientId
    parameters: Parameters


def auth_session_of(form: Parameters) -> Secret[str] | None:
    """Return the `auth_session` of a follow-up; None: the request is a new one.

    Raises:
        RequestError: `invalid_session`.
    """
    value = form.get("auth_session")
    if value is None:
        return None
    if not _SECRET.fullmatch(value):
        raise invalid_session("not of our making")
    return Secret(value)


def invalid_session(detail: str) -> RequestError:
    """`auth_session` is unknown, used, expired or another client's: one text for all of them (§5.2.2.1)."""
    return RequestError("invalid_session", "auth_session is not valid; begin again", detail=detail)


def require_direct_sign_in(client: Client, *, origin: str | None) -> None:
    """Refuse a client that may not ask for passwords, and a page that is not that client's (§1.1, §9.1).

    Args:
        origin: the `Origin` header. A native app sends none; a page cannot leave it out.

    Raises:
        RequestError: `unauthorized_client`, naming the setting.
    """
    if not client.direct_sign_in:
        raise RequestError(
            "unauthorized_client", "direct_sign_in is off for this client: send people to the authorization endpoint"
        )
    if origin is not None and origin not in client.allowed_origins:
        raise RequestError(
            "unauthorized_client", "this origin is not among the allowed_origins of this client", status=403
        )


def challenge_parameters(form: Parameters, *, client_id: ClientId, jkt: str | None) -> Parameters:
    """Return the authorization request of a first request, and nothing else of it.

    Args:
        jkt: the key whose possession the request proves: it binds the code as `dpop_jkt` does (§9.5.1).

    Raises:
        RequestError: `invalid_dpop_proof`: `dpop_jkt` names another key.
    """
    parameters = Parameters({name: form.all(name) for name in _KEPT if name in form})
    if jkt is not None:
        if parameters.get("dpop_jkt") not in (None, jkt):
            raise invalid_dpop_proof("dpop_jkt names another key than the proof")
        parameters = parameters.with_value("dpop_jkt", jkt)
    return parameters.with_value("client_id", client_id)


def follow_up(stored: StoredChallenge | None, *, client_id: ClientId, jkt: str | None, now: NumericDate) -> Parameters:
    """Return the authorization request that an `auth_session` stands for.

    Raises:
        RequestError: `invalid_session`; `invalid_dpop_proof`: begun with another key, or with none (§9.6.1).
    """
    if stored is None or stored.record.expires <= now:
        raise invalid_session("unknown, used or expired")
    if stored.client_id != client_id:
        raise invalid_session("of another client")
    if stored.parameters.get("dpop_jkt") != jkt:
        raise invalid_dpop_proof("auth_session is bound to another key")
    return stored.parameters


def validate_challenge(parameters: Parameters, *, client: Client, offered_acr: tuple[str, ...]) -> AuthorizationRequest:
    """Validate the authorization request, by the rules of the authorization endpoint and two more.

    Does not check: `id_token_hint`.

    Raises:
        RequestError: with the registered error. `login_required` for `prompt=none`: nobody is ever signed in here.
    """
    if "redirect_uri" in parameters:
        target = response_target(parameters, client=client)
    else:
        target = ResponseTarget(DIRECT_REDIRECT, ResponseMode.QUERY, None)
    request = validate_authorization_request(parameters, client=client, target=target, offered_acr=offered_acr)
    if request.code_challenge is None:
        raise invalid_request("code_challenge is missing")
    if Prompt.NONE in request.prompt:
        raise refused(request, "login_required", "the person must sign in")
    return request


def needs_a_page(request: AuthorizationRequest, *, direct_acr: tuple[str, ...], offered_acr: tuple[str, ...]) -> bool:
    """Say whether a page of ours has to ask: for agreement, or for a sign-in that no application can ask for.

    Args:
        direct_acr: what the application's own form brings about.
        offered_acr: what all ways to sign in do.
    """
    if Prompt.CONSENT in request.prompt:
        return True
    wanted = set(request.essential_acr or request.acr_values)
    return not wanted.isdisjoint(offered_acr) and wanted.isdisjoint(direct_acr)


def challenge_to_record(
    parameters: Parameters,
    *,
    auth_session: Secret[str],
    client_id: ClientId,
    created: NumericDate,
    expires: NumericDate,
) -> LoginTransaction:
    """Build what is kept under a new `auth_session`: its digest, and the request."""
    members = {name: parameters.all(name) for name in parameters}
    text = orjson.dumps({"challenged": client_id, "parameters": members}).decode()
    return LoginTransaction(sha256_of(auth_session), text, created, expires)


def challenge_from_record(record: LoginTransaction | None) -> StoredChallenge | None:
    """Read what `challenge_to_record` wrote; None where there is nothing, or something else."""
    if record is None:
        return None
    document: Mapping[str, Any] = orjson.loads(record.request)
    client_id = document.get("challenged")
    if not isinstance(client_id, str):
        return None
    parameters = Parameters({name: tuple(values) for name, values in document["parameters"].items()})
    return StoredChallenge(record, ClientId(client_id), parameters)


def render_authorization_code(code: Secret[str]) -> bytes:
    """§5.2.1."""
    return orjson.dumps({"authorization_code": code.reveal()})


def render_insufficient(
    *, auth_session: Secret[str], expires_in: int, asks: tuple[str, ...], problems: tuple[tuple[str, str | None], ...]
) -> bytes:
    """§5.2.2: something is missing, or was wrong.

    Args:
        expires_in: seconds for which the `auth_session` is good.
        asks: the fields to send with it.
        problems: texts for the person, each with its field; none: nothing was typed yet.
    """
    return orjson.dumps(
        {
            "error": "insufficient_authorization",
            "error_description": "what the person typed is not right" if problems else "the person has to be asked",
            "auth_session": auth_session.reveal(),
            "auth_session_expires_in": expires_in,
            "asks": asks,
            "problems": [{"text": text, "field": field} for text, field in problems],
        }
    )


def render_redirect_to_web(pushed: Secret[str] | None, *, lifetime: int) -> bytes:
    """§5.2.2.1.1: the person goes on at the authorization endpoint.

    Args:
        pushed: under which the request waits there (RFC 9126), where it names a redirect URI.
        lifetime: seconds for which it does.
    """
    members: dict[str, Any] = {
        "error": "redirect_to_web",
        "error_description": "this sign-in needs the authorization endpoint",
    }
    if pushed is not None:
        members |= {"request_uri": PREFIX + pushed.reveal(), "expires_in": lifetime}
    return orjson.dumps(members)
