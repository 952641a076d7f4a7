"""The demo's AFIP: the emulator, on the demo's own clock, believed by its authorization server."""

from __future__ import annotations

import uvicorn

from examples.shop.settings import AFIP_SERVICE, Settings
from portero.testing.afip import Emulator, emulator_app
from portero.testing.shared_clock import SharedClock


def main() -> None:
    shop = Settings.load()
    clock = SharedClock(shop.clock_file)
    receiver = f"{shop.issuer}/sign-in/clave_fiscal/return"
    emulator = Emulator({AFIP_SERVICE: receiver}, now=clock.now)
    shop.afip_certificate.write_bytes(emulator.certificate)
    uvicorn.run(emulator_app(emulator), host="127.0.0.1", port=shop.login_port, log_level="warning")


if __name__ == "__main__":
    main()
