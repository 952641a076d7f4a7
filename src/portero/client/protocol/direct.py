"""The authorization challenge endpoint as its client sees it (draft-ietf-oauth-first-party-apps-04)."""

from __future__ import annotations

from typing import Any

from portero.adapters.fetch.requests import Fetched, FetchRequest
from portero.client.errors import AuthorizationRefused, CredentialsRefused, RedirectRequired, TokenEndpointUnavailable
from portero.client.protocol.authorization import AuthorizationRequest, request_fields
from portero.client.protocol.retry_after import retry_after_seconds
from portero.client.protocol.token import ClientIdentity, json_object, text_of
from portero.core.types import Secret


def challenge_request(
    url: str,
    who: ClientIdentity,
    request: AuthorizationRequest,
    *,
    username: str,
    password: Secret[str],
    ui_locales: str | None,
) -> FetchRequest:
    """§5.1: the authorization request and what the person typed, in one."""
    typed = {"username": username, "password": password.reveal(), "ui_locales": ui_locales}
    return who.request(url, {**request_fields(request), **typed})


def process_challenge_response(answer: Fetched, *, now: float) -> Secret[str]:
    """Return the code (§5.2.1). `now` is the wall clock, for a `Retry-After` that is a date.

    Raises:
        CredentialsRefused: ask the person again, at once or later.
        RedirectRequired: only the sign-in page leads on.
        AuthorizationRefused: the server refuses this client, or what it asks for.
        TokenEndpointUnavailable: no usable answer.
    """
    if answer.status == 429:
        raise CredentialsRefused("too_many_attempts", retry_after=retry_after_seconds(answer.headers, now=now))
    document = json_object(answer.body)
    code, error = text_of(document, "authorization_code"), text_of(document, "error")
    if answer.status == 200 and code is not None:
        return Secret(code)
    if not 400 <= answer.status < 500 or error is None:
        raise TokenEndpointUnavailable(f"HTTP {answer.status} to an authorization challenge request")
    if error == "insufficient_authorization":
        raise CredentialsRefused("wrong", problems=_texts(document.get("problems")))
    if error == "redirect_to_web":
        raise RedirectRequired("the server asks for its sign-in page")
    raise AuthorizationRefused("".join(c for c in error[:60] if c.isprintable()))


def _texts(problems: Any) -> tuple[str, ...]:
    listed = problems if isinstance(problems, list) else []
    found = (text_of(each, "text") for each in listed if isinstance(each, dict))
    return tuple(text for text in found if text is not None)
