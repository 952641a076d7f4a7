"""Consent: asked once for applications of others, remembered, seen on the account page, and taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.authorization_server.config import Config
from portero.core.sessions.records import EndReason, SessionStatus
from portero.core.transitions import AuditKey, BrowserKey, ConsentKey, SessionKey, SubjectKey
from portero.core.types import ClientId, Sid
from tests.authorization_server.browser.harness import ANA, ISSUER, SHOP, STRANGER, Answer, Browser, Server
from tests.authorization_server.browser.test_account import device

WEB = replace(STRANGER, client_name="Elsewhere", redirect_uris=("https://stranger.example/callback",))
BACK = WEB.redirect_uris[0]
KEY = ConsentKey(ANA.subject, WEB.client_id)


def ask(browser: Browser, **changes: str) -> Answer:
    return browser.authorize(**{"client_id": "stranger", "redirect_uri": BACK, **changes})


def agreed() -> tuple[Server, Browser]:
    """Ana has signed in, and allowed the stranger what it asked for."""
    server = Server(SHOP, WEB)
    browser = server.browser()
    page = browser.sign_in(ask(browser))
    assert "code" in browser.post("/consent", page.form(decision="allow")).answer
    return server, browser


def test_what_was_allowed_is_not_asked_again() -> None:
    """OIDC Core §3.1.2.4: the same person, the same application, no more than before: a code at once."""
    _, browser = agreed()

    assert "code" in ask(browser).answer
    assert "code" in ask(browser, scope="openid").answer
    assert "code" in ask(browser, prompt="none").answer


def test_more_than_was_allowed_is_asked_for() -> None:
    """A further scope or resource asks again; afterwards both are allowed."""
    server, browser = agreed()
    page = ask(browser, scope="openid orders:read")
    assert page.forms[0][""] == "/consent"
    assert ask(browser, scope="openid orders:read", prompt="none").answer["error"] == "consent_required"
    browser.post("/consent", page.form(decision="allow"))

    assert "code" in ask(browser, scope="openid profile orders:read").answer
    assert server.read(KEY).scope == ("openid", "profile", "orders:read")
    assert ask(browser, resource=WEB.audiences[0]).forms[0][""] == "/consent"


def test_an_application_can_have_the_person_asked_once_more() -> None:
    """OIDC Core §3.1.2.1, `prompt=consent`."""
    _, browser = agreed()

    assert ask(browser, prompt="consent").forms[0][""] == "/consent"


def test_a_no_is_not_remembered() -> None:
    """Neither as a no nor as a yes."""
    server = Server(SHOP, WEB)
    browser = server.browser()
    page = browser.sign_in(ask(browser))

    assert browser.post("/consent", page.form(decision="deny")).answer["error"] == "access_denied"
    assert server.read(KEY) is None
    assert ask(browser).forms[0][""] == "/consent"


def test_another_person_is_asked() -> None:
    """Agreement is a person's, not a browser's."""
    _, browser = agreed()
    page = ask(browser, prompt="login")

    assert browser.sign_in(page, username="bruno").forms[0][""] == "/consent"


@pytest.mark.parametrize("redirect_uri", ["http://127.0.0.1/cb", "org.example.app:/cb"])
def test_who_cannot_be_told_apart_is_asked_about_each_time(redirect_uri: str) -> None:
    """RFC 8252 §8.6: any program on the machine could be the one that answers there."""
    server = Server(SHOP, replace(WEB, redirect_uris=(redirect_uri,)))
    browser = server.browser()
    page = browser.sign_in(ask(browser, redirect_uri=redirect_uri))
    browser.post("/consent", page.form(decision="allow"))

    assert ask(browser, redirect_uri=redirect_uri).forms[0][""] == "/consent"


def test_the_page_says_where_one_goes_on() -> None:
    """A name can be chosen to deceive; the host cannot."""
    browser = Server(SHOP, WEB).browser()

    assert "stranger.example" in browser.sign_in(ask(browser)).text


def test_taking_it_back_ends_what_the_application_has_and_nothing_else() -> None:
    """Its device session ends with feed and audit; the browser and the other applications stay."""
    server, browser = agreed()
    here = server.read(SubjectKey(ANA.subject)).browsers[0]
    own = device(server, "own", under=here.id_digest)
    theirs = replace(device(server, "theirs", under=here.id_digest), client_id=WEB.client_id)
    server.put(SessionKey(theirs.sid), theirs)
    page = browser.get("/account/applications")
    assert WEB.client_name in page.text

    done = browser.follow(browser.post("/account/applications", page.form(client_id="stranger")))

    assert WEB.client_name not in done.text
    assert server.read(KEY) is None
    ended = server.read(SessionKey(Sid("theirs"))).session
    assert (ended.status, ended.end_reason) == (SessionStatus.ENDED, EndReason.CONSENT_WITHDRAWN)
    assert server.read(SessionKey(own.sid)).session.status is SessionStatus.ACTIVE
    assert server.read(BrowserKey(here.id_digest)).browser == here
    assert ask(browser).forms[0][""] == "/consent"
    assert [event.name.value for event in server.read(AuditKey())][:2] == ["session_ended", "consent_withdrawn"]


@pytest.mark.parametrize("token", [None, "of-another-form"])
def test_only_ones_own_form_takes_it_back(token: str | None) -> None:
    """A form of another site changes nothing."""
    server, browser = agreed()
    form = {"client_id": "stranger", **({} if token is None else {"form_token": token})}

    assert browser.post("/account/applications", form).status == 403
    assert server.read(KEY) is not None


def test_a_client_id_without_an_agreement_is_as_if_taken_back() -> None:
    """Nothing is told about which applications exist; an enormous one is refused."""
    _, browser = agreed()
    form = browser.get("/account/applications").form(client_id=ClientId("nobody"))

    assert browser.post("/account/applications", form).status == 303
    assert browser.post("/account/applications", {**form, "client_id": "x" * 513}).status == 400


@pytest.mark.parametrize(("language", "shown"), [("en", "see your {orders} &amp; more"), ("es", "ver tus pedidos")])
def test_an_operator_says_what_a_scope_means(language: str, shown: str) -> None:
    """In the person's language, as text and nothing else."""
    texts = {"orders:read": {"en": "see your {orders} & more", "es": "ver tus pedidos"}}
    browser = Server(SHOP, WEB, config=Config(issuer=ISSUER, scope_texts=texts)).browser()

    assert shown in browser.sign_in(ask(browser, scope="openid orders:read", ui_locales=language)).text
