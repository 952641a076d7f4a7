"""The devices page: see, name, end one, end the others, end all; each bound to the browser session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.core.sessions.records import BrowserSession, DeviceSession, SessionStatus
from portero.core.transitions import BrowserKey, SessionKey, SubjectKey
from portero.core.types import ClientId, Digest, NumericDate, Sid, Subject
from tests.authorization_server.browser.harness import ANA, BRUNO, Answer, Browser, Server, authorize_url


def device(server: Server, sid: str, *, under: Digest | None, subject: Subject = ANA.subject) -> DeviceSession:
    now = server.context.now()
    record = DeviceSession(
        sid=Sid(sid),
        browser_session=under,
        subject=subject,
        client_id=ClientId("shop"),
        device_name=f"Device {sid}",
        place="198.51.0.0/16",
        created=NumericDate(now - 7200),
        last_seen=NumericDate(now - 60),
        last_access_exp=NumericDate(now + 300),
        absolute_end=NumericDate(now + 90_000),
        idle_end=NumericDate(now + 80_000),
    )
    server.put(SessionKey(record.sid), record)
    return record


def signed_in() -> tuple[Server, Browser]:
    """Ana in this browser with `here` and `here2`, on a phone, in another browser; Bruno somewhere."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    mine: BrowserSession = server.read(SubjectKey(ANA.subject)).browsers[0]
    other = replace(mine, id_digest=Digest(b"o" * 32))
    server.put(BrowserKey(other.id_digest), other)
    for sid, under in (
        ("here", mine.id_digest),
        ("here2", mine.id_digest),
        ("phone", None),
        ("other", other.id_digest),
    ):
        device(server, sid, under=under)
    device(server, "bruno", under=None, subject=BRUNO.subject)
    return server, browser


def act(browser: Browser, action: str, **values: str) -> Answer:
    token = browser.get("/account").forms[-1]["form_token"]
    return browser.post("/account", {"form_token": token, "action": action, **values})


def live(server: Server) -> set[str]:
    sids = ("here", "here2", "phone", "other", "bruno")
    return {sid for sid in sids if server.read(SessionKey(Sid(sid))).session.status is SessionStatus.ACTIVE}


def test_a_person_sees_their_devices_and_nobody_elses() -> None:
    """Name, application, times, place, and which one this is; this browser first."""
    _, browser = signed_in()
    page = browser.get("/account")

    assert page.status == 200
    assert page.text.count("This device") == 2
    for shown in ("Device here", "Device phone", "The Shop", "198.51.0.0/16", "2 hours ago", "1 minute ago"):
        assert shown in page.text
    assert "bruno" not in page.text
    assert page.text.index("Device here2") < page.text.index("Device phone")


def test_what_is_over_is_not_shown() -> None:
    """Both sides of the idle end."""
    server, browser = signed_in()
    phone = server.read(SessionKey(Sid("phone"))).session
    now = server.context.now()
    server.put(SessionKey(phone.sid), replace(phone, idle_end=NumericDate(now + 1)))
    shown = "Device phone" in browser.get("/account").text
    server.put(SessionKey(phone.sid), replace(phone, idle_end=now))

    assert shown
    assert "Device phone" not in browser.get("/account").text


def test_who_is_not_signed_in_signs_in_and_comes_back() -> None:
    """Without an application: the page itself waits."""
    browser = Server().browser()
    page = browser.follow(browser.get("/account"))
    answer = browser.sign_in(page)

    assert "<h1>Sign in</h1>" in page.text
    assert (answer.status, answer.location) == (303, "/account")
    assert "Your devices" in browser.get("/account").text


@pytest.mark.parametrize(("later", "status"), [(12 * 3600 - 1, 200), (12 * 3600, 303)])
def test_the_page_closes_with_the_sign_in(later: int, status: int) -> None:
    """Both sides of the browser session's end, whether or not the store has removed it yet."""
    server, browser = signed_in()
    server.clock.advance(later)

    assert browser.get("/account").status == status


def test_a_device_is_renamed() -> None:
    """One line, printable; 303, so that a reload repeats nothing."""
    server, browser = signed_in()
    answer = act(browser, "rename", sid="phone", name="  My\u200b <b>phone</b> ")

    assert (answer.status, answer.location) == (303, "/account?done=renamed&ui_locales=en")
    assert server.read(SessionKey(Sid("phone"))).session.device_name == "My <b>phone</b>"
    assert "My &lt;b&gt;phone&lt;/b&gt;" in browser.get(answer.location).text


@pytest.mark.parametrize("name", ["", "   ", "\u200b"])
def test_a_name_has_something_to_see(name: str) -> None:
    """An empty one changes nothing, and says so."""
    server, browser = signed_in()
    answer = act(browser, "rename", sid="phone", name=name)

    assert "bad_name" in answer.location
    assert server.read(SessionKey(Sid("phone"))).session.device_name == "Device phone"


def test_one_device_is_ended() -> None:
    """The others are left alone, this browser stays signed in."""
    server, browser = signed_in()
    answer = act(browser, "end", sid="phone")

    assert answer.location == "/account?done=ended&ui_locales=en"
    assert live(server) == {"here", "here2", "other", "bruno"}
    assert browser.get("/account").status == 200


def test_ending_this_device_signs_this_browser_out() -> None:
    """Otherwise the browser would silently open a new one (design: §3.2)."""
    server, browser = signed_in()
    answer = browser.follow(act(browser, "end", sid="here"))

    assert "You are signed out" in answer.text
    assert browser.cookies == {}
    assert "here" not in live(server)


def test_all_others_are_ended() -> None:
    """Everything of this browser stays, other browsers' sign-ins go too."""
    server, browser = signed_in()
    act(browser, "end_others")

    assert live(server) == {"here", "here2", "bruno"}
    assert len(server.read(SubjectKey(ANA.subject)).browsers) == 1
    assert "code" in browser.get(authorize_url(prompt="none")).answer


def test_everything_is_ended() -> None:
    """Sign out everywhere: this browser too, and nobody else's."""
    server, browser = signed_in()
    answer = browser.follow(act(browser, "end_all"))

    assert "on all your devices" in answer.text
    assert live(server) == {"bruno"}
    assert server.read(SubjectKey(ANA.subject)).browsers == ()
    assert browser.cookies == {}


@pytest.mark.parametrize("action", ["rename", "end"])
def test_anothers_device_is_as_if_there_were_none(action: str) -> None:
    """The same answer as for a device that does not exist; nothing changes."""
    server, browser = signed_in()
    theirs = act(browser, action, sid="bruno", name="mine")
    nobodys = act(browser, action, sid="no-such", name="mine")

    assert theirs.location == nobodys.location
    assert "bruno" in live(server)
    assert server.read(SessionKey(Sid("bruno"))).session.device_name == "Device bruno"


@pytest.mark.parametrize("action", ["rename", "end", "end_others", "end_all"])
@pytest.mark.parametrize(
    ("token", "headers"),
    [(None, {}), ("x", {}), ("good", {"origin": "https://evil.example"}), ("good", {"sec-fetch-site": "cross-site"})],
)
def test_a_form_of_another_site_changes_nothing(action: str, token: str | None, headers: dict[str, str]) -> None:
    """Cross-site request forgery: no token, a wrong one, or the right one from elsewhere."""
    server, browser = signed_in()
    good = browser.get("/account").forms[-1]["form_token"]
    form = {"action": action, "sid": "phone", "name": "x"}
    if token is not None:
        form["form_token"] = good if token == "good" else token
    refused = browser.post("/account", form, **headers)

    assert refused.status == 403
    assert len(live(server)) == 5


def test_a_form_of_another_sign_in_changes_nothing() -> None:
    """The token is of the browser session, not of the person."""
    server, browser = signed_in()
    other = server.browser()
    other.sign_in(other.authorize())
    token = other.get("/account").forms[-1]["form_token"]

    assert browser.post("/account", {"form_token": token, "action": "end_all"}).status == 403


@pytest.mark.parametrize(
    "form",
    [{}, {"action": ""}, {"action": "delete"}, {"action": "end"}, {"action": "end", "sid": "x" * 200}],
)
def test_nonsense_gets_a_page(form: dict[str, str]) -> None:
    """Missing, empty, unknown and enormous values."""
    _, browser = signed_in()
    token = browser.get("/account").forms[-1]["form_token"]

    assert browser.post("/account", {"form_token": token, **form}).status == 400


def test_a_form_after_the_sign_in_ended_is_not_carried_out() -> None:
    """The person signs in again and sees the list."""
    server, browser = signed_in()
    token = browser.get("/account").forms[-1]["form_token"]
    browser.cookies = {}
    answer = browser.post("/account", {"form_token": token, "action": "end_all"})

    assert answer.location.startswith("/sign-in?login=")
    assert len(live(server)) == 5


def test_the_front_page_knows_who_is_there() -> None:
    """And shows the way for who is not."""
    _, browser = signed_in()

    assert "Ana García" in browser.get("/").text
    assert "Sign in" in Server().browser().get("/").text
