"""The device flow's messages and its waiting record (RFC 8628).

A device's request waits where other requests wait for their person (`LoginTransaction`), under the digest of the code
that the person types. The device code names that place, so that a poll finds it, and holds 256 random bits of its own,
of which only a digest is kept. When the person agrees, an authorization code is put under the digest of the device
code (decision 0192); from there on the device is served like any client with a code.

Leaves to the caller: client authentication, who the person is, and the limits on guesses and polls.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from portero.core.digests import namespaced_digest, sha256_of
from portero.core.jose import base64url
from portero.core.oauth.forms import Parameters
from portero.core.oauth.token import parse_resource, parse_scope
from portero.core.transitions import LoginTransaction
from portero.core.types import ClientId, Digest, NumericDate, Secret

DEVICE_REDIRECT: Final = "urn:portero:device"
"""What stands for the redirect URI in the code of a device: no client can name it (it is no URL)."""
INTERVAL: Final = 5
"""Seconds between two polls (§3.2)."""
USER_CODE_LENGTH: Final = 8

_ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""§6.1: no vowels, so no words; 8 of 20 are 34 bits."""
_NOISE: Final = re.compile(r"[^A-Z]")
_SECRET_BYTES, _TIME_BYTES, _PLACE_BYTES = 32, 4, 32


@dataclass(frozen=True, slots=True)
class DeviceAuthorizationRequest:
    """§3.1."""

    scope: tuple[str, ...] | None
    """None: not said."""
    resource: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A device code, taken apart. Nothing in it is believed that the stored record does not say."""

    digest: Digest
    """Under which the authorization code will be."""
    waits_at: Digest
    """Where the request waits."""
    unverified_expires: NumericDate
    """For the choice between two words of refusal, and for nothing else."""


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What waits for its person."""

    client_id: ClientId
    scope: tuple[str, ...]
    resource: tuple[str, ...]
    device_name: str
    """What the person will know it by. Unverified: the device says it."""
    place: str
    code_digest: str
    """Of the device code, in hexadecimal."""
    denied: bool = False


def parse_device_authorization_request(parameters: Parameters) -> DeviceAuthorizationRequest:
    """Parse the request.

    Raises:
        RequestError: `invalid_scope`, `invalid_target`.
    """
    return DeviceAuthorizationRequest(parse_scope(parameters.get("scope")), parse_resource(parameters))


def make_user_code(random: Callable[[int], bytes]) -> str:
    """Make a code to type: 8 letters, each as likely as the other."""
    letters = ""
    while len(letters) < USER_CODE_LENGTH:
        # 240 is the greatest multiple of 20 in a byte: what lies above would favour some letters.
        letters += "".join(_ALPHABET[byte % 20] for byte in random(32) if byte < 240)
    return letters[:USER_CODE_LENGTH]


def read_user_code(typed: str) -> str | None:
    """Read what a person typed (§6.1: case and separators do not matter); None where it cannot be a code."""
    letters = _NOISE.sub("", typed[:64].upper())
    return letters if len(letters) == USER_CODE_LENGTH and set(letters) <= set(_ALPHABET) else None


def show_user_code(code: str) -> str:
    """Write a code in two halves, as it is easiest to read aloud."""
    return f"{code[:4]}-{code[4:]}"


def place_of(user_code: str) -> Digest:
    """Where the request of a user code waits."""
    return namespaced_digest("user_code", user_code)


def make_device_code(user_code: str, *, secret: bytes, expires: NumericDate) -> Secret[str]:
    """Make the device's own code.

    Args:
        secret: 32 random bytes.
    """
    return Secret(base64url.encode(secret + expires.to_bytes(_TIME_BYTES, "big") + place_of(user_code)))


def parse_device_code(code: Secret[str]) -> DeviceCode | None:
    """Take a device code apart; None where it cannot be one of ours."""
    try:
        octets = base64url.decode(code.reveal())
    except ValueError:
        return None
    if len(octets) != _SECRET_BYTES + _TIME_BYTES + _PLACE_BYTES:
        return None
    expires = octets[_SECRET_BYTES : _SECRET_BYTES + _TIME_BYTES]
    return DeviceCode(
        sha256_of(code), Digest(octets[_SECRET_BYTES + _TIME_BYTES :]), NumericDate(int.from_bytes(expires, "big"))
    )


def waiting_record(
    request: DeviceRequest, *, user_code: str, created: NumericDate, expires: NumericDate
) -> LoginTransaction:
    """Build the record that waits."""
    members = json.dumps({"device": asdict(request)}, separators=(",", ":"))
    return LoginTransaction(id_digest=place_of(user_code), request=members, created=created, expires=expires)


def read_waiting(record: LoginTransaction | None, *, now: NumericDate) -> DeviceRequest | None:
    """Read what waits; None where nothing does (any more)."""
    if record is None or record.expires <= now:
        return None
    members: dict[str, Any] | None = json.loads(record.request).get("device")
    if members is None:
        return None
    return DeviceRequest(
        **{**members, "scope": tuple(members["scope"]), "resource": tuple(members["resource"])},
    )


def belongs_to(request: DeviceRequest, code: DeviceCode, *, client_id: ClientId) -> bool:
    """Whether a poll is by the device that asked: its own secret, and its client."""
    same = hmac.compare_digest(request.code_digest.encode(), code.digest.hex().encode())
    return same and request.client_id == client_id


def render_device_authorization_response(
    *, device_code: Secret[str], user_code: str, verification_uri: str, expires_in: int
) -> bytes:
    """Render the answer (§3.2)."""
    shown = show_user_code(user_code)
    return orjson.dumps(
        {
            "device_code": device_code.reveal(),
            "user_code": shown,
            "verification_uri": verification_uri,
            "verification_uri_complete": f"{verification_uri}?user_code={shown}",
            "expires_in": expires_in,
            "interval": INTERVAL,
        }
    )
