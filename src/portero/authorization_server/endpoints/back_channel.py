"""Which path has which endpoint: the back channel's table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.routing import Route

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authentication import refuse_client
from portero.authorization_server.endpoints.bearer import Bearers, challenge
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.cors import Audience
from portero.authorization_server.endpoints.device_authorization import DeviceAuthorizationEndpoint
from portero.authorization_server.endpoints.discovery import discovery
from portero.authorization_server.endpoints.exchange import Endpoint
from portero.authorization_server.endpoints.hub import Hub
from portero.authorization_server.endpoints.introspect import IntrospectionEndpoint
from portero.authorization_server.endpoints.jwks import jwks
from portero.authorization_server.endpoints.pushed_authorization import PushedAuthorizationEndpoint
from portero.authorization_server.endpoints.register import RegistrationEndpoint
from portero.authorization_server.endpoints.revocations import Revocations
from portero.authorization_server.endpoints.revoke import RevocationEndpoint
from portero.authorization_server.endpoints.signals import LOOK_SECONDS, Signals
from portero.authorization_server.endpoints.status_lists import StatusLists
from portero.authorization_server.endpoints.token import TokenEndpoint
from portero.authorization_server.endpoints.userinfo import UserinfoEndpoint
from portero.core.oauth.metadata import (
    DEVICE_AUTHORIZATION,
    INTROSPECT,
    JWKS,
    PAR,
    REGISTER,
    REVOCATIONS,
    REVOKE,
    STATUS_LISTS,
    TOKEN,
    USERINFO,
    Endpoints,
)
from portero.core.signals.metadata import POLL, STATUS, STREAMS, VERIFY, well_known_path
from portero.core.types import Issuer


def back_channel(
    context: Context, *, hub: Hub | None = None, news: Callable[[], Awaitable[None]] | None = None
) -> list[Route]:
    """Make the routes; the token endpoint comes first, as most requests are for it."""
    clients = Clients(context.store, context.clock, context.client_documents)
    bearers = Bearers(context, clients)
    paths = Endpoints.of(Issuer(context.config.issuer))
    token = TokenEndpoint(context, clients, bearers)
    feed = Revocations(context, bearers, hub or Hub(context.store, context.clock))
    pushed = PushedAuthorizationEndpoint(context, clients)
    device = DeviceAuthorizationEndpoint(context, clients)
    userinfo = UserinfoEndpoint(context, clients, bearers)
    applications = {
        paths.path(TOKEN): Endpoint(
            {"POST": token.post}, clients=clients, audience=Audience.REGISTERED, refuse=token.refuse
        ),
        paths.path(REVOKE): Endpoint(
            {"POST": RevocationEndpoint(context, clients).post},
            clients=clients,
            audience=Audience.REGISTERED,
            refuse=refuse_client,
        ),
        paths.path(PAR): Endpoint(
            {"POST": pushed.post}, clients=clients, audience=Audience.REGISTERED, refuse=pushed.refuse
        ),
        paths.path(DEVICE_AUTHORIZATION): Endpoint(
            {"POST": device.post}, clients=clients, audience=Audience.REGISTERED, refuse=device.refuse
        ),
        paths.path(INTROSPECT): Endpoint(
            {"POST": IntrospectionEndpoint(context, clients, bearers).post}, clients=clients, refuse=refuse_client
        ),
        paths.path(USERINFO): Endpoint(
            {"GET": userinfo.answer, "POST": userinfo.answer},
            clients=clients,
            audience=Audience.REGISTERED,
            refuse=challenge,
        ),
        paths.path(JWKS): Endpoint({"GET": jwks(context)}, clients=clients, audience=Audience.EVERYBODY),
        paths.path(REVOCATIONS): Endpoint({"GET": feed.poll}, clients=clients, refuse=challenge),
        paths.path(f"{REVOCATIONS}/snapshot"): Endpoint({"GET": feed.snapshot}, clients=clients, refuse=challenge),
        paths.path(f"{REVOCATIONS}/stream"): Endpoint({"GET": feed.stream}, clients=clients, refuse=challenge),
    }
    if context.config.dynamic_registration:
        register = Endpoint({"POST": RegistrationEndpoint(context, bearers).post}, clients=clients, refuse=challenge)
        applications[paths.path(REGISTER)] = register
    if context.config.status_list:
        lists, path = StatusLists(context), paths.path(STATUS_LISTS)
        applications |= {
            path: Endpoint({"GET": lists.listed}, clients=clients, audience=Audience.EVERYBODY),
            f"{path}/{{number}}": Endpoint({"GET": lists.one}, clients=clients, audience=Audience.EVERYBODY),
        }
    applications |= _signals(Signals(context, bearers, news=news or _a_second), paths, clients)
    metadata = Endpoint({"GET": discovery(context)}, clients=clients, audience=Audience.EVERYBODY)
    applications |= dict.fromkeys(paths.well_known, metadata)
    return [Route(path, application) for path, application in applications.items()]


def _signals(signals: Signals, paths: Endpoints, clients: Clients) -> dict[str, Endpoint]:
    """The Shared Signals transmitter (SSF 1.0): to begin with its metadata, which anybody may read."""
    streams = {
        "GET": signals.read,
        "POST": signals.create,
        "PATCH": signals.update,
        "PUT": signals.replace,
        "DELETE": signals.delete,
    }
    return {
        well_known_path(paths.issuer): Endpoint(
            {"GET": signals.configuration}, clients=clients, audience=Audience.EVERYBODY
        ),
        paths.path(STREAMS): Endpoint(streams, clients=clients, refuse=challenge),
        paths.path(STATUS): Endpoint(
            {"GET": signals.status, "POST": signals.set_status}, clients=clients, refuse=challenge
        ),
        paths.path(VERIFY): Endpoint({"POST": signals.verification}, clients=clients, refuse=challenge),
        f"{paths.path(POLL)}/{{stream_id}}": Endpoint({"POST": signals.poll}, clients=clients, refuse=challenge),
    }


async def _a_second() -> None:
    await asyncio.sleep(LOOK_SECONDS)
