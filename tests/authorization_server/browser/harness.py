"""A server in memory, and a browser that keeps cookies and reads forms, over ASGI and without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.applications import Starlette

from portero.adapters.storage.memory import MemoryStore
from portero.authorization_server.config import Config
from portero.authorization_server.context import Context
from portero.authorization_server.pages.routes import browser_routes
from portero.core.errors import RequestError
from portero.core.events import Event
from portero.core.transitions import (
    Client,
    ClientKey,
    ClientType,
    Decision,
    Put,
    RefreshProfile,
    RotationPolicy,
    SubjectKey,
    User,
)
from portero.core.types import ClientId, Secret, Subject
from portero.testing.clock import FakeClock, SeededRandom

ISSUER = "http://localhost:9000"
REDIRECT_URI = "http://localhost:8100/callback"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PASSWORD = "correct horse"


class PlainPasswords:
    """A hasher whose hash is the password: the real one is tested in its own room, and costs 20 ms each time."""

    def __init__(self) -> None:
        self.verified = 0

    async def hash(self, password: Secret[str]) -> str:
        return password.reveal()

    async def verify(self, password: Secret[str], phc: str | None) -> bool:
        self.verified += 1
        return phc is not None and password.reveal() == phc


class PlainKeyRing:
    """Signs with nothing: a token is its claims in JSON, and anything else is refused.

    It knows its keys once it was asked to keep up: another server may have made them since the last time.
    """

    algorithms = ("ES256",)

    def __init__(self) -> None:
        self.kept_up = 0
        """How often it was asked to look for new keys."""
        self.rotated_by: str | None = None

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        return json.dumps({"typ": typ, **claims})

    def jwk_set(self) -> bytes:
        return b'{"keys":[]}'

    async def rotate(self, *, by: str) -> None:
        self.rotated_by = by

    async def keep_up(self) -> None:
        self.kept_up += 1

    def verify_own(self, token: str, *, typ: str) -> dict[str, Any]:
        if self.kept_up == 0:
            raise RequestError("invalid_token", "signed with an unknown key", status=401)
        try:
            claims: dict[str, Any] = json.loads(token)
        except ValueError:
            raise RequestError("invalid_token", "not a token", status=401) from None
        if claims.pop("typ", None) != typ:
            raise RequestError("invalid_token", "another kind of token", status=401)
        return claims


class NoTagKeys:
    current = 0

    def get(self, key_id: int) -> Secret[bytes] | None:
        return None


@dataclass
class Events:
    seen: list[Event] = field(default_factory=list)

    def record(self, events: Any) -> None:
        self.seen.extend(events)


SHOP = Client(
    client_id=ClientId("shop"),
    client_name="The Shop",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=(REDIRECT_URI,),
    post_logout_redirect_uris=("http://localhost:8100/bye",),
    grant_types=("authorization_code", "refresh_token"),
    scope=("openid", "profile", "orders:read"),
    audiences=("https://shop.example/orders",),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
STRANGER = replace(SHOP, client_id=ClientId("stranger"), client_name="A Stranger's App", first_party=False)
ANA = User(Subject("u-ana"), "ana", PASSWORD, "Ana García", "ana@example.org", ())
BRUNO = User(Subject("u-bruno"), "bruno", PASSWORD, "Bruno", "bruno@example.org", ())


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    url: str

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def location(self) -> str:
        return self.header("location")

    @property
    def answer(self) -> dict[str, str]:
        """The members that went to the client in the query."""
        return dict(parse_qsl(urlsplit(self.location).query))

    @property
    def forms(self) -> list[dict[str, str]]:
        reader = _Forms()
        reader.feed(self.text)
        return reader.forms

    def form(self, **values: str) -> dict[str, str]:
        """The first form that has every field named."""
        return {**next(form for form in self.forms if set(values) <= {*form, "decision", "action"}), **values}


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.forms.append({"": found.get("action") or ""})
        elif tag == "input" and self.forms:
            self.forms[-1][found.get("name") or ""] = found.get("value") or ""


class Server:
    """One authorization server in memory, with a clock that stands still."""

    def __init__(self, *clients: Client, config: Config | None = None, key_ring: Any = None) -> None:
        self.clock = FakeClock()
        random = SeededRandom(7)
        self.events = Events()
        self.passwords = PlainPasswords()
        self.store = MemoryStore(random=random, decide_twice=True)
        self.context = Context(
            config=config or Config(issuer=ISSUER),
            store=self.store,
            clock=self.clock,
            random=random,
            key_ring=key_ring or PlainKeyRing(),
            tag_keys=NoTagKeys(),
            passwords=self.passwords,
            telemetry=self.events,
        )
        self.app = Starlette(routes=list(browser_routes(self.context)))
        for client in (*(clients or (SHOP, STRANGER)),):
            self.put(ClientKey(client.client_id), client)
        for user in (ANA, BRUNO):
            self.put(SubjectKey(user.subject), user)

    def put(self, key: Any, record: Any) -> None:
        asyncio.run(self.store.transition(key, lambda _: Decision(None, (Put(record),)), now=self.context.now()))

    def become_operator(self, user: User) -> None:
        """Give a person the role that opens the console."""
        self.put(SubjectKey(user.subject), replace(user, roles=(self.context.config.console_role,)))

    def read(self, key: Any) -> Any:
        return asyncio.run(self.store.read(key))

    def browser(self, **headers: str) -> Browser:
        return Browser(self, headers=headers)


@dataclass
class Browser:
    """Keeps cookies and sends them to our server alone; follows nothing by itself."""

    server: Server
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    peer: str = "203.0.113.7"

    def get(self, url: str, *, send_cookies: bool = True, **headers: str) -> Answer:
        return self._send("GET", url, b"", send_cookies=send_cookies, headers=headers)

    def post(self, url: str, form: Mapping[str, str] | bytes, *, send_cookies: bool = True, **headers: str) -> Answer:
        body = form if isinstance(form, bytes) else urlencode({k: v for k, v in form.items() if k}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", **headers}
        return self._send("POST", url, body, send_cookies=send_cookies, headers=headers)

    def follow(self, answer: Answer) -> Answer:
        """Follow redirects while they stay with us."""
        while answer.status == 303 and answer.location.startswith("/"):
            answer = self.get(answer.location)
        return answer

    def sign_in(self, page: Answer, *, username: str = "ana", password: str = PASSWORD) -> Answer:
        """Fill in the sign-in page."""
        return self.post("/sign-in", page.form(username=username, password=password))

    def authorize(self, **parameters: str | None) -> Answer:
        """Begin an authorization, and follow to its page or its answer."""
        return self.follow(self.get(authorize_url(**parameters)))

    def _send(self, method: str, url: str, body: bytes, *, send_cookies: bool, headers: Mapping[str, str]) -> Answer:
        return asyncio.run(self.sent(method, url, body, send_cookies=send_cookies, headers=headers))

    async def sent(
        self, method: str, url: str, body: bytes, *, send_cookies: bool = True, headers: Mapping[str, str]
    ) -> Answer:
        """Send one request, for tests that have several under way."""
        parts = urlsplit(url)
        sent = {"host": "localhost:9000", **self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.cookies and send_cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path or "/",
            "raw_path": (parts.path or "/").encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(key.lower().encode(), value.encode("latin-1")) for key, value in sent.items()],
            "client": (self.peer, 50000),
            "server": ("localhost", 9000),
        }
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        await self.server.app(scope, receive, send)
        raw = [(key.decode(), value.decode("latin-1")) for key, value in messages[0]["headers"]]
        for key, value in raw:
            if key == "set-cookie":
                name, _, rest = value.partition("=")
                if "Max-Age=0" in rest:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = rest.partition(";")[0]
        return Answer(messages[0]["status"], raw, b"".join(m.get("body", b"") for m in messages[1:]), url)


def parameters(**changes: str | None) -> dict[str, str]:
    """A good authorization request; None takes a parameter away."""
    good: dict[str, str | None] = {
        "client_id": "shop",
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": "openid profile",
        "state": "st-1",
        "nonce": "n-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def authorize_url(**changes: str | None) -> str:
    return f"/authorize?{urlencode(parameters(**changes))}"
