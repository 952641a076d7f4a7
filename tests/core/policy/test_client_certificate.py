"""Where the client's certificate comes from (RFC 8705, RFC 9440)."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote

import pytest

from portero.core.errors import ConfigurationError
from portero.core.jose import base64url
from portero.core.policy.client_certificate import CertificateEncoding, ClientCertificate

DER = b"0\x82\x01\x0a" + bytes(range(256))
THUMBPRINT = base64url.encode(hashlib.sha256(DER).digest())
PEM = "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(DER).decode() + "-----END CERTIFICATE-----\n"
BASE64 = base64.b64encode(DER).decode()
HASH = hashlib.sha256(DER).hexdigest()


def thumbprint(encoding: CertificateEncoding, value: str | None) -> str | None:
    source = ClientCertificate("Client-Cert", encoding)
    return source.thumbprint_of(lambda name: value if name == "client-cert" else None, PEM)


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        (CertificateEncoding.RFC9440, f":{BASE64}:"),
        (CertificateEncoding.PEM, quote(PEM)),
        (CertificateEncoding.XFCC, f"By=spiffe://shop.test/orders;Hash={HASH};URI=spiffe://shop.test/web"),
        (CertificateEncoding.XFCC, f'Hash={HASH};Cert="{quote(PEM)}";Subject="CN=a, O=\\"b;c\\"";DNS=a.test'),
    ],
)
def test_a_proxy_hands_the_certificate_on_in_its_own_way(encoding: CertificateEncoding, value: str) -> None:
    """Each names the same certificate."""
    assert thumbprint(encoding, value) == THUMBPRINT


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        (CertificateEncoding.RFC9440, None),
        (CertificateEncoding.RFC9440, ""),
        (CertificateEncoding.RFC9440, "::"),
        (CertificateEncoding.RFC9440, BASE64),
        (CertificateEncoding.RFC9440, f":{BASE64}:, :{BASE64}:"),
        (CertificateEncoding.RFC9440, f":{BASE64[:-1]}!:"),
        (CertificateEncoding.RFC9440, ":" + "A" * 80_000 + ":"),
        (CertificateEncoding.PEM, quote(PEM + PEM)),
        (CertificateEncoding.PEM, f"{quote(PEM)}, {quote(PEM)}"),
        (CertificateEncoding.PEM, "none"),
        (CertificateEncoding.XFCC, f"Hash={HASH},Hash={HASH}"),
        (CertificateEncoding.XFCC, f"Hash={HASH};Hash={HASH}"),
        (CertificateEncoding.XFCC, f'Subject="a;Hash={HASH}"'),
        (CertificateEncoding.XFCC, f"Hash={HASH[:-1]}"),
        (CertificateEncoding.XFCC, "By=a;;b"),
    ],
)
def test_what_is_not_one_certificate_is_none(encoding: CertificateEncoding, value: str | None) -> None:
    """Two of them, or half of one: nobody guesses which the connection was made with."""
    assert thumbprint(encoding, value) is None


def test_a_header_counts_only_where_it_is_configured() -> None:
    """And where one is, the server's own knowledge does not: the two ends of a proxy are two connections."""
    of_server = ClientCertificate(header=None)

    assert of_server.thumbprint_of(lambda _: f":{BASE64}:", None) is None
    assert of_server.thumbprint_of(lambda _: None, PEM) == THUMBPRINT
    assert of_server.thumbprint_of(lambda _: None, PEM.encode()) == THUMBPRINT
    assert thumbprint(CertificateEncoding.RFC9440, None) is None


def test_a_name_that_is_no_header_is_refused() -> None:
    """At start-up, not as a certificate that never comes."""
    with pytest.raises(ConfigurationError):
        ClientCertificate("client cert")
