"""The device flow as its client sees it (RFC 8628)."""

from __future__ import annotations

from dataclasses import dataclass

from portero.adapters.fetch.requests import Fetched, FetchRequest
from portero.client.errors import AuthorizationRefused, TokenEndpointUnavailable
from portero.client.protocol.token import ClientIdentity, json_object, seconds_of, text_of
from portero.core.types import Secret

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL = 5.0
"""Seconds, where the server does not say (§3.2)."""


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """What the person is told, and what the program keeps (§3.2). Seconds."""

    device_code: Secret[str]
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: float
    interval: float


def device_authorization_request(
    url: str, who: ClientIdentity, *, scope: str | None, resources: tuple[str, ...]
) -> FetchRequest:
    """§3.1."""
    return who.request(url, {"scope": scope, "resource": list(resources)})


def process_device_authorization_response(answer: Fetched) -> DeviceAuthorization:
    """Read the answer.

    Raises:
        AuthorizationRefused: the server refuses this client, or what it asks for.
        TokenEndpointUnavailable: no usable answer.
    """
    document = json_object(answer.body)
    error = text_of(document, "error")
    if 400 <= answer.status < 500 and answer.status != 429 and error is not None:
        raise AuthorizationRefused(error[:60])
    device_code, user_code = text_of(document, "device_code"), text_of(document, "user_code")
    uri, expires_in = text_of(document, "verification_uri"), seconds_of(document, "expires_in")
    if answer.status != 200 or device_code is None or user_code is None or uri is None or expires_in is None:
        raise TokenEndpointUnavailable(f"HTTP {answer.status} to a device authorization request")
    interval = seconds_of(document, "interval")
    return DeviceAuthorization(
        device_code=Secret(device_code),
        user_code=user_code,
        verification_uri=uri,
        verification_uri_complete=text_of(document, "verification_uri_complete"),
        expires_in=expires_in,
        interval=_INTERVAL if interval is None else interval,
    )


def device_token_request(url: str, who: ClientIdentity, *, device_code: Secret[str]) -> FetchRequest:
    """§3.4."""
    return who.request(url, {"grant_type": GRANT_TYPE, "device_code": device_code.reveal()})
