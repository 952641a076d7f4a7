"""A provider that lies, stalls or disappears, at every step: a clear page, a way back, and nothing half made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from portero.authorization_server.config import Config
from portero.core.transitions import LinkedKey, SubjectKey, UsersKey
from portero.testing.clock import FakeClock
from tests.authorization_server.browser.harness import ANA, BRUNO, ISSUER, Answer, Browser, Server
from tests.authorization_server.browser.lying_provider import CLIENT_ID, SECRET, LyingProvider
from tests.authorization_server.browser.test_openid import come_back, config, leave
from tests.authorization_server.browser.test_ways import leave_to_link, signed_in

DISCOVERY = "/.well-known/openid-configuration"
GONE = {"en": "cannot be reached right now", "es": "Ahora no podemos llegar a"}
REFUSED = {"en": "without being signed in", "es": "sin haber iniciado sesión"}
OK = b"HTTP/1.1 200 OK\r\n"
Instead = Callable[[LyingProvider], Any]


def _bytes(body: bytes, head: bytes = OK) -> Instead:
    return lambda _: head + b"content-length: %d\r\n\r\n" % len(body) + body


UNFIT: dict[str, Instead] = {
    "stalls": lambda acme: acme.stall,
    "drips": lambda acme: acme.drip,
    "is cut off": lambda _: OK + b"content-length: 999\r\n\r\n{}",
    "hangs up": lambda _: b"",
    "is no HTTP": lambda _: b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "is too large": _bytes(b'{"a":"' + b"x" * 600_000 + b'"}'),
    "redirects": _bytes(b"", b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n"),
    "is compressed": _bytes(b"{}", OK + b"content-encoding: gzip\r\n"),
    "is a page": _bytes(b"<html>", OK + b"content-type: text/html\r\n"),
    "is a list": _bytes(b"[]"),
    "is a well": _bytes(b"[" * 99_999),
    "is not UTF-8": _bytes(b'{"a":"\xff"}'),
    "is empty": _bytes(b""),
    "is missing": _bytes(b"", b"HTTP/1.1 404 Not Found\r\n"),
}
"""What may come in place of an answer."""
LANGUAGES = ("en", "es") * 9
LAST_STEPS = ("/token", "/jwks", "/userinfo", DISCOVERY)


@dataclass
class Scene:
    """A server whose door leads to a provider, and what there was before."""

    acme: LyingProvider
    server: Server
    before: Any

    def nothing_was_made(self, browser: Browser) -> bool:
        """No account, no link, no session, here or in the browser."""
        read = self.server.read
        sessions = [read(SubjectKey(user.subject)).browsers for user in (ANA, BRUNO)]
        cookies = [name for name in browser.cookies if name.endswith("_session")]
        link = read(LinkedKey(self.acme.issuer, "ada-1"))
        return (read(UsersKey()), link, sessions, cookies) == (self.before, None, [(), ()], [])


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("ACME_SECRET", SECRET)
    acme = LyingProvider(FakeClock().now)
    server = Server(config=config(acme, timeout="1s", claims={"team": "team"}))
    yield Scene(acme, server, server.read(UsersKey()))
    acme.close()


def way_back(browser: Browser, page: Answer, acme: LyingProvider) -> dict[str, str]:
    """Take the door on the page. Returns the request that went there."""
    door = page.text.partition('href="/sign-in/openid/acme/start?login=')[2].partition('"')[0]
    away = browser.get(f"/sign-in/openid/acme/start?login={door}")
    request = {name: values[0] for name, values in parse_qs(urlsplit(away.location).query).items()}
    acme.nonce = request["nonce"]
    return request


def begun(scene: Scene, language: str) -> tuple[Browser, dict[str, str]]:
    browser = scene.server.browser(**{"accept-language": language})
    return browser, leave(browser, scene.acme)


@pytest.mark.parametrize(("unfit", "language"), [*zip(UNFIT, LANGUAGES, strict=False)])
def test_no_answer_at_the_first_step(scene: Scene, unfit: str, language: str) -> None:
    """Nobody is sent anywhere; the door is there again, and works when the provider does."""
    browser = scene.server.browser(**{"accept-language": language})
    handle = browser.authorize().form(username="")["login"]
    scene.acme.raw[DISCOVERY] = UNFIT[unfit](scene.acme)
    page = browser.get(f"/sign-in/openid/acme/start?login={handle}")

    assert (page.status, page.header("retry-after")) == (503, "5")
    assert GONE[language] in page.text
    assert scene.nothing_was_made(browser)
    scene.acme.raw.clear()
    assert "code" in come_back(browser, way_back(browser, page, scene.acme)).answer


@pytest.mark.parametrize(
    ("unfit", "where", "language"),
    [(each, where, language) for each, where, language in zip(UNFIT, cycle(LAST_STEPS), LANGUAGES, strict=False)]
    + [("stalls", where, "en") for where in LAST_STEPS[1:]]
    + [(each, where, "en") for each in ("is a page", "is missing", "is too large") for where in LAST_STEPS],
)
def test_no_answer_at_the_last_step(scene: Scene, unfit: str, where: str, language: str) -> None:
    """Token, keys, userinfo or metadata: it is never the person's fault, and a new way through is."""
    browser, request = begun(scene, language)
    scene.acme.raw[where] = UNFIT[unfit](scene.acme)
    page = come_back(browser, request)

    assert page.status == 503
    assert GONE[language] in page.text
    assert scene.nothing_was_made(browser)
    scene.acme.raw.clear()
    assert "code" in come_back(browser, way_back(browser, page, scene.acme)).answer


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_provider_that_disappears(scene: Scene, language: str) -> None:
    """Its port is closed while the person is there."""
    browser, request = begun(scene, language)
    scene.acme.close()
    page = come_back(browser, request)

    assert (page.status, GONE[language] in page.text) == (503, True)
    assert scene.nothing_was_made(browser)


LIES: dict[str, dict[str, Any]] = {
    "of nobody": {"sub": None},
    "of a person with a long name": {"sub": "x" * 256},
    "of a person with a strange name": {"sub": "ada\u0000"},
    "of a number": {"sub": 7},
    "of a session with a long name": {"sid": "x" * 256},
    "of a session that is a list": {"sid": ["s-1"]},
    "with too much to say": {f"team{n}": "x" * 250 for n in range(10)},
    "with strange methods": {"amr": [7]},
    "of a strange time": {"auth_time": "yesterday"},
    "of the future": {"iat": 4_000_000_000},
    "that is over": {"exp": 1_799_999_000},
    "without an end": {"exp": None},
    "for nobody": {"aud": []},
    "of another party": {"azp": "another"},
    "for another sign-in": {"nonce": "another"},
    "without its sign-in": {"nonce": None},
}


@pytest.mark.parametrize(("lie", "language"), [*zip(LIES, LANGUAGES, strict=False)])
def test_a_token_that_lies(scene: Scene, lie: str, language: str) -> None:
    """It names the way back, and nothing of it stays; what it said is in the log alone."""
    if lie == "with too much to say":
        scene.server = Server(config=config(scene.acme, claims={name: name for name in LIES[lie]}))
    browser, request = begun(scene, language)
    scene.acme.claims = LIES[lie]
    scene.acme.userinfo = {"sub": LIES[lie].get("sub", "ada-1")}
    page = come_back(browser, request)

    assert page.status == 422
    assert REFUSED[language] in page.text
    assert scene.nothing_was_made(browser)
    scene.acme.claims, scene.acme.userinfo = {}, {}
    assert "code" in come_back(browser, way_back(browser, page, scene.acme)).answer


@pytest.mark.parametrize(
    "answer", [{}, {"id_token": 7}, {"id_token": "x.y.z"}, {"id_token": "e30.e30."}, {"error": "x"}]
)
def test_a_token_endpoint_without_a_token(scene: Scene, answer: dict[str, Any]) -> None:
    """Nothing, another type, or `alg` left out."""
    browser, request = begun(scene, "en")
    scene.acme.raw["/token"] = _bytes(json.dumps(answer).encode())(scene.acme)
    page = come_back(browser, request)

    assert page.status == 422
    assert scene.nothing_was_made(browser)


@pytest.mark.parametrize(
    ("error", "status"), [("invalid_grant", 422), ("invalid_client", 503), ("unauthorized_client", 503)]
)
def test_what_we_set_wrong_is_not_the_persons_fault(scene: Scene, error: str, status: int) -> None:
    """A wrong secret is ours to mend; a code that is over is a sign-in to begin again."""
    browser, request = begun(scene, "en")
    body = json.dumps({"error": error}).encode()
    scene.acme.raw["/token"] = _bytes(body, b"HTTP/1.1 400 Bad Request\r\n")(scene.acme)

    assert come_back(browser, request).status == status
    assert scene.nothing_was_made(browser)


def test_what_it_calls_people_is_made_fit_to_read(scene: Scene) -> None:
    """Control characters, other types and great lengths become a plain name; none is a mistake of the person."""
    browser, request = begun(scene, "en")
    scene.acme.claims = {
        "name": "A\u0000d\u202ea" * 99, "preferred_username": ["x"], "acr": "go\u0000ld", "amr": ["p\u0000wd", ""],
        "email": {"a": 1}, "email_verified": True, "team": "x" * 999,
    }  # fmt: skip
    assert "code" in come_back(browser, request).answer
    link = scene.server.read(LinkedKey(scene.acme.issuer, "ada-1"))
    found = scene.server.read(SubjectKey(link.subject))

    assert (found.user.name, found.user.email, link.label) == ("Ada" * 40, "", "Ada" * 20)
    assert (found.browsers[0].acr, found.browsers[0].amr) == ("urn:portero:openid:acme:gold", ("pwd",))


def test_a_code_of_another_sign_in_opens_nothing(scene: Scene) -> None:
    """Swapped by somebody in between: the code's ID token has the nonce of the sign-in it was made for."""
    mine, request = begun(scene, "en")
    _, other = begun(scene, "en")
    scene.acme.nonce = other["nonce"]
    page = come_back(mine, request, code="c-of-the-other")

    assert page.status == 422
    assert scene.acme.forms[0]["code_verifier"]
    assert scene.nothing_was_made(mine)


def test_one_providers_answer_at_anothers_place(scene: Scene) -> None:
    """Mix-up (RFC 9700 §4.4): a state that left for one is nothing at the other, and no code is sent there."""
    evil = LyingProvider(FakeClock().now)
    try:
        table = {"client_id": CLIENT_ID, "client_secret_env": "ACME_SECRET", "algorithms": ["ES256"]}
        tables = {"acme": {**table, "issuer": scene.acme.issuer}, "evil": {**table, "issuer": evil.issuer}}
        scene.server = Server(config=Config(issuer=ISSUER, sign_in={"password": {}, "openid": tables}))
        browser, request = begun(scene, "en")
        moved = {**request, "redirect_uri": request["redirect_uri"].replace("/acme/", "/evil/")}

        assert come_back(browser, moved).status == 400
        assert come_back(browser, request, iss=evil.issuer).status == 422
        assert (scene.acme.forms, evil.forms) == ([], [])
        assert scene.nothing_was_made(browser)
    finally:
        evil.close()


@pytest.mark.parametrize("language", ["en", "es"])
def test_steps_that_come_early_late_or_twice(scene: Scene, language: str) -> None:
    """A page that says where to begin; what was signed in stays signed in, once."""
    browser = scene.server.browser(**{"accept-language": language})
    handle = browser.authorize().form(username="")["login"]
    early = [
        browser.get(f"/sign-in/openid/acme/finish?state={handle}x&code=c-1"),
        browser.get("/sign-in/openid/acme/finish?code=c-1"),
        browser.get(f"/sign-in/openid/acme/callback?state={'f' * 16}&code=c-1"),
        browser.post("/sign-in/openid/acme/start", {"login": handle}),
    ]
    assert [page.status for page in early] == [400, 400, 400, 405]
    assert scene.nothing_was_made(browser)

    request = leave(browser, scene.acme)
    assert "code" in come_back(browser, request).answer
    late = come_back(browser, request)
    assert late.status == 400
    assert {"en": "from there", "es": "desde ahí"}[language] in late.text
    assert 'href="/account"' in late.text
    assert len(scene.acme.forms) == 1


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_link_that_fails_leads_back_to_the_account(scene: Scene, language: str) -> None:
    """Whether the provider lies or is gone: nothing is linked, and the page has the way back."""
    browser = signed_in(scene.server)
    browser.headers["accept-language"] = language
    for raw, status in (({}, 422), ({"/token": UNFIT["is a page"](scene.acme)}, 503)):
        request = leave_to_link(browser, scene.acme)
        scene.acme.claims, scene.acme.raw = {"nonce": "another"}, raw
        page = come_back(browser, request)
        scene.acme.claims, scene.acme.raw = {}, {}

        assert page.status == status
        assert 'href="/account/sign-in"' in page.text
        assert (REFUSED if status == 422 else GONE)[language] in page.text
        assert scene.server.read(LinkedKey(scene.acme.issuer, "ada-1")) is None


def test_nobody_is_made_only_to_be_refused(scene: Scene) -> None:
    """An application that waits for Ana (OIDC Core §5.5.1) gets nobody else, and no account comes of it."""
    browser = scene.server.browser()
    claims = json.dumps({"id_token": {"sub": {"value": ANA.subject}}})
    answer = come_back(browser, leave(browser, scene.acme, claims=claims))

    assert answer.answer["error"] == "login_required"
    assert scene.nothing_was_made(browser)


@pytest.mark.parametrize("language", ["en", "es"])
def test_somebody_unknown_here_may_use_another_door(scene: Scene, language: str) -> None:
    """`just_in_time = false`: the page says so, and the password is still there."""
    scene.server = Server(config=config(scene.acme, just_in_time=False))
    browser, request = begun(scene, language)
    page = come_back(browser, request)

    assert page.status == 403
    assert {"en": "no account here", "es": "ninguna cuenta de acá"}[language] in page.text
    assert scene.nothing_was_made(browser)
    assert "code" in browser.sign_in(page).answer
