"""What the doors of other providers say, in every language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "sign_in.openid.door": "Sign in with {provider}",
        "sign_in.openid.onward": "Signing you in …",
        "sign_in.openid.go_on": "Go on",
        "sign_in.openid.refused": "You came back from {provider} without being signed in. Nothing was changed. Try "
        "once more, or sign in another way.",
        "sign_in.openid.stale": "{provider} did not say that you signed in anew, which is needed here. Nothing was "
        "changed. Try once more and sign in there, or sign in another way.",
        "sign_in.openid.unavailable": "{provider} cannot be reached right now. It is not your fault. Wait a moment and "
        "try once more, or sign in another way.",
    },
    "es": {
        "sign_in.openid.door": "Ingresar con {provider}",
        "sign_in.openid.onward": "Iniciando sesión …",
        "sign_in.openid.go_on": "Seguir",
        "sign_in.openid.refused": "Volviste de {provider} sin haber iniciado sesión. No se cambió nada. Probá otra "
        "vez, o iniciá sesión de otra manera.",
        "sign_in.openid.stale": "{provider} no dijo que iniciaste sesión de nuevo, y acá hace falta. No se cambió "
        "nada. Probá otra vez e iniciá sesión allá, o iniciá sesión de otra manera.",
        "sign_in.openid.unavailable": "Ahora no podemos llegar a {provider}. No es culpa tuya. Esperá un momento y "
        "probá otra vez, o iniciá sesión de otra manera.",
    },
}
