"""Signing in by another OpenID provider's word, and every lie it may tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from portero.authorization_server.config import Config
from portero.authorization_server.sign_in.methods import open_methods
from portero.core.errors import ConfigurationError
from portero.core.transitions import Decision, Delete, LinkedKey, SubjectKey
from portero.testing.tokens import new_key
from tests.authorization_server.browser.harness import ANA, ISSUER, Answer, Browser, Server
from tests.authorization_server.browser.lying_provider import CLIENT_ID, LyingProvider, acme_of, basic


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingProvider]:
    yield from acme_of(monkeypatch)


@pytest.fixture
def server(acme: LyingProvider) -> Server:
    return Server(config=config(acme))


def config(acme: LyingProvider, **changes: Any) -> Config:
    table = {
        "issuer": acme.issuer,
        "client_id": CLIENT_ID,
        "client_secret_env": "ACME_SECRET",
        "algorithms": ["ES256"],
        **changes,
    }
    return Config(issuer=ISSUER, sign_in={"password": {}, "openid": {"acme": table}})


def leave(browser: Browser, acme: LyingProvider, **parameters: str) -> dict[str, str]:
    """Begin a sign-in and leave for Acme. Returns the request that went there."""
    page = browser.authorize(**parameters)
    handle = page.form(username="")["login"]
    away = browser.get(f"/sign-in/openid/acme/start?login={handle}")
    assert away.location.startswith(f"{acme.issuer}/authorize?"), away.text
    request = {name: values[0] for name, values in parse_qs(urlsplit(away.location).query).items()}
    acme.nonce = request["nonce"]
    return request


def come_back(browser: Browser, request: dict[str, str], **changes: str | None) -> Answer:
    """The provider's redirect, and the page of ours that goes on by itself."""
    members = {"state": request["state"], "code": "c-1", **changes}
    query = urlencode({name: value for name, value in members.items() if value is not None})
    page = browser.get(f"{urlsplit(request['redirect_uri']).path}?{query}")
    if page.status != 200:
        return page
    onward = page.text.partition('content="0;url=')[2].partition('"')[0].replace("&amp;", "&")
    return browser.get(onward)


def test_a_person_signs_in_with_another_provider(server: Server, acme: LyingProvider) -> None:
    """PKCE, nonce and the client's own credential go there; the account is made from the link."""
    browser = server.browser()
    request = leave(browser, acme)
    answer = come_back(browser, request)

    assert "code" in answer.answer, answer.text
    assert request["code_challenge_method"] == "S256"
    assert len(acme.forms[0]["code_verifier"]) >= 43
    assert acme.authorizations == [basic(CLIENT_ID, "a%3Asecret%2Fwith%2Bsigns")]
    link = server.read(LinkedKey(acme.issuer, "ada-1"))
    found = server.read(SubjectKey(link.subject))
    assert (found.user.name, found.user.email) == ("Ada Lovelace", "ada@acme.example")
    assert found.browsers[0].auth_time == int(acme.now()) - 30
    assert found.browsers[0].acr == "urn:portero:openid:acme:unspecified"


def test_nobody_becomes_somebody_by_an_address_or_a_name(server: Server, acme: LyingProvider) -> None:
    """Another provider's "ana" with Ana's e-mail address is not our Ana."""
    acme.claims = {"email": ANA.email, "email_verified": True, "preferred_username": ANA.username, "name": ANA.name}
    browser = server.browser()
    come_back(browser, leave(browser, acme))

    assert server.read(LinkedKey(acme.issuer, "ada-1")).subject != ANA.subject
    assert server.read(SubjectKey(ANA.subject)).browsers == ()


def test_claims_are_taken_by_name_and_the_level_is_theirs(acme: LyingProvider) -> None:
    """The preset of Autenticar: `nivel` becomes `acr` under a prefix of its own, and no other claim comes along."""
    server = Server(config=config(acme, preset="autenticar"))
    acme.claims = {"cuit": "20111111112", "nivel": 3, "roles": ["admin"], "acr": "urn:portero:password"}
    browser = server.browser()
    come_back(browser, leave(browser, acme))
    session = server.read(SubjectKey(server.read(LinkedKey(acme.issuer, "ada-1")).subject)).browsers[0]

    assert session.acr == "urn:portero:autenticar:nivel:3"
    assert json.loads(session.vouched)["claims"] == {"cuit": "20111111112", "nivel": 3}


GOLD = "urn:portero:openid:acme:gold"


def test_a_class_of_sign_in_can_be_asked_for(acme: LyingProvider) -> None:
    """`acr_values` goes there in their words; what another sign-in brought does not do, and theirs does."""
    server = Server(config=config(acme, acr_values=["gold"]))
    browser = server.browser()
    browser.sign_in(browser.authorize())
    request = leave(browser, acme, acr_values=f"{GOLD} urn:other")
    assert request["acr_values"] == "gold"
    assert "acr_values" not in leave(server.browser(), acme)

    acme.nonce = request["nonce"]
    acme.claims = {"acr": "gold"}
    assert "code" in come_back(browser, request).answer
    assert "code" in browser.authorize(acr_values=GOLD).answer


@pytest.mark.parametrize(("acr", "said"), [("gold", "code"), ("silver", "error"), (None, "error")])
def test_a_class_that_is_insisted_on_is_there_or_nobody_is(acme: LyingProvider, acr: str | None, said: str) -> None:
    """OIDC Core §5.5.1.1: the provider may bring less than it was asked for, and the application gets none of it."""
    server = Server(config=config(acme, acr_values=["gold"]))
    browser = server.browser()
    acme.claims = {"acr": acr}
    claims = json.dumps({"id_token": {"acr": {"essential": True, "value": GOLD}}})
    answer = come_back(browser, leave(browser, acme, claims=claims)).answer

    assert said in answer
    assert answer.get("error") in (None, "unmet_authentication_requirements")


def test_asking_anew_is_passed_on(server: Server, acme: LyingProvider) -> None:
    """An application that wants a fresh sign-in is not served the provider's old one."""
    assert leave(server.browser(), acme, prompt="login")["prompt"] == "login"
    assert "prompt" not in leave(server.browser(), acme)
    picky = Server(config=config(acme, preset="google"))
    assert leave(picky.browser(), acme, prompt="login")["prompt"] == "select_account"


def _set(**changes: Any) -> Callable[[LyingProvider], None]:
    def change(acme: LyingProvider) -> None:
        for name, value in changes.items():
            setattr(acme, name, value)

    return change


@pytest.mark.parametrize(
    ("lie", "status"),
    [
        (_set(claims={"nonce": "another"}), 422),
        (_set(claims={"aud": "another"}), 422),
        (_set(claims={"aud": [CLIENT_ID, "other"]}), 422),
        (_set(claims={"iss": "https://another.example"}), 422),
        (_set(claims={"exp": 1}), 422),
        (_set(claims={"iat": 10**11}), 422),
        (_set(claims={"sub": ""}), 422),
        (_set(claims={"at_hash": "AAAA"}), 422),
        (_set(userinfo={"sub": "another"}), 422),
        (_set(status={"/token": 400}), 422),
        (_set(status={"/token": 503}), 503),
        (_set(status={"/jwks": 500}), 503),
        (_set(status={"/userinfo": 500}), 503),
        (_set(metadata={"issuer": "https://another.example"}), 503),
        (_set(metadata={"token_endpoint": "http://10.0.0.1/token"}), 503),
        (_set(metadata={"authorization_response_iss_parameter_supported": True}), 422),
    ],
)  # fmt: skip
def test_a_lie_leads_back_to_the_door(
    server: Server, acme: LyingProvider, lie: Callable[[LyingProvider], None], status: int
) -> None:
    """A clear page and a way back; nothing is made; what is not reachable is never the person's fault."""
    browser = server.browser()
    request = leave(browser, acme)
    lie(acme)
    answer = come_back(browser, request)

    assert answer.status == status
    assert "/sign-in/openid/acme/start?login=" in answer.text
    assert server.read(LinkedKey(acme.issuer, "ada-1")) is None
    assert not [name for name in browser.cookies if name.endswith("_session")]


def test_a_signature_of_another_key_is_none(server: Server, acme: LyingProvider) -> None:
    """The key is one the provider publishes, whatever its name."""
    browser = server.browser()
    request = leave(browser, acme)
    acme.signs_with = acme.stranger

    assert come_back(browser, request).status == 422


@pytest.mark.parametrize(
    "changes", [{"iss": "https://another.example"}, {"code": None, "error": "access_denied"}, {"code": None}]
)
def test_an_answer_that_is_none_leads_back(server: Server, acme: LyingProvider, changes: dict[str, str | None]) -> None:
    """Another provider's `iss` (RFC 9207), a refusal, or nothing; no code goes anywhere."""
    browser = server.browser()
    answer = come_back(browser, leave(browser, acme), **changes)

    assert answer.status == 422
    assert acme.forms == []


def test_a_state_counts_in_the_browser_that_left(server: Server, acme: LyingProvider) -> None:
    """Another browser, another state, an old one: none is redeemed."""
    browser, thief = server.browser(), server.browser()
    old = leave(browser, acme)
    mine = leave(browser, acme)

    assert come_back(thief, mine).status == 400
    assert come_back(browser, {**mine, "state": mine["state"][:-1] + "_"}).status == 400
    assert come_back(browser, {**mine, "state": mine["state"][:16]}).status == 400
    assert acme.forms == []
    acme.nonce = old["nonce"]
    assert "code" in come_back(browser, old).answer
    assert come_back(browser, old).status == 400


def test_a_provider_that_is_gone_is_said_so(server: Server, acme: LyingProvider) -> None:
    """The door says it, before anybody is sent anywhere."""
    browser = server.browser()
    handle = browser.authorize().form(username="")["login"]
    acme.status["/.well-known/openid-configuration"] = 500
    answer = browser.get(f"/sign-in/openid/acme/start?login={handle}")

    assert answer.status == 503
    assert "/sign-in/openid/acme/start?login=" in answer.text


def _logged_out(server: Server, token: str) -> int:
    return server.browser().post("/sign-in/openid/acme/backchannel-logout", {"logout_token": token}).status


def test_signed_out_there_is_signed_out_here(server: Server, acme: LyingProvider) -> None:
    """Back-channel logout ends the sessions of that sign-in, and no other person's or provider's."""
    browser, other = server.browser(), server.browser()
    come_back(browser, leave(browser, acme))
    other.sign_in(other.authorize())
    subject = server.read(LinkedKey(acme.issuer, "ada-1")).subject

    assert _logged_out(server, acme.logout_token(sid="another")) == 200
    assert len(server.read(SubjectKey(subject)).browsers) == 1
    assert _logged_out(server, acme.logout_token()) == 200
    assert server.read(SubjectKey(subject)).browsers == ()
    assert len(server.read(SubjectKey(ANA.subject)).browsers) == 1


def test_a_session_that_ended_there_is_found_by_its_name_alone(server: Server, acme: LyingProvider) -> None:
    """Back-Channel Logout §2.4: `sub` may be missing where there is a `sid`; another session's person stays."""
    first, second = server.browser(), server.browser()
    come_back(first, leave(first, acme))
    acme.claims = {"sub": "eve-1", "sid": "s-2"}
    acme.userinfo = {"sub": "eve-1"}
    come_back(second, leave(second, acme))
    ada, eve = (server.read(LinkedKey(acme.issuer, who)).subject for who in ("ada-1", "eve-1"))

    assert _logged_out(server, acme.logout_token(sub=None, sid="s-3")) == 200
    assert [len(server.read(SubjectKey(who)).browsers) for who in (ada, eve)] == [1, 1]
    assert _logged_out(server, acme.logout_token(sub=None)) == 200
    assert [len(server.read(SubjectKey(who)).browsers) for who in (ada, eve)] == [0, 1]
    assert _logged_out(server, acme.logout_token(sub=None, sid=None)) == 400


def test_a_sign_in_outlives_its_link_and_ends_with_its_session(server: Server, acme: LyingProvider) -> None:
    """The identity was taken from the account meanwhile: the sign-in that it opened is still that provider's to end."""
    browser = server.browser()
    come_back(browser, leave(browser, acme))
    key = LinkedKey(acme.issuer, "ada-1")
    subject = server.read(key).subject
    taken: Decision[None] = Decision(None, (Delete(key),))
    asyncio.run(server.store.transition(key, lambda _: taken, now=server.context.now()))

    assert _logged_out(server, acme.logout_token(sub="eve-1")) == 200
    assert len(server.read(SubjectKey(subject)).browsers) == 1
    assert _logged_out(server, acme.logout_token()) == 200
    assert server.read(SubjectKey(subject)).browsers == ()


def test_a_flood_of_logout_tokens_makes_us_ask_once(server: Server, acme: LyingProvider) -> None:
    """Nobody who posts has shown who they are: keys are kept, a new one is found, and invented names cost nothing."""
    acme.asked.clear()
    acme.signs_with = acme.stranger
    assert {_logged_out(server, acme.logout_token(jti=str(n))) for n in range(20)} == {400}
    acme.signs_with = new_key("ES256", kid="invented")
    assert {_logged_out(server, acme.logout_token(jti=str(n))) for n in range(20)} == {400}
    assert acme.asked.count("/jwks") == 1

    server.clock.advance(6)
    acme.key = acme.signs_with = new_key("ES256", kid="two")
    assert _logged_out(server, acme.logout_token()) == 200
    assert acme.asked.count("/jwks") == 2


def test_keys_that_cannot_be_had_are_not_asked_for_each_time(server: Server, acme: LyingProvider) -> None:
    """A provider that is away is left alone for a while, and what comes meanwhile is told to come again."""
    acme.asked.clear()
    acme.status["/jwks"] = 500
    assert {_logged_out(server, acme.logout_token()) for _ in range(20)} == {503}
    assert acme.asked.count("/jwks") == 1

    acme.status.clear()
    server.clock.advance(2)
    assert _logged_out(server, acme.logout_token()) == 200


def _sign_out(browser: Browser, **parameters: str) -> Answer:
    page = browser.get(f"/end_session?{urlencode(parameters)}")
    return browser.post("/end_session", {**page.form(form_token=page.forms[0]["form_token"]), "decision": "sign_out"})


def test_our_sign_out_goes_on_there_and_comes_back(acme: LyingProvider) -> None:
    """RP-Initiated Logout §2: ours has ended before; the hint is theirs; the application gets its answer."""
    server = Server(config=config(acme, sign_out=True))
    acme.metadata = {"end_session_endpoint": f"{acme.issuer}/end"}
    browser = server.browser()
    come_back(browser, leave(browser, acme))
    subject = server.read(LinkedKey(acme.issuer, "ada-1")).subject
    page = _sign_out(browser, client_id="shop", post_logout_redirect_uri="http://localhost:8100/bye", state="x")
    onward = page.text.partition('content="0;url=')[2].partition('"')[0].replace("&amp;", "&")
    members = {name: values[0] for name, values in parse_qs(urlsplit(onward).query).items()}

    assert onward.startswith(f"{acme.issuer}/end?")
    assert server.read(SubjectKey(subject)).browsers == ()
    assert not [name for name in browser.cookies if name.endswith("_session")]
    assert members["id_token_hint"].count(".") == 2
    assert members["client_id"] == CLIENT_ID
    assert members["post_logout_redirect_uri"] == f"{ISSUER}/sign-in/openid/acme/signed-out"
    back = browser.get(f"/sign-in/openid/acme/signed-out?state={members['state']}")
    assert browser.follow(back).location == "http://localhost:8100/bye?state=x"
    assert browser.get("/sign-in/openid/acme/signed-out?state=//evil.example").location == "/signed-out"


@pytest.mark.parametrize("gone", ["setting", "endpoint", "provider"])
def test_our_sign_out_ends_here_where_it_cannot_go_on(acme: LyingProvider, gone: str) -> None:
    """Not set, not offered, or not there: the person is signed out, and told so."""
    server = Server(config=config(acme, sign_out=gone != "setting"))
    acme.metadata = {} if gone == "endpoint" else {"end_session_endpoint": f"{acme.issuer}/end"}
    browser = server.browser()
    come_back(browser, leave(browser, acme))
    if gone == "provider":
        acme.status["/.well-known/openid-configuration"] = 500
    page = _sign_out(browser)

    assert (page.status, "0;url=" in page.text) == (200, False)
    assert server.read(SubjectKey(server.read(LinkedKey(acme.issuer, "ada-1")).subject)).browsers == ()


def test_an_id_token_signs_nobody_out(server: Server, acme: LyingProvider) -> None:
    """Nor does a stranger's, or one for another client; and what we cannot check is 503, not their mistake."""
    browser = server.browser()
    come_back(browser, leave(browser, acme))

    assert _logged_out(server, acme.id_token()) == 400
    assert _logged_out(server, acme.logout_token(aud="another")) == 400
    assert _logged_out(server, "x") == 400
    acme.status["/jwks"] = 500
    assert _logged_out(Server(config=config(acme)), acme.logout_token()) == 503
    assert len(server.read(SubjectKey(server.read(LinkedKey(acme.issuer, "ada-1")).subject)).browsers) == 1


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"preset": "gogle"}, "preset"),
        ({"issuer": "http://acme.example"}, "issuer"),
        ({"issuer": None}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"scopes": ["profile"]}, "scopes"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"claims": {"sub": "x"}}, "claims.sub"),
        ({"claims": {"roles": "x"}}, "claims.roles"),
        ({"acr_values": "gold"}, "acr_values"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_a_provider_that_is_set_wrong_stops_the_start(changes: dict[str, Any], setting: str) -> None:
    """The setting is named."""
    table = {"issuer": "https://acme.example", "client_id": "portero", **changes}
    with pytest.raises(ConfigurationError) as refused:
        open_methods({"openid": {"acme": table}})

    assert refused.value.setting == f"sign_in.openid.acme.{setting}"
