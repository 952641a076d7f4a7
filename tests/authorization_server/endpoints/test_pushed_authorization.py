"""Pushed authorization requests (RFC 9126): judged when they are pushed, used once, by who pushed them."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from tests.authorization_server.browser.harness import REDIRECT_URI, Answer, Browser, parameters
from tests.authorization_server.whole import SECRET, WEB, WholeServer

PREFIX = "urn:ietf:params:oauth:request_uri:"


def pushed(server: WholeServer, **changes: str | None) -> str:
    answer = server.post("/par", parameters(client_id="web", **changes))
    assert answer.status == 201, answer.text
    found: str = json.loads(answer.body)["request_uri"]
    return found


def visit(browser: Browser, request_uri: str, **more: str) -> Answer:
    query = {"client_id": "web", "request_uri": request_uri, **more}
    return browser.follow(browser.get(f"/authorize?{urlencode(query)}"))


def test_a_pushed_request_signs_a_person_in() -> None:
    """RFC 9126 §2.2, §4: the reference, and nothing else of the request, goes through the browser."""
    server = WholeServer()
    answer = server.post("/par", parameters(client_id="web", state="pushed state"))
    said = json.loads(answer.body)
    browser = server.browser()
    back = browser.sign_in(visit(browser, said["request_uri"]))

    assert (answer.status, answer.header("cache-control")) == (201, "no-store")
    assert said["request_uri"].startswith(PREFIX)
    assert said["expires_in"] == 60
    assert back.location.startswith(REDIRECT_URI)
    assert (back.answer["state"], "code" in back.answer) == ("pushed state", True)


def test_what_the_browser_adds_does_not_count() -> None:
    """RFC 9101 §6.3: parameters beside the reference are not the client's word."""
    server = WholeServer()
    browser = server.browser()
    added = {"state": "other", "redirect_uri": "https://evil.example/", "scope": "openid orders:read", "prompt": "none"}
    back = browser.sign_in(visit(browser, pushed(server, state="own"), **added))

    assert back.location.startswith(REDIRECT_URI)
    assert back.answer["state"] == "own"


def test_a_reference_is_used_once() -> None:
    """RFC 9126 §7.3: a link that was seen on its way opens nothing any more."""
    server = WholeServer()
    request_uri = pushed(server)
    first, second = visit(server.browser(), request_uri), visit(server.browser(), request_uri)

    assert first.status == 200
    assert (second.status, second.location) == (400, "")


@pytest.mark.parametrize(("age", "status"), [(59, 200), (60, 400)])
def test_a_reference_expires(age: int, status: int) -> None:
    """Both sides of `expires_in`."""
    server = WholeServer()
    request_uri = pushed(server)
    server.clock.advance(age)

    assert visit(server.browser(), request_uri).status == status


def test_only_who_pushed_it_may_use_it() -> None:
    """RFC 9126 §2.2: another client's reference is refused, and stays what it was."""
    server = WholeServer()
    request_uri = pushed(server)

    assert visit(server.browser(), request_uri, client_id="shop").status == 400
    assert visit(server.browser(), request_uri).status == 200


@pytest.mark.parametrize("reference", [PREFIX + "A" * 43, PREFIX + "A" * 42, PREFIX, "https://evil.example/request"])
def test_an_invented_reference_opens_nothing(reference: str) -> None:
    """On a page: nothing says where it would be safe to redirect to."""
    answer = visit(WholeServer().browser(), reference)

    assert (answer.status, answer.location) == (400, "")


def test_a_sign_in_under_way_is_no_pushed_request() -> None:
    """Its cookie's secret names a record in the same place, and opens nothing as a reference."""
    server = WholeServer()
    browser = server.browser()
    browser.authorize()
    (secret,) = browser.cookies.values()

    assert visit(server.browser(), PREFIX + secret).status == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": "https://evil.example/"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example/"}, "invalid_target"),
        ({"request": "a.b.c"}, "request_not_supported"),
        ({"request_uri": PREFIX + "A" * 43}, "invalid_request"),
        ({"client_id": "shop"}, "invalid_request"),
        ({"state": "\u00e9"}, "invalid_request"),
    ],
)
def test_a_request_is_judged_when_it_is_pushed(changes: dict[str, str | None], error: str) -> None:
    """RFC 9126 §2.3: the error comes back to the client itself, never by a redirect."""
    form = {**{"client_id": "web"}, **changes}
    answer = WholeServer().post("/par", parameters(**form))

    assert (answer.status, answer.location) == (400, "")
    assert json.loads(answer.body)["error"] == error


def test_pushing_needs_the_client() -> None:
    """RFC 9126 §2.1: as at the token endpoint; a public client names itself."""
    server = WholeServer()
    wrong = Browser(server).post("/par", parameters(client_id="web", client_secret="wrong"))
    public = server.post("/par", parameters(), client=None)

    assert (wrong.status, json.loads(wrong.body)["error"]) == (401, "invalid_client")
    assert public.status == 201


def test_the_credential_is_not_kept() -> None:
    """What waits for the browser holds no secret of the client."""
    server = WholeServer(replace(WEB, token_endpoint_auth_method="client_secret_post"))
    answer = Browser(server).post("/par", parameters(client_id="web", client_secret=SECRET))

    assert answer.status == 201
    assert SECRET not in repr(vars(server.store._tables))
