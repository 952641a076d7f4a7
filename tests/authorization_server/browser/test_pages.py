"""What every page keeps to: headers, languages, a form a screen reader can follow, a brand that can be read."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from portero.authorization_server.config import Config
from portero.authorization_server.pages.brand import (
    MINIMUM_CONTRAST,
    contrast,
    legible,
    parse_color,
    style_sheet,
)
from portero.authorization_server.pages.language import choose_language
from portero.authorization_server.pages.site import site_of
from portero.authorization_server.pages.texts import CATALOGUES, EN, texts_in
from portero.authorization_server.sign_in.methods import METHODS
from portero.core.errors import Unavailable
from tests.authorization_server.browser.harness import ANA, ISSUER, Answer, Browser, Server

METHOD_TEXTS: dict[str, Mapping[str, Mapping[str, str]]] = {
    name: import_module(f"portero.authorization_server.sign_in.methods.{name}.texts").TEXTS for name in METHODS
}

PAGES: dict[str, Callable[[Browser], Answer]] = {
    "front": lambda b: b.get("/"),
    "sign-in": lambda b: b.authorize(),
    "sign-in with an error": lambda b: b.sign_in(b.authorize(), password="wrong"),
    "sign-in with empty fields": lambda b: b.post("/sign-in", b.authorize().form(username="", password="")),
    "devices": lambda b: b.follow(_in(b).get("/account")),
    "applications": lambda b: _allowed(b).get("/account/applications"),
    "no applications": lambda b: _in(b).get("/account/applications"),
    "password": lambda b: _in(b).get("/account/password"),
    "password with a problem": lambda b: _in(b).post(
        "/account/password", b.get("/account/password").form(password="x", new_password="short")
    ),
    "console": lambda b: _operator(b).get("/operator"),
    "console, one person": lambda b: _operator(b).get("/operator/person?subject=u-ana"),
    "console, clients": lambda b: _operator(b).get("/operator/clients"),
    "console, keys": lambda b: _operator(b).get("/operator/keys"),
    "console, audit": lambda b: _operator(b).get("/operator/audit"),
    "consent": lambda b: _in(b).authorize(client_id="stranger"),
    "sign out": lambda b: _in(b).get("/end_session"),
    "signed out": lambda b: b.get("/signed-out?from=everywhere"),
    "form post": lambda b: _in(b).authorize(response_mode="form_post"),
    "error": lambda b: b.authorize(client_id="nobody"),
    "error of a request": lambda b: b.authorize(redirect_uri="https://evil.example/"),
}


def _in(browser: Browser) -> Browser:
    browser.sign_in(browser.authorize())
    return browser


def _operator(browser: Browser) -> Browser:
    browser.server.become_operator(ANA)
    return _allowed(browser)


def _allowed(browser: Browser) -> Browser:
    page = _in(browser).authorize(client_id="stranger")
    browser.post("/consent", page.form(decision="allow"))
    return browser


CONSOLE = Config(issuer=ISSUER, console_role="operators")

pages = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())


@pages
def test_every_page_carries_the_security_headers(page: Callable[[Browser], Answer]) -> None:
    """No script (but one by its hash), no frames, no cache, no referrer, no guessing of types."""
    answer = page(Server(config=CONSOLE).browser())
    assert answer.status < 500
    policy = dict(part.partition(" ")[::2] for part in answer.header("content-security-policy").split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"].split()[0] == "'self'"
    assert "unsafe" not in answer.header("content-security-policy")
    assert answer.header("cache-control") == "no-store"
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-frame-options") == "DENY"
    assert answer.header("strict-transport-security") == ""


@pages
def test_no_page_needs_a_script_or_a_style_of_its_own(page: Callable[[Browser], Answer]) -> None:
    """Nothing inline that the policy would have to allow, but for the one button-presser."""
    answer = page(Server(config=CONSOLE).browser())

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)
    assert answer.text.count("<script") == ("script-src" in answer.header("content-security-policy"))


@pages
@pytest.mark.parametrize("language", ["en", "es"])
def test_every_page_can_be_followed_by_ear(page: Callable[[Browser], Answer], language: str) -> None:
    """One h1, no heading level skipped, a language, a title, landmarks; each field has a label, each id is one."""
    answer = page(Server(config=CONSOLE).browser(**{"accept-language": language}))
    found = _Outline()
    found.feed(answer.text)

    assert found.language == language
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(found.headings, found.headings[1:], strict=False))
    assert {"main", "header", "footer", "title"} <= found.tags
    assert found.fields <= found.labels
    assert len(found.ids) == len(set(found.ids))
    assert found.described <= set(found.ids)


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.tags: set[str] = set()
        self.labels: set[str] = set()
        self.fields: set[str] = set()
        self.ids: list[str] = []
        self.described: set[str] = set()
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if tag == "html":
            self.language = found.get("lang", "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "label":
            self.labels.add(found["for"])
        if tag == "input" and found.get("type") != "hidden":
            self.fields.add(found["id"])
        if "id" in found:
            self.ids.append(found["id"])
        if "aria-describedby" in found:
            self.described.add(found["aria-describedby"])


def test_a_password_manager_knows_the_fields() -> None:
    """The `autocomplete` names of HTML §4.10.18.7.1."""
    text = Server().browser().authorize().text

    assert 'autocomplete="username"' in text
    assert 'autocomplete="current-password"' in text


def test_https_has_its_own_headers_and_cookies() -> None:
    """`__Host-` and `Secure`, HSTS, on every answer."""
    server = Server(config=Config(issuer="https://login.example"))
    browser = server.browser()
    page = browser.authorize()
    answer = browser.sign_in(page)
    cookies = [value for name, value in answer.headers if name == "set-cookie"]

    assert answer.status == 303
    assert page.header("strict-transport-security") == "max-age=31536000"
    assert len(cookies) == 2
    assert all(cookie.startswith("__Host-portero_") and cookie.endswith("; Secure") for cookie in cookies)
    assert all("Path=/;" in cookie and "Domain" not in cookie for cookie in cookies)


def test_an_issuer_with_a_path_has_links_with_it() -> None:
    """The external URL is configuration: no link leaves it."""
    server = Server(config=Config(issuer="https://example.org/login"))
    answer = server.browser().get("/account")

    assert answer.location.startswith("/login/sign-in?login=")


def test_the_style_sheet_is_kept_for_a_year_under_a_name_of_its_content() -> None:
    """A new brand is a new name."""
    browser = Server().browser()
    href = re.search(r'href="(/assets/[^"]+)"', browser.get("/").text)
    assert href is not None
    answer = browser.get(href[1])

    assert answer.status == 200
    assert answer.header("content-type").startswith("text/css")
    assert answer.header("cache-control") == "public, max-age=31536000, immutable"
    assert style_sheet("#123456").name != style_sheet("#123457").name


def test_a_store_that_is_away_is_our_fault() -> None:
    """503 with `Retry-After` and a page, never "signed out" and never a redirect with an error (design §3.5)."""
    server = Server()
    browser = server.browser()
    browser.sign_in(browser.authorize())

    async def away(_: object) -> None:
        raise Unavailable("the database", retry_after=7)

    server.store.read = away  # type: ignore[method-assign, assignment] # the world fails, not what we own
    answer = browser.get("/account")

    assert answer.status == 503
    assert answer.header("retry-after") == "7"
    assert "We cannot do this right now" in answer.text
    assert "the database" not in answer.text


def test_a_bug_of_ours_is_our_fault(caplog: pytest.LogCaptureFixture) -> None:
    """500, a page with a reference, the trace in the log only."""
    server = Server()

    async def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    server.store.read = broken  # type: ignore[method-assign, assignment] # a bug, as good as any
    answer = server.browser().get("/authorize?client_id=shop")

    assert answer.status == 500
    assert "Something went wrong here" in answer.text
    assert "ZeroDivision" not in answer.text
    assert "a bug" in caplog.text


@pytest.mark.parametrize(
    ("accept", "status", "shown"),
    [
        ("text/html,*/*;q=0.8", 404, "There is nothing here"),
        ("text/html", 405, "That is not how this page works"),
        ("application/json", 404, None),
        ("", 405, None),
        ("text/html", 418, None),
    ],
)
def test_what_the_router_refuses_has_a_page_for_people(accept: str, status: int, shown: str | None) -> None:
    """Programs get problem details from the edge."""
    request = Request({"type": "http", "headers": [(b"accept", accept.encode())], "state": {"request_id": "r-1"}})
    page = site_of(Server().context).router_page(request, status=status)

    assert (page is None) == (shown is None)
    if page is not None and shown is not None:
        assert page.status_code == status
        assert shown in bytes(page.body).decode()
        assert "r-1" in bytes(page.body).decode()


# ── languages ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ui_locales", "header", "expected"),
    [
        ((), "", "en"),
        ((), "es-AR,es;q=0.9,en;q=0.5", "es"),
        ((), "en;q=0.5, es;q=0.9", "es"),
        ((), "fr, de;q=0.9", "en"),
        ((), "es;q=0, en", "en"),
        ((), "ES", "es"),
        ((), "*", "en"),
        ((), ";;;,q=1,=,es;q=x", "en"),
        ((), "e" * 100_000, "en"),
        (("es",), "en", "es"),
        (("fr", "es-419"), "en", "es"),
        (("fr",), "es", "es"),
    ],
)
def test_a_page_is_in_the_language_asked_for(ui_locales: tuple[str, ...], header: str, expected: str) -> None:
    """`ui_locales` first (OIDC Core §3.1.2.1), then `Accept-Language` by weight (RFC 9110 §12.5.4), then the first."""
    assert expected == choose_language(ui_locales=ui_locales, accept_language=header, offered=("en", "es"))


def test_an_application_may_ask_for_a_language() -> None:
    """`ui_locales` reaches the sign-in page, over the browser's own; the person's choice on the page is over both."""
    browser = Server().browser(**{"accept-language": "en"})
    page = browser.authorize(ui_locales="es-AR")
    chosen = browser.get(page.url + "&ui_locales=en")

    assert "Iniciá sesión" in page.text
    assert "<h1>Sign in</h1>" in chosen.text
    assert "<h1>Sign in</h1>" in browser.sign_in(chosen, password="wrong").text


def test_the_languages_say_the_same() -> None:
    """The same keys, and the same names to fill in."""

    def names(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}

    for catalogues in (CATALOGUES, *METHOD_TEXTS.values()):
        expected = {key: names(text) for key, text in catalogues["en"].items()}
        for catalogue in catalogues.values():
            assert expected == {key: names(text) for key, text in catalogue.items()}


@pytest.mark.parametrize("method", METHODS)
def test_the_texts_of_a_method_are_its_own(method: str) -> None:
    """Their keys begin with its name, so that no method's text takes the place of another's."""
    assert all(key.startswith(f"sign_in.{method}.") for key in METHOD_TEXTS[method]["en"])


def test_every_text_is_shown_somewhere() -> None:
    """What no page and no code names is not kept; keys that are composed count by their beginning."""
    room = Path(texts_in.__code__.co_filename).parent
    composed = (
        "error.",
        "ago.",
        "duration.",
        "scope.",
        "devices.done.",
        "device.done.",
        "ways.done.",
        "password.problem.",
        "sign_in.wait",
    )
    assert _unused(EN, room, composed=composed) == []
    for method, texts in METHOD_TEXTS.items():
        folder = room.parent / "sign_in/methods" / method
        assert _unused(texts["en"], folder, composed=("sign_in.password.missing.",)) == []


def _unused(texts: Mapping[str, str], room: Path, *, composed: tuple[str, ...]) -> list[str]:
    sources = "".join(
        path.read_text("utf-8") for path in room.rglob("*") if path.suffix in (".html", ".py") and path.stem != "texts"
    )
    named = (key for key in texts if not key.startswith(composed))
    return [key for key in named if f"'{key}'" not in sources and f'"{key}"' not in sources]


def test_the_first_page_and_not_the_start_pays_for_templates() -> None:
    """A server that has shown no page has not imported the template engine."""
    program = "import portero.authorization_server.pages.routes, sys; print('jinja2' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "False\n"


def test_spanish_speaks_as_argentina_does() -> None:
    """Voseo: none of the forms of tú."""
    said = " ".join(CATALOGUES["es"].values())

    assert not re.search(
        r"\b(tú|puedes|tienes|quieres|inicia|escribe|vuelve a la|prueba|espera)\b", said, re.IGNORECASE
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (3600, "1 hour ago"),
        (86_399, "23 hours ago"),
        (86_400, "yesterday"),
        (172_800, "2 days ago"),
    ],
)
def test_how_long_ago_is_said_in_one_unit(seconds: int, expected: str) -> None:
    """Both sides of each unit."""
    assert expected == texts_in("en").ago(seconds)


# ── brand ────────────────────────────────────────────────────────────────────────────


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_any_brand_colour_can_be_read(color: tuple[int, int, int]) -> None:
    """WCAG 2.2 §1.4.3: contrast of at least 4.5 on both backgrounds, whatever the operator picks."""
    for background in ((243, 245, 244), (29, 33, 36)):
        assert contrast(legible(color, on=background), background) >= MINIMUM_CONTRAST


def test_a_brand_colour_that_can_be_read_is_kept() -> None:
    """Nothing is changed without need."""
    assert legible(parse_color("#2f5d50"), on=(243, 245, 244)) == (0x2F, 0x5D, 0x50)
