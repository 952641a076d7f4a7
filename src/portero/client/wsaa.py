"""Tickets of AFIP's WSAA, for a service that calls AFIP's business services.

    wsaa = Wsaa(Computer.load(Path("miapp.crt"), Path("miapp.key")), url=HOMOLOGATION)
    ticket = wsaa.ticket("wsfe")
    call_wsfe(ticket.token.reveal(), ticket.sign.reveal())

AFIP gives a ticket for twelve hours and, for minutes after, no second one: it is kept in a file of its owner, and all
processes that name the same folder share it behind a lock. Where an answer is lost, nobody can have that ticket any
more; the next one is asked for once a minute until AFIP gives it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import Certificate, load_pem_x509_certificate

from portero.adapters.afip.wsaa_messages import (
    MAX_ANSWER,
    NotAnAnswer,
    Ticket,
    WsaaFault,
    is_service,
    login_cms,
    read_answer,
    signed_request,
    ticket_request,
)
from portero.adapters.fetch.http import Fetcher
from portero.adapters.fetch.requests import FetchRequest, Limits
from portero.client.errors import StoreUnavailable
from portero.client.stores.file import FileStore, state_folder
from portero.client.wsaa_faults import PAUSE, WsaaUnavailable, explain
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.types import NumericDate, Secret

HOMOLOGATION = "https://wsaahomo.afip.gov.ar/ws/services/LoginCms"
PRODUCTION = "https://wsaa.afip.gov.ar/ws/services/LoginCms"
RENEW_BEFORE = 600
"""Seconds before its end from which a ticket is renewed; until its end it stays good where that fails."""
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Computer:
    """A computer as AFIP knows it: its certificate, and the key that goes with it."""

    certificate: Certificate
    key: RSAPrivateKey

    @classmethod
    def load(cls, certificate: Path, key: Path, *, password: Secret[bytes] | None = None) -> Computer:
        """Read both from PEM files.

        Raises:
            ConfigurationError: one cannot be read, or they do not belong together.
        """
        try:
            issued = load_pem_x509_certificate(certificate.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError("certificate", str(certificate), f"a certificate in PEM ({_why(error)})") from None
        try:
            secret = None if password is None else password.reveal()
            private = serialization.load_pem_private_key(key.read_bytes(), secret)
        except (OSError, ValueError, TypeError) as error:
            expected = f"an RSA key in PEM, with its password if it has one ({_why(error)})"
            raise ConfigurationError("key", str(key), expected) from None
        if not isinstance(private, RSAPrivateKey) or private.public_key() != issued.public_key():
            raise ConfigurationError("key", str(key), f"the RSA key that belongs to {certificate}")
        return cls(issued, private)


class Wsaa:
    """Gives tickets for one computer in one environment.

    Args:
        computer: who asks.
        url: `HOMOLOGATION`, `PRODUCTION`, or an emulator's; HTTPS, or HTTP on this machine.
        folder: where tickets are kept; None: the person's own, as `FileStore.for_session` has it.
        timeout: seconds for one answer.
        now: seconds since 1970.
        sleep: seconds to wait, for `ticket(wait=…)`.
    """

    def __init__(
        self,
        computer: Computer,
        *,
        url: str = HOMOLOGATION,
        folder: Path | None = None,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and local)):
            raise ConfigurationError("url", url, "an https:// address, or http:// on this machine")
        self._computer, self._url, self._timeout = computer, url, timeout
        self._folder = folder or state_folder() / "wsaa"
        self._now, self._sleep = now, sleep

    def ticket(self, service: str, *, wait: float = 0) -> Ticket:
        """Return a ticket that is good now: the kept one, or a new one.

        Args:
            service: as AFIP names it, such as `wsfe`.
            wait: seconds to go on trying while AFIP gives none for the moment.

        Raises:
            ConfigurationError: no service has such a name.
            WsaaRefused: AFIP says no, and will until something is mended.
            WsaaUnavailable: no ticket for the moment; `retry_after` says when to ask again.
            StoreUnavailable: the folder cannot be used. AFIP was not asked.
        """
        if not is_service(service):
            raise ConfigurationError(
                "service", service[:60], "a service's name, such as wsfe: 3 to 35 letters or digits"
            )
        ends = self._now() + wait
        while True:
            try:
                return self._once(service)
            except WsaaUnavailable as error:
                if self._now() + error.retry_after > ends:
                    raise
                self._sleep(error.retry_after)

    def _once(self, service: str) -> Ticket:
        store = FileStore(self._folder / f"{self._name(service)}.json")
        kept = _Kept.read(store, service)
        if kept.left(self._now()) > RENEW_BEFORE and kept.ticket is not None:
            return kept.ticket
        with store.exclusively(self._timeout + 5) as held:
            kept = _Kept.read(store, service)  # somebody may have been here meanwhile
            now = self._now()
            if kept.ticket is not None and kept.left(now) > (RENEW_BEFORE if held else 0):
                return kept.ticket
            if not held:
                raise WsaaUnavailable("busy", "another process is asking for this ticket", retry_after=5)
            try:
                # A clock that was set back must not make it long.
                if 0 < kept.not_before - now <= PAUSE:
                    raise WsaaUnavailable(
                        "pause", "it was asked a moment ago", retry_after=int(kept.not_before - now) + 1
                    )
                return self._ask(store, service, kept, now)
            except WsaaUnavailable:
                if kept.ticket is not None and kept.left(self._now()) > 0:
                    return kept.ticket
                raise

    def _ask(self, store: FileStore, service: str, kept: _Kept, now: float) -> Ticket:
        # Written before AFIP is asked: where nothing can be kept, nothing is asked for; and whoever comes after a
        # process that died here waits as after any lost answer.
        kept.not_before = now + PAUSE
        kept.write(store)
        request = ticket_request(service, unique_id=secrets.randbits(32), now=NumericDate(int(now)))
        cms = signed_request(request, certificate=self._computer.certificate, key=self._computer.key)
        headers = {"content-type": "text/xml; charset=utf-8", "soapaction": '""', "accept": "text/xml"}
        fetcher = Fetcher(limits=Limits(timeout=self._timeout), trust_env=True)
        try:
            answer = fetcher.fetch(FetchRequest(self._url, headers, body=login_cms(cms)), max_bytes=MAX_ANSWER)
            read = read_answer(answer.status, answer.body, service=service)
        except Unavailable as error:
            raise WsaaUnavailable("lost", f"no answer ({error})", retry_after=PAUSE) from None
        except NotAnAnswer as error:
            raise WsaaUnavailable("lost", f"no answer that can be read ({error})", retry_after=PAUSE) from None
        finally:
            fetcher.close()
        if isinstance(read, WsaaFault):
            fault = explain(read, date=answer.headers.get("date"), now=self._now())
            if not isinstance(fault, WsaaUnavailable):
                kept.not_before = 0
                kept.write(store)
            raise fault
        # By our own clock from when we asked, however wrong it is: AFIP's times are compared with AFIP's only.
        kept.ticket, kept.good_until, kept.not_before = read, now + (read.exp_time - read.gen_time), 0
        kept.write(store)
        return read

    def _name(self, service: str) -> str:
        who = self._computer.certificate.fingerprint(hashes.SHA256()).hex()
        return hashlib.sha256("\0".join((self._url, who, service)).encode()).hexdigest()[:32]


@dataclass(slots=True)
class _Kept:
    """What the file says."""

    ticket: Ticket | None = None
    good_until: float = 0
    not_before: float = 0

    def left(self, now: float) -> float:
        return self.good_until - now if self.ticket is not None else 0

    @classmethod
    def read(cls, store: FileStore, service: str) -> _Kept:
        try:
            values = json.loads(store.read() or "{}")
            kept = cls(None, float(values.get("good_until", 0)), float(values.get("not_before", 0)))
            if values.get("ticket") is not None:
                one = values["ticket"]
                times = NumericDate(int(one["gen_time"])), NumericDate(int(one["exp_time"]))
                kept.ticket = Ticket(service, Secret(one["token"]), Secret(one["sign"]), *times, tuple(one["cuits"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StoreUnavailable(f"{store.path} is damaged; remove it") from None
        return kept

    def write(self, store: FileStore) -> None:
        one = self.ticket
        ticket = one and {
            "token": one.token.reveal(),
            "sign": one.sign.reveal(),
            "gen_time": one.gen_time,
            "exp_time": one.exp_time,
            "cuits": one.cuits,
        }
        store.write(json.dumps({"good_until": self.good_until, "not_before": self.not_before, "ticket": ticket}))


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
