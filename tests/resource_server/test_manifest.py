"""Routes decided by the manifest behind both middlewares, and a manifest that changes while they run."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from werkzeug.serving import make_server

from portero.core.errors import ConfigurationError
from portero.core.policy.manifest import Manifest
from portero.core.policy.manifest import Service as ManifestService
from portero.core.policy.requirement import Requirement
from portero.resource_server import Guard
from portero.resource_server.asgi import PRINCIPAL, principal_of
from portero.resource_server.manifest import GuardedService, from_manifest
from portero.resource_server.manifest_asgi import ManifestMiddleware
from portero.resource_server.manifest_wsgi import ManifestMiddleware as WsgiManifestMiddleware
from portero.resource_server.wsgi import principal_of as principal_of_environ
from portero.testing.adapter_conformance import AdapterConformance, Service, serve_asgi
from portero.testing.clock import FakeClock
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import AUDIENCE

StartResponse = Callable[..., Any]

HEAD = f"""\
layout = "middleware"

[issuers.main]
issuer = "https://id.example"
revocation = {{ client_id = "service", secret_env = "FEED_SECRET" }}

[services.orders]
audience = "{AUDIENCE}"
"""
ROUTES = """
[[services.orders.routes]]
match = "GET /orders"
require = { scopes = ["orders:read"] }

[[services.orders.routes]]
match = "POST /refund"
require = { scopes = ["orders:write"], roles = ["manager"] }

[[services.orders.routes]]
match = "GET /fresh"
require = { max_auth_age = "10m" }

[[services.orders.routes]]
match = "GET /public"
public = true
"""
SECRETS = {"FEED_SECRET": "x" * 43}


def written(text: str = HEAD + ROUTES, folder: str | Path | None = None) -> Path:
    file = Path(folder or mkdtemp()) / "portero.toml"
    file.write_text(text)
    return file


def with_guard(guard: Guard, file: Path, **more: Any) -> GuardedService:
    def make(manifest: Manifest, service: ManifestService, environ: Mapping[str, str]) -> Guard:
        return guard

    return from_manifest(file, service="orders", environ=SECRETS, make_guard=make, **more)


class TestManifestAsgi(AdapterConformance):
    """The routes have no decorator at all: the middleware decides for them."""

    serve = staticmethod(serve_asgi)

    def build(self, guard: Guard, service: Service) -> Any:
        async def answer(request: Request) -> JSONResponse:
            return JSONResponse(service.answer(principal_of(request)))

        async def public(_: Request) -> JSONResponse:
            return JSONResponse(service.public())

        app = Starlette(
            routes=[
                Route("/orders", answer),
                Route("/refund", answer, methods=["POST"]),
                Route("/fresh", answer),
                Route("/public", public),
                Route("/unnamed", public),
            ]
        )
        return ManifestMiddleware(app, service=with_guard(guard, written()))

    @pytest.mark.attack(row=93)
    def test_a_route_that_is_not_named_is_denied_to_everybody(self) -> None:
        """The handler exists; the manifest does not name it."""
        self.assert_refused(self.send("GET", "/unnamed"), 403, "insufficient_scope")
        self.assert_refused(self.send("GET", "/unnamed", token=self.issuer.mint()), 403, "insufficient_scope")

    @pytest.mark.parametrize(
        "path", ["/public/../orders", "/public/%2e%2e/orders", "/public%2F..%2Forders", "//orders"]
    )
    def test_an_ambiguous_path_reaches_no_handler(self, path: str) -> None:
        """400, before any token is looked at."""
        self.assert_refused(self.send("GET", path, token=self.issuer.mint()), 400, "invalid_request")

    def test_an_encoded_letter_changes_nothing(self) -> None:
        """`%6f` is `o`: the same route with the same requirement."""
        self.assert_refused(self.send("GET", "/%6frders"), 401, None)
        assert self.send("GET", "/%6frders", token=self.issuer.mint()).status == 200


@contextmanager
def serve_werkzeug(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


class TestManifestWsgi(AdapterConformance):
    """Behind a server that hands on the undecoded path."""

    serve = staticmethod(serve_werkzeug)

    def build(self, guard: Guard, service: Service) -> Any:
        def app(environ: Any, start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            document = (
                service.public() if path in ("/public", "/unnamed") else service.answer(principal_of_environ(environ))
            )
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(document).encode()]

        return WsgiManifestMiddleware(app, service=with_guard(guard, written(), look_every=None))

    def test_a_route_that_is_not_named_is_denied_to_everybody(self) -> None:
        """The handler exists; the manifest does not name it."""
        self.assert_refused(self.send("GET", "/unnamed"), 403, "insufficient_scope")
        self.assert_refused(self.send("GET", "/unnamed", token=self.issuer.mint()), 403, "insufficient_scope")

    @pytest.mark.parametrize("path", ["/public/../orders", "/public/%2e%2e/orders", "/public%2F..%2Forders"])
    def test_an_ambiguous_path_reaches_no_handler(self, path: str) -> None:
        """400, before any token is looked at."""
        self.assert_refused(self.send("GET", path, token=self.issuer.mint()), 400, "invalid_request")


# ── the service a manifest describes ───────────────────────────────────────────────────


def service_of(file: Path, **more: Any) -> GuardedService:
    return from_manifest(file, service="orders", environ=SECRETS, clock=FakeClock(), **more)


@pytest.mark.attack(row=92)
def test_a_secret_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """Named with file, line and key; nothing runs unchecked instead."""
    file = written(folder=tmp_path)

    with pytest.raises(ConfigurationError) as refused:
        from_manifest(file, service="orders", environ={})

    assert str(refused.value).startswith(f"{file}:5: issuers.main.revocation.secret_env is 'FEED_SECRET'")


@pytest.mark.attack(row=92)
@pytest.mark.parametrize(
    "text", [None, "layout = ", HEAD.replace("audience", "audiense"), HEAD.replace("orders", "other")]
)
def test_a_manifest_that_cannot_be_used_stops_the_start(text: str | None, tmp_path: Path) -> None:
    """No file, no TOML, a mistake, no such service: an error at start-up, never an open service."""
    file = tmp_path / "portero.toml" if text is None else written(text, tmp_path)

    with pytest.raises(ConfigurationError, match=r"portero\.toml"):
        service_of(file)


def test_what_the_guard_cannot_check_is_told_with_its_route(tmp_path: Path) -> None:
    """A requirement the Guard refuses in code is refused from the manifest, at the route's line."""
    guard = Guard(issuers=["https://id.example"], audience=AUDIENCE, revocation=None, clock=FakeClock())
    file = written(HEAD + ROUTES.replace("public = true", 'when_stale = "deny"'), tmp_path)

    with pytest.raises(ConfigurationError) as refused:
        with_guard(guard, file)

    assert str(refused.value).startswith(f"{file}:23: services.orders.routes[3].when_stale is 'deny'")


def test_the_requirements_are_those_of_code(tmp_path: Path) -> None:
    """`guard.requires(...)` and the manifest make equal objects, and both are announced."""
    service = service_of(written(folder=tmp_path))

    assert list(service.decided.requirements()) == [
        service.guard.requires(scopes=["orders:read"]),
        service.guard.requires(scopes=["orders:write"], roles=["manager"]),
        service.guard.requires(max_auth_age=timedelta(minutes=10)),
    ]
    assert set(json.loads(service.guard.metadata())["scopes_supported"]) == {"orders:read", "orders:write"}


def test_the_guard_is_what_the_manifest_says(tmp_path: Path) -> None:
    """Issuer rules, feed, leeway, roles and origins arrive."""
    more = 'cors_origins = ["https://shop.example"]\n[roles]\nmanager = ["orders:read"]\n'
    text = HEAD.replace("[issuers.main]", 'leeway = "30s"\n[issuers.main]\nroles = "realm_access.roles"') + more
    clock = FakeClock()
    issuer = InMemoryIssuer(clock=clock)
    file = written(text.replace("https://id.example", issuer.url), tmp_path)

    guard = from_manifest(file, service="orders", environ=SECRETS, clock=clock).guard
    issuer.trust_in(guard)
    caller = guard.admit(
        issuer.mint(scope="", realm_access={"roles": ["manager"]}).encode(), guard.requires(scopes=["orders:read"])
    )

    assert "orders:read" in getattr(caller, "scopes", ())
    assert (guard.leeway, guard.cors.origins) == (30, frozenset({"https://shop.example"}))
    feed = guard.trust(issuer.url).feed
    assert feed is not None
    assert feed.client_secret.reveal() == SECRETS["FEED_SECRET"]


@pytest.mark.parametrize(
    ("name", "method", "path", "what"),
    [
        ("orders", "GET", "/orders", {"scopes": ["orders:read"]}),
        ("orders", "POST", "/orders/7/refund", {"scopes": ["orders:write"], "roles": ["manager"]}),
        ("inventory", "GET", "/inventory", {"scopes": ["inventory:read"]}),
    ],
)
def test_the_shops_manifest_asks_what_its_code_asks(name: str, method: str, path: str, what: Any) -> None:
    """One file for both services of the demo, in place of their decorators."""
    file = Path(__file__).resolve().parents[2] / "examples/shop/portero.toml"

    service = from_manifest(file, service=name, environ={"SHOP_FEED_SECRET": "x"}, clock=FakeClock())

    assert access(service, method, path) == service.guard.requires(**what)


# ── while it runs ──────────────────────────────────────────────────────────────────────


def looked_twice(service: GuardedService) -> bool:
    """A change counts once two looks agree. Whether it was used."""
    for _ in range(2):
        decided = service.look()
        if decided is not None:
            service.use(decided)
            return True
    return False


def access(service: GuardedService, method: str, path: str) -> object:
    return getattr(service.decided.matcher.decide(method, path.encode()), "access", None)


def test_a_change_is_used_as_a_whole(tmp_path: Path) -> None:
    """Routes and requirements are the new ones; the Guard, which nothing changed, stays with its keys and cache."""
    service = service_of(written(folder=tmp_path))
    guard = service.guard
    written(HEAD + ROUTES.replace("orders:read", "orders:list").replace("/refund", "/refunds"), tmp_path)

    assert looked_twice(service)
    assert access(service, "GET", "/orders") == Requirement(scopes=frozenset({"orders:list"}))
    assert access(service, "POST", "/refunds") != access(service, "POST", "/refund")
    assert service.guard is guard
    assert not looked_twice(service)


def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    """One look sees a change, the next must see the same file: half a manifest could be a valid one."""
    service = service_of(written(folder=tmp_path))
    written(HEAD, tmp_path)

    assert service.look() is None
    written(HEAD + ROUTES + "\n# whole\n", tmp_path)
    assert service.look() is None
    assert service.look() is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layout = ", "portero.toml:1"),
        (HEAD + ROUTES.replace("scopes", "scps"), "scps"),
        (HEAD.replace("orders", "other"), "service"),
        (HEAD.replace("FEED_SECRET", "OTHER_SECRET") + ROUTES, "OTHER_SECRET"),
        (None, "not readable"),
    ],
)
def test_a_broken_manifest_changes_nothing_that_runs(
    text: str | None, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once in the log and by readiness; mended, it counts."""
    file = written(folder=tmp_path)
    service = service_of(file)
    before = service.decided
    if text is None:
        file.unlink()
    else:
        written(text, tmp_path)

    with caplog.at_level(logging.ERROR, "portero.manifest"):
        assert not looked_twice(service)
        assert not looked_twice(service)

    assert service.decided is before
    assert said in service.problem
    assert service.problem in service.readiness().problems
    assert len(caplog.records) == 1
    written(HEAD + ROUTES + "\n# mended\n", tmp_path)
    assert looked_twice(service)
    assert service.problem == ""


def test_another_issuer_makes_another_guard_that_keeps_the_open_connections(tmp_path: Path) -> None:
    """What is open stays under watch: the new Guard's feed closes it."""
    service = service_of(written(folder=tmp_path))
    old = service.guard
    written((HEAD + ROUTES).replace("id.example", "id2.example"), tmp_path)

    assert looked_twice(service)
    assert service.guard is not old
    assert service.guard.connections is old.connections
    assert service.guard.trust("https://id2.example")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def test_threads_notice_a_change_by_themselves(tmp_path: Path) -> None:
    """The file is looked at beside the requests."""
    service = service_of(written(folder=tmp_path), look_every=timedelta(milliseconds=10))
    service.start_sync()
    try:
        written(HEAD, tmp_path)
        until(lambda: not list(service.decided.requirements()))
    finally:
        service.close()


def test_an_event_loop_notices_a_change_by_itself(tmp_path: Path) -> None:
    """Another Guard is started before it decides, and the old one is stopped after."""
    dead = (HEAD + ROUTES).replace("https://id.example", "http://127.0.0.1:9")
    service = service_of(
        written(dead, tmp_path), look_every=timedelta(milliseconds=10), startup_patience=timedelta(seconds=0.05)
    )

    async def run() -> None:
        await service.start()
        old = service.guard
        written(dead.replace("layout", 'leeway = "30s"\nlayout'), tmp_path)
        async with asyncio.timeout(60):
            while service.guard is old or old.started:  # noqa: ASYNC110 - the file's follower has no event
                await asyncio.sleep(0.005)
        assert service.guard.started
        assert service.guard.leeway == 30
        await service.aclose()
        assert not service.guard.started

    asyncio.run(run())


def asked(app: Any, scope: dict[str, Any]) -> int:
    """The status a scope gets (of the close code, for a WebSocket)."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    return int(sent[0].get("status") or sent[0]["code"])


def asgi_scope(path: str, *, token: str = "", **changes: Any) -> dict[str, Any]:
    headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    return {**scope, "headers": headers, **changes}


@pytest.fixture
def wrapped(guard: Guard, issuer: InMemoryIssuer, tmp_path: Path) -> Iterator[Any]:
    """A middleware around an application that answers everything it is asked."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4200 if PRINCIPAL in scope else 4204})
        else:
            await send({"type": "http.response.start", "status": 200 if PRINCIPAL in scope else 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    guard.started = True
    text = HEAD.replace("https://id.example", issuer.url) + ROUTES
    return ManifestMiddleware(app, service=with_guard(guard, written(text, tmp_path)))


def test_a_websocket_handshake_is_a_get(wrapped: Any, issuer: InMemoryIssuer) -> None:
    """Named and allowed: served; not named, ambiguous, without token: closed before the handshake."""
    codes = [
        asked(wrapped, asgi_scope(path, token=token, type="websocket", subprotocols=[]))
        for path, token in [
            ("/orders", issuer.mint()),
            ("/public", ""),
            ("/orders", ""),
            ("/unnamed", issuer.mint()),
            ("/orders/../public", issuer.mint()),
        ]
    ]

    assert codes == [4200, 4204, 4401, 4403, 4400]


def test_a_server_without_raw_path_is_told_to_use_decorators(wrapped: Any) -> None:
    """The decoded path says too little: the manifest is refused, and no handler is reached."""
    with pytest.raises(ConfigurationError, match="decorators"):
        asked(wrapped, asgi_scope("/public", raw_path=None))


def test_a_path_that_somebody_rewrote_is_not_served(wrapped: Any, issuer: InMemoryIssuer) -> None:
    """What was authorized is what is served: raw and decoded path must say the same."""
    assert asked(wrapped, asgi_scope("/public")) == 204
    assert asked(wrapped, asgi_scope("/refund", raw_path=b"/public")) == 400
    assert asked(wrapped, asgi_scope("/orders", raw_path=b"/%6frders", token=issuer.mint())) == 200


def wsgi_environ(path: str, **changes: str) -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", **changes}


def test_wsgi_servers_are_asked_for_the_undecoded_path(guard: Guard, tmp_path: Path) -> None:
    """`RAW_URI` or `REQUEST_URI`, query and prefix included; without either the manifest is refused."""
    statuses: list[str] = []

    def app(environ: Any, start_response: StartResponse) -> Iterable[bytes]:
        start_response("204 No Content", [])
        return []

    middleware = WsgiManifestMiddleware(app, service=with_guard(guard, written(folder=tmp_path), look_every=None))

    def ask(environ: dict[str, Any]) -> str:
        middleware(environ, lambda status, _headers: statuses.append(status))  # type: ignore[arg-type] # a recorder
        return statuses.pop()[:3]

    assert ask(wsgi_environ("/public", REQUEST_URI="/public?x=/orders")) == "204"
    assert ask(wsgi_environ("/public", RAW_URI="/public")) == "204"
    assert ask(wsgi_environ("lic", SCRIPT_NAME="/pub", RAW_URI="/public")) == "204"
    assert ask(wsgi_environ("/orders", REQUEST_URI="/public")) == "400"
    assert ask(wsgi_environ("/public", REQUEST_URI="http://h/public")) == "400"
    assert ask(wsgi_environ("/public", REQUEST_URI="/a/../public")) == "400"
    with pytest.raises(ConfigurationError, match="decorators"):
        ask(wsgi_environ("/public"))
