"""The request parameter `claims` (OIDC Core §5.5): what of it decides whether a person is asked again.

Leaves to the caller: the claims themselves, which a scope releases, and whether a context can be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.oauth.errors import invalid_request
from portero.core.types import Subject

MAX_CLAIMS = 4096
"""Characters."""


@dataclass(frozen=True, slots=True)
class ClaimsParameter:
    """What `claims` says of the ID token that changes whether the person is asked again."""

    subject: Subject | None = None
    """Nobody else will do."""
    acr_values: tuple[str, ...] = ()
    """Wished for."""
    essential_acr: tuple[str, ...] = ()
    """Insisted on."""


def parse_claims_parameter(claims: str) -> ClaimsParameter:
    """Check the shape of the parameter (OIDC Core §5.5), and return the `sub` and the `acr` it asks for (§5.5.1).

    Raises:
        RequestError: `invalid_request`.
    """
    if len(claims) > MAX_CLAIMS:
        raise invalid_request("claims is too long")
    try:
        members = parse_object(claims.encode())
    except StrictJsonError:
        raise invalid_request("claims must be a JSON object") from None
    for name in ("id_token", "userinfo"):
        part = members.get(name, {})
        if not isinstance(part, dict) or not all(entry is None or isinstance(entry, dict) for entry in part.values()):
            raise invalid_request(f"claims.{name} must map claim names to null or an object")
    id_token = members.get("id_token", {})
    subject = (id_token.get("sub") or {}).get("value")
    if not (subject is None or isinstance(subject, str)):
        raise invalid_request("claims.id_token.sub.value must be a string")
    values, essential = _acr_claim(id_token.get("acr") or {})
    return ClaimsParameter(
        None if subject is None else Subject(subject),
        () if essential else values,
        values if essential else (),
    )


def _acr_claim(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    essential = entry.get("essential", False)
    values = entry.get("values", [entry["value"]] if "value" in entry else [])
    if not isinstance(essential, bool):
        raise invalid_request("claims.id_token.acr.essential must be true or false")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise invalid_request("claims.id_token.acr must name its values as strings")
    return tuple(values), essential
