"""Clave Fiscal messages, right ones and every wrong one."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from xml.sax.saxutils import quoteattr

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from portero.adapters.afip.clave_fiscal import AFIP, Source
from portero.adapters.afip.cuit import check_digit
from portero.adapters.afip.legacy_rsa import sign
from portero.testing.afip.authority import Authority, new_authority, new_key

LIFETIME = {"2.0": 480, "1": 600}
"""Seconds, as in the known samples."""


class Switch(Enum):
    """What may be wrong with a message, or merely unusual."""

    WRONG_KEY = "wrong-key"
    SHA256 = "sha256"
    OVER_BASE64 = "over-base64"
    EXPIRED = "expired"
    FUTURE = "future"
    OTHER_SERVICE = "other-service"
    OTHER_DST = "other-dst"
    OTHER_ENTITY = "other-entity"
    OTHER_SOURCE = "other-source"
    NOT_GRANTED = "not-granted"
    TOO_LONG = "too-long"
    BAD_CUIT = "bad-cuit"
    WSAA_METHOD = "wsaa-method"
    REPLAY = "replay"
    DUPLICATE_LOGIN = "duplicate-login"
    DTD = "dtd"
    LATIN1 = "latin1"
    PLUS_AS_SPACE = "plus-as-space"
    NO_RELATIONS = "no-relations"
    MANY_RELATIONS = "many-relations"

    @property
    def accepted(self) -> bool:
        """Whether a right receiver accepts the message all the same."""
        return self in (Switch.PLUS_AS_SPACE, Switch.NO_RELATIONS, Switch.MANY_RELATIONS)


@dataclass(frozen=True, slots=True)
class Message:
    """What AFIP's page has the browser send."""

    token: str
    sign: str


@dataclass
class ClaveFiscalServer:
    """An authentication server with a key of its own.

    Args:
        service: the site it signs people in for.
        bits: of its key; AFIP's WSAA has had 1024.
    """

    service: str = "mi_servicio"
    bits: int = 2048
    entity: str = AFIP
    src: str = "C=AR,O=Emulador de AFIP,OU=Emulador,serialNumber=CUIT 33693450239,CN=AuthServerEmulador"
    authority: Authority | None = None
    _key: rsa.RSAPrivateKey | None = None
    _last: dict[str, Message] = field(default_factory=dict)

    @cached_property
    def key(self) -> rsa.RSAPrivateKey:
        """What it signs with."""
        return self._key or new_key(self.bits)

    @cached_property
    def _stranger(self) -> rsa.RSAPrivateKey:
        return new_key(self.bits)

    @property
    def source(self) -> Source:
        """What a receiver believes."""
        return Source(self.src, self.key.public_key(), "RS1")

    def certificate(self, *, now: float) -> x509.Certificate:
        """Its certificate under the emulator's CA."""
        names = [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "AR"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "CUIT 33693450239"),
            x509.NameAttribute(NameOID.COMMON_NAME, "AuthServerEmulador"),
        ]
        authority = self.authority or new_authority(now=now)
        return authority.issue(x509.Name(names), self.key.public_key(), now=now)

    def issue(
        self,
        cuit: str,
        *,
        now: float,
        relations: Sequence[str] = (),
        version: str = "2.0",
        regmethod: str = "3",
        switch: Switch | None = None,
    ) -> Message:
        """Make the message for a person.

        Args:
            relations: CUITs the person may act for, their own not among them.
            version: `2.0` or `1`, which knows no relations.
        """
        if switch is Switch.REPLAY and self.service in self._last:
            return self._last[self.service]
        document = self._document(cuit, relations, version=version, regmethod=regmethod, now=int(now), switch=switch)
        data = document.encode("iso-8859-1" if switch is Switch.LATIN1 else "utf-8")
        token = base64.b64encode(data).decode()
        signed = token.encode() if switch is Switch.OVER_BASE64 else data
        key = self._stranger if switch is Switch.WRONG_KEY else self.key
        signature = sign(key, signed, algorithm="RS256" if switch is Switch.SHA256 else "RS1")
        message = Message(token, base64.b64encode(signature).decode())
        if switch is Switch.PLUS_AS_SPACE:
            message = Message(message.token.replace("+", " "), message.sign.replace("+", " "))
        self._last[self.service] = message
        return message

    def _document(
        self, cuit: str, relations: Sequence[str], *, version: str, regmethod: str, now: int, switch: Switch | None
    ) -> str:
        begins = now + {Switch.EXPIRED: -7200, Switch.FUTURE: 7200}.get(switch, 0) if switch else now
        ends = begins + (86_400 if switch is Switch.TOO_LONG else LIFETIME[version])
        src = "C=AR,CN=Otro" if switch is Switch.OTHER_SOURCE else self.src
        service = "otro_servicio" if switch is Switch.OTHER_SERVICE else self.service
        dst = "otro_servicio" if switch is Switch.OTHER_DST else self.service if version == "2.0" else src
        entity = "30500000007" if switch is Switch.OTHER_ENTITY else self.entity
        person = cuit[:10] + str((int(cuit[10]) + 1) % 10) if switch is Switch.BAD_CUIT else cuit
        method = "cms" if switch is Switch.WSAA_METHOD else "passphrase"
        unique_id = str(secrets.randbelow(2**31))
        head = _empty("id", src=src, dst=dst, unique_id=unique_id, gen_time=str(begins), exp_time=str(ends))
        if version == "2.0":
            sso = _open("sso", version="2.0")
            value = "denied" if switch is Switch.NOT_GRANTED else "granted"
            operation = _open("operation", type="login", value=value)
            attributes = {"service": service, "entity": entity, "uid": person}
            inner = self._relations(cuit, relations, switch)
        else:
            sso = _open("sso")
            operation = _open("operation", type="logout" if switch is Switch.NOT_GRANTED else "login")
            attributes = {"system": f"otro,{service},otro_mas", "entity": entity, "username": person}
            inner = ""
        login = _open("login", **attributes, authmethod=method, regmethod=regmethod) + inner + "</login>"
        if switch is Switch.DUPLICATE_LOGIN:
            login += login.replace(person, "20222222223")
        if switch is Switch.LATIN1:
            login = login.replace("</login>", '<info name="razon social" value="Peña"/></login>')
        dtd = '<!DOCTYPE sso [<!ENTITY a "ja"><!ENTITY b "&a;&a;&a;&a;">]>\n' if switch is Switch.DTD else ""
        return f'<?xml version="1.0"?>\n{dtd}{sso}{head}\n {operation}\n  {login}</operation></sso>\n'

    def _relations(self, cuit: str, relations: Sequence[str], switch: Switch | None) -> str:
        if switch is Switch.NO_RELATIONS:
            return ""
        keys = [cuit, *relations]
        if switch is Switch.MANY_RELATIONS:
            keys += companies(500)
        return f"<relations>{''.join(_empty('relation', key=key, reltype='12') for key in keys)}</relations>"


def companies(count: int) -> list[str]:
    """Made-up CUITs of companies, with the right check digit."""
    found: list[str] = []
    number = 30_500_000_00
    while len(found) < count:
        digit = check_digit(str(number))
        if digit is not None:
            found.append(f"{number}{digit}")
        number += 1
    return found


def _open(name: str, **attributes: str) -> str:
    return f"<{name}{_written(attributes)}>"


def _empty(name: str, **attributes: str) -> str:
    return f"<{name}{_written(attributes)}/>"


def _written(attributes: dict[str, str]) -> str:
    return "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
