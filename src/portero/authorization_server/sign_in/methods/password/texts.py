"""What the password's form says, in every language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "sign_in.password.password": "Password",
        "sign_in.password.submit": "Sign in",
        "sign_in.password.wrong": "The user name or the password is not right.",
        "sign_in.password.missing.username": "Type your user name.",
        "sign_in.password.missing.password": "Type your password.",
    },
    "es": {
        "sign_in.password.password": "Contraseña",
        "sign_in.password.submit": "Iniciar sesión",
        "sign_in.password.wrong": "El usuario o la contraseña no son correctos.",
        "sign_in.password.missing.username": "Escribí tu usuario.",
        "sign_in.password.missing.password": "Escribí tu contraseña.",
    },
}
