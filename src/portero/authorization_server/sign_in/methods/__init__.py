"""The ways to sign in: one folder each, with its door sign, its steps, its templates and its texts.

A method is switched on by its table in the configuration, `[sign_in.NAME]`; without any such table there is the
password. Adding one means a folder and its name below, and touches no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from portero.core.errors import ConfigurationError

if TYPE_CHECKING:
    from portero.authorization_server.sign_in.method import Method

METHODS = ("password", "clave_fiscal", "openid")
DEFAULT: Mapping[str, Mapping[str, Any]] = {"password": {}}


def offered_acr(methods: Mapping[str, Method]) -> tuple[str, ...]:
    """The authentication context classes that these bring about (OIDC Discovery §3, `acr_values_supported`)."""
    return tuple(dict.fromkeys(acr for method in methods.values() for acr in method.acr_values))


def open_methods(tables: Mapping[str, Any]) -> dict[str, Method]:
    """Read the configured methods, in the order the sign-in page shows them.

    Only the folders of configured methods are imported.

    Args:
        tables: the tables `[sign_in.NAME]`; none of them: the password.

    Raises:
        ConfigurationError: an unknown method, or a setting of one is wrong.
    """
    opened: dict[str, Method] = {}
    for name, table in (tables or DEFAULT).items():
        if name not in METHODS:
            raise ConfigurationError(f"sign_in.{name}", "(unknown method)", f"it may be {', '.join(METHODS)}")
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"sign_in.{name}", table, f"a table, [sign_in.{name}]")
        opened[name] = import_module(f"{__name__}.{name}").open_method(table)
    return opened
