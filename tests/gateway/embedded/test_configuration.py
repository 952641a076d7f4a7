"""Certificates and manifests: mistakes are told before anything listens; changes are taken over while it runs."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from portero.core.errors import ConfigurationError
from portero.gateway.embedded.run import run
from portero.gateway.embedded.state import State
from portero.gateway.engines import Options
from portero.testing.jwks_server import JwksServer
from tests.gateway.embedded.certificates import write_certificate
from tests.gateway.embedded.conftest import ENVIRON, World, write_manifest
from tests.gateway.embedded.running import Caller, until

TLS = 'tls = { certificate = "chain.pem", key = "key.pem" }'


def test_tls_is_served_and_a_new_certificate_taken_over(another: Callable[..., World], tmp_path: Path) -> None:
    """The service hears that it was https, and connections from now on see the new certificate."""
    write_certificate(tmp_path)
    world = another(more=TLS)

    def certificate() -> bytes:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with Caller(world.port) as plain, context.wrap_socket(plain.socket) as secure:
            secure.sendall(world.head("GET", "/api/orders/1", "Connection: close"))
            assert secure.recv(12) == b"HTTP/1.1 200"
            return secure.getpeercert(binary_form=True) or b""

    first = certificate()
    assert world.last().all("x-forwarded-proto") == ["https"]
    write_certificate(tmp_path)
    until(lambda: certificate() != first)


@pytest.mark.parametrize(
    ("more", "setting"),
    [
        ('tls = { certificate = "no.pem", key = "no.pem" }', "gateway.tls.certificate"),
        ('tls = { certificate = "portero.toml", key = "portero.toml" }', "gateway.tls.certificate"),
        ('otlp = "http://127.0.0.1:4318"', "gateway.otlp"),
    ],
)
def test_what_cannot_be_meant_is_told_before_it_listens(
    tmp_path: Path, issuer: JwksServer, more: str, setting: str
) -> None:
    """One clear line that names the setting, also for what this engine does not do."""
    file = write_manifest(tmp_path, issuer, 9, more=more)

    with pytest.raises(ConfigurationError) as refused:
        run(Options(file, ENVIRON))

    assert refused.value.setting == setting


def test_http2_to_a_service_is_told_to_need_the_other_engine(tmp_path: Path, issuer: JwksServer) -> None:
    """Never left out in silence."""
    file = write_manifest(tmp_path, issuer, 9)
    text = file.read_text().replace("cors_origins", 'protocol = "http2"\ncors_origins')

    with pytest.raises(ConfigurationError) as refused:
        State(text, Options(file, ENVIRON))

    assert refused.value.setting == "services.orders.protocol"
    assert "--engine envoy" in str(refused.value)


def test_a_changed_manifest_is_taken_over_and_a_broken_one_changes_nothing(another: Callable[..., World]) -> None:
    """Requests go on meanwhile (design §3.4)."""
    world = another()
    manifest = world.gateway.manifest
    text = manifest.read_text()
    assert world.ask("GET", "/api/new/1").status == 403

    manifest.write_text(text.replace('"* /public/', '"* /new/'))
    until(lambda: world.ask("GET", "/api/new/1").status == 200)
    manifest.write_text(text.replace("[services.orders]", "[services.orders"))
    until(lambda: world.gateway.worker._marks == world.gateway.worker._look())

    assert world.ask("GET", "/api/new/1").status == 200


def test_other_limits_hold_for_a_connection_that_was_served_under_the_old_ones(another: Callable[..., World]) -> None:
    """Also for the very head that was served."""
    world = another()
    manifest = world.gateway.manifest
    with Caller(world.port) as caller:
        request = world.head("GET", "/api/orders/1", f"X-Note: {'a' * 3000}")

        def status() -> int:
            caller.send(request)
            return caller.answer().status

        assert [status(), status()] == [200, 200]
        manifest.write_text(manifest.read_text().replace("header_bytes = 8192", "header_bytes = 2048"))
        until(lambda: status() == 431)
