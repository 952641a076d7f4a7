"""A client nobody registered: its id is the URL of a document, and openid-client signs in with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.strangers.node import Stranger
from tests.strangers.person import Person
from tests.strangers.world import AUDIENCE, CONFIDENTIAL, World, strange_world

CALLBACK = CONFIDENTIAL.redirect_uris[0]


class Documents:
    """A site of documents, and how often it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0

    async def good(self, request: Request) -> Response:
        self.asked += 1
        return JSONResponse(self.document(f"{self.url}/good"))

    async def moved(self, request: Request) -> Response:
        return RedirectResponse("/good")

    async def large(self, request: Request) -> Response:
        return JSONResponse({**self.document(f"{self.url}/large"), "padding": "x" * 6000})

    async def stolen(self, request: Request) -> Response:
        return JSONResponse(self.document(f"{self.url}/good"))

    def document(self, client_id: str) -> dict[str, Any]:
        return {
            "client_id": client_id,
            "client_name": "Document",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "openid profile email offline_access orders:read",
        }

    def app(self) -> Starlette:
        names = ("good", "moved", "large", "stolen")
        return Starlette(routes=[Route(f"/{name}", getattr(self, name)) for name in names])


@pytest.fixture(scope="module")
def believing() -> Iterator[tuple[World, Documents]]:
    """A world whose server reads documents of this machine."""
    scopes = ("openid", "profile", "email", "offline_access", "orders:read")
    settings = {"registration_scopes": scopes, "registration_audiences": (AUDIENCE,)}
    with strange_world(client_metadata_hosts=("localhost",), **settings) as world:
        world.person("ana")
        documents = Documents()
        documents.url = world.serve(documents.app())
        yield world, documents


def authorize(world: World, client_id: str) -> httpx2.Response:
    query = {"client_id": client_id, "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid"}
    challenge = {"code_challenge": "A" * 43, "code_challenge_method": "S256"}
    return httpx2.get(f"{world.issuer}/authorize", params={**query, **challenge})


def test_a_client_is_what_its_document_says(believing: tuple[World, Documents]) -> None:
    """The person is asked, with the host in sight; the whole story works, and the document is asked for once."""
    world, documents = believing
    ana = Person(world)
    arguments = {"issuer": world.issuer, "api": world.api, "redirect_uri": CALLBACK}
    with ana.browser, Stranger("openid_client.mjs", client_id=f"{documents.url}/good", **arguments) as stranger:
        claims = stranger.until("claims", visit=lambda url: ana.visit(url, until="http://localhost:1/").location)
        assert (claims["sub"], claims["aud"]) == ("u-ana", f"{documents.url}/good")
        assert ana.asked == ["/sign-in", "/consent"]
        stranger.until("userinfo")
        assert stranger.until("api") == 200
        assert stranger.until("refreshed")

    assert documents.asked == 1


@pytest.mark.parametrize("name", ["moved", "large", "stolen", "missing"])
def test_a_document_that_is_not_one_is_nobody(believing: tuple[World, Documents], name: str) -> None:
    """A redirect is not followed, 5 kB are read, the document names its own URL; the answer is a page, no redirect."""
    world, documents = believing
    answer = authorize(world, f"{documents.url}/{name}")

    assert answer.status_code in {400, 503}
    assert "location" not in answer.headers


def test_a_private_address_is_not_asked(believing: tuple[World, Documents]) -> None:
    """The host must be one the operator named; without a name of its own, loopback too is not asked."""
    world, documents = believing

    assert authorize(world, documents.url.replace("localhost", "127.0.0.1") + "/good").status_code == 400
