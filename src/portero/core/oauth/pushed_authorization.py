"""Pushed authorization requests (RFC 9126): the request goes by the back channel, and the browser carries a reference.

What was pushed is kept as it was sent (without the client's credential), for a short time and for one use; the
authorization endpoint judges it as if it had come in the URL. Nothing beside `client_id` and
`request_uri` counts there (RFC 9101 §6.3): what a browser adds is not what the client asked for.
"""

from __future__ import annotations

import json
import re

import orjson

from portero.core.errors import RequestError
from portero.core.oauth.errors import invalid_request
from portero.core.oauth.forms import Parameters
from portero.core.transitions import Decision, Delete, LoginKey, LoginTransaction
from portero.core.types import ClientId, Digest, NumericDate, Secret

PREFIX = "urn:ietf:params:oauth:request_uri:"
_REFERENCE = re.compile(re.escape(PREFIX) + r"([A-Za-z0-9_-]{43})")
_CREDENTIALS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


def pushed_parameters(form: Parameters) -> Parameters:
    """Return the authorization request of a pushed form, without the client's credential.

    Raises:
        RequestError: `invalid_request`: it pushes a reference (RFC 9126 §2.1).
    """
    if "request_uri" in form:
        raise invalid_request("request_uri is not pushed")
    return Parameters({name: form.all(name) for name in form if name not in _CREDENTIALS})


def to_record(
    parameters: Parameters, *, id_digest: Digest, client_id: ClientId, now: NumericDate, lifetime: int
) -> LoginTransaction:
    """Build what is kept of it.

    Args:
        id_digest: of the reference's secret part.
        lifetime: seconds.
    """
    members = {name: list(parameters.all(name)) for name in parameters}
    text = json.dumps({"pushed_by": client_id, "parameters": members}, separators=(",", ":"))
    return LoginTransaction(id_digest, text, now, NumericDate(now + lifetime))


def pushed_secret(parameters: Parameters) -> Secret[str] | None:
    """Return the secret part of a reference of ours; None where the request carries none."""
    found = _REFERENCE.fullmatch(parameters.get("request_uri") or "")
    return None if found is None else Secret(found[1])


def take_pushed(
    record: LoginTransaction | None, *, key: LoginKey, client_id: ClientId, now: NumericDate
) -> Decision[LoginTransaction | None]:
    """Take a pushed request up: once (RFC 9126 §7.3), before it expires, and only for who pushed it (§2.2).

    Args:
        client_id: of the request that brings the reference. Another one's leaves it where it is.
    """
    if record is None or now >= record.expires or _pushed_by(record) != client_id:
        return Decision(None)
    return Decision(record, (Delete(key),))


def from_record(record: LoginTransaction | None) -> Parameters:
    """Return the request that was pushed.

    Raises:
        RequestError: `invalid_request_uri`, for a page: nothing says where it would be safe to redirect to.
    """
    if record is None:
        raise RequestError("invalid_request_uri", "request_uri is unknown, used, expired or of another client")
    members = orjson.loads(record.request)["parameters"]
    return Parameters({name: tuple(values) for name, values in members.items()})


def render_pushed(secret: Secret[str], *, lifetime: int) -> bytes:
    """Render the answer (RFC 9126 §2.2)."""
    return orjson.dumps({"request_uri": PREFIX + secret.reveal(), "expires_in": lifetime})


def _pushed_by(record: LoginTransaction) -> str | None:
    # A sign-in under way lies in the same place, under a secret of its own.
    found: str | None = orjson.loads(record.request).get("pushed_by")
    return found
