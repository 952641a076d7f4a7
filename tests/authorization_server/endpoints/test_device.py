"""`POST /device_authorization`, and `grant_type=urn:ietf:params:oauth:grant-type:device_code` (RFC 8628)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from portero.core.digests import sha256_of
from portero.core.grants.device_code import agree, refuse
from portero.core.oauth.device import DEVICE_REDIRECT, make_user_code, place_of, read_user_code, show_user_code
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import BrowserKey, ClientKey, Decision, Delete, LoginKey, SessionKey
from portero.core.types import ClientId, Digest, NumericDate, Secret, Sid
from portero.testing.clock import SeededRandom
from tests.authorization_server.back_channel import ANA, POST_CLIENT, SECRET, SPA, BackChannel, Seen, claims_of

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
TV = replace(SPA, client_id=ClientId("tv"), grant_types=(GRANT, "refresh_token"), redirect_uris=())
OTHER = replace(TV, client_id=ClientId("other-tv"))


@pytest.fixture
def home(server: BackChannel) -> BackChannel:
    """A server that knows two televisions."""
    server.put(ClientKey(TV.client_id), TV)
    server.put(ClientKey(OTHER.client_id), OTHER)
    return server


def begin(home: BackChannel, **changes: str) -> dict[str, str]:
    form = {"client_id": "tv", "scope": "openid orders:read", **changes}
    answer = home.post("/device_authorization", form, user_agent="tv-app/1.0")
    assert answer.status == 200, answer.body
    return answer.json  # type: ignore[no-any-return]


def poll(home: BackChannel, device_code: str, *, client_id: str = "tv", wait: float = 5, **changes: str) -> Seen:
    home.clock.advance(wait)
    form = {"grant_type": GRANT, "device_code": device_code, "client_id": client_id, **changes}
    return home.post("/token", form)


def say_yes(home: BackChannel, user_code: str) -> bool:
    browser, now = ana(home), home.now()
    return decide(home, user_code, lambda waiting: agree(waiting, browser=browser, consent=None, now=now))


def ana(home: BackChannel) -> BrowserSession:
    """Ana's phone, signed in."""
    now = home.now()
    browser = BrowserSession(
        id_digest=Digest(hashlib.sha256(b"ana's phone").digest()),
        subject=ANA.subject,
        auth_time=now,
        acr="pwd",
        amr=("pwd",),
        ends=NumericDate(now + 3600),
        device="Firefox · Android",
    )
    home.put(BrowserKey(browser.id_digest), browser)
    return browser


def decide(home: BackChannel, user_code: str, decision: object) -> bool:
    code = read_user_code(user_code)
    assert code is not None
    key = LoginKey(place_of(code))
    return bool(home.run(home.store.transition(key, decision, now=home.now())))  # type: ignore[arg-type]


def error_of(answer: Seen) -> tuple[int, str]:
    return answer.status, answer.json["error"]


def test_until_a_person_agrees_the_device_hears_that_it_is_pending(home: BackChannel) -> None:
    """§3.5; and once they have, it gets tokens of a session of its own."""
    told = begin(home)
    assert error_of(poll(home, told["device_code"])) == (400, "authorization_pending")
    assert say_yes(home, told["user_code"])

    answer = poll(home, told["device_code"])
    assert answer.status == 200, answer.body
    claims = claims_of(answer.json["access_token"])
    assert (claims["sub"], claims["scope"]) == ("ana", "openid orders:read")
    session = home.run(home.store.read(SessionKey(Sid(claims["sid"])))).session
    assert (session.browser_session, session.device_name) == (None, "tv-app")
    refreshed = home.post(
        "/token",
        {
            "grant_type": "refresh_token",
            "refresh_token": answer.json["refresh_token"],
            "refresh_attempt": "A" * 22,
            "client_id": "tv",
        },
    )
    assert refreshed.status == 200


def test_a_device_that_asks_too_often_is_told_to_slow_down(home: BackChannel) -> None:
    """§3.5: `slow_down`, whatever the person has said meanwhile; and nothing is looked up."""
    told = begin(home)
    for _ in range(2):
        poll(home, told["device_code"], wait=0)
    reads = home.store.reads
    assert error_of(poll(home, told["device_code"], wait=0)) == (400, "slow_down")
    assert home.store.reads - reads <= 1

    assert error_of(poll(home, told["device_code"], wait=5)) == (400, "authorization_pending")


def test_a_person_who_refuses_is_told_to_the_device(home: BackChannel) -> None:
    """`access_denied`; and nobody can agree any more."""
    told = begin(home)
    code = read_user_code(told["user_code"])
    assert code is not None
    assert decide(home, told["user_code"], lambda waiting: refuse(waiting, user_code=code, now=home.now()))

    assert error_of(poll(home, told["device_code"])) == (400, "access_denied")
    assert not say_yes(home, told["user_code"])


@pytest.mark.parametrize("agreed", [False, True])
def test_after_its_time_the_code_has_expired(home: BackChannel, agreed: bool) -> None:
    """On both sides of the limit, whether somebody agreed or not."""
    told = begin(home)
    if agreed:
        say_yes(home, told["user_code"])
    assert told["expires_in"] == 600
    home.clock.advance(594)
    if not agreed:
        assert error_of(poll(home, told["device_code"])) == (400, "authorization_pending")
        home.clock.advance(1)
        assert error_of(poll(home, told["device_code"])) == (400, "expired_token")
        assert not say_yes(home, told["user_code"])
    else:
        assert error_of(poll(home, told["device_code"], wait=6)) == (400, "expired_token")


def test_a_code_is_exchanged_once(home: BackChannel) -> None:
    """RFC 6749 §4.1.2: the second time ends what the first has opened."""
    told = begin(home)
    say_yes(home, told["user_code"])
    first = poll(home, told["device_code"])

    assert error_of(poll(home, told["device_code"])) == (400, "invalid_grant")
    refreshed = home.post(
        "/token",
        {
            "grant_type": "refresh_token",
            "refresh_token": first.json["refresh_token"],
            "refresh_attempt": "A" * 22,
            "client_id": "tv",
        },
    )
    assert error_of(refreshed) == (400, "invalid_grant")


@pytest.mark.parametrize("agreed", [False, True])
def test_another_client_gets_nothing_and_spoils_nothing(home: BackChannel, agreed: bool) -> None:
    """The code stays its owner's."""
    told = begin(home)
    if agreed:
        say_yes(home, told["user_code"])
    assert error_of(poll(home, told["device_code"], client_id="other-tv")) == (400, "invalid_grant")
    say_yes(home, told["user_code"])

    assert poll(home, told["device_code"]).status == 200


def test_a_device_code_is_no_authorization_code_and_the_other_way_round(home: BackChannel) -> None:
    """Each grant takes its own, also of a confidential client that may use both and needs no PKCE."""
    both = replace(POST_CLIENT, grant_types=(GRANT, "authorization_code"), require_pkce=False)
    home.put(ClientKey(both.client_id), both)
    known = {"client_id": both.client_id, "client_secret": SECRET}
    told = begin(home, **known)
    say_yes(home, told["user_code"])
    for redirect_uri in (DEVICE_REDIRECT, both.redirect_uris[0]):
        form = {"grant_type": "authorization_code", "code": told["device_code"], "redirect_uri": redirect_uri}
        assert error_of(home.post("/token", {**form, **known})) == (400, "invalid_grant")
    assert poll(home, told["device_code"], **known).status == 200

    other = begin(home, **known)["device_code"]
    home.code(both, code_digest=sha256_of(Secret(other)))
    assert error_of(poll(home, other, **known)) == (400, "invalid_grant")


@pytest.mark.parametrize("device_code", ["x", "A" * 91, "é", "A" * 90 + "="])
def test_an_invented_device_code_is_refused(home: BackChannel, device_code: str) -> None:
    """As any invented code, and counted as one."""
    assert error_of(poll(home, device_code))[0] == 400


def test_a_sign_out_between_the_agreement_and_the_poll_counts(home: BackChannel) -> None:
    """What it would open was ended before it was opened."""
    told = begin(home)
    say_yes(home, told["user_code"])
    digest = ana(home).id_digest
    home.run(
        home.store.transition(
            BrowserKey(digest), lambda _: Decision(None, (Delete(BrowserKey(digest)),)), now=home.now()
        )
    )

    assert error_of(poll(home, told["device_code"])) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"client_id": "spa"}, "unauthorized_client"),
        ({"client_id": "nobody"}, "invalid_client"),
    ],
)
def test_what_may_not_be_asked_for_gets_no_code(home: BackChannel, changes: dict[str, str], error: str) -> None:
    """Refused at once, not when a person has typed eight letters."""
    answer = home.post("/device_authorization", {"client_id": "tv", "scope": "openid", **changes})

    assert answer.json["error"] == error


def test_codes_for_one_address_are_limited(home: BackChannel) -> None:
    """Sixty, then one a second: 429, and nothing is stored."""
    for _ in range(60):
        begin(home)
    answer = home.post("/device_authorization", {"client_id": "tv", "scope": "openid"})
    assert (answer.status, answer.header("retry-after")) == (429, "1")
    assert home.telemetry.events[-1].fields == {"limit": "device"}

    home.clock.advance(1)
    begin(home)


def test_a_user_code_is_read_however_it_is_typed() -> None:
    """§6.1: case and separators do not matter, and what is no code is none."""
    code = make_user_code(SeededRandom(1).bytes)
    assert read_user_code(f" {show_user_code(code).lower()} ") == code
    assert read_user_code(code[:3] + " – " + code[3:]) == code
    for typed in ("", code[:7], code + "B", "AEIOUAEI", "12345678"):
        assert read_user_code(typed) is None


def test_the_codes_show_nothing_of_each_other(home: BackChannel) -> None:
    """The letters are evenly spread, and the device's code is not in the store."""
    random = SeededRandom(2)
    letters = "".join(make_user_code(random.bytes) for _ in range(2000))
    counts = {letter: letters.count(letter) for letter in set(letters)}
    assert len(counts) == 20
    assert max(counts.values()) < 1.25 * min(counts.values())

    told = begin(home)
    code = read_user_code(told["user_code"])
    assert code is not None
    record = home.run(home.store.read(LoginKey(place_of(code))))
    assert told["device_code"] not in record.request


def test_the_metadata_names_the_endpoint_and_the_grant(home: BackChannel) -> None:
    """§4."""
    document = home.get("/.well-known/oauth-authorization-server").json

    assert document["device_authorization_endpoint"].endswith("/device_authorization")
    assert GRANT in document["grant_types_supported"]
