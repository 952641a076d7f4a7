"""WSAA: it checks a signed request in AFIP's order, and gives tickets, or any fault of your choice."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import secrets
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509.oid import NameOID

from portero.adapters.afip.clave_fiscal import AFIP
from portero.adapters.afip.legacy_rsa import sign
from portero.adapters.afip.strict_xml import Element, NotStrictXml, parse_strictly
from portero.testing.afip.authority import Authority, new_key

PATH = "/ws/services/LoginCms"
LIFETIME = 12 * 3600
"""Seconds of every ticket, whatever the request asks for."""
DAY = 24 * 3600
_ARGENTINA = dt.timezone(dt.timedelta(hours=-3))
_SOURCE = f"CN=wsaaemu, O=Emulador, C=AR, SERIALNUMBER=CUIT {AFIP}"

FAULTS = {
    "coe.notAuthorized": "Computador no autorizado a acceder al servicio",
    "coe.alreadyAuthenticated": "El CEE ya posee un TA valido para el acceso al WSN solicitado",
    "cms.bad": "El CMS no es valido",
    "cms.bad.base64": "No se puede decodificar el BASE64",
    "cms.cert.notFound": "No se ha encontrado certificado de firmador",
    "cms.sign.invalid": "Firma inválida o algoritmo no soportado",
    "cms.cert.expired": "Certificado expirado",
    "cms.cert.invalid": "Certificado con fecha de generacion posterior a la actual",
    "cms.cert.untrusted": "Certificado no emitido por AC de confianza",
    "xml.bad": "El XML no es valido",
    "xml.source.invalid": "source no es valido",
    "xml.destination.invalid": "destination no es valido",
    "xml.version.notSupported": "Version no soportada",
    "xml.generationTime.invalid": "generationTime posee formato o dato inválido",
    "xml.expirationTime.expired": "expirationTime ya paso",
    "xml.expirationTime.invalid": "expirationTime posee formato o dato inválido",
    "wsn.unavailable": "El servicio no esta disponible",
    "wsn.notFound": "El servicio no existe",
    "wsaa.unavailable": "WSAA no esta disponible",
    "wsaa.internalError": "Error interno",
}
"""Every fault by its code. AFIP's own texts are known down to `cms.cert.untrusted`, and for `generationTime`."""
MISSING_OPENSSL = "Falta el programa openssl, con el que el emulador comprueba firmas: sudo apt-get install openssl"
LOST, SLOW = "lost", "slow"
SWITCHES = (*FAULTS, LOST, SLOW)


class _Fault(Exception):
    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.text = text or FAULTS[code]


@dataclass
class WsaaServer:
    """A WSAA with a key of its own.

    Args:
        authority: whose certificates it believes.
        services: business services there are; every computer may use each but those `denied`.
        window: seconds for which a second ticket is not given; AFIP has 600 for tests, 120 in production.
        switch: of `SWITCHES`, the fault of every next answer; `lost` and `slow` give a ticket that does not arrive,
            or late.
    """

    authority: Authority
    services: tuple[str, ...] = ("wsfe", "wsfex", "ws_sr_padron_a5")
    denied: set[tuple[str, str]] = field(default_factory=set)
    """Pairs of alias and service."""
    window: int = 600
    bits: int = 1024
    switch: str = ""
    given: int = 0
    """Tickets so far."""
    _last: dict[tuple[str, str], float] = field(default_factory=dict)

    @cached_property
    def key(self) -> rsa.RSAPrivateKey:
        """What it signs tickets with."""
        return new_key(self.bits)

    def answer(self, body: bytes, *, now: float) -> tuple[int, str]:
        """Answer `loginCms`: status and XML."""
        try:
            if self.switch in FAULTS:
                raise _Fault(self.switch)
            ticket = self._ticket(_in0(body), now=now)
        except _Fault as fault:
            return 500, _fault(fault.code, fault.text)
        inner = (
            f'<loginCmsResponse xmlns="http://wsaa.view.sua.dvadac.desein.afip.gov"><loginCmsReturn>{escape(ticket)}'
        )
        return 200, _envelope(f"{inner}</loginCmsReturn></loginCmsResponse>")

    def issue(self, request: x509.CertificateSigningRequest, *, alias: str, cuit: str, now: float) -> x509.Certificate:
        """Give a computer its certificate.

        Raises:
            ValueError: the key is not RSA, or did not sign the request.
        """
        key = request.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or not request.is_signature_valid:
            raise ValueError("a request signed by the RSA key it names")
        return self.authority.issue_computer(alias, cuit, key, now=now)

    def _ticket(self, text: str, *, now: float) -> str:
        try:
            cms = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise _Fault("cms.bad.base64") from None
        certificate, content = _opened(cms)
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        if moment < certificate.not_valid_before_utc:
            raise _Fault("cms.cert.invalid")
        if moment > certificate.not_valid_after_utc:
            raise _Fault("cms.cert.expired")
        self._believe(certificate)
        service = self._service(content, now=now)
        alias, cuit = (_part(certificate, one) for one in (NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER))
        cuit = cuit.removeprefix("CUIT ")
        if (alias, service) in self.denied:
            raise _Fault("coe.notAuthorized")
        if now - self._last.get((alias + cuit, service), -DAY) < self.window:
            raise _Fault("coe.alreadyAuthenticated")
        self._last[alias + cuit, service] = now
        self.given += 1
        return self._written(service, cuit, alias, now=now)

    def _believe(self, certificate: x509.Certificate) -> None:
        algorithm = certificate.signature_hash_algorithm
        try:
            if algorithm is None:
                raise InvalidSignature
            key = self.authority.key.public_key()
            key.verify(certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
        except InvalidSignature:
            raise _Fault("cms.cert.untrusted") from None

    def _service(self, content: bytes, *, now: float) -> str:
        try:
            root = parse_strictly(content, max_elements=20)
            header, service = root.one("header"), root.one("service").text
            header.one("uniqueId")
            begins, ends = header.one("generationTime").text, header.one("expirationTime").text
        except NotStrictXml:
            raise _Fault("xml.bad") from None
        if root.name != "loginTicketRequest":
            raise _Fault("xml.bad")
        if root.attributes.get("version", "1.0") != "1.0":
            raise _Fault("xml.version.notSupported")
        if not -DAY <= _time(begins, "xml.generationTime.invalid") - now <= 0:
            raise _Fault("xml.generationTime.invalid")
        left = _time(ends, "xml.expirationTime.invalid") - now
        if left <= 0:
            raise _Fault("xml.expirationTime.expired")
        if left > DAY:
            raise _Fault("xml.expirationTime.invalid")
        if service not in self.services:
            raise _Fault("wsn.notFound")
        return service

    def _written(self, service: str, cuit: str, alias: str, *, now: float) -> str:
        computer = f"SERIALNUMBER=CUIT {cuit}, CN={alias}"
        begins = int(now) - 60  # the token says it is a minute older than it is
        token = f"""\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<sso version="2.0">
    <id src="{_SOURCE}" unique_id="{secrets.randbits(32)}" gen_time="{begins}" exp_time="{int(now) + LIFETIME}"/>
    <operation type="login" value="granted">
        <login entity="{AFIP}" service="{service}" uid="{escape(computer)}" authmethod="cms" regmethod="22">
            <relations>
                <relation key="{cuit}" reltype="4"/>
            </relations>
        </login>
    </operation>
</sso>
""".encode()
        signature = sign(self.key, token, algorithm="RS1")
        times = (
            dt.datetime.fromtimestamp(at, _ARGENTINA).isoformat(timespec="milliseconds") for at in (now, now + LIFETIME)
        )
        return f"""\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<loginTicketResponse version="1.0">
    <header>
        <source>{_SOURCE}</source>
        <destination>{escape(computer)}</destination>
        <uniqueId>{secrets.randbits(32)}</uniqueId>
        <generationTime>{next(times)}</generationTime>
        <expirationTime>{next(times)}</expirationTime>
    </header>
    <credentials>
        <token>{base64.b64encode(token).decode()}</token>
        <sign>{base64.b64encode(signature).decode()}</sign>
    </credentials>
</loginTicketResponse>
"""


def _in0(body: bytes) -> str:
    try:
        envelope = parse_strictly(body, max_elements=50, namespaces=True)
        found = _descend(envelope, "Envelope", "Body", "loginCms", "in0")
    except NotStrictXml:
        raise _Fault("xml.bad") from None
    return found.text


def _descend(element: Element, name: str, *names: str) -> Element:
    # WSAA looks at local names only, in SOAP 1.1 and 1.2.
    if element.name.rpartition(" ")[2] != name:
        raise NotStrictXml(f"there is no {name}")
    if not names:
        return element
    found = [child for child in element.children if child.name.rpartition(" ")[2] == names[0]]
    if len(found) != 1:
        raise NotStrictXml(f"there is not one {names[0]}")
    return _descend(found[0], *names)


def _opened(cms: bytes) -> tuple[x509.Certificate, bytes]:
    # `cryptography` builds CMS and does not verify it: OpenSSL's own program does.
    try:
        embedded = load_der_pkcs7_certificates(cms)
    except ValueError as error:
        raise _Fault("cms.cert.notFound" if "certificate" in str(error) else "cms.bad") from None
    if not embedded:
        raise _Fault("cms.cert.notFound")
    with tempfile.TemporaryDirectory() as folder:
        signer, content = Path(folder, "signer.pem"), Path(folder, "content")
        command = [
            "openssl",
            "cms",
            "-verify",
            "-noverify",
            "-inform",
            "DER",
            "-signer",
            str(signer),
            "-out",
            str(content),
        ]
        try:
            done = subprocess.run(command, input=cms, capture_output=True, check=False, timeout=30)  # noqa: S603 - no shell
        except FileNotFoundError:
            raise _Fault("wsaa.internalError", MISSING_OPENSSL) from None
        if done.returncode or not content.exists():
            raise _Fault("cms.sign.invalid")
        return x509.load_pem_x509_certificate(signer.read_bytes()), content.read_bytes()


def _part(certificate: x509.Certificate, name: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(name)
    return str(found[0].value) if found else ""


def _time(text: str, code: str) -> float:
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise _Fault(code) from None
    # One without an offset is accepted; it is read here as Argentina's.
    return (time if time.tzinfo else time.replace(tzinfo=_ARGENTINA)).timestamp()


def _fault(code: str, text: str) -> str:
    axis = "http://xml.apache.org/axis/"
    text = "".join(c if ord(c) < 128 else f"&#x{ord(c):X};" for c in escape(text))
    return _envelope(
        f'<soapenv:Fault><faultcode xmlns:ns1="{axis}">ns1:{code}</faultcode><faultstring>{text}</faultstring><detail>'
        f'<ns2:exceptionName xmlns:ns2="{axis}">gov.afip.desein.dvadac.sua.view.wsaa.LoginFault</ns2:exceptionName>'
        f'<ns3:hostname xmlns:ns3="{axis}">emulador</ns3:hostname></detail></soapenv:Fault>'
    )


def _envelope(inner: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
        'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{inner}</soapenv:Body></soapenv:Envelope>'
    )
