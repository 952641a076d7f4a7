"""Providers that many know, as data: what they are called, what to ask them for, and what their claims mean.

Every value can be said otherwise in the provider's own table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    # It knows no `prompt=login` and never says `auth_time`: it can be linked, and not be asked for a fresh sign-in.
    "google": {
        "issuer": "https://accounts.google.com",
        "label": "Google",
        "scopes": ["openid", "profile", "email"],
        "fresh_prompt": "select_account",
    },
    # The issuer names the tenant: https://login.microsoftonline.com/TENANT-ID/v2.0. `common` names nobody in particular
    # and is refused by discovery, because its metadata names another issuer.
    "entra": {"label": "Microsoft", "scopes": ["openid", "profile", "email"], "claims": {"tenant": "tid"}},
    "keycloak": {"label": "Keycloak", "scopes": ["openid", "profile", "email"]},
    # One realm per application and provider: https://HOST/auth/realms/APP-afip, -anses, -miarg or -renaper.
    "autenticar": {
        "label": "Autenticar",
        "scopes": ["openid"],
        "token_endpoint_auth_method": "client_secret_post",
        "claims": {"cuit": "cuit", "proveedor": "proveedor", "nivel": "nivel"},
        "acr_claim": "nivel",
        "acr_values": ["1", "2", "3", "4"],
        "acr_prefix": "urn:portero:autenticar:nivel:",
    },
    "mi_argentina": {
        "label": "Mi Argentina",
        "scopes": ["openid", "profile", "email", "optional"],
        "token_endpoint_auth_method": "client_secret_post",
        "claims": {"cuil": "cuil", "validation_level": "validation_level"},
        "acr_claim": "validation_level",
        "acr_prefix": "urn:portero:mi-argentina:validation:",
        "algorithms": ["RS256"],
    },
}
