"""The operator's console: for people with the role alone; what it changes, and that it says who changed it."""

from __future__ import annotations

import pytest

from portero.authorization_server.config import Config
from portero.core.sessions.records import EndReason, SessionStatus
from portero.core.transitions import AuditKey, ClientKey, SessionKey, SubjectKey
from portero.core.types import ClientId, Sid
from tests.authorization_server.browser.harness import ANA, BRUNO, ISSUER, Answer, Browser, Server
from tests.authorization_server.browser.test_account import device

PATHS = ("/operator", "/operator/person?subject=u-bruno", "/operator/clients", "/operator/keys", "/operator/audit")


def operator() -> tuple[Server, Browser]:
    """Ana with the role, signed in; Bruno with a phone."""
    server = Server(config=Config(issuer=ISSUER, console_role="operators"))
    server.become_operator(ANA)
    browser = server.browser()
    browser.sign_in(browser.authorize())
    device(server, "phone", under=None, subject=BRUNO.subject)
    return server, browser


def act(browser: Browser, action: str, path: str = "/operator/person", **values: str) -> Answer:
    page = browser.get(f"{path}?subject=u-bruno")
    token = next(form["form_token"] for form in page.forms if "form_token" in form)
    return browser.post(path, {"form_token": token, "action": action, **values})


def who(server: Server, name: str) -> list[str | None]:
    return [event.fields.get("by") for event in server.read(AuditKey()) if event.name.value == name]


@pytest.mark.parametrize("path", PATHS)
def test_the_console_is_for_people_with_the_role(path: str) -> None:
    """For anybody else there is nothing there; for who is not signed in, a sign-in comes first."""
    server, browser = operator()
    bruno = server.browser()
    bruno.sign_in(bruno.authorize(), username="bruno")

    assert browser.get(path).status == 200
    assert bruno.get(path).status == 404
    assert server.browser().get(path).status == 303


@pytest.mark.parametrize("path", PATHS)
def test_without_a_role_configured_there_is_no_console(path: str) -> None:
    """Also for somebody whose roles hold nothing but an empty text."""
    server = Server()
    server.become_operator(ANA)
    browser = server.browser()
    browser.sign_in(browser.authorize())

    assert browser.get(path).status == 404
    assert "/operator" not in browser.get("/").text


@pytest.mark.parametrize("sought", ["bruno", "BRU", "u-bruno"])
def test_a_person_is_found(sought: str) -> None:
    """By name, by the beginning of a name, in any case, and by subject."""
    _, browser = operator()
    found = browser.get(f"/operator?q={sought}").text

    assert "u-bruno" in found
    assert "u-ana" not in found


def test_a_session_is_ended() -> None:
    """One of several, everywhere, with who did it."""
    server, browser = operator()
    device(server, "tablet", under=None, subject=BRUNO.subject)
    assert "Device phone" in browser.get("/operator/person?subject=u-bruno").text

    done = browser.follow(act(browser, "end", sid="phone", subject="u-bruno"))

    ended = server.read(SessionKey(Sid("phone"))).session
    assert (ended.status, ended.end_reason) == (SessionStatus.ENDED, EndReason.OPERATOR)
    assert server.read(SessionKey(Sid("tablet"))).session.status is SessionStatus.ACTIVE
    assert who(server, "session_ended") == ["u-ana"]
    assert ("Device phone" in done.text, "Device tablet" in done.text) == (False, True)


def test_a_person_is_disabled_and_let_in_again() -> None:
    """Disabling ends everything of theirs; enabling brings nothing back."""
    server, browser = operator()
    act(browser, "disable_user", subject="u-bruno")
    assert server.read(SubjectKey(BRUNO.subject)).user.enabled is False
    assert server.read(SessionKey(Sid("phone"))).session.status is SessionStatus.ENDED

    act(browser, "enable_user", subject="u-bruno")

    assert server.read(SubjectKey(BRUNO.subject)).user.enabled is True
    assert who(server, "user_changed") == ["u-ana", "u-ana"]


def test_all_sessions_of_a_person_are_ended() -> None:
    """And they may sign in again."""
    server, browser = operator()
    act(browser, "end_all", subject="u-bruno")

    assert server.read(SubjectKey(BRUNO.subject)).sessions == ()
    assert server.read(SubjectKey(BRUNO.subject)).user.enabled is True


def test_a_client_is_disabled_and_let_in_again() -> None:
    """With who did it."""
    server, browser = operator()
    act(browser, "disable_client", "/operator/clients", client_id="stranger")
    assert server.read(ClientKey(ClientId("stranger"))).client.enabled is False
    act(browser, "enable_client", "/operator/clients", client_id="stranger")

    assert server.read(ClientKey(ClientId("stranger"))).client.enabled is True
    assert who(server, "client_changed") == ["u-ana", "u-ana"]


def test_keys_are_rotated() -> None:
    """In the operator's name."""
    server, browser = operator()
    done = browser.follow(act(browser, "rotate", "/operator/keys"))

    assert server.context.key_ring.rotated_by == "u-ana"
    assert 'class="done"' in done.text


@pytest.mark.parametrize(
    ("form", "headers", "status"),
    [
        ({"form_token": "x"}, {}, 403),
        ({"form_token": ""}, {}, 403),
        ({}, {"origin": "https://evil.example"}, 403),
        ({"action": "invented"}, {}, 400),
        ({"subject": "x" * 513}, {}, 400),
        ({"subject": ""}, {}, 400),
    ],
)
def test_a_form_that_is_not_right_changes_nothing(form: dict[str, str], headers: dict[str, str], status: int) -> None:
    """Another site's, another browser's, an invented one."""
    server, browser = operator()
    token = browser.get("/operator/keys").forms[0]["form_token"]
    good = {"form_token": token, "action": "disable_user", "subject": "u-bruno"}

    assert browser.post("/operator/person", {**good, **form}, **headers).status == status
    assert server.read(SubjectKey(BRUNO.subject)).user.enabled is True
    assert browser.post("/operator/person", good).status == 303


def test_a_role_taken_away_closes_the_console_at_once() -> None:
    """The role is read at every request, also for a form that was shown before."""
    server, browser = operator()
    token = browser.get("/operator/keys").forms[0]["form_token"]
    server.put(SubjectKey(ANA.subject), ANA)

    assert browser.post("/operator/keys", {"form_token": token, "action": "rotate"}).status == 404
    assert server.context.key_ring.rotated_by is None
