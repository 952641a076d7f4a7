"""What the manifest says about senders is what the Guard checks (design §3.4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from portero.core.errors import ConfigurationError
from portero.core.jose import base64url
from portero.resource_server.manifest import from_manifest

MANIFEST = """
layout = "middleware"

[issuers.main]
issuer = "https://issuer.test"
revocation = "none"

[services.orders]
audience = "https://service.test/api"
dpop = { urls = ["https://shop.test/api"], nonce_key_env = "NONCE_KEY" }
client_certificate = { header = "X-Client-Cert", encoding = "pem" }

[[services.orders.routes]]
match = "GET /orders"
require = { scopes = ["orders:read"], dpop = true }

[[services.orders.routes]]
match = "POST /orders"
require = { mtls = true }
"""
KEY = base64url.encode(b"k" * 32)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "portero.toml"
    file.write_text(text)
    return file


def test_a_service_says_how_senders_prove_themselves(tmp_path: Path) -> None:
    """The URLs and the header are in the file, the key is in the environment."""
    service = from_manifest(written(tmp_path, MANIFEST), service="orders", environ={"NONCE_KEY": KEY})

    senders = service.guard.senders
    assert senders.dpop is not None
    assert senders.dpop.urls == ("https://shop.test/api",)
    assert senders.dpop.nonce_key is not None
    assert senders.dpop.nonce_key.reveal() == b"k" * 32
    assert senders.certificate is not None
    assert senders.certificate.header == "x-client-cert"


@pytest.mark.parametrize("environ", [{}, {"NONCE_KEY": base64url.encode(b"k" * 31)}, {"NONCE_KEY": "not base64!"}])
def test_a_nonce_key_that_is_missing_or_short_is_told_with_its_line(tmp_path: Path, environ: dict[str, str]) -> None:
    """Never the key itself."""
    with pytest.raises(ConfigurationError) as caught:
        from_manifest(written(tmp_path, MANIFEST), service="orders", environ=environ)

    assert "services.orders.dpop.nonce_key_env" in str(caught.value)
    assert "10" in str(caught.value)
    assert "not base64!" not in str(caught.value)


@pytest.mark.parametrize("setting", ["dpop", "client_certificate"])
def test_a_route_that_nobody_could_check_is_told(tmp_path: Path, setting: str) -> None:
    """A requirement without its means is an error when the file is read, not at the first request."""
    text = "\n".join(line for line in MANIFEST.splitlines() if not line.startswith(f"{setting} ="))

    with pytest.raises(ConfigurationError) as caught:
        from_manifest(written(tmp_path, text), service="orders", environ={"NONCE_KEY": KEY})

    assert "routes[" in str(caught.value)
