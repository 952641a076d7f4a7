"""RP-initiated sign-out: the request and what it allows (OpenID Connect RP-Initiated Logout 1.0 §2, §3).

Leaves to the caller: the hint's signature, the browser session, and ending it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from portero.core.errors import RequestError
from portero.core.oauth.authorization import MAX_CLIENT_ID, MAX_REDIRECT_URI, MAX_STATE
from portero.core.oauth.errors import invalid_request
from portero.core.oauth.forms import Parameters
from portero.core.oauth.redirect_uris import has_safe_scheme
from portero.core.sessions.records import DeviceSession
from portero.core.transitions import Client
from portero.core.types import ClientId, Secret, Sid, Subject

PARAMETERS = ("id_token_hint", "logout_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales")
"""What a sign-out request may say; anything else in it is ignored."""


@dataclass(frozen=True, slots=True)
class EndSessionRequest:
    """A sign-out request as parsed."""

    unverified_id_token_hint: Secret[str] | None
    client_id: ClientId | None
    post_logout_redirect_uri: str | None
    state: str | None


@dataclass(frozen=True, slots=True)
class IdTokenHint:
    """What a verified hint says; it may have expired (§2: "SHOULD accept ID Tokens when … expired")."""

    subject: Subject
    client_id: ClientId
    sid: Sid | None


def parse_end_session_request(parameters: Parameters) -> EndSessionRequest:
    """Parse a sign-out request.

    Raises:
        RequestError: `invalid_request`, for a page: nothing here is ever redirected with an error.
    """
    hint = parameters.get("id_token_hint")
    client_id = _bounded(parameters, "client_id", limit=MAX_CLIENT_ID)
    return EndSessionRequest(
        unverified_id_token_hint=None if hint is None else Secret(hint),
        client_id=None if client_id is None else ClientId(client_id),
        post_logout_redirect_uri=_bounded(parameters, "post_logout_redirect_uri", limit=MAX_REDIRECT_URI),
        state=_bounded(parameters, "state", limit=MAX_STATE),
    )


def read_hint(claims: Mapping[str, Any]) -> IdTokenHint:
    """Read the claims of an ID token of ours.

    Raises:
        RequestError: `invalid_request`: the token is ours, but no ID token.
    """
    subject, audience, sid = claims.get("sub"), claims.get("aud"), claims.get("sid")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(subject, str) or not isinstance(audience, str) or not (sid is None or isinstance(sid, str)):
        raise invalid_request("id_token_hint is not an ID token of this server")
    return IdTokenHint(Subject(subject), ClientId(audience), None if sid is None else Sid(sid))


def claimed_client(request: EndSessionRequest, *, hint: IdTokenHint | None) -> ClientId | None:
    """Return the client the request comes from, as far as it says.

    Raises:
        RequestError: `invalid_request`: `client_id` is not the hint's audience (§2).
    """
    if hint is None:
        return request.client_id
    if request.client_id not in (None, hint.client_id):
        raise invalid_request("client_id is not the one id_token_hint was issued to")
    return hint.client_id


def post_logout_location(request: EndSessionRequest, *, client: Client | None) -> str | None:
    """Return where to send the browser when it is done, or None for our own page.

    Raises:
        RequestError: `invalid_request`, for a page: the URI is not registered for this client (§3).
    """
    uri = request.post_logout_redirect_uri
    if uri is None:
        return None
    if client is None or uri not in client.post_logout_redirect_uris or not has_safe_scheme(uri):
        raise invalid_request("post_logout_redirect_uri is not one this application has registered")
    if request.state is None:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': request.state})}"


def is_certain(hint: IdTokenHint | None, *, subject: Subject, sessions: tuple[DeviceSession, ...]) -> bool:
    """Say whether the person need not be asked: the hint names the very sign-in of this browser.

    A hint with a `sid` must name a device session under it; one without must name its person. In all
    other cases the request may be a stranger's (§6: "confirmation from the End-User SHOULD be obtained").
    """
    if hint is None or hint.subject != subject:
        return False
    return hint.sid is None or any(session.sid == hint.sid for session in sessions)


def _bounded(parameters: Parameters, name: str, *, limit: int) -> str | None:
    value = parameters.get(name)
    if value is not None and len(value) > limit:
        raise RequestError("invalid_request", f"{name} is longer than {limit} characters")
    return value
