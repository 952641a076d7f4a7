"""Where the client's certificate comes from, for tokens that are bound to it (RFC 8705 §3).

TLS often ends before the service. Then a proxy hands the certificate on in a header, and only
the operator knows which one, and that the proxy removes what callers send under that name.
So it is written down or not there at all: nothing is looked for by default.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from portero.core.errors import ConfigurationError
from portero.core.jose import base64url
from portero.core.policy.cookie_credential import HeaderOf

MAX_CERTIFICATE_BYTES: Final = 16_384
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_PEM = re.compile(rb"\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")
_XFCC_PAIR = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^;,"]*)(?:;|\Z)')
_HEX_DIGEST = re.compile(r"[0-9A-Fa-f]{64}\Z")


class CertificateEncoding(Enum):
    """How a proxy writes the certificate into its header."""

    RFC9440 = "rfc9440"
    """`Client-Cert: :MIIB…:`, the DER in base64 (RFC 9440 §2.1)."""
    PEM = "pem"
    """The PEM, percent-encoded: nginx's `$ssl_client_escaped_cert`, Traefik, HAProxy."""
    XFCC = "xfcc"
    """Envoy's `x-forwarded-client-cert`, of one hop (`SANITIZE_SET`), with its `Hash`."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Where the client's certificate comes from.

    Args:
        header: what the proxy sets, and removes from every request that comes in. `None`, written down:
            TLS ends at this service's own server, which hands the certificate on (ASGI's `tls` extension,
            WSGI's `SSL_CLIENT_CERT`, gRPC's peer).
        encoding: how the header holds it.

    Raises:
        ConfigurationError: a value cannot be meant.
    """

    header: str | None
    encoding: CertificateEncoding = CertificateEncoding.RFC9440

    def __post_init__(self) -> None:
        if self.header is not None:
            if not _TOKEN.match(self.header):
                raise ConfigurationError("client_certificate.header", self.header, "must be the name of a header")
            object.__setattr__(self, "header", self.header.lower())

    def thumbprint_of(self, header: HeaderOf, of_server: str | bytes | None) -> str | None:
        """Find the certificate and return its SHA-256 thumbprint in base64url (`x5t#S256`); `None`: there is none.

        Args:
            header: finds a request header.
            of_server: the PEM the service's own server knows; looked at only where no header is configured.
        """
        if self.header is None:
            pem = of_server.encode("ascii", "replace") if isinstance(of_server, str) else of_server
            return None if pem is None else _thumbprint(_der_of_pem(pem))
        value = header(self.header)
        if value is None or len(value) > 3 * MAX_CERTIFICATE_BYTES:
            return None
        match self.encoding:
            case CertificateEncoding.RFC9440:
                # A second value, joined by a comma, is no base64.
                sequence = len(value) > 2 and value.startswith(":") and value.endswith(":")
                return _thumbprint(_base64(value[1:-1].encode("latin-1"))) if sequence else None
            case CertificateEncoding.PEM:
                return _thumbprint(_der_of_pem(unquote_to_bytes(value)))
            case CertificateEncoding.XFCC:
                return _thumbprint_of_xfcc(value)


def _thumbprint(der: bytes | None) -> str | None:
    return None if not der else base64url.encode(hashlib.sha256(der).digest())


def _der_of_pem(pem: bytes) -> bytes | None:
    if len(pem) > 2 * MAX_CERTIFICATE_BYTES:
        return None
    found = _PEM.fullmatch(pem)
    return None if found is None else _base64(b"".join(found[1].split()))


def _base64(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _thumbprint_of_xfcc(value: str) -> str | None:
    """One element with one `Hash`. Several elements are several hops, or a caller's own before the proxy's."""
    place, digests = 0, []
    while place < len(value):
        pair = _XFCC_PAIR.match(value, place)
        if pair is None:
            return None
        place = pair.end()
        if pair[1].lower() == "hash":
            digests.append(pair[2])
    if len(digests) != 1 or not _HEX_DIGEST.match(digests[0]):
        return None
    return base64url.encode(bytes.fromhex(digests[0]))
