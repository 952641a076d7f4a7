"""An OpenID provider over real HTTP that answers honestly until a test says otherwise."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

import pytest

from portero.core.jose.jwk_set import render_jwk_set
from portero.core.jose.jws import sign_compact
from portero.testing.clock import FakeClock
from portero.testing.tokens import new_key

CLIENT_ID, SECRET = "portero", "a:secret/with+signs"


def acme_of(environment: pytest.MonkeyPatch) -> Iterator[LyingProvider]:
    """What a fixture yields: a provider whose secret stands in the environment, as `client_secret_env` says."""
    environment.setenv("ACME_SECRET", SECRET)
    provider = LyingProvider(FakeClock().now)
    yield provider
    provider.close()


class LyingProvider:
    """One provider on a loopback port. `claims`, `metadata` and `userinfo` are what it says; tests change them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.key = new_key("ES256", kid="one")
        self.stranger = new_key("ES256", kid="one")
        self.signs_with = self.key
        self.claims: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"name": "Ada Lovelace", "email": "ada@acme.example", "email_verified": True}
        self.status: dict[str, int] = {}
        self.raw: dict[str, bytes | Callable[[BinaryIO], None]] = {}
        """Bytes, or what writes them, in place of an answer; the connection ends after them."""
        self._over = threading.Event()
        self.nonce = ""
        self.asked: list[str] = []
        """The paths that were asked for, in order."""
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str] = []
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stall(self, _: BinaryIO) -> None:
        """Say nothing, for as long as the test runs."""
        self._over.wait(60)

    def drip(self, wire: BinaryIO) -> None:
        """Answer a byte at a time, and never to the end."""
        wire.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n")
        while not self._over.wait(0.1):
            wire.write(b" ")
            wire.flush()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def signed(self, claims: dict[str, Any], *, typ: str = "JWT") -> str:
        header = {"alg": "ES256", "kid": self.signs_with.kid, "typ": typ}
        return sign_compact(header, json.dumps(claims).encode(), self.signs_with)

    def id_token(self) -> str:
        now = int(self.now())
        honest = {"iss": self.issuer, "sub": "ada-1", "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        return self.signed({**honest, "nonce": self.nonce, "sid": "s-1", "auth_time": now - 30, **self.claims})

    def logout_token(self, **changes: Any) -> str:
        now = int(self.now())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 100, "jti": "j",
            "sub": "ada-1", "sid": "s-1",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }  # fmt: skip
        said = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return self.signed(said, typ="logout+jwt")

    def answer(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                **self.metadata,
            }
        if path == "/jwks":
            return json.loads(render_jwk_set([self.key.public]))
        if path == "/userinfo":
            return {"sub": "ada-1", **self.userinfo}
        return {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token()}


class _Handler(BaseHTTPRequestHandler):
    provider: LyingProvider

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        self.provider.asked.append(self.path)
        instead = self.provider.raw.get(self.path)
        if instead is not None:
            self.close_connection = True
            with suppress(OSError):
                instead(self.wfile) if callable(instead) else self.wfile.write(instead)
            return
        status = self.provider.status.get(self.path, 200)
        body = json.dumps(self.provider.answer(self.path)).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["content-length"])).decode()
        self.provider.forms.append(dict(parse_qsl(form)))
        self.provider.authorizations.append(self.headers.get("authorization", ""))
        self.do_GET()


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()
