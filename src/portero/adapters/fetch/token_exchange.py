"""Trading an access token for one that the next service accepts (RFC 8693 §2), as a conversation."""

from __future__ import annotations

import orjson

from portero.adapters.fetch.client_credentials import ServiceToken, basic_credentials
from portero.adapters.fetch.requests import Conversation, FetchRequest
from portero.core.errors import RequestError, Unavailable
from portero.core.types import Secret

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


class ExchangeRefused(RequestError):
    """The authorization server refuses to exchange: `error` says why (RFC 8693 §2.2.2).

    `invalid_request`: the caller's token is over, or was not meant for this service. Any other
    code is about this service's own client.
    """


def exchange_token(
    *,
    token_endpoint: str,
    client_id: str,
    client_secret: Secret[str],
    subject_token: Secret[str],
    resource: str,
    scope: str | None,
) -> Conversation[ServiceToken]:
    """Ask the token endpoint, authenticated by `client_secret_basic`.

    Args:
        subject_token: the caller's access token.
        resource: what the next service is called.
        scope: names with spaces; `None`: all that is possible.

    Raises:
        ExchangeRefused: it says no.
        Unavailable: no answer, or none that can be understood.
    """
    form = {
        "grant_type": _GRANT_TYPE,
        "subject_token": subject_token.reveal(),
        "subject_token_type": _ACCESS_TOKEN,
        "resource": resource,
    }
    if scope is not None:
        form["scope"] = scope
    headers = {"authorization": basic_credentials(client_id, client_secret)}
    answer = yield FetchRequest(token_endpoint, headers=headers, form=form)
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise Unavailable(f"the token endpoint answers {answer.status}, and no JSON object")
    error = document.get("error")
    if answer.status in {400, 401, 403} and isinstance(error, str):
        raise ExchangeRefused(error, str(document.get("error_description", "")), status=answer.status)
    token, expires_in = document.get("access_token"), document.get("expires_in")
    if answer.status != 200 or not isinstance(token, str) or type(expires_in) is not int:
        raise Unavailable(f"the token endpoint answers {answer.status}, and no token with its life")
    # §2.2.1: `N_A` and others are no access tokens that a service could be sent.
    if str(document.get("token_type", "")).lower() != "bearer":
        raise Unavailable("the token endpoint answers with a token that is no bearer token")
    return ServiceToken(Secret(token), float(expires_in))
