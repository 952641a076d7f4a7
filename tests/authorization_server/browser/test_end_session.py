"""Signing out: at once where the request is about this very sign-in, else the person is asked first."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from portero.core.revocation.entry import RevokedKind
from portero.core.sessions.records import DeviceSession, SessionStatus
from portero.core.transitions import FeedKey, SessionKey, SubjectKey
from portero.core.types import ClientId, NumericDate, Sid
from tests.authorization_server.browser.harness import ANA, Answer, Browser, Server, authorize_url

AFTER = "http://localhost:8100/bye"


def hint(sid: str = "s-1", *, sub: str = "u-ana", aud: str = "shop") -> str:
    return f'{{"typ":"JWT","sub":"{sub}","aud":"{aud}","sid":"{sid}","exp":1}}'


def signed_in() -> tuple[Server, Browser]:
    """A browser whose sign-in has two device sessions, and a device session elsewhere."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    mine = server.read(SubjectKey(ANA.subject)).browsers[0].id_digest
    now = server.context.now()
    for sid, under in (("s-1", mine), ("s-2", mine), ("elsewhere", None)):
        record = DeviceSession(
            sid=Sid(sid),
            browser_session=under,
            subject=ANA.subject,
            client_id=ClientId("shop"),
            device_name="A device",
            place="",
            created=now,
            last_seen=now,
            last_access_exp=NumericDate(now + 300),
            absolute_end=NumericDate(now + 9000),
            idle_end=NumericDate(now + 9000),
        )
        server.put(SessionKey(record.sid), record)
    return server, browser


def out(server: Server) -> set[str]:
    """The device sessions the feed has taken back."""
    entries = server.read(FeedKey(after=0, live_at=server.context.now())).entries
    assert all(entry.revocation.kind is RevokedKind.SESSION for entry in entries)
    return {entry.revocation.value for entry in entries}


def end(browser: Browser, **parameters: str) -> Answer:
    return browser.get(f"/end_session?{urlencode(parameters)}")


def test_a_client_signs_its_person_out() -> None:
    """§2, §3: browser session and device sessions end, the feed has them, the cookie goes, the browser comes back."""
    server, browser = signed_in()
    answer = end(browser, id_token_hint=hint(), post_logout_redirect_uri=AFTER, state="x y")

    assert (answer.status, answer.location) == (303, f"{AFTER}?state=x+y")
    assert out(server) == {"s-1", "s-2"}
    assert server.read(SessionKey(Sid("s-1"))).session.status is SessionStatus.ENDED
    assert server.read(SessionKey(Sid("elsewhere"))).session.status is SessionStatus.ACTIVE
    assert server.read(SubjectKey(ANA.subject)).browsers == ()
    assert browser.cookies == {}
    assert browser.get(authorize_url(prompt="none")).answer["error"] == "login_required"


def test_a_clients_form_signs_its_person_out() -> None:
    """§2: POST too; it comes from another site without our cookie, and the hint gets into no URL."""
    server, browser = signed_in()
    form = {"id_token_hint": hint(), "post_logout_redirect_uri": AFTER, "state": "s"}
    kept = browser.post("/end_session", form, send_cookies=False)
    answer = browser.get(kept.location)

    assert "u-ana" not in kept.location
    assert answer.location == f"{AFTER}?state=s"
    assert out(server) == {"s-1", "s-2"}
    assert browser.cookies == {}


@pytest.mark.parametrize(
    "parameters",
    [{}, {"client_id": "shop"}, {"id_token_hint": hint("elsewhere")}, {"id_token_hint": hint(sub="u-bruno")}],
)
def test_a_doubtful_request_is_asked_about(parameters: dict[str, str]) -> None:
    """§2, §6: nothing ends by a link; the person's own form ends it."""
    server, browser = signed_in()
    page = end(browser, **parameters)
    before = out(server)
    answer = browser.post("/end_session", page.form(decision="sign_out"))

    assert page.status == 200
    assert before == set()
    assert answer.status == 200
    assert "You are signed out" in answer.text
    assert out(server) == {"s-1", "s-2"}


def test_after_asking_the_browser_goes_where_the_client_wanted() -> None:
    """The registered URI and the state survive the page; the hint does not enter it."""
    _, browser = signed_in()
    page = end(browser, id_token_hint=hint("elsewhere"), post_logout_redirect_uri=AFTER, state='"><x')
    answer = browser.post("/end_session", page.form(decision="sign_out"))

    assert "elsewhere" not in page.text
    assert "form-action 'self' http://localhost:8100" in page.header("content-security-policy")
    assert answer.location == f"{AFTER}?state=%22%3E%3Cx"


def test_no_means_no() -> None:
    """The person stays signed in."""
    server, browser = signed_in()
    answer = browser.post("/end_session", end(browser).form(decision="stay"))

    assert (answer.status, answer.location) == (303, "/")
    assert out(server) == set()


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}])
def test_a_stranger_cannot_answer_for_the_person(headers: dict[str, str]) -> None:
    """A made-up token, or a form of another site."""
    server, browser = signed_in()
    token = "x" if not headers else end(browser).forms[0]["form_token"]
    refused = browser.post("/end_session", {"form_token": token, "decision": "sign_out"}, **headers)

    assert refused.status == 403
    assert out(server) == set()


@pytest.mark.parametrize(
    "parameters",
    [
        {"post_logout_redirect_uri": "https://evil.example/", "client_id": "shop"},
        {"post_logout_redirect_uri": AFTER},
        {"post_logout_redirect_uri": AFTER, "client_id": "nobody"},
        {"post_logout_redirect_uri": "http://localhost:8100/callback", "client_id": "shop"},
        {"id_token_hint": "nonsense"},
        {"id_token_hint": '{"typ":"at+jwt","sub":"u-ana","aud":"shop"}'},
        {"id_token_hint": hint(), "client_id": "stranger"},
        {"client_id": "x" * 600},
        {"state": "x" * 5000},
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_wrong_request_is_told_on_a_page_and_ends_nothing(method: str, parameters: dict[str, str]) -> None:
    """§4: the browser is sent nowhere."""
    server, browser = signed_in()
    answer = end(browser, **parameters) if method == "get" else browser.post("/end_session", parameters)

    assert answer.status == 400
    assert answer.location == ""
    assert out(server) == set()


def test_a_doubled_parameter_is_told_on_a_page() -> None:
    """Which of two is meant is not for us to guess."""
    _, browser = signed_in()

    assert browser.get("/end_session?state=a&state=b").status == 400


def test_who_is_not_signed_in_is_signed_out() -> None:
    """A second sign-out is no error: the page, or the way back."""
    browser = Server().browser()

    assert "You are signed out" in end(browser).text
    assert end(browser, client_id="shop", post_logout_redirect_uri=AFTER).location == AFTER
