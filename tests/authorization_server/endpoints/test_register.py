"""Dynamic registration (RFC 7591): off unless configured, with an initial access token, and never first-party."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from portero.authorization_server.config import Config
from portero.core.transitions import AuditKey, ClientKey
from portero.core.types import ClientId
from tests.authorization_server.back_channel import AUDIENCE, GUARD, ISSUER, SECRET, SPA, BackChannel, Seen, basic

INVITER = replace(GUARD, client_id=ClientId("inviter"), scope=("clients:register", "other"), audiences=(ISSUER,))
ON = Config(issuer=ISSUER, dynamic_registration=True, registration_audiences=(AUDIENCE,))
METADATA = {"redirect_uris": ["https://app.example/cb"], "client_name": "App", "scope": "openid email operator"}


@pytest.fixture
def open_server() -> Iterator[BackChannel]:
    """A server that lets clients register."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner, ON)
        server.put(ClientKey(INVITER.client_id), INVITER)
        yield server


def invitation(server: BackChannel, scope: str = "clients:register") -> str:
    form = {"grant_type": "client_credentials", "scope": scope}
    token: str = server.post("/token", form, authorization=basic("inviter", SECRET)).json["access_token"]
    return token


def register(server: BackChannel, metadata: Any = METADATA, *, token: str | None) -> Seen:
    body = metadata if isinstance(metadata, bytes) else orjson.dumps(metadata)
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return server.request("POST", "/register", headers=headers, body=body)


def test_a_client_registers_itself_and_can_be_used(open_server: BackChannel) -> None:
    """RFC 7591 §3.2.1: what was registered comes back, with a secret that authenticates."""
    seen = register(open_server, token=invitation(open_server))
    said = seen.json
    form = {"grant_type": "authorization_code", "code": "x", "redirect_uri": METADATA["redirect_uris"][0]}
    known = open_server.post("/token", form, authorization=basic(said["client_id"], said["client_secret"]))

    assert (seen.status, seen.header("cache-control")) == (201, "no-store")
    assert said["client_secret_expires_at"] == 0
    assert (said["scope"], said["client_name"]) == ("openid email", "App")
    assert known.json["error"] == "invalid_grant"  # and not invalid_client
    client = open_server.run(open_server.store.read(ClientKey(ClientId(said["client_id"])))).client
    assert (client.first_party, client.audiences) == (False, (AUDIENCE,))


def test_the_trail_says_who_let_a_client_in(open_server: BackChannel) -> None:
    """The initial access token names its owner."""
    said = register(open_server, token=invitation(open_server)).json
    (event,) = open_server.run(open_server.store.read(AuditKey(limit=1)))

    assert (event.name.value, event.client_id, event.fields["by"]) == ("client_changed", said["client_id"], "inviter")


def test_a_public_client_gets_no_secret(open_server: BackChannel) -> None:
    """It could not keep it."""
    said = register(open_server, {**METADATA, "token_endpoint_auth_method": "none"}, token=invitation(open_server)).json

    assert "client_secret" not in said


def test_registration_needs_an_initial_access_token(open_server: BackChannel) -> None:
    """RFC 7591 §3: none, another scope's, and a person's are refused, each with its challenge."""
    person = open_server.signed_in()["access_token"]
    seen = [
        register(open_server, token=None),
        register(open_server, token="x"),
        register(open_server, token=invitation(open_server, scope="other")),
        register(open_server, token=person),
    ]

    assert [each.status for each in seen] == [401, 401, 403, 403]
    assert all((each.header("www-authenticate") or "").startswith("Bearer") for each in seen)


def test_a_person_cannot_invite(open_server: BackChannel) -> None:
    """A token that a person granted is not an operator's, whatever its scope."""
    open_server.put(ClientKey(SPA.client_id), replace(SPA, scope=INVITER.scope, audiences=(ISSUER,)))
    form = open_server.exchange_form(SPA, scope=("clients:register",))
    granted = open_server.post("/token", {**form, "client_id": SPA.client_id}).json["access_token"]

    assert register(open_server, token=granted).status == 403


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (b"", "invalid_request"),
        (b"[]", "invalid_request"),
        (b'{"redirect_uris":[],"redirect_uris":["https://app.example/cb"]}', "invalid_request"),
        ({"redirect_uris": ["https://app.example/cb#x"]}, "invalid_redirect_uri"),
        ({**METADATA, "grant_types": ["client_credentials"]}, "invalid_client_metadata"),
    ],
)
def test_metadata_that_cannot_be_meant_is_refused(open_server: BackChannel, metadata: Any, error: str) -> None:
    """RFC 7591 §3.2.2: 400 with its code, and nothing is registered."""
    before = len(open_server.run(open_server.store.read(AuditKey())))
    seen = register(open_server, metadata, token=invitation(open_server))

    assert (seen.status, seen.json["error"]) == (400, error)
    assert len(open_server.run(open_server.store.read(AuditKey()))) == before


def test_registration_is_off_and_not_announced_by_default(server: BackChannel, open_server: BackChannel) -> None:
    """Absent configuration never means that anybody may come in."""
    assert register(server, token="x").status == 404
    assert "registration_endpoint" not in server.get("/.well-known/openid-configuration").json
    announced = open_server.get("/.well-known/openid-configuration").json["registration_endpoint"]
    assert announced == f"{ISSUER}/register"
