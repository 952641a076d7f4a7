"""Linking another's word to an account, and taking it back: who may, and who is kept out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from portero.core.transitions import LinkedIdentitiesKey, LinkedKey, SubjectKey
from tests.authorization_server.browser.harness import ANA, BRUNO, PASSWORD, Answer, Browser, Server
from tests.authorization_server.browser.lying_provider import LyingProvider, acme_of
from tests.authorization_server.browser.test_openid import come_back, config, leave

WAYS = "/account/sign-in"


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingProvider]:
    yield from acme_of(monkeypatch)


@pytest.fixture
def server(acme: LyingProvider) -> Server:
    return Server(config=config(acme))


def signed_in(server: Server, username: str = ANA.username) -> Browser:
    browser = server.browser()
    browser.sign_in(browser.authorize(), username=username)
    return browser


def press(browser: Browser, **fields: str) -> Answer:
    """Send a form of the page with its token."""
    page = browser.get(WAYS)
    token = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert token is not None
    return browser.post(WAYS, {"form_token": token[1], **fields})


def leave_to_link(browser: Browser, acme: LyingProvider) -> dict[str, str]:
    """Press "Link", and follow to Acme. Returns the request that went there."""
    page = press(browser, action="link", door="openid/acme/start")
    onward = re.search(r'content="0;url=([^"]+)"', page.text)
    assert onward is not None, page.text
    away = browser.get(onward[1].replace("&amp;", "&"))
    request = {name: values[0] for name, values in parse_qs(urlsplit(away.location).query).items()}
    acme.nonce = request["nonce"]
    return request


def confirm(browser: Browser, back: Answer) -> Answer:
    page = browser.get(back.location)
    assert page.status == 200, page.text
    return browser.post(f"{WAYS}/confirm", page.form())


def linked(server: Server, acme: LyingProvider) -> Any:
    return server.read(LinkedKey(acme.issuer, "ada-1"))


def test_a_person_links_another_and_comes_in_by_it(server: Server, acme: LyingProvider) -> None:
    """Nothing is linked before they said yes; the provider is asked to ask again; nobody new is made."""
    browser = signed_in(server)
    request = leave_to_link(browser, acme)
    back = come_back(browser, request)
    assert request["prompt"] == "login"
    assert linked(server, acme) is None

    done = confirm(browser, back)
    assert done.location.startswith(f"{WAYS}?done=linked"), done.text
    assert linked(server, acme).subject == ANA.subject
    assert "Unlink" in browser.get(WAYS).text
    assert confirm_is_over(browser, back)

    other = server.browser()
    assert "code" in come_back(other, leave(other, acme)).answer
    assert len(server.read(SubjectKey(ANA.subject)).browsers) == 2


def confirm_is_over(browser: Browser, back: Answer) -> bool:
    return browser.get(back.location).status == 400


@pytest.mark.parametrize(("auth_time", "status"), [(None, 303), (-3600, 422)])
def test_a_provider_that_never_says_when_can_be_linked(
    server: Server, acme: LyingProvider, auth_time: int | None, status: int
) -> None:
    """Google says no `auth_time`: the person sees whom they link. A sign-in that is old is somebody's who left it."""
    browser = signed_in(server)
    request = leave_to_link(browser, acme)
    acme.claims = {"auth_time": None if auth_time is None else int(acme.now()) + auth_time}
    back = come_back(browser, request)

    assert back.status == status
    if status == 303:
        confirm(browser, back)
        assert linked(server, acme).subject == ANA.subject


def test_an_identity_of_somebody_else_is_refused(server: Server, acme: LyingProvider) -> None:
    """It stays whose it is, and the page says so."""
    bruno = signed_in(server, BRUNO.username)
    confirm(bruno, come_back(bruno, leave_to_link(bruno, acme)))
    ana = signed_in(server)
    answer = confirm(ana, come_back(ana, leave_to_link(ana, acme)))

    assert answer.status == 409
    assert "another account" in answer.text
    assert linked(server, acme).subject == BRUNO.subject


def test_a_link_asks_for_a_sign_in_of_a_moment_ago(server: Server, acme: LyingProvider) -> None:
    """An unlocked browser gives no way in; one more sign-in and it goes on, though the old one still stands."""
    browser = signed_in(server)
    server.clock.advance(301)
    asked = press(browser, action="link", door="openid/acme/start")
    page = browser.get(asked.location)
    assert 'name="password"' in page.text
    back = browser.post("/sign-in", page.form(username=ANA.username, password=PASSWORD))

    assert back.location == WAYS
    assert "0;url=" in press(browser, action="link", door="openid/acme/start").text


def test_the_last_way_in_stays(server: Server, acme: LyingProvider) -> None:
    """Somebody who has no password keeps their only link, and may give it up once there is another way."""
    browser = server.browser()
    come_back(browser, leave(browser, acme))
    subject = linked(server, acme).subject
    fields = {"action": "unlink", "provider": acme.issuer, "external": "ada-1"}
    assert "only way in" in browser.get(WAYS).text
    assert "done=last" in press(browser, **fields).location
    assert linked(server, acme) is not None

    acme.claims = {"sub": "ada-2"}
    acme.userinfo = {"sub": "ada-2"}
    confirm(browser, come_back(browser, leave_to_link(browser, acme)))
    assert "done=unlinked" in press(browser, **fields).location
    assert [link.external for link in server.read(LinkedIdentitiesKey(subject))] == ["ada-2"]
    assert "done=last" in press(browser, **{**fields, "external": "ada-2"}).location


def test_unlinking_signs_out_who_came_by_it(server: Server, acme: LyingProvider) -> None:
    """Whoever signed in with the identity is out; the browser that unlinks stays. Nobody unlinks another's."""
    ana, other = signed_in(server), server.browser()
    confirm(ana, come_back(ana, leave_to_link(ana, acme)))
    come_back(other, leave(other, acme))
    fields = {"action": "unlink", "provider": acme.issuer, "external": "ada-1"}
    press(signed_in(server, BRUNO.username), **fields)
    assert linked(server, acme).subject == ANA.subject

    press(ana, **fields)
    assert linked(server, acme) is None
    assert len(server.read(SubjectKey(ANA.subject)).browsers) == 1
    assert ana.get(WAYS).status == 200


def test_the_page_speaks_spanish(server: Server, acme: LyingProvider) -> None:
    """With every form."""
    assert "Vincular" in signed_in(server).get(f"{WAYS}?ui_locales=es").text
