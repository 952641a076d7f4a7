"""The composed application: what every answer carries, what nobody answered, and what a start does not load."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from portero.adapters.storage.open import open_store
from portero.adapters.system import SystemClock, SystemRandom
from portero.adapters.telemetry.counters import Counters
from portero.authorization_server.app import create_app, is_within, open_context
from portero.authorization_server.config import Config
from portero.authorization_server.context import Context
from portero.authorization_server.edge import Edge
from portero.core.errors import ConfigurationError, RequestError, Unavailable
from portero.core.transitions import (
    Client,
    ClientKey,
    ClientType,
    Decision,
    Put,
    RefreshProfile,
    RotationPolicy,
    SigningKeysKey,
)
from portero.core.types import ClientId

CONFIG = Config(database="memory:")
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Seen:
    status: int
    headers: dict[str, str]
    body: bytes


def asked(
    app: Asgi,
    path: str,
    *,
    method: str = "GET",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    peer: tuple[str, int] | None = ("192.0.2.1", 5000),
) -> Seen:
    """One request over ASGI, without a socket."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": peer,
        "server": ("localhost", 9000),
        "scheme": "http",
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    start = sent[0]
    seen = {name.decode(): value.decode() for name, value in start["headers"]}
    return Seen(start["status"], seen, b"".join(message.get("body", b"") for message in sent[1:]))


@contextmanager
def composed(config: Config = CONFIG) -> Iterator[tuple[Edge, Context]]:
    context = asyncio.run(open_context(config))
    try:
        yield create_app(context), context
    finally:
        asyncio.run(context.store.aclose())


def edge_around(app: Asgi, *, https: bool = False) -> Edge:
    return Edge(app, clock=SystemClock(), random=SystemRandom(), counters=Counters(), https=https, access_log=False)


def failing(error: Exception, *, begun: bool = False) -> Asgi:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    return app


# ── what every answer carries ────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/healthz", "/nothing-here", "/jwks", "/account"])
def test_every_answer_is_named_and_guarded(path: str) -> None:
    """A request id, nosniff, a policy that loads nothing: also where nobody thought of it."""
    with composed() as (app, _):
        seen = asked(app, path)

    assert len(seen.headers["x-request-id"]) == 16
    assert seen.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in seen.headers["content-security-policy"]


def test_no_header_is_sent_twice() -> None:
    """A page's own policy stands; ours is for those without one."""
    with composed() as (app, _):
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/account", "headers": [], "query_string": b""}
        scope |= {"client": None, "scheme": "http", "server": ("localhost", 9000), "root_path": ""}

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        asyncio.run(app(scope, receive, send))

    names = [name for name, _ in sent[0]["headers"]]
    assert names.count(b"content-security-policy") == 1


@pytest.mark.parametrize("https", [True, False])
def test_https_is_remembered_where_the_issuer_has_it(https: bool) -> None:
    """RFC 6797: sent for https issuers, and only for those."""
    with composed(replace(CONFIG, issuer="https://login.example" if https else "http://localhost:9000")) as (app, _):
        seen = asked(app, "/healthz")

    assert ("strict-transport-security" in seen.headers) is https


# ── what nobody answered ─────────────────────────────────────────────────────────────


def test_an_unknown_path_is_a_problem() -> None:
    """RFC 9457, and nothing of what was asked in it."""
    with composed() as (app, _):
        seen = asked(app, "/<script>")

    assert seen.status == 404
    assert seen.headers["content-type"] == "application/problem+json"
    assert json.loads(seen.body)["status"] == 404
    assert b"script" not in seen.body


@pytest.mark.parametrize("path", ["/healthz", "/token", "/jwks", "/account"])
def test_a_wrong_method_is_a_problem_that_names_the_right_ones(path: str) -> None:
    """RFC 9110 §15.5.6."""
    with composed() as (app, _):
        seen = asked(app, path, method="DELETE")

    assert seen.status == 405
    assert seen.headers["content-type"] == "application/problem+json"
    assert seen.headers["allow"]


def test_a_bug_of_ours_is_500_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the exception, the answer an id to find it by."""
    seen = asked(edge_around(failing(ZeroDivisionError("very private"))), "/")

    assert seen.status == 500
    assert seen.headers["content-type"] == "application/problem+json"
    assert b"private" not in seen.body
    assert b"ZeroDivision" not in seen.body
    assert json.loads(seen.body)["request_id"] == seen.headers["x-request-id"]
    assert any(record.exc_info and record.levelno == logging.ERROR for record in caplog.records)


def test_what_is_unavailable_is_503_and_says_when_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    """Our failure, never the caller's; what is missing goes to the log only."""
    seen = asked(edge_around(failing(Unavailable("the database at /var/lib", retry_after=7))), "/")

    assert seen.status == 503
    assert seen.headers["retry-after"] == "7"
    assert b"/var/lib" not in seen.body
    assert any("unavailable" in record.message for record in caplog.records)


def test_a_bug_inside_a_route_is_500_in_our_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the whole application: the framework's own plain text does not come first."""
    with composed() as (app, context):
        # A port that breaks its contract stands for any bug of ours.
        monkeypatch.setattr(type(context.store), "read", failing(ZeroDivisionError("private")))

        seen = asked(app, "/readyz")

    assert seen.status == 500
    assert seen.headers["content-type"] == "application/problem+json"


def test_a_refusal_that_nobody_rendered_keeps_its_error() -> None:
    """The registered code and status, as RFC 6749 §5.2 writes them."""
    seen = asked(edge_around(failing(RequestError("invalid_request", "no", status=400, detail="private"))), "/")

    assert (seen.status, json.loads(seen.body)) == (400, {"error": "invalid_request", "error_description": "no"})


def test_an_answer_that_has_begun_is_cut_and_not_continued() -> None:
    """Two answers in one would be worse than none."""
    with pytest.raises(ConnectionError):
        asked(edge_around(failing(ValueError("x"), begun=True)), "/")


def test_a_cancelled_request_stays_cancelled() -> None:
    """Only streams that we ended ourselves are finished in order."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asked(edge_around(app), "/")


def test_an_ended_stream_is_a_whole_message() -> None:
    """Its reader resumes from its cursor; a cut message would look like a failure."""

    async def scenario() -> list[Any]:
        sent: list[Any] = []
        begun = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            begun.set()
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        edge = edge_around(app)
        request = asyncio.create_task(edge({"type": "http", "method": "GET", "path": "/"}, None, send))  # type: ignore[arg-type]  # never received from
        await begun.wait()
        edge.end_streams()
        await request
        return sent

    sent = asyncio.run(scenario())

    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


# ── for operators ────────────────────────────────────────────────────────────────────


def test_a_server_with_a_key_is_live_and_ready() -> None:
    """A new one makes its first key before it listens."""
    with composed() as (app, _):
        assert asked(app, "/healthz").status == 200
        assert asked(app, "/readyz").status == 200


def test_without_a_key_it_is_live_and_not_ready() -> None:
    """503 takes it out of the balancer; 200 keeps it from being restarted for nothing."""
    with composed() as (app, context):

        def remove(keys: Any) -> Decision[None]:
            return Decision(None, tuple(Put(replace(key, status=type(key.status).REMOVED)) for key in keys))

        asyncio.run(context.store.transition(SigningKeysKey(), remove, now=context.now()))

        assert asked(app, "/healthz").status == 200
        assert asked(app, "/readyz").status == 503


@pytest.mark.parametrize(
    ("networks", "peer", "header", "status"),
    [
        ((), ("127.0.0.1", 1), None, 404),
        (("127.0.0.0/8",), ("127.0.0.1", 1), None, 200),
        (("127.0.0.0/8",), ("::ffff:127.0.0.1", 1), None, 200),
        (("127.0.0.0/8",), ("192.0.2.1", 1), None, 404),
        (("127.0.0.0/8",), None, None, 404),
        (("127.0.0.0/8",), ("127.0.0.1", 1), b"x-forwarded-for", 404),
        (("127.0.0.0/8",), ("127.0.0.1", 1), b"forwarded", 404),
        (("127.0.0.0/8",), ("127.0.0.1", 1), b"via", 404),
    ],
)
def test_metrics_are_for_named_peers_that_come_directly(
    networks: tuple[str, ...], peer: tuple[str, int] | None, header: bytes | None, status: int
) -> None:
    """Off unless configured; what came through a proxy came from outside. To all others the path does not exist."""
    headers = () if header is None else ((header, b"127.0.0.1"),)
    with composed(replace(CONFIG, metrics_networks=networks)) as (app, _):
        seen = asked(app, "/metrics", peer=peer, headers=headers)

    assert seen.status == status
    assert (b"portero_http_responses_total" in seen.body) is (status == 200)


def test_a_peer_without_an_address_is_nowhere() -> None:
    """A Unix socket, or nonsense."""
    assert not is_within(None, ("0.0.0.0/0",))
    assert not is_within("nonsense", ("0.0.0.0/0",))


@pytest.mark.parametrize(("path", "method", "status"), [("/nothing-here", "GET", 404), ("/account", "PUT", 405)])
def test_a_person_who_is_lost_sees_a_page_and_a_program_a_problem(path: str, method: str, status: int) -> None:
    """What the router refuses is HTML where the browser asks for it, else RFC 9457."""
    with composed() as (app, _):
        person = asked(app, path, method=method, headers=((b"accept", b"text/html,*/*;q=0.8"),))
        program = asked(app, path, method=method, headers=((b"accept", b"application/json"),))

    assert (person.status, program.status) == (status, status)
    assert person.headers["content-type"].startswith("text/html")
    assert program.headers["content-type"] == "application/problem+json"
    assert person.headers.get("allow") == program.headers.get("allow")


# ── how it starts and ends ───────────────────────────────────────────────────────────


def test_settings_are_checked_however_they_were_made() -> None:
    """A `Config` that never was a file passes the same checks."""
    with pytest.raises(ConfigurationError):
        asyncio.run(open_context(replace(CONFIG, issuer="http://login.example")))


def test_an_unsafe_client_stops_the_start(tmp_path: Path) -> None:
    """NEAR_END for an unbound public client: an error at start-up, not a warning (design §3.2)."""
    config = Config(database=str(tmp_path / "portero.db"), secrets_file=tmp_path / "portero.secrets")
    client = Client(
        ClientId("page"), "Page", ClientType.PUBLIC, "none", None, ("https://a.example/cb",), (),
        ("authorization_code", "refresh_token"), ("openid",), (), RefreshProfile.ATTEMPT, RotationPolicy.NEAR_END,
        require_pkce=True, first_party=True,
    )  # fmt: skip

    async def registered(client: Client) -> None:
        store = await open_store(config.database, random=SystemRandom(), clock=SystemClock())
        await store.transition(
            ClientKey(client.client_id), lambda _: Decision(None, (Put(client),)), now=client.created
        )
        await store.aclose()

    asyncio.run(registered(client))
    with pytest.raises(ConfigurationError) as refusal:
        asyncio.run(open_context(config))
    asyncio.run(registered(replace(client, rotation=RotationPolicy.ALWAYS)))
    context = asyncio.run(open_context(config))
    asyncio.run(context.store.aclose())

    assert refusal.value.setting == "clients.page.rotation"


def test_a_memory_database_leaves_no_secrets_behind(tmp_path: Path) -> None:
    """Its keys are of one process; a file would outlive what it opens."""
    with composed(replace(CONFIG, secrets_file=tmp_path / "portero.secrets")):
        assert list(tmp_path.iterdir()) == []


def test_a_start_loads_nothing_that_is_rare() -> None:
    """Password hashing, migrations, templates and other frameworks wait until they are needed."""
    program = """
import asyncio, sys
from dataclasses import replace
from portero.authorization_server.server import run
from portero.authorization_server.app import create_app, open_context
from portero.authorization_server.config import Config
create_app(asyncio.run(open_context(Config(database="memory:"))))
rare = {"argon2", "sqlalchemy", "alembic", "jinja2", "fastapi", "pydantic", "httpx2", "flask", "joserfc"}
sys.exit(", ".join(sorted(rare & sys.modules.keys())) or 0)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
