"""What stands before the API, and its document."""

from __future__ import annotations

import subprocess
import sys

import pytest

from portero.core.oauth.forms import MAX_BODY_BYTES
from tests.authorization_server.api.conftest import Api, sid_of
from tests.authorization_server.back_channel import ask


def test_the_api_is_loaded_when_it_is_first_asked() -> None:
    """A start pays for no FastAPI; a preflight does not either."""
    program = """
import asyncio, sys
from portero.authorization_server.app import create_app, open_context
from portero.authorization_server.config import Config
from tests.authorization_server.back_channel import ask
async def main():
    app = create_app(await open_context(Config(database="memory:")))
    await ask(app, "OPTIONS", "/api/account/sessions", headers={"access-control-request-method": "GET"})
    before = "fastapi" in sys.modules
    await ask(app, "GET", "/api/openapi.json")
    return (before, "fastapi" in sys.modules)
sys.exit(0 if asyncio.run(main()) == (False, True) else 1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_document_names_every_operation_once_and_how_it_refuses(api: Api) -> None:
    """OpenAPI 3.1; every operation says who may ask, and every refusal is a problem (RFC 9457)."""
    document = api.ask("GET", "/api/openapi.json").json
    operations = [one for path in document["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]

    assert len(names) == len(set(names)) == 20
    for one in operations:
        assert one["security"] in ([{"person": ["account"]}], [{"operator": ["operator"]}])
        assert {"401", "403", "404", "422", "503"} <= one["responses"].keys()
        for status, answer in one["responses"].items():
            if not status.startswith("2"):
                assert list(answer["content"]) == ["application/problem+json"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/account/sessions", "GET, OPTIONS"),
        ("GET", "/api/account/sessions/x", "DELETE, OPTIONS, PATCH"),
        ("POST", "/api/openapi.json", "GET, OPTIONS"),
    ],
)
def test_a_method_that_is_not_there_is_405_and_says_which_are(api: Api, method: str, path: str, allow: str) -> None:
    """All of them, not those of the first route only (RFC 9110 §15.5.6)."""
    seen = api.ask(method, path)

    assert (seen.status, seen.header("allow")) == (405, allow)
    assert seen.header("content-type") == "application/problem+json"
    assert (api.ask("OPTIONS", path).status, api.ask("OPTIONS", path).header("allow")) == (204, allow)


@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/account/sessions/", "/api/account"])
def test_a_path_that_is_not_there_is_404(api: Api, path: str) -> None:
    """As a problem, without a redirect."""
    assert api.ask("GET", path).status == 404


def test_nothing_of_the_api_is_stored_by_anybody(api: Api) -> None:
    """It is about one person."""
    assert api.ask("GET", "/api/account/sessions", token=api.signed_in()).header("cache-control") == "no-store"


def test_a_body_is_read_up_to_the_limit(api: Api) -> None:
    """One byte more is 413; up to it, it is refused for what it says."""
    token = api.signed_in()
    path = f"/api/account/sessions/{sid_of(token)}"
    frame = len(b'{"name":""}')
    fits = api.ask("PATCH", path, token=token, json={"name": "x" * (MAX_BODY_BYTES - frame)})
    too_long = api.ask("PATCH", path, token=token, json={"name": "x" * (MAX_BODY_BYTES - frame + 1)})

    assert (fits.status, too_long.status) == (422, 413)


def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    """422, not a trace."""
    token = api.signed_in()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    seen = api.server.run(ask(api.app, "POST", "/api/account/sessions/end", headers=headers, body=b'{"which":'))

    assert (seen.status, seen.header("content-type")) == (422, "application/problem+json")


def test_a_store_that_is_away_is_503_and_says_when_to_come_back(api: Api) -> None:
    """Never 401: nobody's token is bad because of it (design §3.5)."""
    token = api.signed_in()
    api.works(token)
    api.server.clock.advance(2)
    api.server.store.away = True
    seen = api.ask("GET", "/api/account/sessions", token=token)

    assert (seen.status, seen.header("retry-after")) == (503, "7")
