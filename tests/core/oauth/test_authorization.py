"""The authorization request: what is good, what goes to a page, and what goes back to the client."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.errors import RequestError
from portero.core.oauth.authorization import (
    MAX_CLIENT_ID,
    MAX_HINT,
    MAX_NONCE,
    MAX_STATE,
    PASSWORD_ACR,
    AuthorizationRequest,
    Prompt,
    RedirectedError,
    ResponseMode,
    ResponseTarget,
    code_response,
    error_response,
    expecting,
    registered_client,
    request_from_json,
    request_to_json,
    response_location,
    response_target,
    sign_in_suffices,
    unverified_client_id,
    validate_authorization_request,
)
from portero.core.oauth.claims_parameter import MAX_CLAIMS
from portero.core.oauth.forms import MAX_QUERY_BYTES, Parameters, parse_query
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import Client, ClientType, RefreshProfile, RotationPolicy
from portero.core.types import ClientId, Digest, Issuer, NumericDate, Secret, Subject

OFFERED = (PASSWORD_ACR,)
NOW = NumericDate(1_800_000_000)
ISS = Issuer("https://login.example")
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PUBLIC = Client(
    client_id=ClientId("spa"),
    client_name="The Page",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=("https://app.example/cb", "https://app.example/cb2?tenant=7"),
    post_logout_redirect_uris=(),
    grant_types=("authorization_code",),
    scope=("openid", "orders:read"),
    audiences=("https://api.example/", "https://files.example/"),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
CONFIDENTIAL = replace(
    PUBLIC,
    client_id=ClientId("web"),
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_basic",
    secret_digest=Digest(bytes(32)),
    require_pkce=False,
)
BROWSER = BrowserSession(
    id_digest=Digest(bytes(32)),
    subject=Subject("u-1"),
    auth_time=NumericDate(NOW - 100),
    acr="",
    amr=("pwd",),
    ends=NumericDate(NOW + 1000),
    device="",
)


def query(**changes: str | None) -> Parameters:
    good: dict[str, str | None] = {
        "client_id": "spa",
        "redirect_uri": "https://app.example/cb",
        "response_type": "code",
        "scope": "openid",
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return parse_query(urlencode({k: v for k, v in {**good, **changes}.items() if v is not None}).encode())


def validate(client: Client = PUBLIC, **changes: str | None) -> AuthorizationRequest:
    parameters = query(**changes)
    target = response_target(parameters, client=client)
    return validate_authorization_request(parameters, client=client, target=target, offered_acr=OFFERED)


def refusal(client: Client = PUBLIC, **changes: str | None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        validate(client, **changes)
    return caught.value


def test_a_good_request_is_understood_whole() -> None:
    """Every parameter of OIDC Core §3.1.2.1 that is supported reaches the record."""
    request = validate(
        scope="openid orders:read",
        resource="https://api.example/",
        nonce="n",
        prompt="login consent",
        max_age="60",
        login_hint="ana@example.org",
        ui_locales="es-AR en",
        acr_values="urn:a urn:b",
        claims='{"userinfo":{"email":null}}',
        dpop_jkt=CHALLENGE,
        response_mode="form_post",
    )

    assert request == AuthorizationRequest(
        client_id=ClientId("spa"),
        target=ResponseTarget("https://app.example/cb", ResponseMode.FORM_POST, "s"),
        scope=("openid", "orders:read"),
        resource=("https://api.example/",),
        nonce="n",
        code_challenge=CHALLENGE,
        prompt=frozenset({Prompt.LOGIN, Prompt.CONSENT}),
        max_age=60,
        login_hint="ana@example.org",
        ui_locales=("es-AR", "en"),
        acr_values=("urn:a", "urn:b"),
        claims='{"userinfo":{"email":null}}',
        dpop_jkt=CHALLENGE,
    )


def test_a_request_survives_the_store() -> None:
    """What is kept while the person signs in reads back equal."""
    request = expecting(
        validate(prompt="login", max_age="0", resource="https://api.example/", ui_locales="es", nonce="n"),
        subject=Subject("u-1"),
    )

    assert request == request_from_json(request_to_json(request))


# ── what goes to a page ──────────────────────────────────────────────────────────────


def test_an_unknown_client_is_told_on_a_page() -> None:
    """RFC 6749 §4.1.2.1: with an invalid client identifier the server MUST NOT redirect."""
    with pytest.raises(RequestError) as caught:
        registered_client(None)

    assert caught.value.error == "unauthorized_client"
    assert not isinstance(caught.value, RedirectedError)


def test_a_disabled_client_is_as_unknown() -> None:
    """A client that was switched off is served nothing."""
    with pytest.raises(RequestError):
        registered_client(replace(PUBLIC, enabled=False))


@pytest.mark.parametrize(("length", "good"), [(0, False), (1, True), (MAX_CLIENT_ID, True), (MAX_CLIENT_ID + 1, False)])
def test_a_client_id_has_a_length(length: int, good: bool) -> None:
    """Missing, empty and enormous identifiers are refused before anything is looked up."""
    parameters = query(client_id="x" * length)

    if good:
        assert unverified_client_id(parameters) == "x" * length
    else:
        with pytest.raises(RequestError):
            unverified_client_id(parameters)


@pytest.mark.parametrize(
    "redirect_uri",
    [
        None,
        "",
        "https://app.example/",
        "https://app.example/cb/",
        "https://app.example/cb?",
        "https://app.example/cb?x=1",
        "https://app.example/cb#",
        "https://app.example/cb%2f..",
        "https://app.example/CB",
        "https://APP.example/cb",
        "https://app.example:443/cb",
        "http://app.example/cb",
        "https://app.example.evil.example/cb",
        "https://app.example@evil.example/cb",
        "https://evil.example/?https://app.example/cb",
        "//app.example/cb",
        "/cb",
        "https:/app.example/cb",
        "https://app.example\\@evil.example/cb",
        " https://app.example/cb",
        "https://app.example/cb ",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example/cb" + "x" * 3000,
    ],
)
def test_a_redirect_uri_is_registered_to_the_letter(redirect_uri: str | None) -> None:
    """RFC 9700 §2.1: exact string matching; anything else is told on a page, never redirected."""
    error = refusal(redirect_uri=redirect_uri)

    assert error.error == "invalid_request"
    assert not isinstance(error, RedirectedError)


@pytest.mark.parametrize("name", ["state", "redirect_uri", "client_id", "scope", "response_type", "nonce"])
def test_a_doubled_parameter_is_told_on_a_page(name: str) -> None:
    """RFC 6749 §3.1: none is sent twice; which of two is meant is not for us to guess, nor where to redirect."""
    with pytest.raises(RequestError) as caught:
        parse_query(f"client_id=spa&redirect_uri=x&{name}=a&{name}=b".encode())

    assert caught.value.error == "invalid_request"
    assert not isinstance(caught.value, RedirectedError)


def test_an_enormous_query_is_refused_unread() -> None:
    """Both sides of the limit on query bytes."""
    parse_query(b"a=" + b"x" * (MAX_QUERY_BYTES - 2))

    with pytest.raises(RequestError):
        parse_query(b"a=" + b"x" * (MAX_QUERY_BYTES - 1))


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x"])
def test_even_a_registered_script_is_no_place(uri: str) -> None:
    """A registration that should not exist still does not turn a redirect into a script."""
    error = refusal(replace(PUBLIC, redirect_uris=(uri,)), redirect_uri=uri)

    assert not isinstance(error, RedirectedError)


# ── what goes back to the client ─────────────────────────────────────────────────────

REDIRECTED: list[tuple[dict[str, str | None], str]] = [
    ({"response_type": None}, "invalid_request"),
    ({"response_type": ""}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"response_mode": "web_message"}, "invalid_request"),
    ({"scope": None}, "invalid_scope"),
    ({"scope": ""}, "invalid_scope"),
    ({"scope": "admin"}, "invalid_scope"),
    ({"scope": "openid admin"}, "invalid_scope"),
    ({"scope": "openid  orders:read"}, "invalid_scope"),
    ({"scope": 'openid"'}, "invalid_scope"),
    ({"resource": "https://other.example/"}, "invalid_target"),
    ({"resource": "not a uri"}, "invalid_target"),
    ({"resource": "https://api.example/#f"}, "invalid_target"),
    ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": "s256"}, "invalid_request"),
    ({"code_challenge": CHALLENGE[:-1]}, "invalid_request"),
    ({"code_challenge": CHALLENGE + "x"}, "invalid_request"),
    ({"code_challenge": CHALLENGE[:-1] + "="}, "invalid_request"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"prompt": "create"}, "invalid_request"),
    ({"prompt": "None"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"max_age": "1.5"}, "invalid_request"),
    ({"max_age": "soon"}, "invalid_request"),
    ({"max_age": "٣"}, "invalid_request"),
    ({"max_age": "9" * 10}, "invalid_request"),
    ({"nonce": "n" * (MAX_NONCE + 1)}, "invalid_request"),
    ({"nonce": "ñ"}, "invalid_request"),
    ({"login_hint": "x" * (MAX_HINT + 1)}, "invalid_request"),
    ({"state": "é"}, "invalid_request"),
    ({"state": "s" * (MAX_STATE + 1)}, "invalid_request"),
    ({"acr_values": " ".join(map(str, range(17)))}, "invalid_request"),
    ({"ui_locales": "e" * 5000}, "invalid_request"),
    ({"dpop_jkt": "short"}, "invalid_request"),
    ({"claims": "{"}, "invalid_request"),
    ({"claims": "[]"}, "invalid_request"),
    ({"claims": "7"}, "invalid_request"),
    ({"claims": '{"id_token":[]}'}, "invalid_request"),
    ({"claims": '{"id_token":{"acr":7}}'}, "invalid_request"),
    ({"claims": '{"id_token":null}'}, "invalid_request"),
    ({"claims": '{"id_token":{"acr":{"essential":"yes"}}}'}, "invalid_request"),
    ({"claims": '{"id_token":{"acr":{"values":"urn:a"}}}'}, "invalid_request"),
    ({"claims": '{"id_token":{"acr":{"values":[7]}}}'}, "invalid_request"),
    ({"claims": '{"id_token":{"acr":{"value":7}}}'}, "invalid_request"),
    ({"claims": '{"id_token":{"acr":{"essential":true,"values":["urn:a"]}}}'}, "unmet_authentication_requirements"),
    ({"claims": '{"a":1,"a":2}'}, "invalid_request"),
    ({"claims": '{"id_token":{"sub":{"value":7}}}'}, "invalid_request"),
    ({"claims": '{"a":' * 300 + "1" + "}" * 300}, "invalid_request"),
    ({"claims": json.dumps({"a": "x" * MAX_CLAIMS})}, "invalid_request"),
    ({"request": "e30.e30."}, "request_not_supported"),
    ({"request_uri": "https://app.example/r"}, "request_uri_not_supported"),
    ({"registration": "{}"}, "registration_not_supported"),
]


@pytest.mark.parametrize(("changes", "expected"), REDIRECTED)
def test_a_refusal_goes_to_the_client_with_its_registered_error(changes: dict[str, str | None], expected: str) -> None:
    """RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6: one change to a good request, one error."""
    error = refusal(**changes)

    assert isinstance(error, RedirectedError)
    assert error.error == expected


def test_the_good_request_is_good() -> None:
    """What the refusals above change one thing of."""
    assert validate().code_challenge == CHALLENGE


def test_a_client_without_the_grant_is_unauthorized() -> None:
    """RFC 6749 §4.1.2.1: `unauthorized_client`."""
    assert refusal(replace(PUBLIC, grant_types=("client_credentials",))).error == "unauthorized_client"


def test_a_state_that_may_not_stand_in_an_answer_is_not_sent_back() -> None:
    """RFC 6749 appendix A.5: `state` is visible ASCII."""
    error = refusal(state="é")

    assert isinstance(error, RedirectedError)
    assert error.target.state is None


def test_the_longest_values_are_good() -> None:
    """The near side of each limit."""
    request = validate(state="s" * MAX_STATE, nonce="n" * MAX_NONCE, login_hint="x" * MAX_HINT, max_age="9" * 9)

    assert request.max_age == 999_999_999


def test_a_confidential_client_may_do_without_pkce() -> None:
    """Where its registration does not ask for it (only one module of the Basic profile sends it)."""
    assert validate(CONFIDENTIAL, code_challenge=None, code_challenge_method=None).code_challenge is None


def test_a_registration_may_ask_a_confidential_client_for_pkce() -> None:
    """`require_pkce` holds for every client type."""
    error = refusal(replace(CONFIDENTIAL, require_pkce=True), code_challenge=None, code_challenge_method=None)

    assert error.error == "invalid_request"


def test_an_app_on_loopback_may_listen_on_any_port() -> None:
    """RFC 8252 §7.3: the port is the one thing that may differ."""
    client = replace(PUBLIC, redirect_uris=("http://127.0.0.1/cb", "http://[::1]:1234/cb"))

    assert validate(client, redirect_uri="http://127.0.0.1:51004/cb").target.redirect_uri == "http://127.0.0.1:51004/cb"
    assert validate(client, redirect_uri="http://[::1]:7/cb").target.redirect_uri == "http://[::1]:7/cb"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1:51004/other",
        "http://127.0.0.2:51004/cb",
        "http://localhost:51004/cb",
        "https://127.0.0.1:51004/cb",
        "http://127.0.0.1:51004@evil.example/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:123456/cb",
        "http://127.0.0.1:51004/cb#x",
        "http://127.0.0.1.evil.example/cb",
    ],
)
def test_only_the_port_of_a_loopback_address_may_differ(redirect_uri: str) -> None:
    """RFC 8252 §7.3 and §8.3: nothing else, and not `localhost`."""
    error = refusal(replace(PUBLIC, redirect_uris=("http://127.0.0.1/cb",)), redirect_uri=redirect_uri)

    assert not isinstance(error, RedirectedError)


def test_a_confidential_client_has_no_loopback_exception() -> None:
    """It runs on a server, which knows its port."""
    client = replace(CONFIDENTIAL, redirect_uris=("http://127.0.0.1/cb",))

    assert not isinstance(refusal(client, redirect_uri="http://127.0.0.1:5/cb"), RedirectedError)


# ── is the sign-in enough ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"prompt": "none"}, True),
        ({"prompt": "consent"}, True),
        ({"prompt": "login"}, False),
        ({"prompt": "select_account"}, False),
        ({"max_age": "100"}, True),
        ({"max_age": "99"}, False),
        ({"max_age": "0"}, False),
        ({"claims": '{"id_token":{"sub":{"value":"u-1"}}}'}, True),
        ({"claims": '{"id_token":{"sub":{"value":"u-2"}}}'}, False),
    ],
)
def test_a_sign_in_answers_what_it_satisfies(changes: dict[str, str | None], expected: bool) -> None:
    """OIDC Core §3.1.2.1 and §5.5.1; signed in 100 seconds ago."""
    found = sign_in_suffices(validate(**changes), browser=BROWSER, authenticated=None, offered_acr=OFFERED, now=NOW)

    assert expected == found


def acr_claim(**entry: object) -> str:
    return json.dumps({"id_token": {"acr": entry}})


@pytest.mark.parametrize(
    ("acr", "changes", "expected"),
    [
        # The password can be asked for: a sign-in of another context does not do.
        ("urn:other", {"acr_values": PASSWORD_ACR}, False),
        ("urn:other", {"acr_values": f"urn:unknown {PASSWORD_ACR}"}, False),
        ("urn:other", {"claims": acr_claim(value=PASSWORD_ACR)}, False),
        ("urn:other", {"claims": acr_claim(essential=True, values=[PASSWORD_ACR])}, False),
        # It has what was asked for.
        (PASSWORD_ACR, {"acr_values": PASSWORD_ACR}, True),
        (PASSWORD_ACR, {"claims": acr_claim(essential=True, value=PASSWORD_ACR)}, True),
        ("urn:other", {"acr_values": f"urn:other {PASSWORD_ACR}"}, True),
        # Asking again would bring nothing better: a wish that cannot be met is not met (OIDC Core §3.1.2.1).
        ("urn:other", {"acr_values": "urn:unknown"}, True),
        (PASSWORD_ACR, {"acr_values": "urn:unknown"}, True),
        (PASSWORD_ACR, {"claims": acr_claim(values=["urn:unknown"])}, True),
        ("urn:other", {"claims": acr_claim(essential=True)}, True),
        # What is insisted on counts before what is wished for.
        ("urn:other", {"acr_values": "urn:other", "claims": acr_claim(essential=True, value=PASSWORD_ACR)}, False),
    ],
)
def test_a_context_that_can_be_had_is_asked_for(acr: str, changes: dict[str, str | None], expected: bool) -> None:
    """OIDC Core §5.5.1.1, RFC 9470 §5: step up where it helps, and never ask for nothing."""
    browser = replace(BROWSER, acr=acr)
    found = sign_in_suffices(validate(**changes), browser=browser, authenticated=None, offered_acr=OFFERED, now=NOW)

    assert found == expected


def test_a_wish_waits_with_its_transaction() -> None:
    """What is kept while the person signs in says the same afterwards; also what an older server kept."""
    request = validate(claims=acr_claim(essential=True, value=PASSWORD_ACR), acr_values="urn:a")
    older = json.loads(request_to_json(validate()))
    del older["essential_acr"]

    assert request_from_json(request_to_json(request)) == request
    assert request.essential_acr == (PASSWORD_ACR,)
    assert request_from_json(json.dumps(older)) == validate()


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"max_age": "0"}, {"prompt": "select_account"}])
def test_a_sign_in_made_for_the_request_answers_it(changes: dict[str, str | None]) -> None:
    """The person typed the password for this very request: asking again would never end."""
    request = validate(**changes)

    assert sign_in_suffices(request, browser=BROWSER, authenticated=BROWSER.id_digest, offered_acr=OFFERED, now=NOW)
    assert not sign_in_suffices(request, browser=BROWSER, authenticated=Digest(b"x" * 32), offered_acr=OFFERED, now=NOW)


def test_a_sign_in_made_for_the_request_is_still_of_the_right_person() -> None:
    """`id_token_hint` names who must sign in (OIDC Core §3.1.2.1)."""
    request = expecting(validate(), subject=Subject("u-2"))

    assert not sign_in_suffices(request, browser=BROWSER, authenticated=BROWSER.id_digest, offered_acr=OFFERED, now=NOW)


def test_a_sign_in_ends_at_its_end() -> None:
    """Both sides of `ends`."""
    request = validate()

    assert sign_in_suffices(
        request, browser=BROWSER, authenticated=None, offered_acr=OFFERED, now=NumericDate(BROWSER.ends - 1)
    )
    assert not sign_in_suffices(request, browser=BROWSER, authenticated=None, offered_acr=OFFERED, now=BROWSER.ends)
    assert not sign_in_suffices(request, browser=None, authenticated=None, offered_acr=OFFERED, now=NOW)


def test_two_people_cannot_both_be_expected() -> None:
    """A hint for one and a claim for another contradict each other."""
    request = validate(claims='{"id_token":{"sub":{"value":"u-1"}}}')

    assert expecting(request, subject=Subject("u-1")) == request
    with pytest.raises(RedirectedError):
        expecting(request, subject=Subject("u-2"))


# ── answers ──────────────────────────────────────────────────────────────────────────


def test_every_answer_names_its_issuer_and_returns_the_state() -> None:
    """RFC 9207 §2: errors included."""
    request = validate()
    members = code_response(request.target, code=Secret("c"), iss=ISS)
    error = refusal(scope="admin")
    assert isinstance(error, RedirectedError)

    assert members == {"code": "c", "state": "s", "iss": ISS}
    assert {"error": "invalid_scope", "state": "s", "iss": ISS}.items() <= error_response(error, iss=ISS).items()


def test_no_state_is_made_up() -> None:
    """RFC 6749 §4.1.2: `state` only where the request had one."""
    assert "state" not in code_response(validate(state=None).target, code=Secret("c"), iss=ISS)


def test_the_registered_query_is_kept() -> None:
    """RFC 6749 §3.1.2: the query component MUST be retained."""
    target = validate(redirect_uri="https://app.example/cb2?tenant=7").target

    assert response_location(target, {"code": "c"}) == "https://app.example/cb2?tenant=7&code=c"


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=80))
def test_a_state_comes_back_as_it_went(state: str) -> None:
    """Whatever visible ASCII it is made of, and it never adds a parameter or a fragment."""
    target = validate(state=state).target
    location = urlsplit(response_location(target, code_response(target, code=Secret("c"), iss=ISS)))

    assert location.fragment == ""
    assert parse_qs(location.query, keep_blank_values=True) == {"code": ["c"], "state": [state], "iss": [ISS]}


@given(st.text(max_size=60))
def test_no_redirect_uri_but_a_registered_one_is_ever_a_target(redirect_uri: str) -> None:
    """Whatever is sent: the target is one of the registered, or there is none."""
    parameters = Parameters({"redirect_uri": (redirect_uri,)} if redirect_uri else {})
    try:
        target = response_target(parameters, client=PUBLIC).redirect_uri
    except RequestError as error:
        target = None if not isinstance(error, RedirectedError) else error.target.redirect_uri

    assert target is None or target in PUBLIC.redirect_uris
