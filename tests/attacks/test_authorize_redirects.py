"""Open redirects and reflected scripts at the browser-facing endpoints: none, whatever is sent where."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.authorization_server.browser.harness import REDIRECT_URI, Answer, Browser, Server, parameters

SCRIPTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "javascript:alert(1)",
    "{{7*7}}",
    "{% include 'layout.html' %}",
    "\u202egnirts",
    "</title><svg/onload=alert(1)>",
]
ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example",
    "https://localhost:8100@evil.example/callback",
    "http://localhost:8100.evil.example/callback",
    "http://localhost:8100/callback/../../evil",
    "http://localhost:8100/callback%0d%0aLocation:%20https://evil.example",
    "http://localhost:8100/callback\thttps://evil.example",
    "javascript:alert(1)//http://localhost:8100/callback",
    "data:text/html;base64,PHNjcmlwdD4=",
]


def stays_here(answer: Answer) -> bool:
    """The browser is sent nowhere, or to a page of ours."""
    parts = urlsplit(answer.location)
    return not parts.scheme and not parts.netloc and not answer.location.startswith("/\\")


class _Markup(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("img", "svg", "iframe", "object", "base"):
            self.alive.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            leads = name in ("href", "src", "action", "formaction") and (value or "").startswith("javascript:")
            if name.startswith("on") or leads:
                self.alive.append(name)


def is_inert(answer: Answer) -> bool:
    """Nothing that was sent is an element, a handler, a script or a template in the page."""
    page = _Markup()
    page.feed(answer.text)
    scripts_of_ours = int("script-src" in answer.header("content-security-policy"))
    return not page.alive and page.scripts == scripts_of_ours and ">49<" not in answer.text


@pytest.mark.parametrize("redirect_uri", ELSEWHERE)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_redirect_uri_of_nobody_is_never_followed(method: str, redirect_uri: str) -> None:
    """RFC 9700 §4.11: errors do not go there either; the page does not even show it."""
    browser = Server().browser()
    for changes in ({}, {"scope": "nonsense"}, {"response_type": None}, {"prompt": "none"}):
        sent = parameters(redirect_uri=redirect_uri, **changes)
        if method == "get":
            answer = browser.get(f"/authorize?{urlencode(sent)}")
        else:
            answer = browser.post("/authorize", sent)

        assert answer.status == 400
        assert answer.location == ""
        assert redirect_uri not in answer.text


@pytest.mark.parametrize("uri", ELSEWHERE)
def test_a_sign_out_never_leads_elsewhere(uri: str) -> None:
    """RP-Initiated Logout §3."""
    answer = Server().browser().get(f"/end_session?client_id=shop&post_logout_redirect_uri={quote(uri)}")

    assert answer.status == 400
    assert answer.location == ""


@pytest.mark.parametrize("name", ["login", "ui_locales", "done", "from", "next", "return_to", "redirect_uri"])
@pytest.mark.parametrize("path", ["/", "/account", "/sign-in", "/signed-out"])
def test_no_page_of_ours_takes_a_place_to_go(path: str, name: str) -> None:
    """What waits is in the store, bound by a cookie; a URL can name no destination."""
    browser = Server().browser()
    browser.sign_in(browser.authorize())

    for target in ELSEWHERE:
        assert stays_here(browser.get(f"{path}?{urlencode({name: target})}"))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", [*parameters(), "login_hint", "ui_locales", "claims", "prompt", "x", "acr_values"])
def test_no_parameter_of_authorize_is_reflected_as_markup(name: str, script: str) -> None:
    """On the error page, on the sign-in page, and in the form that posts back."""
    browser = Server().browser()
    answer = browser.authorize(**{name: script})
    if answer.status == 200:
        assert is_inert(browser.sign_in(answer, username=script, password=script))

    assert is_inert(answer)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_name_of_a_parameter_is_not_reflected_as_markup(script: str) -> None:
    """The error text of a doubled parameter names it."""
    answer = Server().browser().get(f"/authorize?{quote(script)}=1&{quote(script)}=2")

    assert answer.status == 400
    assert is_inert(answer)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("mode", ["query", "form_post"])
def test_a_state_reaches_the_client_as_text(mode: str, script: str) -> None:
    """In the query percent-encoded, in the form escaped."""
    browser = Server().browser()
    page = browser.authorize(state=script, response_mode=mode)
    if not script.isascii():
        assert page.answer["error"] == "invalid_request"
        assert "state" not in page.answer
        return
    answer = browser.sign_in(page)

    assert is_inert(answer)
    assert script == (answer.answer["state"] if mode == "query" else answer.forms[0]["state"])


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", ["state", "client_id", "logout_hint", "ui_locales", "id_token_hint"])
def test_no_parameter_of_a_sign_out_is_reflected_as_markup(name: str, script: str) -> None:
    """On the question, which carries the request along in hidden fields."""
    browser = Server().browser()
    browser.sign_in(browser.authorize())

    assert is_inert(browser.get(f"/end_session?{urlencode({name: script})}"))


def test_a_code_goes_to_the_redirect_uri_alone() -> None:
    """No page of ours, header or log carries it (the log: tests of telemetry)."""
    browser = Server().browser()
    answer = browser.sign_in(browser.authorize())
    code = answer.answer["code"]

    assert answer.location.startswith(f"{REDIRECT_URI}?code=")
    assert sum(code in value for _, value in answer.headers) == 1
    assert answer.body == b""
    assert answer.header("referrer-policy") == "no-referrer"


def test_the_password_is_never_sent_on() -> None:
    """RFC 9700 §4.12: 303, not 307, after the form."""
    browser = Server().browser()

    assert browser.sign_in(browser.authorize()).status == 303


_SERVER = Server()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sampled_from(["/authorize", "/sign-in", "/consent", "/end_session", "/account", "/signed-out", "/"]),
    st.sampled_from(["get", "post"]),
    st.one_of(
        st.binary(max_size=200),
        st.dictionaries(
            st.sampled_from(
                [
                    *parameters(),
                    "login",
                    "form_token",
                    "username",
                    "password",
                    "action",
                    "sid",
                    "decision",
                    "prompt",
                    "id_token_hint",
                    "post_logout_redirect_uri",
                    "claims",
                    "max_age",
                    "request",
                    "resource",
                ]
            ),
            st.text(max_size=40),
        ).map(lambda values: urlencode(values).encode()),
    ),
)
def test_nonsense_never_breaks_a_page(path: str, method: str, sent: bytes) -> None:
    """Any bytes as query or body, signed in or not: no 5xx, no exception, no way out."""
    browser = Browser(_SERVER)
    if method == "post":
        answer = browser.post(path, sent)
    else:
        answer = browser.get(f"{path}?{sent.decode('latin-1').replace('#', '')}")

    assert answer.status < 500
    assert stays_here(answer) or answer.location.startswith(REDIRECT_URI + "?")
