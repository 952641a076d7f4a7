"""`portero afip emulate`: an AFIP of one's own on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import click

from portero.cli.afip import DEFAULT_FOLDER
from portero.core.errors import ConfigurationError


@click.command("emulate")
@click.option("--port", type=click.IntRange(0, 65535), default=9400, show_default=True, help="0: a free one.")
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="NAME=URL",
    help="A service and where its form goes; more than one may be given.  [default: "
    "mi_servicio=http://localhost:9000/sign-in/clave_fiscal/return]",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where its certificate is written, for the receiver to believe. Made anew with each start.",
)
def command(port: int, services: tuple[str, ...], folder: Path) -> None:
    """Run an AFIP of one's own: Clave Fiscal and WSAA, rightly or with a fault of your choice.

    It listens on loopback only. Its people, CUITs and keys are made up. Its first page, in Spanish,
    explains it and says what to configure.
    """
    import uvicorn

    from portero.testing.afip import Emulator, emulator_app
    from portero.testing.afip.wsaa import MISSING_OPENSSL

    default = ("mi_servicio=http://localhost:9000/sign-in/clave_fiscal/return",)
    emulator = Emulator(dict(_service(text) for text in services or default))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate = folder / "afip-emulador.pem"
    certificate.write_bytes(emulator.certificate)
    server = uvicorn.Server(
        uvicorn.Config(emulator_app(emulator), host="127.0.0.1", port=port, log_level="warning", access_log=False)
    )
    listener = server.config.bind_socket()
    listener.listen()  # what is announced below can be called at once
    name = next(iter(emulator.services))
    url = f"http://localhost:{listener.getsockname()[1]}"
    click.echo(
        f"""\
Emulador de AFIP: {url} (Ctrl-C lo detiene)

En la configuración de Portero:

  [sign_in.password]

  [sign_in.clave_fiscal]
  service = "{name}"
  login_url = "{url}/contribuyente_/login.xhtml?action=SYSTEM&system={name}"

  [[sign_in.clave_fiscal.sources]]
  src = "{emulator.src}"
  key_file = "{certificate.resolve()}"
  algorithm = "RS1"

WSAA: {url}/ws/services/LoginCms
"""
    )
    if shutil.which("openssl") is None:
        click.echo(MISSING_OPENSSL, err=True)
    server.run(sockets=[listener])


def _service(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    parts = urlsplit(url)
    if not name.replace("_", "").isalnum() or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("--service", text, "NAME=URL, such as mi_servicio=http://localhost:9000/…")
    return name, url
