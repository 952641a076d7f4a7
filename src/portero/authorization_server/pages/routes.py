"""The routes of the browser-facing half: what a person's browser may ask for."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from portero.authorization_server.context import Context
from portero.authorization_server.endpoints.authorization_challenge import AuthorizationChallengeEndpoint
from portero.authorization_server.endpoints.authorize import authorize
from portero.authorization_server.endpoints.clients import Clients
from portero.authorization_server.endpoints.cors import Audience
from portero.authorization_server.endpoints.end_session import end_session
from portero.authorization_server.endpoints.exchange import Endpoint
from portero.authorization_server.pages import allowed, device, password, ways
from portero.authorization_server.pages.account import account, front, signed_out
from portero.authorization_server.pages.console import console_pages
from portero.authorization_server.pages.site import Site, site_of
from portero.authorization_server.sign_in.page import consent, sign_in, step
from portero.core.oauth.metadata import AUTHORIZATION_CHALLENGE, Endpoints

_YEAR = 365 * 24 * 3600


def browser_routes(context: Context) -> list[BaseRoute]:
    """Build the routes of one server: authorize, sign-in, sign-out, account, and the style sheet."""
    site = site_of(context)
    both = ["GET", "POST"]
    return [
        Route("/authorize", site.endpoint(authorize), methods=both),
        _challenge_route(context, site),
        Route("/sign-in", site.endpoint(sign_in), methods=both),
        *_step_routes(site),
        Route("/consent", site.endpoint(consent), methods=["POST"]),
        Route(device.PATH, site.endpoint(device.DevicePage()), methods=both),
        Route("/end_session", site.endpoint(end_session), methods=both),
        Route("/account", site.endpoint(account), methods=both),
        Route(allowed.PATH, site.endpoint(allowed.applications), methods=both),
        Route(ways.PATH, site.endpoint(ways.ways_in), methods=both),
        Route(ways.CONFIRM_PATH, site.endpoint(ways.confirm), methods=both),
        Route(password.PATH, site.endpoint(password.password), methods=both),
        *(Route(path, site.endpoint(page), methods=both) for path, page in console_pages(site).items()),
        Route("/signed-out", site.endpoint(signed_out), methods=["GET"]),
        Route("/", site.endpoint(front), methods=["GET"]),
        _style_route(site),
    ]


def _challenge_route(context: Context, site: Site) -> Route:
    """Beside the pages, because it counts the guesses at passwords with them."""
    clients = Clients(context.store, context.clock, context.client_documents)
    challenge = AuthorizationChallengeEndpoint(site, clients)
    path = Endpoints.of(site.issuer).path(AUTHORIZATION_CHALLENGE)
    return Route(
        path,
        Endpoint({"POST": challenge.post}, clients=clients, audience=Audience.REGISTERED, refuse=challenge.refuse),
    )


def _step_routes(site: Site) -> list[BaseRoute]:
    routes: list[BaseRoute] = []
    for method in site.methods.values():
        for name in method.steps:
            serve = partial(step, method=method, name=name)
            routes.append(Route(f"/sign-in/{method.name}/{name}", site.endpoint(serve), methods=["GET", "POST"]))
        routes += method.routes(site)
    return routes


def _style_route(site: Site) -> Route:
    """One file, named by its content, kept by browsers for a year."""

    async def serve(_: Request) -> Response:
        headers = {
            "cache-control": f"public, max-age={_YEAR}, immutable",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
        }
        return Response(site.styles.body, media_type="text/css; charset=utf-8", headers=headers)

    return Route(f"/assets/{site.styles.name}", serve, methods=["GET"])
