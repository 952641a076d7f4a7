"""A token for a service's own client (RFC 6749 §4.4), as a conversation."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote_plus

import orjson

from portero.adapters.fetch.requests import Conversation, FetchRequest
from portero.core.errors import Unavailable
from portero.core.types import Secret


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """An access token and how long it lives, in seconds from its receipt."""

    token: Secret[str]
    expires_in: float


def basic_credentials(client_id: str, client_secret: Secret[str]) -> str:
    """The `Authorization` value of `client_secret_basic` (RFC 6749 §2.3.1)."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(client_secret.reveal())}"
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def obtain_service_token(
    *, token_endpoint: str, client_id: str, client_secret: Secret[str], scope: str, resource: str
) -> Conversation[ServiceToken]:
    """Ask the token endpoint, authenticated by `client_secret_basic` (RFC 6749 §2.3.1).

    Args:
        token_endpoint: of the issuer.
        client_id: the service's own client.
        client_secret: its secret.
        scope: what for.
        resource: for whom (RFC 8707 §2): a client that serves several audiences has to say.

    Raises:
        Unavailable: refused or not understood. A refusal is the operator's to mend, and until
            then the feed is not there: for a caller that is the same.
    """
    answer = yield FetchRequest(
        token_endpoint,
        headers={"authorization": basic_credentials(client_id, client_secret)},
        form={"grant_type": "client_credentials", "scope": scope, "resource": resource},
    )
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = None
    if answer.status != 200 or not isinstance(document, dict):
        error = document.get("error") if isinstance(document, dict) else None
        raise Unavailable(f"the token endpoint answers {answer.status} {error or ''} to {client_id!r}".rstrip())
    token, expires_in = document.get("access_token"), document.get("expires_in", 60)
    if not isinstance(token, str) or isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        raise Unavailable("the token endpoint's answer holds no access token")
    return ServiceToken(Secret(token), float(expires_in))
