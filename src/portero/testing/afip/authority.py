"""A certificate authority that anybody may have: it vouches for nothing outside a test."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

_TWO_YEARS = dt.timedelta(days=730)


@dataclass(frozen=True)
class Authority:
    """A CA with its key."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def issue(self, subject: x509.Name, key: rsa.RSAPublicKey, *, now: float) -> x509.Certificate:
        """Issue a certificate for two years, signed with SHA-512 as AFIP's are."""
        return _certificate(subject, key, issuer=self.certificate.subject, signer=self.key, ca=False, now=now)

    def issue_computer(self, alias: str, cuit: str, key: rsa.RSAPublicKey, *, now: float) -> x509.Certificate:
        """Issue what a program presents to WSAA; the subject is ours to say, whatever a request asked for."""
        names = [
            x509.NameAttribute(NameOID.COMMON_NAME, alias),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"CUIT {cuit}"),
        ]
        return self.issue(x509.Name(names), key, now=now)


def new_authority(*, now: float) -> Authority:
    """Make a CA, valid from shortly before `now` (seconds since 1970)."""
    key = new_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "Computadores Emulador"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Emulador, no es AFIP"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "AR"),
        ]
    )
    certificate = _certificate(name, key.public_key(), issuer=name, signer=key, ca=True, now=now)
    return Authority(key, certificate)


def new_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Make an RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem_of(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name, key: rsa.RSAPublicKey, *, issuer: x509.Name, signer: rsa.RSAPrivateKey, ca: bool, now: float
) -> x509.Certificate:
    begins = dt.datetime.fromtimestamp(int(now), dt.UTC) - dt.timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + _TWO_YEARS)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, hashes.SHA512())
    )
