"""oidc-client-ts, unmodified, on a page in Chromium."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from portero.core.types import ClientId
from tests.strangers.node import FOLDER, Stranger
from tests.strangers.person import Person
from tests.strangers.world import PASSWORD, PUBLIC, World, eavesdropper


@pytest.fixture(scope="module")
def site(world: World) -> str:
    """The page's address."""
    origin = f"http://localhost:{world.page_port}"
    client = replace(
        PUBLIC,
        client_id=ClientId("oidc-client-ts"),
        redirect_uris=(f"{origin}/callback",),
        post_logout_redirect_uris=(f"{origin}/",),
        allowed_origins=(origin,),
    )
    world.register(client)
    settings = {"authority": world.issuer, "client_id": client.client_id, "scope": "openid profile orders:read"}

    async def page(request: Request) -> Response:
        response = FileResponse(FOLDER / "page.html")
        if "tamper" in request.query_params:
            response.set_cookie("tamper", "state")
        return response

    async def callback(request: Request) -> Response:
        state = request.query_params.get("state", "")
        if "tamper" in request.cookies and not state.startswith("x"):
            return RedirectResponse(request.url.include_query_params(state=f"x{state}"))
        return await page(request)

    async def library(_: Request) -> Response:
        return FileResponse(FOLDER / "node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js")

    async def configuration(_: Request) -> Response:
        return JSONResponse(settings)

    routes = [
        Route("/", page),
        Route("/callback", callback),
        Route("/oidc-client-ts.min.js", library),
        Route("/settings.json", configuration),
    ]
    return world.serve(Starlette(routes=routes), port=world.page_port)


def oidc_client_ts(world: World, site: str, **arguments: Any) -> Stranger:
    return Stranger(
        "oidc_client_ts.mjs", site=site, api=f"{world.api}/", username="ana", password=PASSWORD, **arguments
    )


def test_oidc_client_ts_signs_in_refreshes_and_calls_an_api(world: World, ana: Person, site: str) -> None:
    """CORS, PKCE and userinfo work from a page, up to the sign-out that the person makes on another device."""
    with oidc_client_ts(world, site) as stranger:
        says = stranger.until("says")
        assert (says["sub"], says["name"]) == ("u-ana", "Ana")

        stranger.lives_until(ana.sign_out_everywhere)


def test_oidc_client_ts_signs_out(world: World, site: str) -> None:
    """RP-Initiated Logout 1.0 §2: whoever comes back has to sign in."""
    with oidc_client_ts(world, site, law="leaves") as stranger:
        stranger.until("says")
        stranger.until("api")
        stranger.until("refreshed")
        stranger.until("api")

        assert stranger.until("left") is True


def test_oidc_client_ts_refuses_a_tampered_answer(world: World, site: str) -> None:
    """It knows its own state, and compares nonce or subject with what it asked for."""
    with oidc_client_ts(world, site, law="refuses", tamper=True) as stranger:
        assert stranger.until("says") == {"refused": "No matching state found in storage"}
    with oidc_client_ts(world, site, law="refuses") as stranger, eavesdropper(world):
        assert "nonce" in stranger.until("says").get("refused", "")
