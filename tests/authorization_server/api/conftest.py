"""A whole server with its API: Ana signed in on two devices, and an operator's program."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest

from portero.authorization_server.app import create_app
from portero.core.digests import sha256_of
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import BrowserKey, Client, ClientKey, SubjectKey, User
from portero.core.types import ClientId, NumericDate, Secret, Subject
from tests.authorization_server.back_channel import (
    ANA,
    GUARD,
    ISSUER,
    SECRET,
    SPA,
    BackChannel,
    Seen,
    ask,
    basic,
    claims_of,
)

BRUNO = User(Subject("bruno"), "bruno", None, "Bruno", "bruno@example.org", ())
ACCOUNT_PAGE = replace(SPA, client_id=ClientId("page"), scope=("openid", "account"), audiences=(ISSUER,))
CONSOLE = replace(GUARD, client_id=ClientId("console"), client_name="Console", scope=("operator",))


@dataclass
class Api:
    """The composed server, asked with a token."""

    server: BackChannel
    app: Any

    def ask(self, method: str, path: str, *, token: str | None = None, json: object = None, **headers: str) -> Seen:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        body = b"" if json is None else orjson.dumps(json)
        if json is not None:
            sent["content-type"] = "application/json"
        return self.server.run(ask(self.app, method, path, headers=sent, body=body))

    def signed_in(
        self, client: Client = ACCOUNT_PAGE, *, subject: Subject = ANA.subject, browser: bytes = b"", **changes: Any
    ) -> str:
        """Return the access token of a fresh sign-in, in a browser of its own or in the one named."""
        digest = sha256_of(Secret(browser or self.server.random.bytes(8)))
        now = self.server.now()
        ends = NumericDate(now + 3600)
        record = BrowserSession(digest, subject, now, "pwd", ("pwd",), ends, "Firefox · Linux")
        self.server.put(BrowserKey(digest), record)
        code = {"subject": subject, "scope": client.scope, "resource": (), "browser_session": digest, **changes}
        form = {**self.server.exchange_form(client, **code), "client_id": client.client_id}
        seen = self.server.post("/token", form)
        assert seen.status == 200, seen.body
        token: str = seen.json["access_token"]
        return token

    def operator(self, client: Client = CONSOLE) -> str:
        """Return an access token of a program for itself."""
        form = {"grant_type": "client_credentials"}
        seen = self.server.post("/token", form, authorization=basic(client.client_id, SECRET))
        assert seen.status == 200, seen.body
        token: str = seen.json["access_token"]
        return token

    def sessions(self, token: str) -> list[Mapping[str, Any]]:
        seen = self.ask("GET", "/api/account/sessions", token=token)
        assert seen.status == 200, seen.body
        found: list[Mapping[str, Any]] = seen.json["sessions"]
        return found

    def works(self, token: str) -> bool:
        """Whether an access token still opens its person's account."""
        return self.ask("GET", "/api/account/sessions", token=token).status == 200


def sid_of(token: str) -> str:
    sid: str = claims_of(token)["sid"]
    return sid


@pytest.fixture
def api() -> Iterator[Api]:
    """The server, with its clients and people."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner)
        for client in (ACCOUNT_PAGE, CONSOLE):
            server.put(ClientKey(client.client_id), client)
        server.put(SubjectKey(BRUNO.subject), BRUNO)
        yield Api(server, create_app(server.context))
