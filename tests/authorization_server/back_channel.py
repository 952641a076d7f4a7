"""The back channel in memory, driven over ASGI without a socket: a clock that stands still, repeatable randomness."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
from starlette.applications import Starlette

from portero.adapters.keys.secrets_file import make_secrets
from portero.adapters.storage.memory import MemoryStore
from portero.authorization_server.config import Config
from portero.authorization_server.context import Context
from portero.authorization_server.endpoints import routes
from portero.authorization_server.endpoints.hub import Hub
from portero.authorization_server.key_ring import open_key_ring
from portero.core.digests import sha256_of
from portero.core.errors import Unavailable
from portero.core.events import Event
from portero.core.jose import base64url
from portero.core.jose.jwk import PrivateKey, render_public_jwk
from portero.core.jose.jws import sign_compact, unverified_payload
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import (
    AuthorizationCode,
    BrowserKey,
    Client,
    ClientKey,
    ClientType,
    CodeKey,
    Decision,
    Key,
    Put,
    RefreshProfile,
    RotationPolicy,
    SubjectKey,
    User,
)
from portero.core.types import ClientId, Digest, NumericDate, Secret, Subject
from portero.ports import Store
from portero.testing.clock import FakeClock, SeededRandom

R = TypeVar("R")

ISSUER = "http://localhost:9000"
ORIGIN = "http://localhost:5173"
AUDIENCE = "https://shop.example/orders"
CODE_VERIFIER = "a-code-verifier-of-at-least-forty-three-characters"
SECRET = "a secret: with % and + and ñ"
ATTEMPT = "AAAAAAAAAAAAAAAAAAAAAA"


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer as its peer sees it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Counted:
    """A Telemetry that keeps what it was told."""

    events: list[Event] = field(default_factory=list)

    def record(self, events: Any) -> None:
        self.events.extend(events)


class Interruptible:
    """A store whose database can go away for a while. Counts its calls."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.away = False
        self.reads = 0
        self.transitions = 0

    async def read(self, key: Key[Any]) -> Any:
        self.reads += 1
        self._check()
        return await self.store.read(key)

    async def transition(self, key: Key[Any], decide: Callable[[Any], Decision[R]], *, now: NumericDate) -> R:
        self.transitions += 1
        self._check()
        return await self.store.transition(key, decide, now=now)

    def changes(self) -> Any:
        return self.store.changes()

    async def aclose(self) -> None:
        await self.store.aclose()

    def _check(self) -> None:
        if self.away:
            raise Unavailable("the database is away", retry_after=7)


class NoPasswords:
    """Nobody types a password in the back channel."""

    async def hash(self, password: Secret[str]) -> str:
        raise AssertionError

    async def verify(self, password: Secret[str], phc: str | None) -> bool:
        raise AssertionError


class BackChannel:
    """One server, in memory or on `store`. `run` drives coroutines on its own event loop."""

    def __init__(self, runner: asyncio.Runner, config: Config | None = None, *, store: Store | None = None) -> None:
        self.runner = runner
        self.clock = FakeClock()
        self.random = SeededRandom()
        self.telemetry = Counted()
        self.store = Interruptible(store or MemoryStore(random=self.random, decide_twice=True))
        self.config = config or Config(issuer=ISSUER, access_token_jitter=0)
        self.secrets = make_secrets(random=self.random)
        key_ring = self.run(
            open_key_ring(self.config, store=self.store, secrets=self.secrets, clock=self.clock, random=self.random)
        )
        self.context = Context(
            config=self.config,
            store=self.store,
            clock=self.clock,
            random=self.random,
            key_ring=key_ring,
            tag_keys=self.secrets.tag_keys,
            passwords=NoPasswords(),
            telemetry=self.telemetry,
        )
        self.hub = Hub(self.context.store, self.context.clock)
        self.app = Starlette(routes=[*routes(self.context, hub=self.hub)])
        self.key_ring = key_ring
        for client in (SPA, BFF, POST_CLIENT, GUARD):
            self.put(ClientKey(client.client_id), client)
        self.put(SubjectKey(ANA.subject), ANA)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return self.runner.run(coroutine)

    def now(self) -> NumericDate:
        return NumericDate(int(self.clock.now()))

    def put(self, key: Key[Any], record: Any) -> None:
        def decide(_: Any) -> Decision[None]:
            return Decision(None, (Put(record),))

        self.run(self.store.transition(key, decide, now=self.now()))

    # ── requests ─────────────────────────────────────────────────────────────────────

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]  # an empty list of pairs
        body: bytes = b"",
    ) -> Seen:
        return self.run(ask(self.app, method, target, headers=headers, body=body))

    def post(self, path: str, form: Mapping[str, str] | list[tuple[str, str]], **headers: str) -> Seen:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"content-type": "application/x-www-form-urlencoded", **named}
        return self.request("POST", path, headers=named, body=urlencode(form).encode())

    def get(self, target: str, **headers: str) -> Seen:
        return self.request("GET", target, headers={name.replace("_", "-"): v for name, v in headers.items()})

    # ── what the browser half would have done ────────────────────────────────────────

    def code(self, client: Client, **changes: Any) -> str:
        """Sign Ana in and return a code for `client`."""
        now = self.now()
        browser = BrowserSession(
            id_digest=Digest(hashlib.sha256(b"ana's browser").digest()),
            subject=ANA.subject,
            auth_time=now,
            acr="pwd",
            amr=("pwd",),
            ends=NumericDate(now + 3600),
            device="Firefox · Linux",
        )
        self.put(BrowserKey(browser.id_digest), browser)
        code = base64url.encode(self.random.bytes(32))
        record = AuthorizationCode(
            code_digest=sha256_of(Secret(code)),
            client_id=client.client_id,
            redirect_uri=client.redirect_uris[0],
            code_challenge=base64url.encode(hashlib.sha256(CODE_VERIFIER.encode()).digest()),
            nonce="n-0S6",
            scope=("openid", "profile", "email", "orders:read"),
            resource=(),
            subject=ANA.subject,
            browser_session=browser.id_digest,
            device_name=browser.device,
            place="",
            auth_time=now,
            acr="pwd",
            amr=("pwd",),
            created=now,
            expires=NumericDate(now + 60),
        )
        record = replace(record, **changes)
        self.put(CodeKey(record.code_digest), record)
        return code

    def exchange_form(self, client: Client, **changes: Any) -> dict[str, str]:
        return {
            "grant_type": "authorization_code",
            "code": self.code(client, **changes),
            "redirect_uri": client.redirect_uris[0],
            "code_verifier": CODE_VERIFIER,
        }

    def signed_in(self) -> dict[str, Any]:
        """Return the token response of a fresh sign-in of the single-page app."""
        seen = self.post("/token", {**self.exchange_form(SPA), "client_id": SPA.client_id})
        assert seen.status == 200, seen.body
        tokens: dict[str, Any] = seen.json
        return tokens

    def refresh(self, refresh_token: str, *, attempt: str | None = ATTEMPT, **headers: str) -> Seen:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": SPA.client_id}
        if attempt is not None:
            form["refresh_attempt"] = attempt
        return self.post("/token", form, **headers)

    def guard_token(self) -> str:
        """Return an access token of the service that follows the feed."""
        form = {"grant_type": "client_credentials", "scope": "revocations:read"}
        seen = self.post("/token", form, authorization=basic(GUARD.client_id, SECRET))
        assert seen.status == 200, seen.body
        token: str = seen.json["access_token"]
        return token


async def ask(
    app: Callable[..., Awaitable[None]],
    method: str,
    target: str,
    *,
    headers: Any = (),
    body: bytes = b"",
) -> Seen:
    """Send one request to an ASGI application and collect the answer."""
    path, _, query = target.partition("?")
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "client": ("192.0.2.7", 50000),
        "server": ("localhost", 9000),
    }
    sent: list[Any] = []
    delivered = False

    async def receive() -> dict[str, Any]:
        nonlocal delivered
        if delivered:
            await asyncio.Event().wait()  # the peer stays
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(60):  # what never ends is a failure, not a hang
        await app(scope, receive, send)
    start = sent[0]
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return Seen(start["status"], named, answer)


def basic(client_id: str, secret: str) -> str:
    """Compose Basic credentials (RFC 6749 §2.3.1: each part form-urlencoded first)."""
    encoded = [urlencode({"": part})[1:] for part in (client_id, secret)]
    return "Basic " + base64.b64encode(":".join(encoded).encode()).decode()


def claims_of(token: str) -> dict[str, Any]:
    """Read a token's claims without looking at its signature."""
    claims: dict[str, Any] = orjson.loads(unverified_payload(token))
    return claims


def assertion(key: PrivateKey, client: Client, *, now: int, **changes: Any) -> str:
    """Sign a client assertion (RFC 7523 §3); a change of None leaves the claim out."""
    claims: dict[str, Any] = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": ISSUER,
        "iat": now,
        "exp": now + 60,
        "jti": "assertion-1",
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return sign_compact({"typ": "JWT"}, orjson.dumps(kept), key)


def proof(key: PrivateKey, *, now: int, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """Sign a DPoP proof for the token endpoint (RFC 9449 §4.2); a change of None leaves the claim out."""
    jwk = {name: value for name, value in render_public_jwk(key.public).items() if name in ("kty", "crv", "x", "y")}
    claims: dict[str, Any] = {"htm": "POST", "htu": f"{ISSUER}/token", "iat": now, "jti": "proof-1", **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return sign_compact({"typ": "dpop+jwt", "jwk": jwk, **(header or {})}, orjson.dumps(kept), key)


ANA = User(
    subject=Subject("ana"),
    username="Ana",
    password_hash=None,
    name="Ana Ruiz",
    email="ana@example.org",
    roles=("customer",),
)
SPA = Client(
    client_id=ClientId("spa"),
    client_name="Shop",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=(f"{ORIGIN}/callback",),
    post_logout_redirect_uris=(),
    grant_types=("authorization_code", "refresh_token"),
    scope=("openid", "profile", "email", "orders:read"),
    audiences=(AUDIENCE,),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
    allowed_origins=(ORIGIN,),
)
BFF = replace(
    SPA,
    client_id=ClientId("bff: with colon"),
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_basic",
    secret_digest=sha256_of(Secret(SECRET)),
    allowed_origins=(),
)
POST_CLIENT = replace(
    BFF,
    client_id=ClientId("post"),
    token_endpoint_auth_method="client_secret_post",
    allowed_origins=("https://other.example",),
)
GUARD = replace(
    BFF,
    client_id=ClientId("guard"),
    grant_types=("client_credentials",),
    scope=("revocations:read", "orders:read"),
    audiences=(),
    redirect_uris=(),
)
