"""The rules that the OpenID Foundation's plans examine, each a law: `oidcc-basic`, `oidcc-config`, RP-initiated logout.

As their client would be: confidential, without PKCE but for one module, with forms that need no script. The name of the
module that examines a law stands in its docstring.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.authorization_server.back_channel import claims_of
from tests.authorization_server.browser.harness import ISSUER, REDIRECT_URI, Answer, Browser
from tests.authorization_server.whole import SECRET, WEB, WholeServer, basic

CLIENT = replace(WEB, scope=("openid", "profile", "email", "offline_access"), audiences=())
POST = replace(CLIENT, client_id=type(CLIENT.client_id)("post"), token_endpoint_auth_method="client_secret_post")


@dataclass
class Suite:
    """The suite's client, and its browser."""

    server: WholeServer = field(default_factory=lambda: WholeServer(CLIENT, POST, real_keys=True))
    browser: Browser = field(init=False)

    def __post_init__(self) -> None:
        self.browser = self.server.browser()

    def authorize(self, **changes: str | None) -> Answer:
        """Send a request; the answer is a page, or goes to the client."""
        good: dict[str, str | None] = {
            "client_id": "web",
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": "openid",
            "state": "st",
            "nonce": "n",
        }
        query = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return self.browser.follow(self.browser.get(f"/authorize?{urlencode(query)}"))

    def sign_in(self, **changes: str | None) -> dict[str, Any]:
        """Sign in where asked to, and exchange the code."""
        answer = self.authorize(**changes)
        if answer.status == 200:
            answer = self.browser.sign_in(answer)
        assert "code" in answer.answer, answer.answer
        return self.exchanged(answer.answer["code"])

    def exchange(self, code: str, **changes: str) -> Answer:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, **changes}
        return self.server.post("/token", form, client=CLIENT)

    def exchanged(self, code: str) -> dict[str, Any]:
        answer = self.exchange(code)
        assert answer.status == 200, answer.text
        found: dict[str, Any] = json.loads(answer.body)
        return {**found, "claims": claims_of(found["id_token"])}

    def userinfo(self, token: str, method: str = "GET", **form: str) -> Answer:
        headers = {} if form else {"authorization": f"Bearer {token}"}
        if method == "GET":
            return self.browser.get("/userinfo", send_cookies=False, **headers)
        return self.browser.post("/userinfo", form, send_cookies=False, **headers)


@pytest.fixture
def suite() -> Suite:
    """A server nobody is signed in at."""
    return Suite()


def test_a_code_gives_an_id_token_about_the_sign_in(suite: Suite) -> None:
    """oidcc-server: iss, sub, aud, exp, iat, nonce; typ, alg and kid as the key set has them."""
    tokens = suite.sign_in()
    claims = tokens["claims"]

    assert (claims["iss"], claims["sub"], claims["aud"], claims["nonce"]) == (ISSUER, "u-ana", "web", "n")
    assert claims["exp"] > claims["iat"] == suite.server.context.now()
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] > 0


def test_a_request_without_a_nonce_has_none_in_its_id_token(suite: Suite) -> None:
    """oidcc-ensure-request-without-nonce-succeeds-for-code-flow."""
    assert "nonce" not in suite.sign_in(nonce=None)["claims"]


def test_a_request_without_a_response_type_is_refused(suite: Suite) -> None:
    """oidcc-response-type-missing: at the redirect URI, with the state."""
    answer = suite.authorize(response_type=None)

    assert (answer.answer["error"], answer.answer["state"]) == ("invalid_request", "st")


def test_an_unknown_parameter_is_ignored(suite: Suite) -> None:
    """oidcc-ensure-request-with-unknown-parameter-succeeds (RFC 6749 §3.1)."""
    assert suite.sign_in(extra="foobar")["claims"]["sub"] == "u-ana"


@pytest.mark.parametrize("display", ["page", "popup", "touch", "wap"])
def test_display_is_a_wish(suite: Suite, display: str) -> None:
    """oidcc-display-page, oidcc-display-popup: one page serves all."""
    assert suite.sign_in(display=display)["claims"]["sub"] == "u-ana"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_userinfo_answers_both_methods_with_the_token_in_the_header(suite: Suite, method: str) -> None:
    """oidcc-userinfo-get, oidcc-userinfo-post-header; sub is the ID token's (§5.3.2)."""
    tokens = suite.sign_in()
    answer = suite.userinfo(tokens["access_token"], method)

    assert (answer.status, json.loads(answer.body)) == (200, {"sub": tokens["claims"]["sub"]})


def test_userinfo_takes_the_token_in_a_form(suite: Suite) -> None:
    """oidcc-userinfo-post-body."""
    tokens = suite.sign_in()

    assert suite.userinfo("", "POST", access_token=tokens["access_token"]).status == 200


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("openid profile", {"sub", "name", "preferred_username"}),
        ("openid email", {"sub", "email"}),
        ("openid profile email", {"sub", "name", "preferred_username", "email"}),
    ],
)
def test_a_scope_opens_its_claims(suite: Suite, scope: str, names: set[str]) -> None:
    """oidcc-scope-profile, oidcc-scope-email, oidcc-scope-all (§5.4)."""
    tokens = suite.sign_in(scope=scope)

    assert json.loads(suite.userinfo(tokens["access_token"]).body).keys() == names
    assert tokens["scope"] == scope


def test_prompt_login_asks_again_and_says_when(suite: Suite) -> None:
    """oidcc-prompt-login: the page comes although somebody is signed in, and auth_time moves."""
    before = suite.sign_in()["claims"]["auth_time"]
    suite.server.clock.advance(5)
    page = suite.authorize(prompt="login")
    after = suite.exchanged(suite.browser.sign_in(page).answer["code"])["claims"]["auth_time"]

    assert page.status == 200
    assert after == before + 5


def test_prompt_none_without_a_sign_in_is_login_required(suite: Suite) -> None:
    """oidcc-prompt-none-not-logged-in: at once, at the redirect URI."""
    answer = suite.authorize(prompt="none")

    assert (answer.status, answer.answer["error"]) == (303, "login_required")


def test_prompt_none_with_a_sign_in_is_answered(suite: Suite) -> None:
    """oidcc-prompt-none-logged-in: the same person and time, and nobody is asked."""
    first = suite.sign_in()["claims"]
    second = suite.exchanged(suite.authorize(prompt="none").answer["code"])["claims"]

    assert (second["sub"], second["auth_time"]) == (first["sub"], first["auth_time"])


@pytest.mark.parametrize(("prompt", "asked"), [("consent", "/consent"), ("select_account", "/sign-in")])
def test_prompt_consent_and_select_account_ask(suite: Suite, prompt: str, asked: str) -> None:
    """§3.1.2.1: although the client is first-party and somebody is signed in."""
    suite.sign_in()

    assert suite.authorize(prompt=prompt).forms[0][""] == asked


@pytest.mark.parametrize(("max_age", "status"), [("1", 200), ("10000", 303)])
def test_max_age_asks_where_the_sign_in_is_older(suite: Suite, max_age: str, status: int) -> None:
    """oidcc-max-age-1, oidcc-max-age-10000: auth_time is in the ID token either way."""
    suite.sign_in()
    suite.server.clock.advance(2)
    answer = suite.authorize(max_age=max_age)

    assert answer.status == status
    assert suite.sign_in(max_age=max_age)["claims"]["auth_time"] >= suite.server.context.now() - 2


def test_a_hint_says_who_is_meant(suite: Suite) -> None:
    """oidcc-id-token-hint: prompt=none succeeds for the person it names, and for nobody else."""
    hint = suite.sign_in()["id_token"]
    same = suite.authorize(prompt="none", id_token_hint=hint)
    suite.browser.sign_in(suite.authorize(prompt="login"), username="bruno")
    other = suite.authorize(prompt="none", id_token_hint=hint)

    assert "code" in same.answer
    assert other.answer["error"] == "login_required"


def test_a_login_hint_is_filled_in(suite: Suite) -> None:
    """oidcc-login-hint."""
    assert suite.authorize(login_hint="bruno").form(username="x")
    assert 'value="bruno"' in suite.authorize(login_hint="bruno").text


@pytest.mark.parametrize(("locales", "language"), [("es", "es"), ("se es", "es"), ("en", "en"), ("xx", "en")])
def test_ui_locales_choose_the_language(suite: Suite, locales: str, language: str) -> None:
    """oidcc-ui-locales: by preference, and what is not there is no error."""
    assert suite.authorize(ui_locales=locales).header("content-language") == language


def test_claims_locales_is_a_wish(suite: Suite) -> None:
    """oidcc-claims-locales."""
    assert suite.sign_in(claims_locales="se")["claims"]["sub"] == "u-ana"


def test_acr_values_are_a_wish_and_acr_is_said(suite: Suite) -> None:
    """oidcc-ensure-request-with-acr-values-succeeds: what was brought about stands in the ID token."""
    assert suite.sign_in(acr_values="urn:elsewhere urn:portero:password")["claims"]["acr"] == "urn:portero:password"


@pytest.mark.parametrize("seconds", [0, 31])
def test_a_code_is_used_once(suite: Suite, seconds: int) -> None:
    """oidcc-codereuse, oidcc-codereuse-30seconds: the second use is refused, and what the first gave is taken back."""
    code = suite.browser.sign_in(suite.authorize()).answer["code"]
    tokens = suite.exchanged(code)
    suite.server.clock.advance(seconds)
    again = suite.exchange(code)

    assert (again.status, json.loads(again.body)["error"]) == (400, "invalid_grant")
    assert suite.userinfo(tokens["access_token"]).status == 401


@pytest.mark.parametrize(
    "redirect_uri",
    [
        f"{REDIRECT_URI}/more",
        f"{REDIRECT_URI}?query=1",
        f"{REDIRECT_URI}#fragment",
        REDIRECT_URI.upper(),
        "https://evil.example/callback",
        None,
    ],
)
def test_only_a_registered_redirect_uri_is_gone_to(suite: Suite, redirect_uri: str | None) -> None:
    """oidcc-ensure-registered-redirect-uri, oidcc-redirect-uri-query-*: compared as text, told on a page."""
    answer = suite.authorize(redirect_uri=redirect_uri)

    assert (answer.status, answer.location) == (400, "")


def test_the_redirect_uri_is_named_again_with_the_code(suite: Suite) -> None:
    """RFC 6749 §4.1.3: another one, or none, is refused."""
    for form in ({"redirect_uri": "http://localhost:8100/bye"}, {"redirect_uri": ""}):
        code = suite.browser.sign_in(suite.authorize(prompt="login")).answer["code"]
        assert suite.exchange(code, **form).status == 400


def test_a_secret_comes_by_the_registered_way_only(suite: Suite) -> None:
    """oidcc-server-client-secret-post: by form for one client, by header for the other, and not the other way."""
    page = suite.authorize(client_id="post")
    code = suite.browser.sign_in(page).answer["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    by_header = suite.browser.post("/token", form, authorization=basic("post", SECRET))
    by_form = suite.browser.post("/token", {**form, "client_id": "post", "client_secret": SECRET})

    assert (by_header.status, by_form.status) == (401, 200)


@pytest.mark.parametrize(
    ("parameter", "error"),
    [
        ("request", "request_not_supported"),
        ("request_uri", "request_uri_not_supported"),
        ("registration", "registration_not_supported"),
    ],
)
def test_what_is_not_supported_says_so(suite: Suite, parameter: str, error: str) -> None:
    """oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported, and what else §6, §7.2.1 name."""
    assert suite.authorize(**{parameter: "https://client.example/r"}).answer["error"] == error


def test_a_refresh_token_gives_the_same_person(suite: Suite) -> None:
    """oidcc-refresh-token: the new ID token has the iss, sub, aud and auth_time of the first (§12.2), and no nonce."""
    tokens = suite.sign_in(scope="openid offline_access")
    suite.server.clock.advance(10)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = suite.server.post("/token", form, client=CLIENT)
    fresh = claims_of(json.loads(answer.body)["id_token"])

    same = ("iss", "sub", "aud", "auth_time")
    assert [fresh[name] for name in same] == [tokens["claims"][name] for name in same]
    assert fresh["iat"] == tokens["claims"]["iat"] + 10


def test_another_clients_refresh_token_is_worth_nothing(suite: Suite) -> None:
    """oidcc-refresh-token, second client."""
    token = suite.sign_in()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "post", "client_secret": SECRET}
    answer = suite.browser.post("/token", form)

    assert (answer.status, json.loads(answer.body)["error"]) == (400, "invalid_grant")


def test_pkce_is_taken_from_a_client_that_could_do_without(suite: Suite) -> None:
    """oidcc-ensure-request-with-valid-pkce-succeeds; once begun, the verifier is needed."""
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"code_challenge": challenge, "code_challenge_method": "S256", "prompt": "login"}
    code = suite.browser.sign_in(suite.authorize(**asked)).answer["code"]
    without = suite.exchange(code)
    with_it = suite.exchange(code, code_verifier=verifier)

    assert (without.status, with_it.status) == (400, 200)


def test_one_sign_in_serves_all_clients_of_a_browser(suite: Suite) -> None:
    """Single sign-on: another client gets its code without a page; each has a session of its own."""
    first = suite.sign_in()["claims"]
    answer = suite.authorize(client_id="post")
    form = {"grant_type": "authorization_code", "code": answer.answer["code"], "redirect_uri": REDIRECT_URI}
    second = suite.browser.post("/token", {**form, "client_id": "post", "client_secret": SECRET})
    claims = claims_of(json.loads(second.body)["id_token"])

    assert (claims["sub"], claims["auth_time"]) == (first["sub"], first["auth_time"])
    assert claims["sid"] != first["sid"]


def test_a_sign_out_by_one_client_signs_out_of_all(suite: Suite) -> None:
    """Single sign-out: oidcc-rp-initiated-logout; every access token under the sign-in stops working."""
    first = suite.sign_in()
    answer = suite.authorize(client_id="post")
    form = {"grant_type": "authorization_code", "code": answer.answer["code"], "redirect_uri": REDIRECT_URI}
    exchanged = suite.browser.post("/token", {**form, "client_id": "post", "client_secret": SECRET})
    second = json.loads(exchanged.body)["access_token"]
    assert suite.userinfo(second).status == 200

    query = {"id_token_hint": first["id_token"], "post_logout_redirect_uri": "http://localhost:8100/bye", "state": "b"}
    out = suite.browser.get(f"/end_session?{urlencode(query)}")

    assert out.location == "http://localhost:8100/bye?state=b"
    assert [suite.userinfo(token).status for token in (first["access_token"], second)] == [401, 401]
    assert suite.authorize(prompt="none").answer["error"] == "login_required"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "/end_session"),
        ({"state": "s"}, "/end_session"),
        ({"id_token_hint": "x.y.z"}, None),
        ({"post_logout_redirect_uri": "https://evil.example/", "client_id": "web"}, None),
        ({"post_logout_redirect_uri": "http://localhost:8100/bye?added=1", "client_id": "web"}, None),
        ({"post_logout_redirect_uri": "http://localhost:8100/bye"}, None),
    ],
)
def test_a_doubtful_sign_out_asks_or_explains(suite: Suite, changes: dict[str, str], shown: str | None) -> None:
    """The logout plan's -no-params, -only-state, -bad-id-token-hint, -bad-post-logout-redirect-uri, -query-added-…"""
    suite.sign_in()
    answer = suite.browser.get(f"/end_session?{urlencode(changes)}")

    assert answer.location == ""
    if shown is not None:
        assert answer.forms[0][""] == shown
    else:
        assert answer.status == 400
    assert "code" in suite.authorize(prompt="none").answer  # still signed in


def test_the_metadata_is_what_the_config_plan_wants(suite: Suite) -> None:
    """oidcc-config: the members of OIDC Discovery §3 that are REQUIRED, and nothing announced that is refused."""
    metadata = json.loads(suite.browser.get("/.well-known/openid-configuration").body)
    required = {
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    }

    assert required <= metadata.keys()
    assert metadata["issuer"] == ISSUER
    for mode in metadata["response_modes_supported"]:
        answer = suite.authorize(response_mode=mode, prompt="none")
        assert "login_required" in (answer.text if mode == "form_post" else answer.location)
    for prompt in metadata["prompt_values_supported"]:
        assert suite.authorize(prompt=prompt).status in {200, 303}
    for name in ("request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"):
        assert metadata[name] is False
    assert {WEB.token_endpoint_auth_method, "client_secret_post"} <= set(
        metadata["token_endpoint_auth_methods_supported"]
    )
    assert json.loads(suite.browser.get("/jwks").body)["keys"]
