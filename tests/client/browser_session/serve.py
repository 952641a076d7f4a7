"""A world on two registrable domains over TLS, driven by lines of JSON: what the browser library is tested against.

    python -m tests.client.browser_session.serve --pages FOLDER

Says `{"origin", "issuer", "spki"}` first, then answers each command, one a line. The names lead to this machine: in
this process by a resolver of our own, in the browser by `--host-resolver-rules`.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import hashlib
import json
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from portero.client.browser_session import MemorySessions, SealedSessions, Sessions
from tests.client.browser_session.world import SESSION_SECRET, Place, World

APP, LOGIN, SIBLING, EVIL = "www.shop.example", "login.idp.example", "blog.shop.example", "www.evil.example"


def certificate(folder: Path) -> tuple[Path, Path, str]:
    """A certificate for all names, its key, and the digest by which a browser is told to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Portero's tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in (APP, LOGIN, SIBLING, EVIL)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(signed.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return cert_file, key_file, base64.b64encode(hashlib.sha256(spki).digest()).decode()


def resolve_here() -> None:
    """Let the names lead to this machine, in this process."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real("127.0.0.1" if name in (APP, LOGIN, SIBLING, EVIL) else host, *arguments, **named)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]


class Pages:
    """The application: a page rendered on the server, a page that scripts fill, and a page of another site."""

    def __init__(self, folder: Path) -> None:
        self.world: World | None = None
        self.rendered: list[str] = []
        """Whom each server-rendered page was for."""
        self.app = Starlette(
            routes=[
                Route("/rendered", self._rendered),
                Route("/redirected", self._redirected),
                Mount("/dist", StaticFiles(directory=folder.parents[1] / "dist")),
                Route("/{path:path}", self._page),
                Mount("/", StaticFiles(directory=folder)),
            ]
        )
        self.folder = folder

    async def _rendered(self, request: Request) -> Response:
        assert self.world is not None
        session = await self.world.browser_session.page_session(request.scope)
        name = "nobody" if session is None else str(session.claims["name"])
        self.rendered.append(name)
        return HTMLResponse(f"<!doctype html><title>rendered</title><p id=who>{name}</p>{_SCRIPT}")

    async def _redirected(self, request: Request) -> Response:
        # What the landing page does not do, to see that it would not do.
        return Response(status_code=302, headers={"location": "/rendered"})

    async def _page(self, request: Request) -> Response:
        path = request.path_params["path"]
        file = self.folder / path
        if path.endswith((".js", ".map")) and ".." not in path and file.is_file():
            return Response(file.read_bytes(), media_type="text/javascript")
        return HTMLResponse(f"<!doctype html><meta charset=utf-8><title>test</title>{_SCRIPT}")


_SCRIPT = '<link rel=icon href="data:,"><script type=module src=/harness.js></script>'


def main() -> None:
    """Serve until standard input ends."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--pages", type=Path, required=True)
    arguments.add_argument("--sealed", action="store_true")
    given = arguments.parse_args()
    resolve_here()
    with tempfile.TemporaryDirectory(prefix="portero-two-sites-") as name:
        cert_file, key_file, spki = certificate(Path(name))
        tls = ssl.create_default_context(cafile=str(cert_file))
        place = Place("https", LOGIN, APP, (str(cert_file), str(key_file)), tls)
        sessions: Sessions = SealedSessions(secrets=[SESSION_SECRET]) if given.sealed else MemorySessions()
        pages = Pages(given.pages)
        with World(sessions=sessions, place=place, app=pages.app) as world:
            pages.world = world
            say({"origin": world.origin, "issuer": world.issuer, "spki": spki})
            for line in sys.stdin:
                say(obey(world, pages, json.loads(line)))


def obey(world: World, pages: Pages, command: dict[str, Any]) -> Any:
    """Do what the test asks."""
    match command:
        case {"do": "advance", "minutes": minutes}:
            return world.pass_minutes(minutes)
        case {"do": "away", "value": value}:
            world.server_away = value
        case {"do": "refuse", "statuses": statuses}:
            world.service.refusals = statuses
        case {"do": "end"}:
            world.end_session(world.sid_of_last_call())
        case {"do": "look"}:
            return {
                "refreshes": len(world.refreshes()),
                "revocations": len(world.revocations()),
                "calls": len(world.service.seen),
                "rendered": pages.rendered,
            }
    return None


def say(answer: Any) -> None:
    """One line."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
