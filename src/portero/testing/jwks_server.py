"""An issuer on loopback that rotates, stalls, fails and lies.

    with JwksServer() as server:
        guard = Guard(issuers=[server.url], audience=AUDIENCE, revocation=server.feed())
        server.behave(Behaviour.FAIL, path="/jwks")

Serves discovery, the JWK Set, the token endpoint (client credentials, token exchange) and the
revocation feed, in a thread, until closed. Counts what it is asked.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from portero.adapters.system import SystemClock
from portero.core.jose.jws import unverified_payload
from portero.core.types import Secret
from portero.ports import Clock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE

if TYPE_CHECKING:
    from portero.resource_server import FeedStart, RevocationFeed

CLIENT_ID = "service"
CLIENT_SECRET = "service-secret"


class Behaviour(Enum):
    """What a path does instead of its duty."""

    FAIL = "500"
    REFUSE = "401"
    STALL = "no answer until released"
    DRIP = "one byte at a time, for ever"
    REDIRECT = "302 to another path"
    GARBAGE = "not JSON"
    HUGE = "more bytes than anybody should read"
    COMPRESSED = "a gzip body"
    EMPTY_SET = "a JWK Set without keys"
    ONE_BAD_KEY = "a JWK Set with a broken key among good ones"
    OTHER_ISSUER = "metadata that names another issuer"
    IMPOSSIBLE_HOST = "metadata whose jwks_uri has a host that no name can be"


class JwksServer:
    """The server. A context manager; `close` ends every connection."""

    def __init__(
        self, issuer: InMemoryIssuer | None = None, *, audience: str = AUDIENCE, heartbeat: float = 0.05
    ) -> None:
        self.clock: Clock = SystemClock()
        self.issuer = issuer or InMemoryIssuer(audience=audience, clock=self.clock)
        self.asked: Counter[str] = Counter()
        """Path → how often it was asked."""
        self.exchanges = 0
        """How many token exchanges were asked for."""
        self.heartbeat = heartbeat
        """Seconds between the feed's heartbeats; a real server's is 1."""
        self.redirect_to = "/elsewhere"
        self.released = threading.Event()
        self.streams_cut = threading.Event()
        self.stop = threading.Event()
        self._behaviours: dict[str, Behaviour] = {}
        server = self
        handler = type("Handler", (_Handler,), {"owner": server})
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._httpd.server_address[1]}"
        self.issuer.move_to(self.url)
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> JwksServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and the thread."""
        self.stop.set()
        self.released.set()
        with self.issuer.changed:
            self.issuer.changed.notify_all()
        if self._thread.is_alive():
            self._httpd.shutdown()
            self._thread.join(2)
        self._httpd.server_close()

    def behave(self, behaviour: Behaviour | None, *, path: str = "/jwks") -> None:
        """From now on, `path` does this; `None`: its duty again."""
        if behaviour is None:
            self._behaviours.pop(path, None)
        else:
            self._behaviours[path] = behaviour

    def behaviour_of(self, path: str) -> Behaviour | None:
        """What `path` does instead of its duty."""
        return self._behaviours.get(path)

    def release(self) -> None:
        """Let stalled answers go, and stall no more."""
        self._behaviours = {path: what for path, what in self._behaviours.items() if what is not Behaviour.STALL}
        self.released.set()

    def feed(self, *, stale_after: float = 10.0, start: FeedStart | None = None) -> RevocationFeed:
        """The settings with which a Guard follows this server's feed."""
        from portero.resource_server import FeedStart, RevocationFeed

        return RevocationFeed(
            CLIENT_ID,
            Secret(CLIENT_SECRET),
            stale_after=timedelta(seconds=stale_after),
            start=start or FeedStart.WAIT,
        )


class _Handler(BaseHTTPRequestHandler):
    """One request; HTTP/1.0, so that closing is the end of every answer."""

    owner: JwksServer
    disable_nagle_algorithm = True  # an event of the feed is small, and is not to wait for the one before it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        return

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = urlsplit(self.path).path
        owner = self.owner
        owner.asked[path] += 1
        behaviour = owner.behaviour_of(path)
        try:
            if behaviour is Behaviour.STALL:
                owner.released.wait(30)
                behaviour = None
            if behaviour is not None:
                self._misbehave(behaviour, path)
            elif path in _DUTIES:
                _DUTIES[path](self)
            else:
                self._answer(404, b"{}")
        except OSError:
            # The client went away; it may.
            return

    def _misbehave(self, behaviour: Behaviour, path: str) -> None:
        issuer = self.owner.issuer
        match behaviour:
            case Behaviour.FAIL:
                self._answer(500, b"{}")
            case Behaviour.REFUSE:
                self._answer(401, b"{}")
            case Behaviour.REDIRECT:
                self._answer(302, b"", location=self.owner.redirect_to)
            case Behaviour.GARBAGE:
                self._answer(200, b"<html>welcome</html>")
            case Behaviour.COMPRESSED:
                self._answer(200, b"\x1f\x8b\x08\x00", content_encoding="gzip")
            case Behaviour.EMPTY_SET:
                self._answer(200, b'{"keys":[]}')
            case Behaviour.ONE_BAD_KEY:
                document = json.loads(issuer.jwk_set())
                document["keys"].insert(0, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "bad"})
                self._answer(200, json.dumps(document).encode())
            case Behaviour.OTHER_ISSUER:
                self._answer(200, json.dumps({**self._metadata(), "issuer": self.owner.url + "/other"}).encode())
            case Behaviour.IMPOSSIBLE_HOST:
                uri = f"https://{'a' * 64}.example/jwks"  # a label has 63 at most
                self._answer(200, json.dumps({**self._metadata(), "jwks_uri": uri}).encode())
            case Behaviour.HUGE:
                self._start(200)
                while not self.owner.stop.is_set():
                    self.wfile.write(b" " * 65536)
            case Behaviour.DRIP:
                self._start(200)
                while not self.owner.stop.wait(0.05):
                    self.wfile.write(b" ")
                    self.wfile.flush()
            case Behaviour.STALL:
                return

    def _discovery(self) -> None:
        self._answer(200, json.dumps(self._metadata()).encode())

    def _metadata(self) -> dict[str, Any]:
        url = self.owner.url
        return {"issuer": url, "jwks_uri": f"{url}/jwks", "token_endpoint": f"{url}/token"}

    def _jwks(self) -> None:
        self._answer(200, self.owner.issuer.jwk_set())

    def _token(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers.get("content-length", "0"))).decode()))
        expected = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if self.headers.get("authorization") != expected:
            self._answer(401, b'{"error":"invalid_client"}')
        elif form.get("grant_type") == "client_credentials":
            self._answer(200, b'{"access_token":"feed-token","token_type":"Bearer","expires_in":300}')
        elif form.get("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange":
            self._exchange(form)
        else:
            self._answer(400, b'{"error":"unsupported_grant_type"}')

    def _exchange(self, form: Mapping[str, str]) -> None:
        issuer = self.owner.issuer
        self.owner.exchanges += 1
        subject = json.loads(unverified_payload(form["subject_token"]))
        if subject["exp"] <= issuer.clock.now() or issuer.took_back(subject):
            self._answer(400, b'{"error":"invalid_request","error_description":"the subject token is over"}')
            return
        changes = {name: subject.get(name) for name in ("sub", "sid", "auth_time", "acr", "amr", "roles", "exp")}
        scope = form.get("scope", subject.get("scope"))
        token = issuer.mint(**changes, aud=form["resource"], scope=scope, client_id=CLIENT_ID, act={"sub": CLIENT_ID})
        answer = {
            "access_token": token,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": int(subject["exp"] - issuer.clock.now()),
        }
        self._answer(200, json.dumps(answer).encode())

    def _snapshot(self) -> None:
        if self._may_read():
            self._answer(200, self.owner.issuer.snapshot())

    def _stream(self) -> None:
        if not self._may_read():
            return
        owner, issuer = self.owner, self.owner.issuer
        epoch, _, n = parse_qs(urlsplit(self.path).query)["after"][0].rpartition(":")
        if epoch != issuer.epoch or int(n) > len(issuer.entries):
            self._answer(409, b'{"error":"unknown_cursor"}')
            return
        self._start(200, content_type="text/event-stream")
        sent = int(n)
        while not owner.stop.is_set() and not owner.streams_cut.is_set():
            with issuer.changed:
                head = len(issuer.entries)
                events = issuer.events_after(sent)
            self.wfile.write(events)
            self.wfile.flush()
            sent = max(sent, head)
            with issuer.changed:
                if len(issuer.entries) == sent:
                    issuer.changed.wait(owner.heartbeat)

    def _may_read(self) -> bool:
        if self.headers.get("authorization") == "Bearer feed-token":
            return True
        self._answer(401, b'{"error":"invalid_token"}')
        return False

    def _start(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content_type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self._start(status, **headers)
        self.wfile.write(body)


_DUTIES: dict[str, Callable[[Any], None]] = {
    "/.well-known/oauth-authorization-server": _Handler._discovery,
    "/jwks": _Handler._jwks,
    "/token": _Handler._token,
    "/revocations/snapshot": _Handler._snapshot,
    "/revocations/stream": _Handler._stream,
}
