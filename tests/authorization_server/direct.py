"""A native app of the house: it asks for name and password itself, and redeems what it gets."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from portero.authorization_server.config import Config
from portero.core.jose.jws import unverified_payload
from portero.core.transitions import Client
from portero.core.types import ClientId
from tests.authorization_server.browser.harness import CHALLENGE, PASSWORD, SHOP, STRANGER, Answer, Browser
from tests.authorization_server.whole import WEB, WholeServer, basic

ORIGIN = "https://app.example"
APP = replace(SHOP, client_id=ClientId("app"), client_name="The App", direct_sign_in=True, allowed_origins=(ORIGIN,))
DESK = replace(WEB, client_id=ClientId("desk"), client_name="The Desk", direct_sign_in=True)
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""RFC 7636 appendix B: of the challenge that the harness sends."""
PATH = "/authorization_challenge"
TYPED = {"username": "ana", "password": PASSWORD}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"


@dataclass
class App:
    """The app on one device."""

    server: WholeServer
    client: Client = APP
    peer: str = "203.0.113.7"

    def begin(self, *, headers: dict[str, str] | None = None, **changes: str | None) -> Answer:
        """Send a first request; None takes a parameter away."""
        good: dict[str, str | None] = {
            "client_id": self.client.client_id,
            "response_type": "code",
            "scope": "openid profile",
            "nonce": "n-1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return self.send({**good, **changes}, headers=headers)

    def go_on(self, auth_session: str, *, headers: dict[str, str] | None = None, **typed: str | None) -> Answer:
        """Send what the person typed."""
        return self.send({"client_id": self.client.client_id, "auth_session": auth_session, **typed}, headers=headers)

    def send(self, form: dict[str, str | None] | bytes, *, headers: dict[str, str] | None = None) -> Answer:
        """Send anything."""
        sent = {"user-agent": AGENT, **self._credentials(), **(headers or {})}
        body = form if isinstance(form, bytes) else {name: each for name, each in form.items() if each is not None}
        return Browser(self.server, peer=self.peer).post(PATH, body, **sent)

    def redeem(self, code: str, *, headers: dict[str, str] | None = None, **changes: str | None) -> Answer:
        """Exchange the code: the token endpoint sees no redirect URI (§6)."""
        good = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        form = {"client_id": self.client.client_id, **good, **changes}
        sent = {**self._credentials(), **(headers or {})}
        kept = {name: each for name, each in form.items() if each is not None}
        return Browser(self.server, peer=self.peer).post("/token", kept, **sent)

    def signed_in(self) -> dict[str, Any]:
        """Sign ana in, and return the token endpoint's answer."""
        return said(self.redeem(said(self.begin(**TYPED))["authorization_code"]))

    def _credentials(self) -> dict[str, str]:
        return {} if self.client is not DESK else {"authorization": basic("desk", "a secret of this test")}


def said(answer: Answer) -> dict[str, Any]:
    """The members of an answer."""
    members: dict[str, Any] = json.loads(answer.body)
    return members


def make_server(*, config: Config | None = None) -> WholeServer:
    """A server with real keys, that knows the app, a confidential one, the shop and a stranger's."""
    return WholeServer(APP, DESK, SHOP, STRANGER, WEB, config=config, real_keys=True)


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    claims: dict[str, Any] = json.loads(unverified_payload(token))
    return claims
