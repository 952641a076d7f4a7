"""The revocation endpoint's message (RFC 7009 §2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from portero.core.oauth.errors import invalid_request
from portero.core.oauth.forms import Parameters
from portero.core.oauth.token import MAX_TOKEN_LENGTH
from portero.core.types import Secret


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """The token to end. `token_type_hint` is not kept: what a token is can be read off its form."""

    token: Secret[str]


def parse_revocation_request(parameters: Parameters) -> RevocationRequest:
    """Parse a revocation or introspection request; both carry `token` and an optional hint.

    A wrong or unknown hint changes nothing (RFC 7009 §2.1: the server "MUST extend its
    search across all of its supported token types").

    Raises:
        RequestError: `invalid_request`.
    """
    token = parameters.require("token")
    if len(token) > MAX_TOKEN_LENGTH:
        raise invalid_request("the parameter token is too long")
    return RevocationRequest(token=Secret(token))
