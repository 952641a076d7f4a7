"""Changing one's password: the old one is asked for, everything it opened ends, and this browser goes on."""

from __future__ import annotations

import pytest

from portero.core.sessions.records import SessionStatus
from portero.core.transitions import SessionKey, SubjectKey
from portero.core.types import Sid
from tests.authorization_server.browser.harness import ANA, PASSWORD, Answer, Browser, Server
from tests.authorization_server.browser.test_account import device

NEW = "another horse, another battery"


def signed_in() -> tuple[Server, Browser]:
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    device(server, "phone", under=None)
    return server, browser


def change(browser: Browser, old: str = PASSWORD, new: str = NEW, again: str | None = None, **headers: str) -> Answer:
    form = browser.get("/account/password").form(password=old, new_password=new)
    return browser.post("/account/password", {**form, "new_password_again": new if again is None else again}, **headers)


def test_a_new_password_ends_what_the_old_one_opened() -> None:
    """Other devices and the old cookie are worth nothing; this browser stays signed in with a new one."""
    server, browser = signed_in()
    stolen = Browser(server, cookies=dict(browser.cookies))
    ends = server.read(SubjectKey(ANA.subject)).browsers[0].ends
    server.clock.advance(60)

    answer = change(browser)

    assert (answer.status, 'class="done"' in answer.text) == (200, True)
    assert server.read(SessionKey(Sid("phone"))).session.status is SessionStatus.ENDED
    assert stolen.get("/account").status == 303
    assert browser.get("/account").status == 200
    assert [each.ends for each in server.read(SubjectKey(ANA.subject)).browsers] == [ends]
    assert server.read(SubjectKey(ANA.subject)).user.password_hash == NEW


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"old": "wrong"}, 422),
        ({"old": ""}, 422),
        ({"new": "short"}, 422),
        ({"again": "something else"}, 422),
        ({"origin": "https://evil.example"}, 403),
    ],
)
def test_a_form_that_is_not_right_changes_nothing(changes: dict[str, str], status: int) -> None:
    """Each alone is the reason, and the page says which."""
    server, browser = signed_in()

    assert change(browser, **changes).status == status
    assert server.read(SubjectKey(ANA.subject)).user.password_hash == PASSWORD
    assert server.read(SessionKey(Sid("phone"))).session.status is SessionStatus.ACTIVE


def test_guessing_the_old_password_is_slowed_down() -> None:
    """The limits of a sign-in count here too: an unlocked browser is no way around them."""
    _, browser = signed_in()
    statuses = [change(browser, old=f"guess {n}").status for n in range(12)]

    assert 429 in statuses
    assert change(browser).status == 429


def test_who_is_not_signed_in_signs_in_and_comes_back() -> None:
    """Whatever page of the account it was."""
    browser = Server().browser()
    for path in ("/account/password", "/account/applications"):
        browser.cookies.clear()
        answer = browser.sign_in(browser.follow(browser.get(path)))

        assert (answer.status, answer.location) == (303, path)
