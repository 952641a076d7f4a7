"""AFIP's WSAA, message by message: the ticket request (TRA), its CMS, the SOAP around it, and what comes back.

The shapes are those of real exchanges with the test environment; answers are read as strictly as a person's message.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from cryptography.x509 import Certificate

from portero.adapters.afip.cuit import is_cuit
from portero.adapters.afip.strict_xml import Element, NotStrictXml, parse_strictly
from portero.core.types import NumericDate, Secret

BACK_DATED = 300
"""Seconds by which a request says it is older than it is: AFIP accepts none from its future."""
REQUEST_LIFETIME = 600
MAX_TICKET_LIFETIME = 24 * 3600
MAX_ANSWER = 512 * 1024
"""Bytes; real ones have a few thousand."""

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_WSAA = "http://wsaa.view.sua.dvadac.desein.afip.gov"
_ARGENTINA = dt.timezone(dt.timedelta(hours=-3))
_SERVICE = re.compile(r"[A-Za-z0-9_.-]{3,35}")
_CODE = re.compile(r"(?:[A-Za-z0-9_-]+:)?([A-Za-z0-9.]{1,64})")
_MAX_ELEMENTS = 2000


class NotAnAnswer(ValueError):
    """What came back is none of WSAA's messages. Never quotes it."""


@dataclass(frozen=True, slots=True)
class WsaaFault:
    """WSAA says no: its code, such as `coe.notAuthorized`, and its own sentence, often empty."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket (TA): what goes into each call of one business service. `token` and `sign` do not print."""

    service: str
    token: Secret[str]
    sign: Secret[str]
    gen_time: NumericDate
    exp_time: NumericDate
    """By AFIP's clock, as is `gen_time`."""
    cuits: tuple[str, ...]
    """Whom it may act for, fixed when it was made: a later delegation needs another ticket."""


def is_service(name: str) -> bool:
    """Say whether a business service may have this name, such as `wsfe`."""
    return _SERVICE.fullmatch(name) is not None


def ticket_request(service: str, *, unique_id: int, now: NumericDate) -> bytes:
    """Write the TRA.

    Args:
        unique_id: 32 bits.
    """
    begins, ends = (_written(at) for at in (now - BACK_DATED, now + REQUEST_LIFETIME))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><loginTicketRequest version="1.0"><header>'
        f"<uniqueId>{unique_id}</uniqueId><generationTime>{begins}</generationTime>"
        f"<expirationTime>{ends}</expirationTime></header><service>{escape(service)}</service></loginTicketRequest>"
    ).encode()


def signed_request(request: bytes, *, certificate: Certificate, key: RSAPrivateKey) -> bytes:
    """Sign a TRA: CMS SignedData with the content attached, DER; SHA-256, which WSAA accepts beside SHA-1."""
    builder = PKCS7SignatureBuilder().set_data(request).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, [PKCS7Options.Binary])


def login_cms(cms: bytes) -> bytes:
    """Put a CMS into the SOAP envelope of `loginCms`."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{_SOAP}" xmlns:wsaa="{_WSAA}">'
        f"<soapenv:Header/><soapenv:Body><wsaa:loginCms><wsaa:in0>{base64.b64encode(cms).decode()}</wsaa:in0>"
        "</wsaa:loginCms></soapenv:Body></soapenv:Envelope>"
    ).encode()


def read_answer(status: int, body: bytes, *, service: str) -> Ticket | WsaaFault:
    """Read what WSAA answered.

    Raises:
        NotAnAnswer: it is neither a ticket for this service nor a fault.
    """
    try:
        envelope = parse_strictly(body, max_elements=_MAX_ELEMENTS, namespaces=True)
        if envelope.name != f"{_SOAP} Envelope":
            raise NotAnAnswer("it is not a SOAP 1.1 envelope")
        content = envelope.one(f"{_SOAP} Body")
        if content.all(f"{_SOAP} Fault"):
            return _fault(content.one(f"{_SOAP} Fault"))
        # WSAA answers in whatever namespace it was asked in: only the local name says something.
        if status != 200 or [_local(child) for child in content.children] != ["loginCmsResponse"]:
            raise NotAnAnswer(f"status {status}, and neither a ticket nor a fault")
        answers = content.children[0].children
        if [_local(child) for child in answers] != ["loginCmsReturn"]:
            raise NotAnAnswer("there is not one loginCmsReturn")
        return read_ticket(answers[0].text.encode(), service=service)
    except NotStrictXml as error:
        raise NotAnAnswer(str(error)) from None


def read_ticket(document: bytes, *, service: str) -> Ticket:
    """Read a TA.

    Raises:
        NotAnAnswer: it is none, or one for another service.
        NotStrictXml: as it says.
    """
    root = parse_strictly(document.strip(), max_elements=50)
    if root.name != "loginTicketResponse":
        raise NotAnAnswer("it is not a loginTicketResponse")
    header, credentials = root.one("header"), root.one("credentials")
    begins, ends = (_read_time(header.one(name).text) for name in ("generationTime", "expirationTime"))
    if not 0 < ends - begins <= MAX_TICKET_LIFETIME:
        raise NotAnAnswer("its times are out of order, or too far apart")
    token, sign = credentials.one("token").text.strip(), credentials.one("sign").text.strip()
    login = parse_strictly(_decoded(token), max_elements=_MAX_ELEMENTS).one("operation").one("login")
    _decoded(sign)
    if login.attributes.get("service") != service:
        raise NotAnAnswer("the ticket is for another service")
    keys = [one.attributes.get("key", "") for many in login.all("relations") for one in many.all("relation")]
    cuits = tuple(dict.fromkeys(key for key in keys if is_cuit(key)))
    return Ticket(service, Secret(token), Secret(sign), begins, ends, cuits)


def _fault(fault: Element) -> WsaaFault:
    code = _CODE.fullmatch(fault.one("faultcode").text.strip())
    if code is None:
        raise NotAnAnswer("a fault without a code")
    said = fault.all("faultstring")
    text = " ".join(said[0].text.split())[:200] if said else ""
    return WsaaFault(code[1], "".join(letter for letter in text if letter.isprintable()))


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise NotAnAnswer("token or sign is not base64") from None
    if not data:
        raise NotAnAnswer("token or sign is empty")
    return data


def _written(at: float) -> str:
    return dt.datetime.fromtimestamp(at, _ARGENTINA).isoformat(timespec="seconds")


def _read_time(text: str) -> NumericDate:
    try:
        time = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise NotAnAnswer("a time of another form") from None
    if time.tzinfo is None:
        raise NotAnAnswer("a time without an offset")
    return NumericDate(int(time.timestamp()))


def _local(element: Element) -> str:
    return element.name.rpartition(" ")[2]
