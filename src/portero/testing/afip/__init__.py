"""An AFIP of one's own, for tests: Clave Fiscal and WSAA with every fault they may have, under a CA of their own.

`portero afip emulate` runs it; in tests, `ClaveFiscalServer` makes messages and `emulator_app` is an ASGI application.
Written from observed messages, all of them invented; nothing here is AFIP's.
"""

from __future__ import annotations

from portero.testing.afip.app import Emulator, emulator_app
from portero.testing.afip.authority import Authority, new_authority
from portero.testing.afip.clave_fiscal import ClaveFiscalServer, Message, Switch
from portero.testing.afip.wsaa import WsaaServer

__all__ = [
    "Authority",
    "ClaveFiscalServer",
    "Emulator",
    "Message",
    "Switch",
    "WsaaServer",
    "emulator_app",
    "new_authority",
]
