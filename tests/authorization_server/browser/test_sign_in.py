"""Signing in: one transaction per tab, bound to its browser; a password; a code."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from portero.authorization_server.sign_in.cookies import MAX_LOGINS
from portero.authorization_server.sign_in.throttle import FREE_ATTEMPTS
from portero.core.digests import sha256_of
from portero.core.events import EventName
from portero.core.transitions import AuthorizationCode, BrowserKey, CodeKey, SubjectKey
from portero.core.types import Secret
from tests.authorization_server.browser.harness import (
    ANA,
    BRUNO,
    CHALLENGE,
    ISSUER,
    PASSWORD,
    REDIRECT_URI,
    SHOP,
    Answer,
    Browser,
    Server,
    authorize_url,
    parameters,
)

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def code_of(server: Server, answer: Answer) -> AuthorizationCode:
    record = server.read(CodeKey(sha256_of(Secret(answer.answer["code"])))).code
    assert isinstance(record, AuthorizationCode)
    return record


def test_a_person_signs_in_and_the_client_gets_a_code() -> None:
    """The whole way: authorize, page, password, 303 with code, state and iss (RFC 6749 §4.1.2, RFC 9207)."""
    server = Server()
    browser = server.browser(**{"user-agent": FIREFOX})
    page = browser.authorize()
    answer = browser.sign_in(page)

    assert page.status == 200
    assert answer.status == 303
    assert answer.location.startswith(REDIRECT_URI + "?")
    assert set(answer.answer) == {"code", "state", "iss"}
    assert answer.answer["iss"] == ISSUER
    record = code_of(server, answer)
    assert (record.client_id, record.redirect_uri, record.subject) == ("shop", REDIRECT_URI, ANA.subject)
    assert (record.code_challenge, record.nonce, record.scope) == (CHALLENGE, "n-1", ("openid", "profile"))
    assert (record.device_name, record.place) == ("Firefox · Linux", "203.0.0.0/16")
    assert record.expires == record.created + 60
    assert [event.name for event in server.events.seen] == [EventName.SIGNED_IN]


def test_a_browser_that_is_signed_in_gets_a_code_at_once() -> None:
    """Single sign-on: no page in between, and the same browser session."""
    server = Server()
    browser = server.browser()
    first = code_of(server, browser.sign_in(browser.authorize()))
    answer = browser.get(authorize_url(state="other"))

    assert answer.status == 303
    assert answer.answer["state"] == "other"
    assert code_of(server, answer).browser_session == first.browser_session


def test_a_post_from_the_clients_site_sees_who_is_signed_in() -> None:
    """OIDC Core §3.1.2.1: POST is as good as GET, although our Lax cookies do not come with it."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    answer = browser.follow(browser.post("/authorize", parameters(), send_cookies=False))

    assert answer.status == 303
    assert "code" in answer.answer


def test_a_silent_post_from_the_clients_site_sees_who_is_signed_in() -> None:
    """prompt=none, and a POST without our cookies: that nobody is signed in is not yet known."""
    browser = Server().browser()
    browser.sign_in(browser.authorize())
    kept = browser.post("/authorize", parameters(prompt="none"), send_cookies=False)

    assert "code" in browser.follow(kept).answer


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_is_asked_where_the_client_forbids_it(method: str) -> None:
    """OIDC Core §3.1.2.6: prompt=none and nobody signed in: `login_required`, with state and iss."""
    browser = Server().browser()
    if method == "get":
        answer = browser.get(authorize_url(prompt="none"))
    else:
        answer = browser.follow(browser.post("/authorize", parameters(prompt="none")))

    assert answer.location.startswith(REDIRECT_URI + "?")
    assert answer.answer["error"] == "login_required"
    assert (answer.answer["state"], answer.answer["iss"]) == ("st-1", ISSUER)


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"max_age": "0"}, {"prompt": "select_account"}])
def test_a_client_can_have_the_person_asked_again(changes: dict[str, str]) -> None:
    """OIDC Core §3.1.2.1: the old sign-in does not do, the new one does, within the same second too."""
    server = Server()
    browser = server.browser()
    first = code_of(server, browser.sign_in(browser.authorize()))
    page = browser.authorize(**changes)
    answer = browser.sign_in(page)

    assert page.status == 200
    assert "Sign in again to continue" in page.text
    assert code_of(server, answer).browser_session != first.browser_session


def test_max_age_counts_from_the_password() -> None:
    """Both sides of the limit; `auth_time` does not move with a code."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    server.clock.advance(100)

    assert browser.get(authorize_url(max_age="100")).answer["code"]
    assert browser.get(authorize_url(max_age="99")).location.startswith("/sign-in?")


def weaker(server: Server, browser: Browser) -> None:
    """Make the browser's sign-in one of another context."""
    record = server.read(SubjectKey(ANA.subject)).browsers[0]
    server.put(BrowserKey(record.id_digest), replace(record, acr="urn:other"))


@pytest.mark.parametrize(
    "changes",
    [
        {"acr_values": "urn:portero:password"},
        {"claims": '{"id_token":{"acr":{"essential":true,"values":["urn:portero:password"]}}}'},
    ],
)
def test_a_client_can_have_the_person_step_up(changes: dict[str, str]) -> None:
    """OIDC Core §5.5.1.1, RFC 9470 §5: the password is asked for again, and the code then says so."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    weaker(server, browser)
    server.clock.advance(50)
    page = browser.authorize(**changes)
    code = code_of(server, browser.sign_in(page))

    assert page.status == 200
    assert (code.acr, code.auth_time) == ("urn:portero:password", server.context.now())


def test_without_a_person_a_step_up_is_refused() -> None:
    """OIDC Core §3.1.2.6: `prompt=none` and a context that needs the person."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    weaker(server, browser)
    answer = browser.get(authorize_url(prompt="none", acr_values="urn:portero:password"))

    assert answer.answer["error"] == "login_required"


def test_a_context_nobody_can_bring_about_is_a_wish_or_an_error() -> None:
    """Voluntary: a code as good as can be had. Essential: a failed authentication, at the client."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    wished = browser.get(authorize_url(acr_values="urn:unknown"))
    insisted = browser.get(authorize_url(claims='{"id_token":{"acr":{"essential":true,"value":"urn:unknown"}}}'))

    assert code_of(server, wished).acr == "urn:portero:password"
    assert insisted.answer["error"] == "unmet_authentication_requirements"


def test_signing_in_again_replaces_the_session_of_the_browser() -> None:
    """A fresh id each time: the old cookie opens nothing any more."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    stolen = Browser(server, cookies=dict(browser.cookies))
    browser.sign_in(browser.authorize(prompt="login"))

    assert len(server.read(SubjectKey(ANA.subject)).browsers) == 1
    assert stolen.get(authorize_url(prompt="none")).answer["error"] == "login_required"
    assert "code" in browser.get(authorize_url(prompt="none")).answer


def test_another_person_in_the_same_browser_signs_the_first_out() -> None:
    """One browser, one person."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    browser.sign_in(browser.authorize(prompt="login"), username="bruno")

    assert server.read(SubjectKey(ANA.subject)).browsers == ()
    assert len(server.read(SubjectKey(BRUNO.subject)).browsers) == 1


def test_a_sign_in_ends_with_its_lifetime() -> None:
    """Both sides of `browser_session_lifetime`."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    server.clock.advance(12 * 3600 - 1)
    assert "code" in browser.get(authorize_url(prompt="none")).answer
    server.clock.advance(1)

    assert browser.get(authorize_url(prompt="none")).answer["error"] == "login_required"


def test_a_disabled_person_is_signed_in_nowhere() -> None:
    """Neither by the cookie nor by the password; the text is that of a wrong one."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())
    server.put(SubjectKey(ANA.subject), replace(ANA, enabled=False))
    page = browser.authorize()

    assert page.status == 200
    assert browser.sign_in(page).status == 422


# ── several tabs, several browsers ───────────────────────────────────────────────────


def test_tabs_sign_in_side_by_side() -> None:
    """Two transactions, two cookies; each page gives its own client request its code."""
    browser = Server().browser()
    first, second = browser.authorize(state="one"), browser.authorize(state="two")

    assert browser.sign_in(first).answer["state"] == "one"
    assert browser.sign_in(second).answer["state"] == "two"


def test_a_tab_that_waited_goes_on_when_another_signed_in() -> None:
    """A reload of the second page finds the person signed in."""
    browser = Server().browser()
    first, second = browser.authorize(state="one"), browser.authorize(state="two")
    browser.sign_in(first)

    assert browser.get(second.url).answer["state"] == "two"


def test_a_browser_has_a_bounded_number_of_sign_ins_under_way() -> None:
    """The oldest gives way; the newest work."""
    server = Server()
    browser = server.browser()
    pages = []
    for _ in range(MAX_LOGINS + 1):
        pages.append(browser.authorize())
        server.clock.advance(1)

    assert len(browser.cookies) == MAX_LOGINS
    assert browser.get(pages[0].url).status == 400
    assert browser.get(pages[1].url).status == 200
    assert browser.get(pages[-1].url).status == 200


def test_a_double_click_signs_in() -> None:
    """The second of two identical forms, sent before the first was answered, gets its code too."""
    browser = Server().browser()
    page = browser.authorize()
    before = dict(browser.cookies)
    browser.sign_in(page)
    browser.cookies = before

    assert "code" in browser.sign_in(page).answer


def test_a_sign_in_cannot_be_finished_in_another_browser() -> None:
    """RFC 9700 §4.7: whoever is sent a stranger's sign-in page sees a clear text, and nobody is signed in."""
    server = Server()
    attacker, victim = server.browser(), server.browser()
    page = attacker.authorize()

    seen = victim.get(page.url)
    posted = victim.post("/sign-in", page.form(username="ana", password=PASSWORD))

    assert seen.status == posted.status == 400
    assert "another browser" in seen.text
    assert victim.cookies == {}


def test_a_victims_own_sign_in_takes_no_form_of_an_attacker() -> None:
    """Login CSRF: the cookie is there, the form token is not."""
    server = Server()
    victim, attacker = server.browser(), server.browser()
    own, theirs = victim.authorize(), attacker.authorize()
    form = {**theirs.form(username="bruno", password=PASSWORD), "login": own.forms[0]["login"]}

    refused = victim.post("/sign-in", form)

    assert refused.status == 403
    assert "not yours" in refused.text
    assert server.read(SubjectKey(BRUNO.subject)).browsers == ()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"origin": ISSUER}, 303),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, 303),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:9001"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_a_form_says_where_it_comes_from(headers: dict[str, str], status: int) -> None:
    """Our own pages say `Origin: null` (no-referrer), so `Sec-Fetch-Site` decides there."""
    browser = Server().browser()
    page = browser.authorize()

    answer = browser.post("/sign-in", page.form(username="ana", password=PASSWORD), **headers)

    assert status == answer.status


@pytest.mark.parametrize("age", [15 * 60 - 1, 15 * 60])
def test_a_page_may_stay_open_for_its_lifetime(age: int) -> None:
    """Both sides of `login_lifetime`."""
    server = Server()
    browser = server.browser()
    page = browser.authorize()
    server.clock.advance(age)

    assert browser.sign_in(page).status == (303 if age < 15 * 60 else 400)


@pytest.mark.parametrize(
    "url", ["/sign-in", "/sign-in?login=", "/sign-in?login=../../x", "/sign-in?login=" + "0" * 5000]
)
def test_a_page_that_names_no_sign_in_says_so(url: str) -> None:
    """Missing, empty, strange and enormous handles."""
    assert Server().browser().get(url).status == 400


# ── passwords ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("username", ["nobody", "ana", "a" * 321, "ANA\u00a0x"])
def test_who_exists_is_not_told(username: str) -> None:
    """The same status, the same page and the same hash work for a wrong password and an unknown name."""
    server = Server()
    browser = server.browser()
    page = browser.authorize()
    answer = browser.sign_in(page, username=username, password="wrong")

    assert answer.status == 422
    assert "The user name or the password is not right." in answer.text
    assert server.passwords.verified == 1
    assert [event.name for event in server.events.seen] == [EventName.SIGN_IN_FAILED]
    assert username not in repr(server.events.seen)


def test_the_pages_differ_by_the_typed_name_only() -> None:
    """Nothing else tells a known name from an unknown one."""
    browser = Server().browser()
    page = browser.authorize()
    known = browser.sign_in(page, username="ana", password="wrong").text
    unknown = browser.sign_in(page, username="eva", password="wrong").text

    assert known == unknown.replace("eva", "ana")


def test_a_name_is_typed_in_any_case() -> None:
    """Spaces around it and its case do not matter."""
    browser = Server().browser()

    assert browser.sign_in(browser.authorize(), username=" ANA ").status == 303


@pytest.mark.parametrize(
    ("form", "missing"),
    [
        ({"username": "", "password": ""}, {"username", "password"}),
        ({"username": "   ", "password": "x"}, {"username"}),
        ({"username": "ana", "password": ""}, {"password"}),
    ],
)
def test_an_empty_field_is_named(form: dict[str, str], missing: set[str]) -> None:
    """The summary links to the field, the field points to the summary; nothing is looked up."""
    server = Server()
    browser = server.browser()
    answer = browser.post("/sign-in", browser.authorize().form(**form))

    assert answer.status == 422
    assert {name for name in ("username", "password") if f'href="#{name}"' in answer.text} == missing
    assert answer.text.count('aria-describedby="problem"') == 2
    assert answer.text.count('aria-invalid="true"') == len(missing)
    assert server.passwords.verified == 0


def test_a_password_never_comes_back() -> None:
    """Neither in the page nor in a header."""
    browser = Server().browser()
    answer = browser.sign_in(browser.authorize(), password="hunter2-hunter2")

    assert "hunter2" not in answer.text + repr(answer.headers)


def test_an_enormous_password_is_wrong() -> None:
    """After the same work as any other."""
    server = Server()
    browser = server.browser()
    answer = browser.sign_in(browser.authorize(), password="x" * 5000)

    assert answer.status == 422
    assert server.passwords.verified == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"login=1&login=2", "application/x-www-form-urlencoded", 400),
        (b"login=%ff", "application/x-www-form-urlencoded", 400),
        (b"login=%zz", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 400),
        (b"x", "multipart/form-data; boundary=x", 400),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_nonsense_gets_a_page(body: bytes, content_type: str, status: int) -> None:
    """Never a 5xx, never a trace; a reference to ask with."""
    answer = Server().browser().post("/sign-in", body, **{"content-type": content_type})

    assert answer.status == status
    assert re.search(r"Reference: [0-9a-f]{16}", answer.text)


def test_guessing_is_slowed_down() -> None:
    """After a few failures: 429 with `Retry-After`, a clear text, no hash work; then one more try."""
    server = Server()
    browser = server.browser()
    page = browser.authorize()
    for _ in range(FREE_ATTEMPTS):
        assert browser.sign_in(page, password="wrong").status == 422
    held = browser.sign_in(page)

    assert held.status == 429
    assert held.header("retry-after") == "1"
    assert "Wait 1 second" in held.text
    assert server.passwords.verified == FREE_ATTEMPTS
    server.clock.advance(1)
    assert browser.sign_in(page).status == 303


# ── the person expected, and their agreement ─────────────────────────────────────────


def hint(subject: str) -> str:
    return f'{{"typ":"JWT","sub":"{subject}","aud":"shop"}}'


def test_a_hint_names_who_must_sign_in() -> None:
    """OIDC Core §3.1.2.1: another person is `login_required`, the right one gets the code."""
    browser = Server().browser()
    page = browser.authorize(id_token_hint=hint(ANA.subject))
    wrong = browser.sign_in(page, username="bruno")
    right = browser.sign_in(browser.authorize(id_token_hint=hint(ANA.subject)))

    assert wrong.answer["error"] == "login_required"
    assert "code" in right.answer
    assert browser.get(authorize_url(prompt="none", id_token_hint=hint(BRUNO.subject))).answer["error"] == (
        "login_required"
    )


@pytest.mark.parametrize("token", ["x", '{"typ":"at+jwt","sub":"u-ana"}', '{"typ":"JWT"}'])
def test_a_hint_is_our_id_token(token: str) -> None:
    """Anything else is `invalid_request`."""
    assert Server().browser().get(authorize_url(id_token_hint=token)).answer["error"] == "invalid_request"


def test_an_application_of_others_asks_first() -> None:
    """Nothing is given to a client that is not first-party before the person agreed."""
    browser = Server().browser()
    page = browser.sign_in(browser.authorize(client_id="stranger"))
    answer = browser.post("/consent", page.form(decision="allow"))

    assert page.status == 200
    assert "A Stranger&#39;s App asks" in page.text
    assert "code" in answer.answer


def test_no_is_an_answer() -> None:
    """RFC 6749 §4.1.2.1: `access_denied`; anything but "allow" means no."""
    browser = Server().browser()
    page = browser.sign_in(browser.authorize(client_id="stranger"))

    assert browser.post("/consent", page.form(decision="deny")).answer["error"] == "access_denied"


def test_agreement_cannot_be_asked_for_in_silence() -> None:
    """OIDC Core §3.1.2.6: `consent_required`."""
    browser = Server().browser()
    browser.sign_in(browser.authorize())

    assert browser.get(authorize_url(client_id="stranger", prompt="none")).answer["error"] == "consent_required"


def test_agreement_needs_the_form_that_was_shown() -> None:
    """The token of the sign-in form does not do for consent."""
    browser = Server().browser()
    page = browser.authorize(client_id="stranger")
    browser.sign_in(page)

    assert browser.post("/consent", {**page.forms[0], "decision": "allow"}).status == 403


def test_agreement_needs_a_sign_in() -> None:
    """The page stays open, the sign-in ends: back to the password."""
    server = Server()
    browser = server.browser()
    page = browser.sign_in(browser.authorize(client_id="stranger"))
    browser.cookies = {name: value for name, value in browser.cookies.items() if "_login_" in name}

    assert urlsplit(browser.post("/consent", page.form(decision="allow")).location).path == "/sign-in"


# ── form_post ────────────────────────────────────────────────────────────────────────


def test_a_code_can_travel_in_a_form() -> None:
    """Form Post Response Mode §2: in the body only, with a button for those without script."""
    browser = Server().browser()
    page = browser.sign_in(browser.authorize(response_mode="form_post"))

    assert page.status == 200
    form = page.forms[0]
    assert form[""] == REDIRECT_URI
    assert {"code", "state", "iss"} < set(form)
    assert page.location == ""
    assert "script-src 'sha256-" in page.header("content-security-policy")
    assert "form-action 'self' http://localhost:8100" in page.header("content-security-policy")


def test_an_error_can_travel_in_a_form() -> None:
    """The same for refusals."""
    page = Server().browser().get(authorize_url(response_mode="form_post", prompt="none"))

    assert page.forms[0]["error"] == "login_required"


def test_a_form_may_end_where_the_client_registered() -> None:
    """Chromium holds every redirect after a form to `form-action`: the port asked for, and other registered places."""
    client = replace(
        SHOP,
        redirect_uris=("http://127.0.0.1/cb", "org.example.app:/cb"),
        post_logout_redirect_uris=(),
        allowed_origins=("https://app.example",),
    )
    page = Server(client).browser().authorize(redirect_uri="http://127.0.0.1:51004/cb")

    policy = page.header("content-security-policy")
    assert (
        "; form-action 'self' http://127.0.0.1:51004 http://127.0.0.1 org.example.app: https://app.example;" in policy
    )


# ── cookies ──────────────────────────────────────────────────────────────────────────


def test_cookies_are_bound_as_tightly_as_http_allows() -> None:
    """HttpOnly, Lax, Path=/, no Domain; on http the name carries the issuer's digest."""
    browser = Server().browser()
    browser.sign_in(browser.authorize())
    answer = browser.get(authorize_url(prompt="login"))
    cookie = answer.header("set-cookie")

    assert re.fullmatch(
        r"portero_[0-9a-f]{8}_login_[0-9a-f]{16}=[\w-]{43}; Max-Age=900; Path=/; HttpOnly; SameSite=Lax", cookie
    )
    assert all(name.startswith("portero_") for name in browser.cookies)


@pytest.mark.parametrize("value", ["", "x", "A" * 43, "A" * 5000, "\xe9" * 43])
def test_an_invented_cookie_opens_nothing(value: str) -> None:
    """Empty, short, of the right form, enormous, not ASCII."""
    browser = Server().browser()
    browser.sign_in(browser.authorize())
    browser.cookies = dict.fromkeys(browser.cookies, value)

    assert browser.get(authorize_url(prompt="none")).answer["error"] == "login_required"
