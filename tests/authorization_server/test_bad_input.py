"""Bad input at every endpoint: the registered error, at the redirect URI only when that is safe, else on a page.

Each parameter missing, doubled, empty, enormous and of the wrong kind; and bytes that nobody would send. No open
redirect, no reflected script, no trace, and never an error of ours.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portero.authorization_server.config import Config
from tests.authorization_server.browser.harness import ANA, CHALLENGE, ISSUER, REDIRECT_URI, Answer, Browser
from tests.authorization_server.whole import SECRET, WholeServer, basic

SCRIPT = '"><script>alert(1)</script>'
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
AUTHORIZE = {
    "client_id": "shop",
    "redirect_uri": REDIRECT_URI,
    "response_type": "code",
    "scope": "openid profile",
    "state": "st-1",
    "nonce": "n-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "prompt": "login",
    "max_age": "60",
    "login_hint": "ana",
    "ui_locales": "es",
    "acr_values": "urn:portero:password",
    "response_mode": "query",
    "resource": "https://shop.example/orders",
    "claims": "{}",
    "id_token_hint": "x",
    "dpop_jkt": CHALLENGE,
}
FORMS: dict[str, dict[str, dict[str, str]]] = {
    "GET /authorize": {"": AUTHORIZE},
    "POST /authorize": {"": AUTHORIZE},
    "POST /par": {"": {**AUTHORIZE, "client_id": "web"}},
    "POST /token": {
        "code": {
            "grant_type": "authorization_code",
            "code": "x",
            "redirect_uri": REDIRECT_URI,
            "code_verifier": "v" * 43,
            "resource": "https://shop.example/orders",
        },
        "refresh": {
            "grant_type": "refresh_token",
            "refresh_token": "x",
            "refresh_attempt": "A" * 22,
            "scope": "openid",
        },
        "client": {"grant_type": "client_credentials", "scope": "openid"},
        "exchange": {
            "grant_type": EXCHANGE,
            "subject_token": "x",
            "subject_token_type": ACCESS_TOKEN,
            "audience": "https://shop.example/orders",
        },
    },
    "POST /revoke": {"": {"token": "x", "token_type_hint": "access_token"}},
    "POST /introspect": {"": {"token": "x", "token_type_hint": "access_token"}},
    "POST /userinfo": {"": {"access_token": "x"}},
    "GET /end_session": {
        "": {
            "id_token_hint": "x",
            "client_id": "shop",
            "post_logout_redirect_uri": "http://localhost:8100/bye",
            "state": "s",
            "ui_locales": "es",
        }
    },
    "POST /end_session": {"": {"client_id": "shop", "form_token": "x", "decision": "sign_out"}},
    "GET /sign-in": {"": {"login": "0" * 16, "ui_locales": "es"}},
    "POST /sign-in": {"": {"login": "0" * 16, "form_token": "x", "username": "ana", "password": "x"}},
    "POST /consent": {"": {"login": "0" * 16, "form_token": "x", "decision": "allow"}},
    "GET /account": {"": {"done": "ended", "ui_locales": "es"}},
    "POST /account": {"": {"form_token": "x", "action": "rename", "sid": "x", "name": "x"}},
    "POST /account/applications": {"": {"form_token": "x", "client_id": "stranger"}},
    "POST /account/password": {
        "": {"form_token": "x", "password": "x", "new_password": "y", "new_password_again": "y"}
    },
    "GET /operator": {"": {"q": "ana", "after": "b"}},
    "GET /operator/person": {"": {"subject": "u-ana"}},
    "POST /operator/person": {"": {"form_token": "x", "action": "end", "sid": "x", "subject": "u-ana"}},
    "GET /signed-out": {"": {"from": "here"}},
}
CASES = [
    pytest.param(endpoint, form, name, id=f"{endpoint} {kind} {name}".replace("  ", " "))
    for endpoint, forms in FORMS.items()
    for kind, form in forms.items()
    for name in form
]
SAFE = (REDIRECT_URI, "http://localhost:8100/bye")


def mutations(name: str, value: str) -> dict[str, str]:
    """One parameter, wrong in every way: what is wrong → how it is sent."""
    values = {
        "empty": "",
        "enormous": "x" * 7000,
        "script": SCRIPT,
        "elsewhere": "https://evil.example/",
        "scheme": "javascript:alert(1)",
        "json": '{"sub":{"value":7}}',
        "number": "-1",
    }
    return {
        "missing": "",
        "doubled": urlencode([(name, value), (name, value)]),
        "control": f"{name}=a%00b%0d%0aset-cookie:%20x",
        "not utf-8": f"{name}=%ff%fe",
        "broken escape": f"{name}=%zz",
        "list": urlencode({f"{name}[]": value}),
        **{kind: urlencode({name: wrong}) for kind, wrong in values.items()},
    }


def signed_in() -> Browser:
    """Ana, who has the role for the console as well, on a server with everything on."""
    config = Config(issuer=ISSUER, console_role="operators", dynamic_registration=True)
    server = WholeServer(config=config, real_keys=True)
    browser = server.browser()
    browser.sign_in(browser.authorize())
    server.become_operator(ANA)
    return browser


def send(browser: Browser, endpoint: str, encoded: str) -> Answer:
    method, path = endpoint.split()
    if method == "GET":
        return browser.get(f"{path}?{encoded}")
    headers = {"authorization": basic("web", SECRET)} if path in {"/token", "/par", "/revoke", "/introspect"} else {}
    return browser.post(path, encoded.encode("latin-1"), **headers)


def expect_harmless(answer: Answer) -> None:
    """What every answer to anything has in common."""
    assert answer.status < 500, answer.text
    assert "<script>alert" not in answer.text
    assert "Traceback" not in answer.text
    assert not any(name == "set-cookie" and value.startswith("x") for name, value in answer.headers)
    location = answer.location
    if location:
        assert location.startswith("/") or location.partition("?")[0] in SAFE, location
        assert not location.startswith("//")
    if answer.header("content-type").startswith("application/json") and answer.status >= 400:
        assert re.fullmatch("[a-z_]+", json.loads(answer.body)["error"])


@pytest.mark.parametrize(("endpoint", "form", "name"), CASES)
def test_a_wrong_parameter_is_answered_and_does_no_harm(endpoint: str, form: dict[str, str], name: str) -> None:
    """All mutations of one parameter, the others good."""
    browser = signed_in()
    others = urlencode({key: value for key, value in form.items() if key != name})
    for wrong in mutations(name, form[name]).values():
        expect_harmless(send(browser, endpoint, "&".join(filter(None, (others, wrong)))))


@pytest.mark.parametrize("endpoint", FORMS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_no_bytes_do_harm(endpoint: str, data: Any) -> None:
    """Arbitrary bytes as a form or query, alone and behind good parameters."""
    browser = _BROWSERS.setdefault("one", signed_in())
    good = urlencode(next(iter(FORMS[endpoint].values())))
    raw = data.draw(st.binary(max_size=200) | st.text(alphabet="&=%+;#?[]0aé\x00", max_size=60).map(str.encode))
    encoded = raw.decode("latin-1")
    if endpoint.startswith("GET"):
        encoded = "".join(c for c in encoded if c not in " #\r\n\x00")
    expect_harmless(send(browser, endpoint, data.draw(st.sampled_from([encoded, f"{good}&{encoded}"]))))


_BROWSERS: dict[str, Browser] = {}


@pytest.mark.parametrize("name", [name for name in AUTHORIZE if name not in {"client_id", "redirect_uri"}])
def test_an_error_goes_to_the_client_once_its_redirect_uri_is_good(name: str) -> None:
    """RFC 6749 §4.1.2.1: with a registered code, the state and the issuer, wherever the fault is in a parameter."""
    browser = WholeServer().browser()
    good = {key: value for key, value in AUTHORIZE.items() if key not in {"id_token_hint", "prompt"}}
    answer = browser.get(f"/authorize?{urlencode({**good, name: f'é{SCRIPT}'})}")

    if answer.location.startswith("/"):
        assert name in {"login_hint", "acr_values", "ui_locales"}  # a wish or a text, and no fault
        return
    assert answer.location.startswith(f"{REDIRECT_URI}?")
    said = dict(parse_qsl(urlsplit(answer.location).query))
    assert re.fullmatch("[a-z_]+", said["error"])
    assert said["iss"] == ISSUER
    assert said.get("state") == (None if name == "state" else "st-1")


@pytest.mark.parametrize("client_id", ["nobody", "x" * 600, SCRIPT, "https://evil.example/client"])
def test_an_unknown_client_is_told_to_the_person(client_id: str) -> None:
    """No redirect, nothing reflected."""
    answer = WholeServer().browser().get(f"/authorize?{urlencode({**AUTHORIZE, 'client_id': client_id})}")

    assert (answer.status, answer.location) == (400, "")
    assert client_id not in answer.text
