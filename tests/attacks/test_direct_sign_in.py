"""The side door: what goes wrong where applications ask for passwords themselves, and must not here."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from portero.core.errors import ConfigurationError
from portero.core.events import EventName
from portero.core.registration import check_client
from portero.core.transitions import SubjectKey
from portero.core.types import ClientId, Secret, Subject
from portero.testing.proofs import DpopKey
from tests.authorization_server.browser.harness import CHALLENGE, ISSUER, PASSWORD, STRANGER, Answer, Browser
from tests.authorization_server.direct import APP, DESK, PATH, TYPED, App, claims_of, make_server, said
from tests.authorization_server.whole import WholeServer

OTHER_CHALLENGE = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg"


@pytest.fixture(name="server")
def _server() -> WholeServer:
    return make_server()


@pytest.fixture(name="app")
def _app(server: WholeServer) -> App:
    return App(server)


@pytest.mark.parametrize("client_id", ["shop", "stranger"])
def test_an_application_that_may_not_ask_learns_nothing(server: WholeServer, client_id: str) -> None:
    """Phishing: a first party without the setting, or a third party, gets no answer about any password."""
    client = replace(APP, client_id=ClientId(client_id))
    answers = [App(server, client).begin(username="ana", password=password) for password in (PASSWORD, "wrong")]

    assert answers[0].body == answers[1].body
    assert (answers[0].status, said(answers[0])["error"]) == (400, "unauthorized_client")
    assert "direct_sign_in" in said(answers[0])["error_description"]
    assert server.passwords.verified == 0


def test_a_third_party_cannot_be_registered_for_it() -> None:
    """People type their passwords into applications of the house only; and a client of others never becomes one."""
    with pytest.raises(ConfigurationError, match="direct_sign_in"):
        check_client(replace(STRANGER, direct_sign_in=True))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil.example", ISSUER])
def test_another_sites_page_cannot_use_peoples_browsers_to_guess(server: WholeServer, origin: str) -> None:
    """CSRF: another site's form reaches us without a preflight. Nothing is looked at, nobody is held back for it."""
    app = App(server)
    answers = [app.begin(headers={"origin": origin}, **TYPED) for _ in range(8)]

    assert {(each.status, said(each)["error"]) for each in answers} == {(403, "unauthorized_client")}
    assert {each.header("access-control-allow-origin") for each in answers} == {""}
    assert server.passwords.verified == 0
    assert app.begin(**TYPED).status == 200


def test_a_browsers_cookies_mean_nothing_here(server: WholeServer) -> None:
    """Whoever is signed in in the browser is not signed in by it: only what is typed counts."""
    browser = server.browser()
    browser.sign_in(browser.authorize())
    answer = browser.post(PATH, _request())

    assert browser.cookies
    assert (answer.status, said(answer)["error"]) == (403, "insufficient_authorization")


def test_the_side_door_counts_with_the_front_door(app: App, server: WholeServer) -> None:
    """Brute force: after five guesses, some there and some here, the sixth waits at both; a right one waits too."""
    browser = server.browser()
    page = browser.authorize()
    for _ in range(3):
        page = browser.sign_in(page, password="guess")
    statuses = [app.begin(username="ANA ", password="guess").status for _ in range(2)]
    here, there = app.begin(**TYPED), browser.sign_in(page)
    verified = server.passwords.verified
    elsewhere = App(server, peer="198.51.100.9").begin(**TYPED)

    assert statuses == [403, 403]
    assert (here.status, here.header("retry-after"), there.status) == (429, "1", 429)
    assert "authorization_code" not in said(here)
    assert (elsewhere.status, verified) == (429, 5)
    assert [each.name for each in server.events.seen].count(EventName.SIGN_IN_FAILED) == 8


def test_a_new_auth_session_is_no_new_account_of_guesses(app: App, server: WholeServer) -> None:
    """Neither beginning again nor going on forgives a failure."""
    session = said(app.begin())["auth_session"]
    for _ in range(3):
        session = said(app.go_on(session, username="ana", password="guess"))["auth_session"]
    for _ in range(2):
        app.begin(username="ana", password="guess")
    held = app.go_on(session, **TYPED)
    server.clock.advance(1)
    later = app.go_on(session, **TYPED)

    assert held.status == 429
    assert later.status == 200


def test_an_unknown_name_costs_what_a_known_one_does(app: App, server: WholeServer) -> None:
    """Enumeration: the same work, the same words, the same waits."""
    known = [app.begin(username="ana", password="guess") for _ in range(6)]
    other = App(server, peer="198.51.100.9")
    unknown = [other.begin(username="nobody", password="guess") for _ in range(6)]

    assert server.passwords.verified == 10
    assert [_words(each) for each in known] == [_words(each) for each in unknown]


def test_a_stolen_auth_session_is_of_no_use_to_another_client(app: App, server: WholeServer) -> None:
    """Swapping: it is bound to who began; and the thief's attempt does not use it up."""
    session = said(app.begin())["auth_session"]
    desk = App(server, DESK).go_on(session, **TYPED)
    shop = App(server, replace(APP, client_id=ClientId("shop"))).go_on(session, **TYPED)

    assert said(desk)["error"] == "invalid_session"
    assert said(shop)["error"] == "unauthorized_client"
    assert server.passwords.verified == 0
    assert app.go_on(session, **TYPED).status == 200


def test_a_confidential_clients_auth_session_does_not_speak_for_its_secret(server: WholeServer) -> None:
    """The name it stands for is a name: who it names has to authenticate."""
    session = said(App(server, DESK).begin())["auth_session"]
    answer = App(server).go_on(session, client_id=None, **TYPED)

    assert (answer.status, said(answer)["error"]) == (401, "invalid_client")
    assert server.passwords.verified == 0


def test_a_planted_auth_session_gives_its_planter_nothing(app: App) -> None:
    """Fixation: the code of the person who types goes to their app, bound to a challenge; the value is used up."""
    planted = said(app.begin(code_challenge=OTHER_CHALLENGE))["auth_session"]
    code = said(app.go_on(planted, **TYPED))["authorization_code"]

    assert said(app.go_on(planted, **TYPED))["error"] == "invalid_session"
    assert said(app.redeem(code))["error"] == "invalid_grant"


def test_a_follow_up_changes_nothing_of_the_request(app: App) -> None:
    """What was begun is what is finished: no wider scope, no other challenge, no other place."""
    session = said(app.begin(scope="openid"))["auth_session"]
    changed = {"scope": "openid profile orders:read", "code_challenge": OTHER_CHALLENGE, "nonce": "n-2"}
    tokens = said(app.redeem(said(app.go_on(session, **TYPED, **changed))["authorization_code"]))

    assert claims_of(tokens["access_token"])["scope"] == "openid"
    assert claims_of(tokens["id_token"])["nonce"] == "n-1"


def test_an_auth_session_is_nothing_but_that(app: App, server: WholeServer) -> None:
    """One purpose: no cookie of a sign-in page, no pushed request; and neither of them is an `auth_session`."""
    session = said(app.begin())["auth_session"]
    browser = server.browser()
    browser.authorize()
    ((name, secret),) = browser.cookies.items()
    stolen = Browser(server, cookies={name: session})
    handle = name.rpartition("-")[2] if "-" in name else name.rpartition("_")[2]
    reference = {"client_id": "app", "request_uri": f"urn:ietf:params:oauth:request_uri:{session}"}
    pushed = said(server.post("/par", {**_request("web"), "redirect_uri": APP.redirect_uris[0]}))["request_uri"]

    assert stolen.get(f"/sign-in?login={handle}").status == 400
    assert browser.get(f"/authorize?{urlencode(reference)}").status == 400
    for other in (secret, pushed.rpartition(":")[2]):
        assert said(app.go_on(other, **TYPED))["error"] == "invalid_session"
    assert app.go_on(session, **TYPED).status == 200


def test_of_two_at_once_one_gets_a_code(app: App, server: WholeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay: the same answer sent twice, side by side, opens one session."""
    session = said(app.begin())["auth_session"]
    body = urlencode({"client_id": "app", "auth_session": session, **TYPED}).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}

    async def both() -> list[Answer]:
        # Both are looked at before either is answered.
        together, verify = asyncio.Barrier(2), server.passwords.verify

        async def verified(password: Secret[str], phc: str | None) -> bool:
            await together.wait()
            return await verify(password, phc)

        monkeypatch.setattr(server.passwords, "verify", verified)
        browsers = (Browser(server), Browser(server))
        return list(await asyncio.gather(*(each.sent("POST", PATH, body, headers=form) for each in browsers)))

    answers = asyncio.run(both())

    assert sorted(each.status for each in answers) == [200, 400]
    assert len(server.read(SubjectKey(Subject("u-ana"))).browsers) == 1


def test_a_code_is_used_once(app: App, server: WholeServer) -> None:
    """RFC 6749 §4.1.2: the second use ends what the first opened."""
    code = said(app.begin(**TYPED))["authorization_code"]
    first, second = app.redeem(code), app.redeem(code)

    assert (first.status, said(second)["error"]) == (200, "invalid_grant")
    assert not server.read(SubjectKey(Subject("u-ana"))).sessions


@pytest.mark.parametrize("verifier", [None, "w" * 43])
def test_a_stolen_code_needs_the_verifier(app: App, verifier: str | None) -> None:
    """RFC 7636: always, for every client."""
    code = said(app.begin(**TYPED))["authorization_code"]

    assert said(app.redeem(code, code_verifier=verifier))["error"] == "invalid_grant"
    assert said(App(app.server, DESK).redeem(code))["error"] == "invalid_grant"
    assert app.redeem(code).status == 200


def test_a_code_asked_for_with_a_key_is_redeemed_with_that_key(app: App) -> None:
    """§9.5.1, RFC 9449 §10: without the proof, or with another's, it is worth nothing."""
    key, thief = DpopKey(), DpopKey()
    code = said(app.begin(headers=_proof(app, key), **TYPED))["authorization_code"]

    assert said(app.redeem(code))["error"] == "invalid_grant"
    assert said(app.redeem(code, headers=_proof(app, thief, "token")))["error"] == "invalid_grant"
    tokens = said(app.redeem(code, headers=_proof(app, key, "token")))
    assert claims_of(tokens["access_token"])["cnf"] == key.cnf


def test_an_auth_session_begun_with_a_key_goes_on_with_that_key(app: App) -> None:
    """§9.6.1: captured and sent from another device it is refused, and the owner's stays good."""
    key = DpopKey()
    session = said(app.begin(headers=_proof(app, key)))["auth_session"]
    bare, other = app.go_on(session, **TYPED), app.go_on(session, headers=_proof(app, DpopKey()), **TYPED)

    assert [said(each)["error"] for each in (bare, other)] == ["invalid_dpop_proof"] * 2
    assert app.server.passwords.verified == 0
    assert app.go_on(session, headers=_proof(app, key), **TYPED).status == 200


def test_a_proof_is_for_one_request_here(app: App) -> None:
    """Replayed, or made for the token endpoint, it is refused; `dpop_jkt` cannot name another key."""
    key = DpopKey()
    proof = _proof(app, key)

    assert app.begin(headers=proof).status == 403
    assert said(app.begin(headers=proof))["error"] == "invalid_dpop_proof"
    assert said(app.begin(headers=_proof(app, key, "token")))["error"] == "invalid_dpop_proof"
    assert said(app.begin(headers=_proof(app, key), dpop_jkt=DpopKey().thumbprint))["error"] == "invalid_dpop_proof"


def test_what_was_typed_is_in_no_record_and_no_event(app: App, server: WholeServer) -> None:
    """A password typed as a name is a password."""
    for typed in ({"username": PASSWORD, "password": "x"}, {"username": "ana", "password": "s3cret-typo"}):
        app.begin(**typed)
    stored = repr(list(vars(server.store).values()))

    assert "s3cret-typo" not in stored
    assert "s3cret-typo" not in repr(server.events.seen)
    assert PASSWORD not in repr(server.events.seen)


def _request(client_id: str = "app") -> dict[str, str]:
    pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    return {"client_id": client_id, "response_type": "code", "scope": "openid", **pkce}


def _proof(app: App, key: DpopKey, endpoint: str = "authorization_challenge") -> dict[str, str]:
    """A proof with the nonce that the endpoint gives."""
    asked = app.begin(headers={"dpop": key.proof(None, "POST", f"{ISSUER}{PATH}", clock=app.server.clock)})
    nonce = asked.header("dpop-nonce")
    return {"dpop": key.proof(None, "POST", f"{ISSUER}/{endpoint}", clock=app.server.clock, nonce=nonce)}


def _words(answer: Answer) -> tuple[int, str, dict[str, object]]:
    members = {name: each for name, each in said(answer).items() if name != "auth_session"}
    return answer.status, answer.header("retry-after"), members
