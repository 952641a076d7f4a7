"""`/device`: typing a code, comparing it, agreeing or not (RFC 8628 §3.3, §5.1, §5.4)."""

from __future__ import annotations

import pytest

from portero.core.oauth.device import DeviceRequest, place_of, read_waiting, waiting_record
from portero.core.transitions import CodeKey, ConsentKey, LoginKey
from portero.core.types import ClientId, Digest, NumericDate
from tests.authorization_server.browser.harness import ANA, Answer, Browser, Server

CODE = "BCDFGHJK"
SHOWN = "BCDF-GHJK"
DIGEST = Digest(b"d" * 32)


def waiting(server: Server, *, client_id: str = "stranger", device_name: str = "tv-app") -> None:
    """A device that asked a moment ago."""
    now = server.context.now()
    request = DeviceRequest(
        client_id=ClientId(client_id),
        scope=("openid", "orders:read"),
        resource=(),
        device_name=device_name,
        place="198.51.0.0/16",
        code_digest=DIGEST.hex(),
    )
    record = waiting_record(request, user_code=CODE, created=now, expires=NumericDate(now + 600))
    server.put(LoginKey(record.id_digest), record)


def signed_in(server: Server, **headers: str) -> Browser:
    """Ana's browser, which came to `/device` and signed in there."""
    browser = server.browser(**headers)
    browser.follow(browser.sign_in(browser.follow(browser.get("/device"))))
    return browser


def type_code(browser: Browser, typed: str = SHOWN) -> Answer:
    return browser.post("/device", browser.get("/device").form(user_code=typed))


@pytest.fixture
def server() -> Server:
    """A server where a device waits."""
    server = Server()
    waiting(server)
    return server


def test_whoever_is_not_signed_in_signs_in_first_and_keeps_the_code(server: Server) -> None:
    """Nobody can try codes without being somebody."""
    browser = server.browser()
    page = browser.follow(browser.get(f"/device?user_code={SHOWN}"))
    assert "password" in page.text
    back = browser.follow(browser.sign_in(page))

    assert back.url.endswith(f"/device?user_code={SHOWN}")
    assert f'value="{SHOWN}"' in back.text


def test_a_code_in_a_link_is_shown_and_not_taken(server: Server) -> None:
    """§5.4: the person compares, and says yes, in two forms that this browser was given."""
    browser = signed_in(server)
    browser.get(f"/device?user_code={SHOWN}")

    assert server.read(CodeKey(DIGEST)).code is None


def test_the_person_sees_who_asks_for_what_and_says_yes(server: Server) -> None:
    """The client's name, the device, its network, the scopes, the code; then a code for the device."""
    browser = signed_in(server)
    page = type_code(browser, "bcdf ghjk")
    for shown in (SHOWN, "A Stranger&#39;s App", "tv-app", "198.51.0.0/16", "orders:read"):
        assert shown in page.text, shown
    done = browser.follow(browser.post("/device", page.form(user_code=SHOWN, decision="allow")))

    assert "The device is signed in" in done.text
    code = server.read(CodeKey(DIGEST)).code
    assert (code.subject, code.scope, code.device_name) == (ANA.subject, ("openid", "orders:read"), "tv-app")
    consent = server.read(ConsentKey(ANA.subject, ClientId("stranger")))
    assert consent.scope == ("openid", "orders:read")
    assert "No device is waiting" in type_code(browser).text


def test_no_is_no(server: Server) -> None:
    """And the device hears it."""
    browser = signed_in(server)
    done = browser.follow(browser.post("/device", type_code(browser).form(user_code=SHOWN, decision="deny")))

    assert "The device is not signed in" in done.text
    request = read_waiting(server.read(LoginKey(place_of(CODE))), now=server.context.now())
    assert request is not None
    assert request.denied
    assert server.read(CodeKey(DIGEST)).code is None


@pytest.mark.parametrize("decision", ["allow", None])
def test_a_form_of_another_site_does_nothing(server: Server, decision: str | None) -> None:
    """No token, another browser's token, another origin: 403, and nothing was agreed."""
    browser, other = signed_in(server), signed_in(server)
    good = {**type_code(browser).form(user_code=SHOWN), **({} if decision is None else {"decision": decision})}
    theirs = type_code(other).form(user_code=SHOWN)["form_token"]
    for form, headers in (
        ({**good, "form_token": ""}, {}),
        ({**good, "form_token": theirs}, {}),
        (good, {"origin": "https://evil.example"}),
        (good, {"sec_fetch_site": "cross-site"}),
    ):
        assert browser.post("/device", form, **headers).status == 403

    assert server.read(CodeKey(DIGEST)).code is None


def test_wrong_codes_are_counted_and_then_even_a_right_one_waits(server: Server) -> None:
    """§5.1: ten at once, then one a minute; per person, in whatever browser."""
    browser = signed_in(server)
    for n in range(10):
        assert type_code(browser, f"BCDF-GHJ{'LMNPQRSTVW'[n]}").status == 400
    late = type_code(browser)
    assert (late.status, late.header("retry-after")) == (429, "60")
    elsewhere = signed_in(server)
    elsewhere.peer = "198.51.100.9"
    assert type_code(elsewhere).status == 429

    server.clock.advance(60)
    assert SHOWN in type_code(browser).text


def test_a_code_that_has_expired_is_unknown(server: Server) -> None:
    """On both sides of the limit."""
    browser = signed_in(server)
    server.clock.advance(599)
    page = type_code(browser)
    assert SHOWN in page.text
    server.clock.advance(1)
    assert browser.post("/device", page.form(user_code=SHOWN, decision="allow")).status == 400
    assert type_code(browser).status == 400


def test_what_a_device_calls_itself_is_text() -> None:
    """The name is the device's own word."""
    server = Server()
    waiting(server, device_name="<script>alert(1)</script>")
    page = type_code(signed_in(server))

    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text


def test_the_page_speaks_spanish(server: Server) -> None:
    """As all pages do."""
    browser = signed_in(server, **{"accept-language": "es"})
    page = type_code(browser)

    assert 'lang="es"' in page.text
    assert "¿El dispositivo muestra este código?" in page.text


def test_a_program_of_our_own_is_asked_about_as_well_and_not_kept_among_the_applications() -> None:
    """A device is always confirmed: the person may have been sent here by somebody else's device."""
    server = Server()
    waiting(server, client_id="shop")
    browser = signed_in(server)
    page = type_code(browser)
    assert "Does the device show this code?" in page.text
    browser.post("/device", page.form(user_code=SHOWN, decision="allow"))

    assert server.read(CodeKey(DIGEST)).code is not None
    assert server.read(ConsentKey(ANA.subject, ClientId("shop"))) is None
