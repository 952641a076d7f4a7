"""A web application with Authlib, as its documentation shows it."""

from __future__ import annotations

from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def authlib_site(issuer: str, *, client_id: str, client_secret: str) -> Starlette:
    """Build it; the tokens stay in its memory."""
    oauth = OAuth()
    oauth.register(
        "portero",
        client_id=client_id,
        client_secret=client_secret,
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile email orders:read", "code_challenge_method": "S256"},
    )
    kept: dict[str, Any] = {}

    async def login(request: Request) -> Response:
        response: Response = await oauth.portero.authorize_redirect(request, str(request.url_for("callback")))
        return response

    async def callback(request: Request) -> Response:
        try:
            kept["token"] = await oauth.portero.authorize_access_token(request)
        except (OAuthError, JoseError) as error:
            return JSONResponse({"refused": getattr(error, "error", None) or type(error).__name__}, 400)
        return JSONResponse(kept["token"]["userinfo"])

    async def me(request: Request) -> Response:
        return JSONResponse(dict(await oauth.portero.userinfo(token=kept["token"])))

    async def orders(request: Request) -> Response:
        answer = await oauth.portero.get(request.query_params["api"], token=kept["token"])
        return Response(answer.content, answer.status_code)

    async def refresh(request: Request) -> Response:
        try:
            fresh = await oauth.portero.fetch_access_token(
                grant_type="refresh_token", refresh_token=kept["token"]["refresh_token"]
            )
        except OAuthError as error:
            return JSONResponse({"refused": error.error}, 400)
        kept["token"] = {**kept["token"], **fresh}
        return JSONResponse({"expires_in": fresh["expires_in"]})

    routes = [Route(f"/{each.__name__}", each) for each in (login, callback, me, orders, refresh)]
    return Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, secret_key="of the site alone")])
