"""What Clave Fiscal's pages say, in every language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "sign_in.clave_fiscal.door": "Sign in with Clave Fiscal (AFIP)",
        "sign_in.clave_fiscal.title": "Is this you?",
        "sign_in.clave_fiscal.person": "AFIP says that you are CUIT {cuit}.",
        "sign_in.clave_fiscal.acting_for": "For whom do you act?",
        "sign_in.clave_fiscal.myself": "For myself ({cuit})",
        "sign_in.clave_fiscal.represented": "For CUIT {cuit}",
        "sign_in.clave_fiscal.go_on": "Go on as {cuit}",
        "sign_in.clave_fiscal.not_me": "This is not me",
        "sign_in.clave_fiscal.refused": "What AFIP sent cannot be accepted: it may be too old, used before, or not "
        "from AFIP. Nothing was changed. Try once more.",
        "sign_in.clave_fiscal.nothing": "Nothing has come from AFIP yet. Try once more.",
    },
    "es": {
        "sign_in.clave_fiscal.door": "Ingresar con Clave Fiscal",
        "sign_in.clave_fiscal.title": "¿Sos vos?",
        "sign_in.clave_fiscal.person": "AFIP dice que sos CUIT {cuit}.",
        "sign_in.clave_fiscal.acting_for": "¿Por quién actuás?",
        "sign_in.clave_fiscal.myself": "Por mí ({cuit})",
        "sign_in.clave_fiscal.represented": "Por CUIT {cuit}",
        "sign_in.clave_fiscal.go_on": "Seguir como {cuit}",
        "sign_in.clave_fiscal.not_me": "No soy yo",
        "sign_in.clave_fiscal.refused": "No podemos aceptar lo que mandó AFIP: puede ser muy viejo, haberse usado "
        "antes o no venir de AFIP. No se cambió nada. Probá otra vez.",
        "sign_in.clave_fiscal.nothing": "Todavía no llegó nada de AFIP. Probá otra vez.",
    },
}
