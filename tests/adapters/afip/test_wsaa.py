"""Tickets of WSAA, against the emulator: one is asked for once, kept, shared and survived."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from portero.adapters.afip.legacy_rsa import verifies
from portero.adapters.afip.wsaa_messages import NotAnAnswer, login_cms, read_answer, signed_request, ticket_request
from portero.client.errors import StoreUnavailable
from portero.client.wsaa import Computer, Wsaa
from portero.client.wsaa_faults import WsaaRefused, WsaaUnavailable
from portero.core.errors import ConfigurationError
from portero.core.types import NumericDate
from portero.testing.adapter_conformance import serve_asgi
from portero.testing.afip import Emulator, WsaaServer, emulator_app, new_authority
from portero.testing.afip.authority import new_key
from portero.testing.afip.wsaa import FAULTS, LIFETIME, PATH

NOW = 1_795_000_000
ANA = "20111111112"
PASSING = {"coe.alreadyAuthenticated", "wsn.unavailable", "wsaa.unavailable", "wsaa.internalError"}


class World:
    """An emulator that listens, a computer it believes, and one clock."""

    def __init__(self) -> None:
        self.clock = float(NOW)
        self.emulator = Emulator({"mi_servicio": "http://localhost/"}, now=lambda: self.clock)
        self.server = self.emulator.wsaa
        key = new_key()
        authority = self.server.authority
        self.computer = Computer(authority.issue_computer("miapp", ANA, key.public_key(), now=NOW), key)
        self.url = ""
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock += seconds

    def wsaa(self, folder: Path, *, ahead: float = 0, timeout: float = 60) -> Wsaa:
        return Wsaa(
            self.computer, url=self.url + PATH, folder=folder, timeout=timeout,
            now=lambda: self.clock + ahead, sleep=self.sleep,
        )  # fmt: skip


@pytest.fixture(scope="module")
def listening() -> Iterator[World]:
    world = World()
    with serve_asgi(emulator_app(world.emulator), lifespan="off") as url:
        world.url = url
        yield world


@pytest.fixture
def world(listening: World) -> World:
    """The one that listens, as new."""
    listening.clock, listening.slept = float(NOW), []
    server = listening.server
    server.switch, server.window, server.given, server.denied = "", 600, 0, set()
    server._last.clear()
    return listening


def test_a_ticket_is_for_its_service_and_signed_by_wsaa(world: World, tmp_path: Path) -> None:
    """Token and sign are what a business service checks; neither prints, and the file is the owner's."""
    ticket = world.wsaa(tmp_path).ticket("wsfe")

    data, sign = (base64.b64decode(one.reveal()) for one in (ticket.token, ticket.sign))
    assert verifies(world.server.key.public_key(), signature=sign, data=data, algorithm="RS1")
    assert (ticket.service, ticket.cuits, ticket.exp_time - ticket.gen_time) == ("wsfe", (ANA,), LIFETIME)
    assert ticket.token.reveal() not in repr(ticket)
    assert ticket.sign.reveal() not in repr(ticket)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_it_is_kept_until_shortly_before_its_end(world: World, tmp_path: Path) -> None:
    """Another process gets the same; each service, each environment and each computer has its own."""
    first = world.wsaa(tmp_path).ticket("wsfe")
    world.clock += LIFETIME - 601
    again = world.wsaa(tmp_path).ticket("wsfe")
    other = world.wsaa(tmp_path).ticket("wsfex")
    world.clock += 2
    renewed = world.wsaa(tmp_path).ticket("wsfe")

    assert again.sign.matches(first.sign)
    assert other.service == "wsfex"
    assert not renewed.sign.matches(first.sign)
    assert world.server.given == 3


def test_many_at_once_ask_once(world: World, tmp_path: Path) -> None:
    """The lock is of each open file, so threads are to it what processes are."""
    with ThreadPoolExecutor(8) as pool:
        tickets = list(pool.map(lambda _: world.wsaa(tmp_path).ticket("wsfe"), range(8)))

    assert world.server.given == 1
    assert len({ticket.sign.reveal() for ticket in tickets}) == 1


@pytest.mark.parametrize("code", sorted(FAULTS))
def test_every_fault_is_told_and_asked_again_by_the_rule(world: World, tmp_path: Path, code: str) -> None:
    """A passing one: no new request for 60 s, in no process. Another: at once, when it is mended."""
    world.server.switch = code
    kind = WsaaUnavailable if code in PASSING else WsaaRefused
    with pytest.raises(kind) as said:
        world.wsaa(tmp_path).ticket("wsfe")
    assert said.value.code == code

    world.server.switch = ""
    if code in PASSING:
        world.clock += 59
        with pytest.raises(WsaaUnavailable, match="pause"):
            world.wsaa(tmp_path).ticket("wsfe")
        assert world.server.given == 0
        world.clock += 1
    assert world.wsaa(tmp_path).ticket("wsfe").cuits == (ANA,)


def test_an_emulator_without_openssl_says_what_to_install(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own failure, in WSAA's words for one; nothing is given."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WsaaUnavailable, match="apt-get install openssl"):
        world.wsaa(tmp_path).ticket("wsfe")

    assert world.server.given == 0


@pytest.mark.parametrize("switch", ["lost", "slow"])
def test_a_lost_answer_is_survived(world: World, tmp_path: Path, switch: str) -> None:
    """The ticket was given and is nowhere: the next comes when the window is over, without help."""
    world.server.switch = switch
    with pytest.raises(WsaaUnavailable, match="lost"):
        world.wsaa(tmp_path, timeout=60 if switch == "lost" else 1).ticket("wsfe")
    assert world.server.given == 1
    world.server.switch = ""

    with pytest.raises(WsaaUnavailable):
        world.wsaa(tmp_path).ticket("wsfe", wait=120)
    ticket = world.wsaa(tmp_path).ticket("wsfe", wait=660)

    assert ticket.cuits == (ANA,)
    assert world.server.given == 2
    assert min(world.slept) >= 60
    assert 600 <= world.clock - NOW <= 780


def test_the_old_ticket_serves_while_no_new_one_is_to_be_had(world: World, tmp_path: Path) -> None:
    """Until its end, and not after."""
    first = world.wsaa(tmp_path).ticket("wsfe")
    world.server.switch = "wsaa.unavailable"
    world.clock += LIFETIME - 300
    assert world.wsaa(tmp_path).ticket("wsfe").sign.matches(first.sign)
    world.clock += 300
    with pytest.raises(WsaaUnavailable):
        world.wsaa(tmp_path).ticket("wsfe")


def test_a_wrong_clock_is_named_or_does_no_harm(world: World, tmp_path: Path) -> None:
    """Four minutes ahead are allowed for; an hour is said. A kept ticket's end does not depend on the clock's truth."""
    slow = world.wsaa(tmp_path / "slow", ahead=-550)
    slow.ticket("wsfe")
    world.clock += LIFETIME
    world.server.switch = "wsaa.unavailable"
    with pytest.raises(WsaaUnavailable):
        slow.ticket("wsfe")  # the kept one is over, though by this clock AFIP's end is nine minutes off
    world.server.switch = ""
    assert world.wsaa(tmp_path / "ahead", ahead=240).ticket("wsfex").service == "wsfex"
    with pytest.raises(WsaaRefused, match="clock") as said:
        world.wsaa(tmp_path / "far", ahead=3600).ticket("ws_sr_padron_a5")
    assert said.value.code == "xml.generationTime.invalid"


def test_where_nothing_can_be_kept_nothing_is_asked_for(world: World, tmp_path: Path) -> None:
    """A ticket that could not be kept would block for minutes."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        world.wsaa(tmp_path / "file" / "folder").ticket("wsfe")
    with suppress(WsaaUnavailable):
        world.wsaa(tmp_path / "good").ticket("wsfe")
    (kept,) = (tmp_path / "good").glob("*.json")
    kept.write_text("{")
    with pytest.raises(StoreUnavailable, match="damaged"):
        world.wsaa(tmp_path / "good").ticket("wsfe")

    assert world.server.given == 1


def test_what_cannot_be_right_is_refused_before_anything_is_sent(world: World, tmp_path: Path) -> None:
    """A service that is no name, an address without TLS, a key of another certificate."""
    with pytest.raises(ConfigurationError, match="service"):
        world.wsaa(tmp_path).ticket("a<b")
    with pytest.raises(ConfigurationError, match="url"):
        Wsaa(world.computer, url="http://wsaa.example/")
    (tmp_path / "a.crt").write_bytes(world.computer.certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "b.key").write_bytes(pem(new_key()))
    with pytest.raises(ConfigurationError, match="belongs"):
        Computer.load(tmp_path / "a.crt", tmp_path / "b.key")


def test_the_emulator_checks_as_wsaa_does(world: World) -> None:
    """Each real mistake has its own code."""
    server, mine, now = world.server, world.computer, NumericDate(NOW)
    tra = ticket_request("wsfe", unique_id=1, now=now)
    stranger = new_key()
    foreign = new_authority(now=NOW).issue_computer("miapp", ANA, stranger.public_key(), now=NOW)
    good = signed_request(tra, certificate=mine.certificate, key=mine.key)

    def cms(content: bytes, *options: PKCS7Options) -> bytes:
        builder = PKCS7SignatureBuilder().set_data(content).add_signer(mine.certificate, mine.key, hashes.SHA256())
        return builder.sign(serialization.Encoding.DER, [PKCS7Options.Binary, *options])

    def code(body: bytes, at: float = NOW, of: WsaaServer = server) -> str:
        status, text = of.answer(body, now=at)
        return "" if status == 200 else text.partition("ns1:")[2].partition("</")[0].rpartition(":")[2]

    assert code(login_cms(good).replace(b"MII", b"!!!", 1)) == "cms.bad.base64"
    assert code(login_cms(b"nothing")) == "cms.bad"
    assert code(login_cms(cms(tra, PKCS7Options.NoCerts))) == "cms.cert.notFound"
    assert code(login_cms(cms(tra, PKCS7Options.DetachedSignature))) == "cms.sign.invalid"
    assert code(login_cms(good.replace(b"wsfe", b"wsfx"))) == "cms.sign.invalid"
    assert code(login_cms(good), at=NOW - 86_400) == "cms.cert.invalid"
    assert code(login_cms(good), at=NOW + 3 * 365 * 86_400) == "cms.cert.expired"
    assert code(login_cms(signed_request(tra, certificate=foreign, key=stranger))) == "cms.cert.untrusted"
    assert code(login_cms(cms(b"<a/>"))) == "xml.bad"
    assert code(login_cms(cms(tra.replace(b'n="1.0"><h', b'n="2.0"><h')))) == "xml.version.notSupported"
    assert code(login_cms(cms(ticket_request("wsfe", unique_id=1, now=NumericDate(NOW + 900))))) == (
        "xml.generationTime.invalid"
    )
    assert code(login_cms(cms(ticket_request("wsfe", unique_id=1, now=NumericDate(NOW - 900))))) == (
        "xml.expirationTime.expired"
    )
    assert code(login_cms(cms(ticket_request("wsxx", unique_id=1, now=now)))) == "wsn.notFound"
    server.denied = {("miapp", "wsfe")}
    assert code(login_cms(good)) == "coe.notAuthorized"
    server.denied = set()
    assert code(login_cms(good)) == ""
    assert code(login_cms(good)) == "coe.alreadyAuthenticated"


def test_answers_that_are_none_are_refused(world: World) -> None:
    """Never a ticket for another service, never half of one, never a DTD."""
    body = login_cms(
        signed_request(
            ticket_request("wsfe", unique_id=1, now=NumericDate(NOW)),
            certificate=world.computer.certificate,
            key=world.computer.key,
        )
    )
    status, text = world.server.answer(body, now=NOW)
    bad = [
        (status, text.replace("&lt;sign&gt;", "&lt;sign&gt;&lt;/sign&gt;&lt;sign&gt;")),
        (status, text.replace("&lt;token&gt;", "&lt;token&gt;!")),
        (status, text.replace("loginTicketResponse", "other")),
        (status, text.replace("-03:00", "")),
        (status, text.replace("<soapenv:Envelope", "<!DOCTYPE a []><soapenv:Envelope")),
        (status, text[:-9]),
        (500, text),
        (502, "<html>bad gateway</html>"),
        (200, ""),
    ]
    assert not isinstance(read_answer(status, text.encode(), service="wsfe"), Exception)
    with pytest.raises(NotAnAnswer):
        read_answer(status, text.encode(), service="wsfex")
    for one, content in bad:
        with pytest.raises(NotAnAnswer):
            read_answer(one, content.encode(), service="wsfe")


def test_a_request_for_a_certificate_is_answered(world: World, tmp_path: Path) -> None:
    """From a CSR to a ticket; the subject is the emulator's to say."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anything")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    body = csr.public_bytes(serialization.Encoding.PEM)
    with httpx2.Client(base_url=world.url, timeout=60) as http:
        certificate = http.post(f"/admin/certs?alias=otra&cuit={ANA}", content=body)
        refused = http.post("/admin/certs?alias=otra&cuit=20111111113", content=body)
        switch = http.post("/admin/wsaa?falla=nothing")
        wsdl = http.get(PATH + "?wsdl")
    (tmp_path / "a.crt").write_bytes(certificate.content)
    (tmp_path / "a.key").write_bytes(pem(key))
    computer = Computer.load(tmp_path / "a.crt", tmp_path / "a.key")
    wsaa = Wsaa(computer, url=world.url + PATH, folder=tmp_path / "kept", now=lambda: world.clock, timeout=60)

    assert wsaa.ticket("wsfe").cuits == (ANA,)
    assert "otra" in computer.certificate.subject.rfc4514_string()
    assert (refused.status_code, switch.status_code) == (422, 422)
    assert "loginCms" in wsdl.text


def pem(key: RSAPrivateKey) -> bytes:
    """A key as PEM."""
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
