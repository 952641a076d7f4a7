"""The tables `[sign_in.openid.NAME]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from portero.adapters.fetch.requests import checked_url
from portero.authorization_server.config import unknown_key
from portero.authorization_server.sign_in.methods.openid.method import OpenIdMethod
from portero.authorization_server.sign_in.methods.openid.presets import PRESETS
from portero.authorization_server.sign_in.methods.openid.provider import AUTH_METHODS, Provider
from portero.core.durations import EXPECTED as A_DURATION
from portero.core.durations import parse_duration
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.jose.algorithms import ALGORITHMS
from portero.core.types import Issuer
from portero.core.vouched import OWN_CLAIMS

TABLE = "sign_in.openid"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TEXTS = ("issuer", "label", "client_id", "acr_claim", "acr_prefix", "fresh_prompt")
_LISTS = ("scopes", "algorithms", "acr_values")
_KEYS = {
    *(*_TEXTS, *_LISTS),
    *("preset", "client_secret_env", "token_endpoint_auth_method", "claims", "just_in_time", "sign_out", "timeout"),
}
_DEFAULTS: Mapping[str, Any] = {
    "scopes": ["openid", "profile", "email"],
    "algorithms": ["RS256", "ES256"],
    "token_endpoint_auth_method": "client_secret_basic",
    "claims": {},
    "acr_claim": "acr",
    "fresh_prompt": "login",
    "acr_values": [],
    "just_in_time": True,
    "sign_out": False,
    "timeout": "10s",
}


def open_method(table: Mapping[str, Any]) -> OpenIdMethod:
    """Read the tables.

    Raises:
        ConfigurationError: names the setting, what it is and what it may be.
    """
    if not table:
        raise ConfigurationError(TABLE, table, f"at least one provider, such as [{TABLE}.google]")
    providers = [_provider(name, each) for name, each in table.items()]
    issuers = [provider.issuer for provider in providers]
    # A link names the issuer: two tables of one issuer would be one identity under two client ids.
    if len(set(issuers)) != len(issuers):
        raise ConfigurationError(TABLE, issuers, "each issuer once")
    return OpenIdMethod({provider.name: provider for provider in providers})


def _provider(name: str, table: object) -> Provider:
    where = f"{TABLE}.{name}"
    if _NAME.fullmatch(name) is None or not isinstance(table, Mapping):
        raise ConfigurationError(where, table, "a table whose name is of lower-case letters, digits, '_' and '-'")
    for key in table:
        if key not in _KEYS:
            raise unknown_key(f"{where}.{key}", key, _KEYS)
    preset = table.get("preset")
    if preset is not None and preset not in PRESETS:
        raise ConfigurationError(f"{where}.preset", preset, f"one of {', '.join(PRESETS)}")
    said: dict[str, Any] = {
        **_DEFAULTS,
        "label": name,
        "acr_prefix": f"urn:portero:openid:{name}:",
        **(PRESETS[preset] if preset is not None else {}),
        **table,
    }
    for key in _TEXTS:
        if not isinstance(said.get(key), str) or not said[key]:
            raise ConfigurationError(f"{where}.{key}", said.get(key), "a text")
    for key in _LISTS:
        empty = key != "acr_values" and not said[key]
        if not isinstance(said[key], list) or empty or not all(isinstance(each, str) for each in said[key]):
            raise ConfigurationError(f"{where}.{key}", said[key], "a list of texts")
    if "openid" not in said["scopes"]:
        raise ConfigurationError(f"{where}.scopes", said["scopes"], "'openid' must be among them")
    for algorithm in said["algorithms"]:
        if algorithm not in ALGORITHMS or algorithm.startswith("HS"):
            raise ConfigurationError(f"{where}.algorithms", algorithm, "asymmetric algorithms, such as RS256")
    for key in ("just_in_time", "sign_out"):
        if not isinstance(said[key], bool):
            raise ConfigurationError(f"{where}.{key}", said[key], "true or false")
    return Provider(
        name=name,
        issuer=Issuer(_issuer(where, said["issuer"])),
        client_id=said["client_id"],
        client_secret_env=_variable(where, table.get("client_secret_env")),
        auth_method=_auth_method(where, said["token_endpoint_auth_method"]),
        label=said["label"],
        scopes=tuple(said["scopes"]),
        algorithms=tuple(said["algorithms"]),
        claims=_claims(where, said["claims"]),
        acr_claim=said["acr_claim"],
        acr_prefix=said["acr_prefix"],
        acr_values=tuple(said["acr_values"]),
        just_in_time=said["just_in_time"],
        sign_out=said["sign_out"],
        fresh_prompt=said["fresh_prompt"],
        timeout=_timeout(where, said["timeout"]),
    )


def _issuer(where: str, issuer: str) -> str:
    try:
        return checked_url(issuer)
    except Unavailable as error:
        raise ConfigurationError(
            f"{where}.issuer", issuer, f"the provider's issuer, an https:// URL ({error})"
        ) from None


def _timeout(where: str, text: object) -> float:
    try:
        seconds = parse_duration(text if isinstance(text, str) else "").total_seconds()
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= 60:
        raise ConfigurationError(f"{where}.timeout", text, f"1s to 60s; {A_DURATION}")
    return seconds


def _variable(where: str, variable: object) -> str | None:
    # Read when the server starts: a command beside it needs no secret.
    if variable is not None and (not isinstance(variable, str) or not variable):
        raise ConfigurationError(f"{where}.client_secret_env", variable, "the name of an environment variable")
    return variable


def _auth_method(where: str, method: object) -> str:
    if method not in AUTH_METHODS:
        expected = f"one of {', '.join(AUTH_METHODS)}"
        raise ConfigurationError(f"{where}.token_endpoint_auth_method", method, expected)
    return str(method)


def _claims(where: str, claims: object) -> Mapping[str, str]:
    if not isinstance(claims, Mapping) or not all(isinstance(theirs, str) for theirs in claims.values()):
        raise ConfigurationError(f"{where}.claims", claims, "a table, our claim = 'theirs'")
    for ours in claims:
        if ours in OWN_CLAIMS:
            raise ConfigurationError(f"{where}.claims.{ours}", claims[ours], "a claim that is not this server's own")
    return dict(claims)
