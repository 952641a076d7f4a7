"""An attacker's identity elsewhere is never attached to a victim's account, nor the victim's to the attacker's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portero.core.transitions import LinkedIdentitiesKey, LinkedKey, SubjectKey
from tests.authorization_server.browser.harness import ANA, BRUNO, Server
from tests.authorization_server.browser.lying_provider import LyingProvider, acme_of
from tests.authorization_server.browser.test_openid import come_back, config, leave
from tests.authorization_server.browser.test_ways import WAYS, confirm, leave_to_link, signed_in


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingProvider]:
    yield from acme_of(monkeypatch)


@pytest.fixture
def server(acme: LyingProvider) -> Server:
    return Server(config=config(acme))


def test_an_answer_for_the_attacker_is_nothing_in_the_victims_browser(server: Server, acme: LyingProvider) -> None:
    """Login CSRF on linking: the attacker's own `state` and `code`, opened by the victim."""
    attacker, victim = signed_in(server, BRUNO.username), signed_in(server)
    request = leave_to_link(attacker, acme)

    assert come_back(victim, request).status == 400
    assert acme.forms == []
    assert server.read(LinkedIdentitiesKey(ANA.subject)) == ()


def test_a_planted_cookie_does_not_carry_a_link_over(server: Server, acme: LyingProvider) -> None:
    """Even with the attacker's cookie of the attempt, the victim's browser session did not ask for it."""
    attacker, victim = signed_in(server, BRUNO.username), signed_in(server)
    request = leave_to_link(attacker, acme)
    victim.cookies |= {name: value for name, value in attacker.cookies.items() if "_login_" in name}
    assert come_back(victim, request).status == 400

    request = leave_to_link(attacker, acme)
    back = come_back(attacker, request)
    victim.cookies |= {name: value for name, value in attacker.cookies.items() if "_login_" in name}
    assert victim.get(back.location).status == 400
    form = attacker.get(back.location).form()
    assert victim.post(f"{WAYS}/confirm", form).status == 400
    assert server.read(LinkedKey(acme.issuer, "ada-1")) is None


def test_a_form_of_another_site_begins_and_ends_nothing(server: Server, acme: LyingProvider) -> None:
    """No token, another browser's, or another site's `Origin`."""
    attacker, victim = signed_in(server, BRUNO.username), signed_in(server)
    back = come_back(victim, leave_to_link(victim, acme))
    page = victim.get(back.location).form()
    stolen = attacker.get(WAYS).form(door="")

    for fields in ({**stolen}, {**stolen, "form_token": ""}):
        assert victim.post(WAYS, fields).status == 403
    assert victim.post(f"{WAYS}/confirm", page, origin="https://evil.example").status == 403
    assert victim.post(f"{WAYS}/confirm", {**page, "form_token": "x"}).status == 403
    assert server.read(LinkedKey(acme.issuer, "ada-1")) is None


def test_a_link_signs_nobody_in_and_a_sign_in_links_nothing(server: Server, acme: LyingProvider) -> None:
    """The two attempts are never taken for one another."""
    victim = signed_in(server)
    request = leave_to_link(victim, acme)
    cookie = {name: value for name, value in victim.cookies.items() if name.endswith("_session")}
    come_back(victim, request)
    assert {name: value for name, value in victim.cookies.items() if name.endswith("_session")} == cookie
    assert len(server.read(SubjectKey(ANA.subject)).browsers) == 1

    come_back(victim, leave(victim, acme, prompt="login"))
    assert server.read(LinkedKey(acme.issuer, "ada-1")).subject != ANA.subject
    assert server.read(LinkedIdentitiesKey(ANA.subject)) == ()


def test_a_link_is_over_with_the_sign_in_that_asked(server: Server, acme: LyingProvider) -> None:
    """Somebody else signed in meanwhile in the same browser: nothing is attached to them."""
    browser = signed_in(server)
    back = come_back(browser, leave_to_link(browser, acme))
    browser.sign_in(browser.authorize(prompt="login"), username=BRUNO.username)

    assert browser.get(back.location).status == 400
    assert server.read(LinkedKey(acme.issuer, "ada-1")) is None
    fresh = signed_in(server, BRUNO.username)
    assert "done=linked" in confirm(fresh, come_back(fresh, leave_to_link(fresh, acme))).location
