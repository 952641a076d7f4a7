"""Signing in with AFIP's word: the whole way over our pages, and every way it must not go."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from portero.authorization_server.config import Config
from portero.core.errors import Unavailable
from portero.core.transitions import LinkedKey, SubjectKey, UsersKey
from portero.testing.afip import ClaveFiscalServer, Message, Switch
from portero.testing.afip.authority import new_authority, pem_of
from portero.testing.afip.clave_fiscal import companies
from tests.authorization_server.browser.harness import ISSUER, Answer, Browser, Server

ANA = "20111111112"
COMPANY, OTHER = companies(2)
RETURN = "/sign-in/clave_fiscal/return"
FORM = "application/x-www-form-urlencoded"
AFIP = {"origin": "https://auth.afip.example", "sec-fetch-site": "cross-site"}


@lru_cache(maxsize=1)
def afip() -> ClaveFiscalServer:
    return ClaveFiscalServer(authority=new_authority(now=1.7e9))


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "afip.pem").write_bytes(pem_of(afip().certificate(now=1.7e9)))
    source = {"src": afip().src, "key_file": str(tmp_path / "afip.pem"), "algorithm": "RS1"}
    return {"service": "mi_servicio", "login_url": "https://afip.example/login?system=mi", "sources": [source]}


@pytest.fixture
def server(table: dict[str, Any]) -> Server:
    return Server(config=Config(issuer=ISSUER, sign_in={"password": {}, "clave_fiscal": table}))


def leave(browser: Browser) -> str:
    """Begin a sign-in and leave for AFIP. Returns the handle of the attempt."""
    page = browser.authorize()
    handle = page.form(username="")["login"]
    away = browser.get(f"/sign-in/clave_fiscal/start?login={handle}")
    assert away.location == "https://afip.example/login?system=mi"
    return handle


def come_back(browser: Browser, message: Message, **fields: str) -> Answer:
    """AFIP's form: from another site, with the one cookie that such a form carries."""
    kept = {name: value for name, value in browser.cookies.items() if "_return_" in name}
    visitor = Browser(browser.server, headers=browser.headers, cookies=kept)
    form = {"token": message.token, "sign": message.sign, **fields}
    return visitor.post(RETURN, form, **AFIP)


def message(server: Server, **changes: Any) -> Message:
    return afip().issue(ANA, now=server.clock.now(), **{"relations": [COMPANY], **changes})


def signed_in_claims(server: Server, answer: Answer) -> dict[str, Any]:
    assert "code" in answer.answer, answer.text
    users = server.read(UsersKey())
    person = next(user for user in users if user.username.startswith("20-11111111-2"))
    session = server.read(SubjectKey(person.subject)).browsers[0]
    vouched: dict[str, Any] = json.loads(session.vouched)["claims"]
    return {**vouched, "acr": session.acr, "amr": session.amr}


def test_a_person_signs_in_and_says_for_whom(server: Server) -> None:
    """The represented CUIT is a claim of its own beside the person's, and the level is AFIP's own word."""
    browser = server.browser()
    leave(browser)
    page = browser.follow(browser.get(come_back(browser, message(server)).location))

    assert "20-11111111-2" in page.text
    answer = browser.post("/sign-in/clave_fiscal/confirm", {**page.form(acting_for=""), "acting_for": COMPANY})

    claims = signed_in_claims(server, answer)
    assert (claims["cuit"], claims["represented_cuit"]) == (ANA, COMPANY)
    assert claims["acr"] == "urn:portero:clave-fiscal:regmethod:3"
    assert claims["amr"] == ("pwd",)


def test_acting_for_oneself_leaves_the_other_claim_out(server: Server) -> None:
    """The person is never called somebody represented."""
    browser = server.browser()
    leave(browser)
    page = browser.get(come_back(browser, message(server)).location)
    answer = browser.post("/sign-in/clave_fiscal/confirm", page.form(acting_for=""))

    assert "represented_cuit" not in signed_in_claims(server, answer)


def test_the_second_time_it_is_the_same_account(server: Server) -> None:
    """Found by the link, whatever became of its name."""
    for _ in range(2):
        browser = server.browser()
        leave(browser)
        page = browser.get(come_back(browser, message(server)).location)
        browser.post("/sign-in/clave_fiscal/confirm", page.form(acting_for=""))

    assert len([user for user in server.read(UsersKey()) if user.username.startswith("20-")]) == 1


def test_a_company_that_was_not_offered_cannot_be_chosen(server: Server) -> None:
    """A form with another CUIT is refused, and signs nobody in."""
    browser = server.browser()
    leave(browser)
    page = browser.get(come_back(browser, message(server)).location)
    answer = browser.post("/sign-in/clave_fiscal/confirm", {**page.form(acting_for=""), "acting_for": OTHER})

    assert answer.status == 400
    assert server.read(LinkedKey("clave_fiscal", ANA)) is None


def test_nobody_is_made_where_accounts_are_given_out_by_hand(table: dict[str, Any]) -> None:
    """`just_in_time = false`: known to AFIP is not known here."""
    server = Server(config=Config(issuer=ISSUER, sign_in={"clave_fiscal": {**table, "just_in_time": False}}))
    browser = server.browser()
    page = browser.authorize()
    handle = page.text.partition("start?login=")[2][:16]
    browser.get(f"/sign-in/clave_fiscal/start?login={handle}")
    page = browser.get(come_back(browser, message(server)).location)
    answer = browser.post("/sign-in/clave_fiscal/confirm", page.form(acting_for=""))

    assert answer.status == 403
    assert not [name for name in browser.cookies if name.endswith("_session")]


@pytest.mark.parametrize("switch", [switch for switch in Switch if switch is not Switch.REPLAY])
def test_a_faulty_message_leads_back_to_the_door(server: Server, switch: Switch) -> None:
    """A clear page and a way back; nothing is made; a good message may still come."""
    browser = server.browser()
    leave(browser)
    page = browser.get(come_back(browser, message(server, switch=switch)).location)

    if switch.accepted:
        assert "20-11111111-2" in page.text
        return
    assert page.status == 422
    assert "/sign-in/clave_fiscal/start?login=" in page.text
    assert server.read(LinkedKey("clave_fiscal", ANA)) is None
    assert "20-11111111-2" in browser.get(come_back(browser, message(server)).location).text


def test_a_message_counts_once(server: Server) -> None:
    """Also for another browser that left for AFIP itself."""
    first, second = server.browser(), server.browser()
    leave(first)
    leave(second)
    once = message(server)
    come_back(first, once)
    page = second.get(come_back(second, once).location)

    assert page.status == 422
    assert "20-11111111-2" not in page.text


def test_a_browser_that_did_not_leave_gets_nobodys_session(server: Server) -> None:
    """A stranger's page that sends a stranger's good message to this browser (sign-in forgery)."""
    victim = server.browser()
    victim.authorize()
    answer = come_back(victim, message(server))

    assert answer.status == 400
    assert not [name for name in victim.cookies if name.endswith("_session")]


def test_what_came_back_in_one_browser_opens_nothing_in_another(server: Server) -> None:
    """The address after the return is worth nothing without the cookies of who left."""
    victim, thief = server.browser(), server.browser()
    leave(victim)
    back = come_back(victim, message(server))
    leave(thief)

    assert thief.get(back.location).status == 400


def test_steps_out_of_order_and_twice_open_nothing(server: Server) -> None:
    """Choosing before anything came, and confirming what was confirmed."""
    browser = server.browser()
    handle = leave(browser)
    early = browser.get(f"/sign-in/clave_fiscal/choose?login={handle}")
    assert early.status == 422
    page = browser.get(come_back(browser, message(server)).location)
    form = page.form(acting_for="")
    first = browser.post("/sign-in/clave_fiscal/confirm", form)
    again = browser.post("/sign-in/clave_fiscal/confirm", form)

    assert "code" in first.answer
    assert again.status == 400


@pytest.mark.parametrize("fields", [{"extra": "1"}, {"sign": ""}])
def test_a_form_with_other_fields_is_no_message(server: Server, fields: dict[str, str]) -> None:
    """Exactly `token` and `sign`."""
    browser = server.browser()
    leave(browser)

    assert browser.get(come_back(browser, message(server), **fields).location or "/x").status in (404, 422)


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (b"token=QQ==", FORM),
        (b"token=QQ==&token=QQ==&sign=QQ==", FORM),
        (b"token=%FF%FE&sign=%FF", FORM),
        (b"token=\xff&sign=\x00", FORM),
        (b"token=%00&sign=%00", FORM),
        (b"token=" + b"%41" * 9000 + b"&sign=QQ==", FORM),
        (b"&" * 9000, FORM),
        (b"sign=QQ==&token=" + b"A" * 60_000, FORM),
        (b'{"token": "QQ==", "sign": "QQ=="}', "application/json"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><sso>&b;</sso>", "application/xml"),
        (
            b'--x\r\ncontent-disposition: form-data; name="token"\r\n\r\nQQ==\r\n--x--',
            "multipart/form-data; boundary=x",
        ),
        (b"token=QQ==&sign=QQ==", f"{FORM}; charset=utf-16"),
    ],
)
def test_a_body_of_another_kind_is_no_message(server: Server, body: bytes, content_type: str, language: str) -> None:
    """Whatever comes, the person gets a page and the attempt goes on: AFIP's own message may still arrive."""
    browser = server.browser(**{"accept-language": language})
    leave(browser)
    answer = browser.follow(browser.post(RETURN, body, content_type=content_type, **AFIP))

    assert 400 <= answer.status < 500
    assert f'<html lang="{language}"' in answer.text
    assert len(server.read(UsersKey())) == 2
    assert "20-11111111-2" in browser.get(come_back(browser, message(server)).location).text


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_of_ten_megabytes_ends_nothing(server: Server, announced: bool) -> None:
    """It is not read to its end, whether its length is said or not; a good message is still welcome."""
    browser = server.browser()
    leave(browser)
    headers = {"content_length": "10000006"} if announced else {}
    assert browser.post(RETURN, b"token=" + b"A" * 10_000_000, **headers, **AFIP).status == 413

    assert "20-11111111-2" in browser.get(come_back(browser, message(server)).location).text


def test_our_store_away_is_not_afips_fault(server: Server) -> None:
    """503, and the message is not used up: sent again, it counts."""
    browser = server.browser()
    leave(browser)
    once, kept = message(server), server.store.transition

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("the database")

    server.store.transition = away  # type: ignore[method-assign, assignment] # the world fails, not what we own
    assert come_back(browser, once).status == 503
    server.store.transition = kept  # type: ignore[method-assign]
    assert "20-11111111-2" in browser.get(come_back(browser, once).location).text


def test_a_session_is_no_older_than_afips_word(server: Server) -> None:
    """`auth_time` is when the person typed their Clave Fiscal, not when the message came in."""
    browser = server.browser()
    leave(browser)
    sent = message(server)
    at = int(server.clock.now())
    server.clock.advance(100)
    page = browser.get(come_back(browser, sent).location)
    browser.post("/sign-in/clave_fiscal/confirm", page.form(acting_for=""))
    link = server.read(LinkedKey("clave_fiscal", ANA))

    assert server.read(SubjectKey(link.subject)).browsers[0].auth_time == at
