"""What a route requires, as one writes it in code: the arguments of `requires` in every adapter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TypedDict

from portero.core.errors import ConfigurationError
from portero.core.policy.requirement import Carrier, ClaimValue, Requirement, WhenStale


class Required(TypedDict, total=False):
    """All that are given are required of the caller; `…_any` are alternatives (design §3.4)."""

    scopes: Iterable[str]
    scopes_any: Iterable[str]
    roles: Iterable[str]
    roles_any: Iterable[str]
    claims: Mapping[str, ClaimValue]
    max_auth_age: timedelta
    acr: Iterable[str]
    dpop: bool
    mtls: bool
    when_stale: WhenStale | str
    cookie: bool
    first_message: bool


def requirement_of(what: Required) -> Requirement:
    """Validate the arguments.

    Raises:
        ConfigurationError: a value cannot be meant.
    """
    when_stale = what.get("when_stale", WhenStale.ALLOW)
    try:
        stale = WhenStale(when_stale)
    except ValueError:
        raise ConfigurationError("when_stale", when_stale, 'must be "allow" or "deny"') from None
    max_auth_age = what.get("max_auth_age")
    if max_auth_age is not None and max_auth_age < timedelta():
        raise ConfigurationError("max_auth_age", max_auth_age, "must not be negative")
    return Requirement(
        scopes=_names("scopes", what.get("scopes", ())),
        scopes_any=_names("scopes_any", what.get("scopes_any", ())),
        roles=_names("roles", what.get("roles", ())),
        roles_any=_names("roles_any", what.get("roles_any", ())),
        claims=dict(what.get("claims", {})),
        max_auth_age=None if max_auth_age is None else int(max_auth_age.total_seconds()),
        acr=tuple(sorted(_names("acr", what.get("acr", ())))),
        dpop=what.get("dpop", False),
        mtls=what.get("mtls", False),
        when_stale=stale,
        carriers=frozenset(carrier for carrier in Carrier if what.get(carrier.value, False)),
    )


def _names(setting: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise ConfigurationError(setting, names, "must be a list of names, not one text")
    return frozenset(names)
