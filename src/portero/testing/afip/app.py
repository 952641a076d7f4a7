"""The emulator as an ASGI application: pages in Spanish, for people; messages as AFIP's, for receivers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from portero.adapters.afip.cuit import is_cuit
from portero.testing.afip import pages
from portero.testing.afip.authority import Authority, new_authority, pem_of
from portero.testing.afip.clave_fiscal import LIFETIME, ClaveFiscalServer, Switch, companies
from portero.testing.afip.wsaa import WsaaServer
from portero.testing.afip.wsaa_routes import wsaa_routes

LOGIN_PATH = "/contribuyente_/login.xhtml"
_MAX_FORM = 16 * 1024


@dataclass(frozen=True)
class Somebody:
    """A made-up person who can sign in."""

    cuit: str
    name: str
    represents: tuple[str, ...] = ()


PEOPLE = (
    Somebody("20111111112", "Ana Gómez", tuple(companies(2))),
    Somebody("27222222228", "Bruno Díaz"),
)


@dataclass
class Emulator:
    """An AFIP of one's own.

    Args:
        services: by name, the URL of each receiver.
        now: seconds since 1970; a test's own clock where it has one.
    """

    services: Mapping[str, str]
    now: Callable[[], float] = time.time
    people: tuple[Somebody, ...] = PEOPLE
    authority: Authority | None = None
    servers: dict[str, ClaveFiscalServer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authority = self.authority or new_authority(now=self.now())
        self.wsaa = WsaaServer(self.authority)
        first: ClaveFiscalServer | None = None
        for service in self.services:
            # One authentication server with one key, whatever the service.
            key = None if first is None else first.key
            server = ClaveFiscalServer(service, authority=self.authority, _key=key)
            first = first or server
            self.servers[service] = server

    @property
    def certificate(self) -> bytes:
        """What a receiver pins, as PEM."""
        return pem_of(next(iter(self.servers.values())).certificate(now=self.now()))

    @property
    def src(self) -> str:
        """The name its messages carry."""
        return next(iter(self.servers.values())).src


def emulator_app(emulator: Emulator) -> Starlette:
    """Build the application."""

    async def front(_: Request) -> Response:
        return HTMLResponse(pages.front(emulator.services, LOGIN_PATH, emulator.src, emulator.certificate.decode()))

    async def login(request: Request) -> Response:
        service = request.query_params.get("system", "")
        if request.query_params.get("action") != "SYSTEM" or service not in emulator.services:
            return HTMLResponse(pages.unknown_service(service, list(emulator.services)), status_code=404)
        people = [(one.cuit, one.name, one.represents) for one in emulator.people]
        if request.method == "GET":
            return HTMLResponse(pages.login(service, people, list(Switch)))
        body = await request.body()
        if len(body) > _MAX_FORM:
            return Response(status_code=413)
        form = {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}
        cuit = form.get("otro_cuit", "").strip() or form.get("cuit", "")
        switches = {switch.value: switch for switch in Switch}
        named, version = form.get("falla", ""), form.get("version", "2.0")
        if not is_cuit(cuit) or (named and named not in switches) or version not in LIFETIME:
            problem = "Ese CUIT no es válido: su último dígito no corresponde."
            return HTMLResponse(pages.login(service, people, list(Switch), problem=problem), status_code=422)
        represents = next((one.represents for one in emulator.people if one.cuit == cuit), ())
        message = emulator.servers[service].issue(
            cuit,
            now=emulator.now(),
            relations=represents,
            version=version,
            regmethod=form.get("regmethod", "3")[:2],
            switch=switches.get(named),
        )
        return HTMLResponse(pages.send(emulator.services[service], message.token, message.sign))

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def certificate(_: Request) -> Response:
        return Response(emulator.certificate, media_type="application/x-pem-file")

    return Starlette(
        routes=[
            Route("/", front),
            Route(LOGIN_PATH, login, methods=["GET", "POST"]),
            Route("/certificado.pem", certificate),
            Route("/readyz", ready),
            *wsaa_routes(emulator.wsaa, emulator.now),
        ]
    )
