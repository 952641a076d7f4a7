"""The authorization challenge endpoint (draft-ietf-oauth-first-party-apps-04): signing in without a redirect."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from portero.authorization_server.config import Config
from portero.core.digests import sha256_of
from portero.core.events import EventName
from portero.core.transitions import LoginKey, SubjectKey
from portero.core.types import Secret, Subject
from tests.authorization_server.browser.harness import ANA, ISSUER, PASSWORD, REDIRECT_URI, Browser, authorize_url
from tests.authorization_server.direct import APP, DESK, ORIGIN, PATH, TYPED, App, claims_of, make_server, said
from tests.authorization_server.whole import WholeServer


@pytest.fixture(name="server")
def _server() -> WholeServer:
    return make_server()


@pytest.fixture(name="app")
def _app(server: WholeServer) -> App:
    return App(server)


def test_a_name_and_a_password_become_a_code_and_tokens(app: App) -> None:
    """§5.2.1, §6: one request for the code, one for the tokens, and no cookie."""
    answer = app.begin(**TYPED)
    tokens = said(app.redeem(said(answer)["authorization_code"]))
    claims = claims_of(tokens["access_token"])

    assert (answer.status, answer.header("cache-control"), answer.header("set-cookie")) == (200, "no-store", "")
    assert set(said(answer)) == {"authorization_code"}
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("u-ana", "app", "openid profile")
    assert (claims["acr"], claims["amr"]) == ("urn:portero:password", ["pwd"])
    assert claims_of(tokens["id_token"])["nonce"] == "n-1"
    assert {"refresh_token", "session_expires_in"} <= set(tokens)


def test_what_is_missing_is_asked_for(app: App) -> None:
    """§5.2.2.1: 403, what to ask, and an `auth_session` that stands for the request from then on."""
    asked = app.begin()
    answer = app.go_on(said(asked)["auth_session"], **TYPED)

    assert (asked.status, said(asked)["error"]) == (403, "insufficient_authorization")
    assert (said(asked)["asks"], said(asked)["problems"]) == (["username", "password"], [])
    assert said(asked)["auth_session_expires_in"] == 900
    assert answer.status == 200
    assert claims_of(said(app.redeem(said(answer)["authorization_code"]))["access_token"])["sub"] == "u-ana"


@pytest.mark.parametrize(
    ("typed", "field", "text"),
    [
        ({"username": "ana", "password": "wrong"}, None, "El usuario o la contraseña no son correctos."),
        ({"username": "nobody", "password": "wrong"}, None, "El usuario o la contraseña no son correctos."),
        ({"username": "ana"}, "password", "Escribí tu contraseña."),
    ],
)
def test_what_is_wrong_is_said_in_the_persons_language(
    app: App, typed: dict[str, str], field: str | None, text: str
) -> None:
    """The step is that of the form, and so are its words."""
    answer = app.begin(**typed, ui_locales="es")

    assert (answer.status, said(answer)["problems"]) == (403, [{"text": text, "field": field}])


def test_each_answer_brings_another_auth_session(app: App, server: WholeServer) -> None:
    """§5.3.1: rotated; the one before is worth nothing, and the store has digests and no password."""
    first = said(app.begin())["auth_session"]
    second = said(app.go_on(first, username="ana", password="wrong"))["auth_session"]
    stored = server.read(LoginKey(sha256_of(Secret(second))))

    assert first != second
    assert said(app.go_on(first, **TYPED))["error"] == "invalid_session"
    assert server.read(LoginKey(sha256_of(Secret(first)))) is None
    assert "wrong" not in stored.request
    assert app.go_on(second, **TYPED).status == 200
    assert server.read(LoginKey(sha256_of(Secret(second)))) is None


@pytest.mark.parametrize(("age", "status"), [(899, 200), (900, 400)])
def test_an_auth_session_ends_however_often_it_was_rotated(
    app: App, server: WholeServer, age: int, status: int
) -> None:
    """Both sides of its end, counted from the first."""
    session = said(app.begin())["auth_session"]
    server.clock.advance(300)
    session = said(app.go_on(session, username="ana", password="wrong"))["auth_session"]
    server.clock.advance(age - 300)

    assert app.go_on(session, **TYPED).status == status


def test_a_client_need_not_repeat_its_name(app: App) -> None:
    """§5.1: an `auth_session` says whose it is."""
    session = said(app.begin())["auth_session"]

    assert app.go_on(session, client_id=None, **TYPED).status == 200


def test_the_device_session_arises_as_by_the_form(app: App, server: WholeServer) -> None:
    """One session per sign-in, with the device's name and place, and the audit trail says how it began."""
    first, second = app.signed_in(), app.signed_in()
    sessions = server.read(SubjectKey(Subject("u-ana"))).sessions
    (event, _) = [each for each in server.events.seen if each.name is EventName.SIGNED_IN]

    assert claims_of(first["access_token"])["sid"] != claims_of(second["access_token"])["sid"]
    assert [session.device_name for session in sessions] == ["Firefox · Linux"] * 2
    assert [session.place for session in sessions] == ["203.0.0.0/16"] * 2
    assert event.fields == {"device": "Firefox · Linux", "method": "password", "by": "direct"}
    assert event.client_id == "app"


def test_signing_out_ends_it_like_any_other(app: App, server: WholeServer) -> None:
    """Revoking the refresh token ends the device session and the sign-in it came from."""
    tokens = app.signed_in()
    Browser(server).post("/revoke", {"client_id": "app", "token": tokens["refresh_token"]})

    aggregate = server.read(SubjectKey(Subject("u-ana")))
    assert not aggregate.sessions
    assert not aggregate.browsers


def test_a_confidential_client_authenticates_here_too(server: WholeServer) -> None:
    """§4.1: as at the token endpoint, and with PKCE whatever its registration says."""
    desk = App(server, DESK)
    anonymous = desk.begin(headers={"authorization": "Basic ZGVzazp3cm9uZw=="}, **TYPED)

    assert anonymous.status == 401
    assert said(desk.begin(code_challenge=None, code_challenge_method=None, **TYPED))["error"] == "invalid_request"
    assert desk.redeem(said(desk.begin(**TYPED))["authorization_code"]).status == 200


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"response_type": None}, 400, "invalid_request"),
        ({"response_type": "token"}, 400, "unsupported_response_type"),
        ({"code_challenge": None, "code_challenge_method": None}, 400, "invalid_request"),
        ({"code_challenge_method": "plain"}, 400, "invalid_request"),
        ({"scope": None}, 400, "invalid_scope"),
        ({"scope": "admin"}, 400, "invalid_scope"),
        ({"resource": "https://elsewhere.example/"}, 400, "invalid_target"),
        ({"redirect_uri": "https://evil.example/"}, 400, "invalid_request"),
        ({"prompt": "none"}, 400, "login_required"),
        (
            {"claims": '{"id_token":{"acr":{"essential":true,"values":["x"]}}}'},
            400,
            "unmet_authentication_requirements",
        ),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"auth_session": "short"}, 400, "invalid_session"),
        ({"auth_session": "A" * 43}, 400, "invalid_session"),
    ],
)
def test_a_request_is_judged_before_anything_is_looked_at(
    app: App, server: WholeServer, changes: dict[str, str | None], status: int, error: str
) -> None:
    """By the rules of the authorization endpoint; nobody's password is hashed for it."""
    answer = app.begin(**{**TYPED, **changes})

    assert (answer.status, said(answer)["error"]) == (status, error)
    assert server.passwords.verified == 0


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/x-www-form-urlencoded", 401),
        (b"\xff\x00&&&=%zz", "application/x-www-form-urlencoded", 400),
        (b"client_id=app&client_id=app", "application/x-www-form-urlencoded", 400),
        (b'{"client_id":"app"}', "application/json", 400),
        (b"client_id=app&password=%00", "application/x-www-form-urlencoded", 400),
        (b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_garbage_is_refused_as_json(app: App, body: bytes, content_type: str, status: int) -> None:
    """Clear words, no page, no trace."""
    answer = app.send(body, headers={"content-type": content_type})

    assert answer.status == status
    assert {"error", "detail"} & set(json.loads(answer.body))


def test_parameters_in_the_url_are_refused(app: App) -> None:
    """A password in a URL would be in every log."""
    answer = Browser(app.server).post(f"{PATH}?{urlencode(TYPED)}", {"client_id": "app"})

    assert (answer.status, said(answer)["error"]) == (400, "invalid_request")
    assert Browser(app.server).get(PATH).status == 405


@pytest.mark.parametrize(
    "changes",
    [{"prompt": "consent"}, {"method": "clave_fiscal"}, {"prompt": "consent", **TYPED}],
)
def test_what_only_a_page_can_ask_goes_to_the_web(app: App, server: WholeServer, changes: dict[str, str]) -> None:
    """§5.2.2.1.1: consent that was asked for, another way to sign in. No password is looked at for it."""
    answer = app.begin(**changes)

    assert (answer.status, said(answer)["error"]) == (403, "redirect_to_web")
    assert "request_uri" not in said(answer)
    assert server.passwords.verified == 0


def test_another_class_of_sign_in_goes_to_the_web_where_others_vouch() -> None:
    """OIDC Core §3.1.2.1: the password is none of the classes asked for, and somebody else may have one."""
    acme = {"issuer": "https://acme.example", "client_id": "x", "label": "Acme", "acr_values": ["gold"]}
    config = Config(issuer=ISSUER, sign_in={"password": {}, "openid": {"acme": acme}})
    alone, with_others = App(make_server()), App(make_server(config=config))

    gold = "urn:portero:openid:acme:gold"
    assert alone.begin(acr_values=gold, **TYPED).status == 200
    assert said(with_others.begin(acr_values=gold, **TYPED))["error"] == "redirect_to_web"
    assert with_others.begin(acr_values=f"{gold} urn:portero:password", **TYPED).status == 200
    assert with_others.begin(acr_values="urn:that-nobody-has", **TYPED).status == 200


def test_a_request_that_names_its_redirect_goes_on_where_it_was(app: App) -> None:
    """§5.2.2.1.1: `request_uri` carries it to the authorization endpoint (RFC 9126 §4), without what was typed."""
    answer = said(app.begin(prompt="consent", redirect_uri=REDIRECT_URI, state="st-9", **TYPED))
    browser = app.server.browser()
    query = urlencode({"client_id": "app", "request_uri": answer["request_uri"]})
    consent = browser.sign_in(browser.follow(browser.get(f"/authorize?{query}")))
    back = browser.post("/consent", consent.form(decision="allow"))

    assert answer["expires_in"] == 60
    assert (back.answer["state"], "code" in back.answer) == ("st-9", True)
    assert app.redeem(back.answer["code"], redirect_uri=REDIRECT_URI).status == 200


def test_a_fresh_sign_in_satisfies_max_age(app: App) -> None:
    """RFC 9470 §5: a step-up is another direct sign-in; `auth_time` is now."""
    app.server.clock.advance(1000)
    tokens = said(app.redeem(said(app.begin(max_age="0", **TYPED))["authorization_code"]))

    assert claims_of(tokens["access_token"])["auth_time"] == int(app.server.clock.now())


def test_nobody_but_the_person_who_is_waited_for(app: App) -> None:
    """OIDC Core §3.1.2.1: `id_token_hint` names ana; bruno's password is right, and opens nothing."""
    hint = app.signed_in()["id_token"]
    right = app.begin(id_token_hint=hint, **TYPED)
    other = app.begin(id_token_hint=hint, username="bruno", password=PASSWORD)

    assert right.status == 200
    assert (other.status, said(other)["error"]) == (400, "login_required")
    assert not app.server.read(SubjectKey(Subject("u-bruno"))).browsers


def test_the_resource_narrows_the_token(app: App) -> None:
    """RFC 8707."""
    resource = "https://shop.example/orders"
    tokens = said(app.redeem(said(app.begin(resource=resource, **TYPED))["authorization_code"]))

    assert claims_of(tokens["access_token"])["aud"] == resource


def test_the_redirect_uri_belongs_to_the_code_where_it_was_named(app: App) -> None:
    """RFC 6749 §4.1.3: in both requests, or in none; the word for none is nobody's redirect URI."""
    without = said(app.begin(**TYPED))["authorization_code"]
    with_one = said(app.begin(redirect_uri=REDIRECT_URI, **TYPED))["authorization_code"]

    for uri in (REDIRECT_URI, "urn:portero:direct"):
        assert said(app.redeem(without, redirect_uri=uri))["error"] == "invalid_grant"
    assert said(app.redeem(with_one))["error"] == "invalid_grant"
    assert app.redeem(without).status == 200
    assert app.redeem(with_one, redirect_uri=REDIRECT_URI).status == 200


def test_registered_pages_may_read_the_answer(app: App) -> None:
    """CORS: the client's own origins, refusals included; no credentials are ever allowed."""
    answer = app.begin(headers={"origin": ORIGIN}, username="ana", password="wrong")
    preflight = Browser(app.server)._send(
        "OPTIONS", PATH, b"", send_cookies=False, headers={"origin": ORIGIN, "access_control_request_method": "POST"}
    )

    assert (answer.status, answer.header("access-control-allow-origin")) == (403, ORIGIN)
    assert answer.header("access-control-allow-credentials") == ""
    assert (preflight.status, preflight.header("access-control-allow-origin")) == (204, ORIGIN)


def test_the_metadata_say_where_it_is(app: App) -> None:
    """§8."""
    metadata = said(Browser(app.server).get("/.well-known/oauth-authorization-server"))

    assert metadata["authorization_challenge_endpoint"] == f"{ISSUER}{PATH}"


def test_a_disabled_person_is_told_what_everybody_is(app: App, server: WholeServer) -> None:
    """The same words as for a wrong password."""
    server.put(SubjectKey(ANA.subject), replace(ANA, enabled=False))
    wrong, disabled = app.begin(username="bruno", password="x"), app.begin(**TYPED)

    def words(answer: Any) -> Any:
        return {name: each for name, each in said(answer).items() if name != "auth_session"}

    assert words(wrong) == words(disabled)
    assert server.passwords.verified == 2


def test_one_address_is_held_back_by_429() -> None:
    """A bound on rows and hashing: what one address may ask, and nobody else's requests."""
    server = make_server()
    app = App(server)
    statuses = [app.begin(code_challenge=None, code_challenge_method=None).status for _ in range(302)]
    limited = app.begin(**TYPED)

    assert (set(statuses[:299]), statuses[-1]) == ({400}, 429)
    assert (limited.status, limited.header("retry-after")) == (429, "1")
    assert App(server, peer="198.51.100.1").begin(**TYPED).status == 200
    assert EventName.TOKEN_LIMITED in {event.name for event in server.events.seen}


def test_the_sign_in_page_does_not_see_it(server: WholeServer) -> None:
    """No cookie: whoever signs in in the app is not signed in in any browser."""
    app = App(server)
    browser = server.browser()
    answer = browser.post(
        PATH,
        {"client_id": APP.client_id, "response_type": "code", "scope": "openid", **TYPED, **_pkce()},
    )

    assert (answer.status, browser.cookies) == (200, {})
    assert browser.get(authorize_url(prompt="none")).answer["error"] == "login_required"
    assert app.signed_in()


def _pkce() -> dict[str, str]:
    return {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"}
