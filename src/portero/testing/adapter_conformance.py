"""The law every framework adapter passes, over a real socket with the real framework.

Subclass `AdapterConformance`, say how the service is built and served, and let pytest collect it:

    class TestMyFramework(AdapterConformance):
        def build(self, guard: Guard, orders: Service) -> Any: ...
        serve = staticmethod(serve_asgi)   # or serve_wsgi

The service has four routes, which call the `Service` with the principal they were given and
answer what it returns, as JSON:

| route | requires |
|---|---|
| `GET /orders` | scope `orders:read` |
| `POST /refund` | scope `orders:write`, role `manager` |
| `GET /fresh` | a sign-in at most ten minutes old |
| `GET /public` | nothing: `Service.public()` |

`CookieConformance` has the same laws and those of cookies, for adapters whose service also has
`GET /by-cookie` and `POST /by-cookie` (scope `orders:read`, `cookie=True`).
"""

# ruff: noqa: S101 - a conformance suite asserts

from __future__ import annotations

import http.client
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from portero.resource_server import CookieCredential, Guard, Principal
from portero.testing.issuer import InMemoryIssuer
from portero.testing.jwks_server import JwksServer
from portero.testing.sender_conformance import DPOP, Answer, SenderConformance
from portero.testing.tokens import AUDIENCE, new_key

ORIGIN = "https://shop.test"
OTHER_ORIGIN = "https://evil.test"
PATIENCE = 60.0
"""Seconds a test waits for what comes by itself."""
DEAD_ISSUER = "http://127.0.0.1:9"
"""Nobody listens on the discard port: an issuer whose keys cannot be had."""


@dataclass(slots=True)
class Service:
    """What the handlers do; remembers that they did."""

    reached: list[str] = field(default_factory=list)

    def answer(self, principal: Principal) -> dict[str, Any]:
        """What a guarded route answers."""
        self.reached.append(principal.jti)
        return {"sub": principal.subject, "jti": principal.jti, "scopes": sorted(principal.scopes)}

    def public(self) -> dict[str, Any]:
        """What the public route answers."""
        self.reached.append("public")
        return {"public": True}


class AdapterConformance(SenderConformance):
    """Refusal table, CORS, two tokens, HEAD and OPTIONS, the principal in the handler, bound tokens, concurrency."""

    serve: ClassVar[Callable[[Any], AbstractContextManager[str]]]
    _stack: ClassVar[ExitStack]
    issuer: ClassVar[InMemoryIssuer]
    guard: ClassVar[Guard]
    service: ClassVar[Service]
    url: ClassVar[str]

    def build(self, guard: Guard, service: Service) -> Any:
        """Build the application of the module docstring."""
        raise NotImplementedError

    @classmethod
    def setup_class(cls) -> None:
        """Start issuer and service once for all tests of the class."""
        with ExitStack() as stack:
            server = stack.enter_context(JwksServer())
            cls.issuer = server.issuer
            cls.guard = Guard(
                issuers=[server.url, DEAD_ISSUER],
                audience=AUDIENCE,
                revocation=server.feed(),
                cookie=CookieCredential(origins=[ORIGIN], name="access"),
                dpop=DPOP,
                cors_origins=[ORIGIN],
                startup_patience=timedelta(seconds=0.2),
            )
            cls.service = Service()
            cls.url = stack.enter_context(cls.serve(cls().build(cls.guard, cls.service)))
            cls._stack = stack.pop_all()
        cls._until(lambda: cls.send("GET", "/orders", token=cls.issuer.mint()).status == 200)

    @classmethod
    def teardown_class(cls) -> None:
        """Stop both."""
        cls._stack.close()
        cls.guard.close()

    def setup_method(self) -> None:
        """Forget who was served before."""
        self.service.reached.clear()

    @classmethod
    def send(
        cls, method: str, path: str, *, token: str | None = None, headers: list[tuple[str, str]] | None = None
    ) -> Answer:
        """Send one request, headers exactly as given."""
        connection = http.client.HTTPConnection(urlsplit(cls.url).netloc, timeout=60)
        try:
            connection.putrequest(method, path)
            for name, value in [*(headers or []), *([("Authorization", f"Bearer {token}")] if token else [])]:
                connection.putheader(name, value)
            if method == "POST":
                connection.putheader("Content-Length", "0")
            connection.endheaders()
            response = connection.getresponse()
            received = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, received, response.read())
        finally:
            connection.close()

    @staticmethod
    def _until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, "it did not come"
            time.sleep(0.01)

    def assert_refused(self, answer: Answer, status: int, error: str | None) -> None:
        """The status, the registered error in challenge and body, a problem document, and no handler reached."""
        assert status == answer.status
        assert answer.one("content-type") == "application/problem+json"
        problem = json.loads(answer.body)
        assert problem["status"] == status
        assert problem.get("error") == error
        challenge = ", ".join(answer.all("www-authenticate"))
        assert (f'error="{error}"' in challenge) if error else ("error=" not in challenge)
        assert self.service.reached == []

    # ── served ───────────────────────────────────────────────────────────────────────

    def test_the_handler_is_given_the_principal_of_the_token(self) -> None:
        """A valid token with the scope: the request is served, and the service knows who is calling."""
        answer = self.send("GET", "/orders", token=self.issuer.mint(sub="bob", scope="orders:read openid"))

        assert answer.status == 200
        assert json.loads(answer.body)["sub"] == "bob"
        assert json.loads(answer.body)["scopes"] == ["openid", "orders:read"]

    def test_the_scheme_is_case_insensitive(self) -> None:
        """RFC 9110 §11.1."""
        answer = self.send("GET", "/orders", headers=[("authorization", f"bearer {self.issuer.mint()}")])

        assert answer.status == 200

    def test_a_route_that_is_not_guarded_needs_no_token(self) -> None:
        """The adapter guards what it was asked to guard."""
        assert self.send("GET", "/public").status == 200

    def test_concurrent_requests_each_see_their_own_caller(self) -> None:
        """No identity leaks between requests that are served at the same time."""
        tokens = {f"concurrent-{n}": self.issuer.mint(jti=f"concurrent-{n}") for n in range(40)}

        def ask(jti: str) -> str:
            found: str = json.loads(self.send("GET", "/orders", token=tokens[jti]).body)["jti"]
            return found

        with ThreadPoolExecutor(10) as pool:
            seen = list(pool.map(ask, [*tokens, *tokens]))

        assert [*tokens, *tokens] == seen

    # ── refused ──────────────────────────────────────────────────────────────────────

    def test_without_a_token_the_challenge_says_where_to_get_one(self) -> None:
        """RFC 6750 §3.1: no error code; RFC 9728 §5.1: the metadata's address."""
        answer = self.send("GET", "/orders")

        self.assert_refused(answer, 401, None)
        for scheme in ("Bearer", "DPoP"):
            challenge = next(one for one in answer.all("www-authenticate") if f"{scheme} " in one)
            assert "https://service.test/.well-known/oauth-protected-resource/api" in challenge

    def test_another_scheme_is_no_token(self) -> None:
        """`Basic` credentials are not ours to judge."""
        self.assert_refused(self.send("GET", "/orders", headers=[("Authorization", "Basic YTpi")]), 401, None)

    def test_each_bad_token_is_refused_for_what_it_is(self) -> None:
        """Only the one thing that is wrong was changed."""
        bad = {
            "expired": self.issuer.mint(exp=int(time.time()) - 61),
            "another audience": self.issuer.mint(aud="https://other.test"),
            "another key": self.issuer.mint(key=new_key(kid="key-1")),
            "another type": self.issuer.mint(header={"typ": "JWT"}),
            "no subject": self.issuer.mint(sub=None),
            "not a token": "nonsense",
        }

        for token in bad.values():
            self.assert_refused(self.send("GET", "/orders", token=token), 401, "invalid_token")

    def test_an_empty_token_is_refused(self) -> None:
        """`Bearer` with nothing behind it."""
        self.assert_refused(self.send("GET", "/orders", headers=[("Authorization", "Bearer ")]), 401, "invalid_token")

    def test_a_revoked_session_is_refused_although_its_token_was_served_before(self) -> None:
        """The cache never outlives a revocation."""
        token = self.issuer.mint(sid="session-to-end")
        assert self.send("GET", "/orders", token=token).status == 200

        self.issuer.revoke(sid="session-to-end")
        self._until(lambda: self.send("GET", "/orders", token=token).status == 401)

        self.service.reached.clear()
        self.assert_refused(self.send("GET", "/orders", token=token), 401, "invalid_token")

    def test_two_authorization_headers_are_refused_whatever_they_hold(self) -> None:
        """RFC 6750 §2: one credential a request, and the first of two is no answer."""
        good = ("Authorization", f"Bearer {self.issuer.mint()}")

        for second in (good, ("Authorization", "Bearer x"), ("authorization", "Basic YTpi")):
            self.assert_refused(self.send("GET", "/orders", headers=[good, second]), 400, "invalid_request")

    def test_a_second_token_in_the_query_string_is_refused(self) -> None:
        """However its name is written."""
        token = self.issuer.mint()

        for query in (f"access_token={token}", "a=b&access%5Ftoken=x"):
            self.assert_refused(self.send("GET", f"/orders?{query}", token=token), 400, "invalid_request")

    def test_a_token_in_the_query_string_alone_is_no_token(self) -> None:
        """RFC 6750 §2.3: it would end in logs and histories."""
        self.assert_refused(self.send("GET", f"/orders?access_token={self.issuer.mint()}"), 401, None)

    def test_a_missing_scope_is_named(self) -> None:
        """RFC 6750 §3.1: 403 with the scopes that are needed; names are compared whole."""
        answer = self.send("GET", "/orders", token=self.issuer.mint(scope="orders orders:readonly"))

        self.assert_refused(answer, 403, "insufficient_scope")
        assert 'scope="orders:read"' in answer.one("www-authenticate")

    def test_a_forged_token_without_the_scope_is_not_told_about_the_scope(self) -> None:
        """Nothing is authorized before the signature is verified."""
        forged = self.issuer.mint(key=new_key(kid="key-1"), scope="none")

        self.assert_refused(self.send("GET", "/orders", token=forged), 401, "invalid_token")

    def test_a_missing_role_is_refused_and_the_role_lets_in(self) -> None:
        """Both are required, the scope and the role."""
        without = self.issuer.mint(scope="orders:write", roles=["clerk"])
        with_role = self.issuer.mint(scope="orders:write", roles=["manager"])

        self.assert_refused(self.send("POST", "/refund", token=without), 403, "insufficient_scope")
        assert self.send("POST", "/refund", token=with_role).status == 200

    def test_one_token_is_judged_by_each_route_for_itself(self) -> None:
        """A token that was accepted at one route is not thereby accepted at another."""
        token = self.issuer.mint(scope="orders:read")
        assert self.send("GET", "/orders", token=token).status == 200
        self.service.reached.clear()

        self.assert_refused(self.send("POST", "/refund", token=token), 403, "insufficient_scope")

    def test_an_old_sign_in_is_asked_to_sign_in_again(self) -> None:
        """RFC 9470 §3: the challenge says how recent it has to be."""
        answer = self.send("GET", "/fresh", token=self.issuer.mint(auth_time=int(time.time()) - 3600))

        self.assert_refused(answer, 401, "insufficient_user_authentication")
        assert 'max_age="600"' in answer.one("www-authenticate")
        assert self.send("GET", "/fresh", token=self.issuer.mint()).status == 200

    def test_keys_that_cannot_be_had_are_our_failure(self) -> None:
        """503 with Retry-After and no challenge: the token may be perfectly good."""
        answer = self.send("GET", "/orders", token=self.issuer.mint(iss=DEAD_ISSUER))

        self.assert_refused(answer, 503, None)
        assert int(answer.one("retry-after")) >= 1
        assert answer.all("www-authenticate") == []

    def test_a_refusal_is_not_stored(self) -> None:
        """It is about this request only."""
        assert self.send("GET", "/orders").one("cache-control") == "no-store"

    def test_head_without_a_token_is_not_served(self) -> None:
        """HEAD follows GET, or does not exist; it is never a way around."""
        answer = self.send("HEAD", "/orders")

        assert answer.status in {401, 405}
        assert (answer.body, self.service.reached) == (b"", [])

    def test_options_that_is_no_preflight_reaches_no_handler(self) -> None:
        """Only a preflight is answered without a token."""
        self.send("OPTIONS", "/refund")

        assert self.service.reached == []

    # ── browsers on another origin ───────────────────────────────────────────────────

    def test_every_refusal_can_be_read_by_a_listed_origin(self) -> None:
        """Without these headers the page sees a network error, and no refresh ever starts."""
        for token in (None, "nonsense", self.issuer.mint(scope="none"), self.issuer.mint(iss=DEAD_ISSUER)):
            answer = self.send("GET", "/orders", token=token, headers=[("Origin", ORIGIN)])

            assert answer.status in {401, 403, 503}
            assert answer.one("access-control-allow-origin") == ORIGIN
            exposed = {name.strip() for name in answer.one("access-control-expose-headers").split(",")}
            assert exposed >= {"WWW-Authenticate", "Retry-After", "Date", "DPoP-Nonce"}

    def test_an_answer_can_be_read_by_a_listed_origin_and_by_no_other(self) -> None:
        """The origin is compared whole; an answer that depends on it says so (`Vary`)."""
        token = self.issuer.mint()

        listed = self.send("GET", "/orders", token=token, headers=[("Origin", ORIGIN)])
        other = self.send("GET", "/orders", token=token, headers=[("Origin", OTHER_ORIGIN)])

        assert listed.one("access-control-allow-origin") == ORIGIN
        assert other.all("access-control-allow-origin") == []
        assert "origin" in ", ".join(other.all("vary")).lower()

    def test_a_preflight_is_answered_before_authentication_and_reaches_no_handler(self) -> None:
        """It carries no token, and never will."""
        answer = self.send(
            "OPTIONS",
            "/refund",
            headers=[
                ("Origin", ORIGIN),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "authorization,x-extra"),
            ],
        )

        assert answer.status == 204
        assert answer.one("access-control-allow-origin") == ORIGIN
        assert "POST" in answer.one("access-control-allow-methods")
        assert {"authorization", "x-extra"} <= set(answer.one("access-control-allow-headers").split(", "))
        assert self.service.reached == []

    def test_a_preflight_of_another_origin_is_not_allowed(self) -> None:
        """No header, no permission."""
        answer = self.send(
            "OPTIONS", "/refund", headers=[("Origin", OTHER_ORIGIN), ("Access-Control-Request-Method", "POST")]
        )

        assert answer.all("access-control-allow-origin") == []
        assert self.service.reached == []

    # ── metadata ─────────────────────────────────────────────────────────────────────

    def test_the_metadata_document_names_resource_and_issuers(self) -> None:
        """RFC 9728 §3, at the place the challenge names."""
        answer = self.send("GET", "/.well-known/oauth-protected-resource/api", headers=[("Origin", ORIGIN)])

        document = json.loads(answer.body)
        assert document["resource"] == AUDIENCE
        assert self.issuer.url in document["authorization_servers"]
        assert {"orders:read", "orders:write"} <= set(document["scopes_supported"])
        assert answer.one("access-control-allow-origin") == ORIGIN


class CookieConformance(AdapterConformance):
    """The same, and when a cookie counts (design §3.5)."""

    def by_cookie(self, *headers: tuple[str, str], method: str = "GET", cookie: str | None = None) -> Answer:
        """Ask the route that accepts cookies, with a good cookie unless another is given."""
        value = f"access={self.issuer.mint()}" if cookie is None else cookie
        return self.send(method, "/by-cookie", headers=[("Cookie", value), *headers])

    def test_a_cookie_counts_with_a_listed_origin_and_the_header(self) -> None:
        """Whatever other cookies stand beside it."""
        good = f"theme=dark; access={self.issuer.mint(sub='bob')}; other=1"

        answer = self.by_cookie(("Origin", ORIGIN), ("X-Portero", "1"), method="POST", cookie=good)

        assert answer.status == 200
        assert json.loads(answer.body)["sub"] == "bob"

    def test_a_cookie_counts_in_a_get_of_the_same_origin(self) -> None:
        """There a browser sends no `Origin`, and says so in a header that no page can set."""
        assert self.by_cookie(("Sec-Fetch-Site", "same-origin"), ("X-Portero", "1")).status == 200

    def test_a_cookie_does_not_count_without_its_header_or_its_origin(self) -> None:
        """Change only the one thing: a form, an image, a page of another site, a page of a sibling host."""
        header, origin = ("X-Portero", "1"), ("Origin", ORIGIN)

        for headers in (
            [origin],
            [header],
            [header, ("Origin", OTHER_ORIGIN)],
            [header, ("Origin", ORIGIN + ".evil.test")],
            [header, ("Origin", "null")],
            [header, ("Sec-Fetch-Site", "same-site")],
            [header, ("Sec-Fetch-Site", "same-origin"), ("Origin", OTHER_ORIGIN)],
        ):
            self.assert_refused(self.by_cookie(*headers), 401, None)

    def test_a_cookie_counts_only_on_routes_that_accept_it(self) -> None:
        """Off by default."""
        headers = [("Cookie", f"access={self.issuer.mint()}"), ("Origin", ORIGIN), ("X-Portero", "1")]

        self.assert_refused(self.send("GET", "/orders", headers=headers), 401, None)

    def test_a_bad_cookie_is_refused_for_what_it_is(self) -> None:
        """It is verified as any token."""
        forged = f"access={self.issuer.mint(key=new_key(kid='key-1'))}"

        answer = self.by_cookie(("Origin", ORIGIN), ("X-Portero", "1"), cookie=forged)

        self.assert_refused(answer, 401, "invalid_token")

    def test_a_cookie_beside_another_token_is_refused(self) -> None:
        """Two cookies of the name, or a header too: two credentials in one request."""
        ours = (("Origin", ORIGIN), ("X-Portero", "1"))
        token = self.issuer.mint()

        twice = self.by_cookie(*ours, cookie=f"access={token}; access={token}")
        both = self.by_cookie(*ours, ("Authorization", f"Bearer {token}"))

        self.assert_refused(twice, 400, "invalid_request")
        self.assert_refused(both, 400, "invalid_request")

    def test_a_route_that_accepts_cookies_accepts_the_header_too(self) -> None:
        """From anybody: no browser sends it by itself."""
        assert self.send("GET", "/by-cookie", token=self.issuer.mint()).status == 200


# ── servers ──────────────────────────────────────────────────────────────────────────


@contextmanager
def serve_asgi(app: Any, *, lifespan: Literal["on", "off"] = "on") -> Iterator[str]:
    """Serve an ASGI application with uvicorn on loopback; "off" for a framework that knows no lifespan (Django)."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan=lifespan))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "uvicorn did not start"  # noqa: PT018 - one fact
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        return


@contextmanager
def serve_wsgi(app: Any) -> Iterator[str]:
    """Serve a WSGI application with wsgiref and threads on loopback."""
    server = make_server("127.0.0.1", 0, app, server_class=_ThreadingServer, handler_class=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()
