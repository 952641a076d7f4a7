"""AFIP's Clave Fiscal for an external site: `token` and `sign`, which AFIP's page has the person's browser send.

AFIP publishes no specification of this channel; the rules here are those that every known sample keeps and that no
forgery we could think of passes. In order: sizes, base64, signature over the raw bytes, and only then XML, over those
same bytes; then every field.

Does not check: that the message was not seen before (`Assertion.once` is what to remember), and that the browser that
brings it began a sign-in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from portero.adapters.afip.cuit import has_form, is_cuit
from portero.adapters.afip.legacy_rsa import verifies
from portero.adapters.afip.strict_xml import Element, NotStrictXml, parse_strictly
from portero.core.types import Digest, NumericDate, Secret

MAX_TOKEN = 48 * 1024
MAX_SIGN = 1024
"""Characters of base64."""
MAX_RELATIONS = 800
MAX_LIFETIME = 15 * 60
"""Seconds between `gen_time` and `exp_time`; the known samples have 480 and 600."""
AFIP = "33693450239"
"""AFIP's own CUIT, which its messages name as `entity`."""
VERSIONS = ("2.0", "1")

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Fault(Enum):
    """Why a message was refused. For the log and for tests; the person is told less."""

    SIZE = "size"
    BASE64 = "base64"
    SIGNATURE = "signature"
    XML = "xml"
    STRUCTURE = "structure"
    SOURCE = "source"
    VERSION = "version"
    NOT_GRANTED = "not_granted"
    SERVICE = "service"
    ENTITY = "entity"
    METHOD = "method"
    TIMES = "times"
    FUTURE = "future"
    EXPIRED = "expired"
    CUIT = "cuit"
    USED = "used"


class Refused(Exception):
    """The message is not accepted. Never carries any part of it."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Source:
    """An authentication server that is believed: its name exactly as its messages carry it, its key and its hash."""

    src: str
    key: RSAPublicKey
    algorithm: str
    """`RS1` or `RS256`."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is expected, all of it from configuration."""

    sources: tuple[Source, ...]
    service: str
    entity: str = AFIP
    versions: tuple[str, ...] = VERSIONS
    authmethods: tuple[str, ...] = ("passphrase",)
    leeway: int = 60
    """Seconds by which `gen_time` may be ahead of our clock; `exp_time` has none."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Somebody the person may act for. What `reltype` values mean is not published."""

    cuit: str
    reltype: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a verified message says."""

    version: str
    src: str
    unique_id: str
    gen_time: NumericDate
    exp_time: NumericDate
    cuit: str
    """The person. Never somebody represented."""
    authmethod: str
    regmethod: str
    """Raw; it looks like the level of the Clave Fiscal, which nobody has published."""
    relations: tuple[Relation, ...]
    once: Digest
    """What to remember until `exp_time`, so that the message counts once."""


def verify(token: Secret[str], sign: Secret[str], *, rules: Rules, now: NumericDate) -> Assertion:
    """Check a message.

    Raises:
        Refused: with the first fault found.
    """
    data = _decoded(token.reveal(), limit=MAX_TOKEN)
    signature = _decoded(sign.reveal(), limit=MAX_SIGN)
    # Nobody's bytes are parsed to find a key: each of the few believed ones is tried, and then has to be the one named.
    source = next((one for one in rules.sources if _signed_by(one, data, signature)), None)
    if source is None:
        raise Refused(Fault.SIGNATURE, "no believed key signed these bytes")
    try:
        root = parse_strictly(data, max_elements=MAX_RELATIONS + 200)
        return _read(root, data=data, source=source, rules=rules, now=now)
    except NotStrictXml as error:
        raise Refused(Fault.XML, str(error)) from None


def _signed_by(source: Source, data: bytes, signature: bytes) -> bool:
    return verifies(source.key, signature=signature, data=data, algorithm=source.algorithm)


def _decoded(text: str, *, limit: int) -> bytes:
    # Form decoding turns an unescaped '+' into ' ': known to happen, and undone here. Nothing else is.
    text = text.replace(" ", "+")
    if not 0 < len(text) <= limit:
        raise Refused(Fault.SIZE, f"{len(text)} characters, where 1 to {limit} are allowed")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Fault.BASE64, "not base64") from None
    # One spelling only: bits that base64 ignores must be zero.
    if _BASE64.fullmatch(text) is None or base64.b64encode(data).decode() != text:
        raise Refused(Fault.BASE64, "not base64 in its one form")
    return data


def _read(root: Element, *, data: bytes, source: Source, rules: Rules, now: NumericDate) -> Assertion:
    if root.name != "sso":
        raise Refused(Fault.STRUCTURE, "the document is not sso")
    _only(root, {"id", "operation"})
    version = root.attributes.get("version", "1")
    if version not in VERSIONS or version not in rules.versions or (version == "1" and root.attributes):
        raise Refused(Fault.VERSION, "a version that is not accepted")
    id_, operation = root.one("id"), root.one("operation")
    _only(id_, set())
    _only(operation, {"login"})
    login = operation.one("login")
    if id_.attributes.get("src") != source.src:
        raise Refused(Fault.SOURCE, "src is not the name of the key that signed")
    if operation.attributes.get("type") != "login":
        raise Refused(Fault.NOT_GRANTED, "the operation is not a login")
    if operation.attributes.get("value") != ("granted" if version == "2.0" else None):
        raise Refused(Fault.NOT_GRANTED, "the login is not granted")
    _check_service(version, id_, login, rules=rules)
    if login.attributes.get("entity") != rules.entity:
        raise Refused(Fault.ENTITY, "entity is not AFIP's")
    authmethod = login.attributes.get("authmethod", "")
    if authmethod not in rules.authmethods:
        raise Refused(Fault.METHOD, "authmethod is not one of a person")
    gen_time, exp_time = _times(id_, rules=rules, now=now)
    unique_id, regmethod = id_.attributes.get("unique_id", ""), login.attributes.get("regmethod", "")
    if _IDENTIFIER.fullmatch(unique_id) is None or _IDENTIFIER.fullmatch(regmethod) is None:
        raise Refused(Fault.STRUCTURE, "unique_id or regmethod is missing or of another form")
    name = "uid" if version == "2.0" else "username"
    if {"uid", "username"}.intersection(login.attributes) != {name}:
        raise Refused(Fault.STRUCTURE, f"the person is named by other attributes than {name}")
    cuit = login.attributes[name]
    if not is_cuit(cuit):
        raise Refused(Fault.CUIT, "the person is not a CUIT")
    return Assertion(
        version=version,
        src=source.src,
        unique_id=unique_id,
        gen_time=gen_time,
        exp_time=exp_time,
        cuit=cuit,
        authmethod=authmethod,
        regmethod=regmethod,
        relations=_relations(login) if version == "2.0" else (),
        once=_once(source.src, unique_id, data),
    )


def _check_service(version: str, id_: Element, login: Element, *, rules: Rules) -> None:
    dst, attributes = id_.attributes.get("dst"), login.attributes
    if version == "2.0":
        if dst != rules.service or attributes.get("service") != rules.service or "system" in attributes:
            raise Refused(Fault.SERVICE, "dst or service is not ours")
    # Version 1 names the authentication server again as dst, and every service the person may use as system.
    elif (
        dst != id_.attributes.get("src")
        or rules.service not in attributes.get("system", "").split(",")
        or "service" in attributes
    ):
        raise Refused(Fault.SERVICE, "dst is not src, or our service is not among system")


def _times(id_: Element, *, rules: Rules, now: NumericDate) -> tuple[NumericDate, NumericDate]:
    texts = id_.attributes.get("gen_time", ""), id_.attributes.get("exp_time", "")
    if not all(_SECONDS.fullmatch(text) for text in texts):
        raise Refused(Fault.TIMES, "gen_time or exp_time is no number of seconds")
    gen_time, exp_time = (NumericDate(int(text)) for text in texts)
    if not 0 < exp_time - gen_time <= MAX_LIFETIME:
        raise Refused(Fault.TIMES, f"it would hold longer than {MAX_LIFETIME} seconds, or not at all")
    if gen_time - rules.leeway > now:
        raise Refused(Fault.FUTURE, "gen_time is in the future")
    if now >= exp_time:
        raise Refused(Fault.EXPIRED, "exp_time is past")
    return gen_time, exp_time


def _relations(login: Element) -> tuple[Relation, ...]:
    lists = login.all("relations")
    if len(lists) > 1:
        raise Refused(Fault.STRUCTURE, "more than one list of relations")
    found: dict[str, Relation] = {}
    for element in lists[0].children if lists else ():
        cuit, reltype = element.attributes.get("key", ""), element.attributes.get("reltype", "")
        if element.name != "relation" or element.children or _IDENTIFIER.fullmatch(reltype) is None:
            raise Refused(Fault.STRUCTURE, "a relation of another form")
        if not has_form(cuit):
            raise Refused(Fault.CUIT, "a relation is not a CUIT")
        # One whose digit is wrong is nobody: it is not offered. The message stays good, for AFIP signed it.
        if is_cuit(cuit):
            found.setdefault(cuit, Relation(cuit, reltype))
    if len(found) > MAX_RELATIONS:
        raise Refused(Fault.SIZE, f"more than {MAX_RELATIONS} relations")
    return tuple(found.values())


def _only(element: Element, names: set[str]) -> None:
    if any(child.name not in names for child in element.children) or element.text.strip():
        raise Refused(Fault.STRUCTURE, f"{element.name} holds something that is not known")


def _once(src: str, unique_id: str, data: bytes) -> Digest:
    seen = b"\0".join((b"clave_fiscal", src.encode(), unique_id.encode(), hashlib.sha256(data).digest()))
    return Digest(hashlib.sha256(seen).digest())
