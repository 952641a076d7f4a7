"""Certificates the manifest names, read before anything listens: a mistake is told by its setting."""

from __future__ import annotations

import ssl
from pathlib import Path

from portero.core.errors import ConfigurationError
from portero.core.policy.manifest import Service
from portero.core.policy.manifest_gateway import Tls


def load_certificate(context: ssl.SSLContext, tls: Tls, folder: Path) -> None:
    """Read the certificate, for the connections from now on.

    Raises:
        ConfigurationError: it cannot be used.
    """
    certificate, key = folder / tls.certificate, folder / tls.key
    for setting, path in (("gateway.tls.certificate", certificate), ("gateway.tls.key", key)):
        if not path.is_file():
            raise ConfigurationError(setting, str(path), "must be a file in PEM")
    try:
        # Asked for a password it would wait for a terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        expected = f"must be a certificate and its key in PEM, without password ({error})"
        raise ConfigurationError("gateway.tls.certificate", str(certificate), expected) from None


def upstream_tls(service: Service, folder: Path) -> ssl.SSLContext:
    """What a service's servers are verified by.

    Raises:
        ConfigurationError: its authorities cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=str(folder / service.upstream_ca) if service.upstream_ca else None)
    except (ssl.SSLError, OSError) as error:
        setting = f"services.{service.name}.upstream_ca"
        raise ConfigurationError(setting, service.upstream_ca, f"must be certificates in PEM ({error})") from None
