"""The token endpoint as its client sees it: the requests of every grant, and their one answer.

RFC 6749 §4.1.3, §4.4.2, §5, §6; RFC 8628 §3.4; RFC 7009 §2.1; and `refresh_attempt` (docs/reference/refresh-tokens.md).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import orjson

from portero.adapters.fetch.requests import Fetched, FetchRequest
from portero.client.protocol.retry_after import retry_after_seconds
from portero.core.types import Secret

REASONS = frozenset({"expired", "revoked", "reused", "superseded"})
"""Why our server refuses a refresh token; `invalid_grant` where it, or a stranger's server, did not say."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A granted answer, by the names of the wire. Times are in seconds; None: the server did not say."""

    access_token: Secret[str]
    expires_in: float | None = None
    refresh_token: Secret[str] | None = None
    """None: the one we have stays good."""
    refresh_after: float | None = None
    refresh_token_expires_in: float | None = None
    session_expires_in: float | None = None
    scope: str | None = None
    id_token: Secret[str] | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """Tokens."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Refused:
    """`invalid_grant`: the only answer that says that what we presented is no longer good."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing that says anything about our token, which is kept.

    `reason`: `network`, `timeout`, `rate_limited`, `server_error`, `bad_answer`, `client_refused` or
    `discovery_failed`. `error` is the server's own word, where it is a known kind of text. `retry_after`: seconds.
    """

    reason: str
    retry_after: float | None = None
    error: str | None = None


TokenOutcome = Granted | Refused | NoAnswer


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who asks."""

    client_id: str
    client_secret: Secret[str] | None = None

    def request(self, url: str, fields: Mapping[str, str | list[str] | None]) -> FetchRequest:
        """Build a POST of a form, authenticated by `client_secret_basic` where there is a secret (RFC 6749 §2.3.1)."""
        form = {name: value for name, value in fields.items() if value is not None}
        if self.client_secret is None:
            return FetchRequest(url, form={**form, "client_id": self.client_id})
        credentials = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret.reveal())}"
        authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
        return FetchRequest(url, headers={"authorization": authorization}, form=form)


def code_request(
    url: str, who: ClientIdentity, *, code: Secret[str], code_verifier: Secret[str], redirect_uri: str | None
) -> FetchRequest:
    """RFC 6749 §4.1.3 with RFC 7636 §4.5. Without a redirect URI where the authorization request named none."""
    return who.request(
        url,
        {
            "grant_type": "authorization_code",
            "code": code.reveal(),
            "code_verifier": code_verifier.reveal(),
            "redirect_uri": redirect_uri,
        },
    )


def refresh_request(url: str, who: ClientIdentity, *, refresh_token: Secret[str], refresh_attempt: str) -> FetchRequest:
    """RFC 6749 §6.

    `refresh_attempt` is 22 characters of base64url that were stored *before* this is sent, and stay the same for this
    refresh token for ever: the server answers a repeated attempt with the same successor.
    """
    return who.request(
        url,
        {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token.reveal(),
            "refresh_attempt": refresh_attempt,
        },
    )


def client_credentials_request(
    url: str, who: ClientIdentity, *, scope: str | None, resources: tuple[str, ...]
) -> FetchRequest:
    """RFC 6749 §4.4.2, RFC 8707 §2.2."""
    fields = {"grant_type": "client_credentials", "scope": scope, "resource": list(resources)}
    return who.request(url, fields)


def revocation_request(url: str, who: ClientIdentity, *, refresh_token: Secret[str]) -> FetchRequest:
    """RFC 7009 §2.1."""
    return who.request(url, {"token": refresh_token.reveal(), "token_type_hint": "refresh_token"})


def process_token_response(answer: Fetched, *, now: float) -> TokenOutcome:
    """Sort the answer of the token endpoint. `now` is the wall clock, for a `Retry-After` that is a date.

    Does not check: the access token itself; it is opaque to a client (RFC 6749 §1.4).
    """
    retry_after = retry_after_seconds(answer.headers, now=now)
    if answer.status == 429:
        return NoAnswer("rate_limited", retry_after)
    if answer.status >= 500:
        return NoAnswer("server_error", retry_after)
    document = json_object(answer.body)
    ok = 200 <= answer.status < 300
    error = document.get("error")
    if not ok and error == "invalid_grant":
        reason = document.get("error_reason")
        return Refused(reason if isinstance(reason, str) and reason in REASONS else "invalid_grant")
    grant = _grant(document) if ok else None
    if grant is not None:
        return Granted(grant)
    if not ok and isinstance(error, str):
        return NoAnswer("client_refused", retry_after, error[:60])
    return NoAnswer("bad_answer", retry_after)


def json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _grant(document: Mapping[str, Any]) -> Grant | None:
    # What has the wrong type is as good as absent.
    access_token = text_of(document, "access_token")
    if access_token is None:
        return None
    refresh_token, id_token = text_of(document, "refresh_token"), text_of(document, "id_token")
    return Grant(
        access_token=Secret(access_token),
        expires_in=seconds_of(document, "expires_in"),
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        refresh_after=seconds_of(document, "refresh_after"),
        refresh_token_expires_in=seconds_of(document, "refresh_token_expires_in"),
        session_expires_in=seconds_of(document, "session_expires_in"),
        scope=text_of(document, "scope"),
        id_token=None if id_token is None else Secret(id_token),
    )


def text_of(document: Mapping[str, Any], name: str) -> str | None:
    """A member that is a text with something in it, else None."""
    value = document.get(name)
    return value if isinstance(value, str) and value else None


def seconds_of(document: Mapping[str, Any], name: str) -> float | None:
    """A member that is a number of seconds, also one that was written as a text; else None."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
