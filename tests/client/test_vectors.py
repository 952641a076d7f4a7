"""The scenarios that the browser library replays too (`clients/vectors`; behaviour 66)."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portero.adapters.fetch.http import TooSlow
from portero.adapters.fetch.requests import Fetched, FetchRequest
from portero.client import Auth, ClientError, ClientLimits, Config, MemoryStore, Session
from portero.client.protocol.challenge import token_challenge
from portero.client.protocol.retry_after import retry_after_seconds
from portero.client.protocol.token import Grant, Granted, process_token_response
from portero.client.tokens import Tokens, due_after, render_tokens, usable_for
from portero.core.errors import Unavailable
from portero.core.types import Secret
from portero.testing.clock import FakeClock
from tests.client.world import NO_TLS

VECTORS = json.loads((Path(__file__).parents[2] / "clients/vectors/scenarios.json").read_text())
START = VECTORS["start"]
ISSUER, (API,) = START["issuer"], START["allowed_origins"]
METADATA = {
    "issuer": ISSUER,
    **{f"{name}_endpoint": f"{ISSUER}/{name}" for name in ("authorization", "token", "revocation")},
}


@dataclass
class Replay:
    """One scenario: a session, and what it is answered."""

    clock: FakeClock = field(default_factory=FakeClock)
    answers: list[dict[str, Any]] = field(default_factory=list)
    token_requests: list[dict[str, str]] = field(default_factory=list)
    revocations: list[str] = field(default_factory=list)
    service: dict[str, Any] = field(default_factory=dict)
    service_tokens: list[str] = field(default_factory=list)
    service_bodies: list[str] = field(default_factory=list)
    attempts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tokens, store = START["tokens"], MemoryStore()
        grant = Grant(Secret(tokens["access_token"]), tokens["expires_in"], Secret(tokens["refresh_token"]))
        store.write(render_tokens(Tokens("l1", self.clock.now(), grant)))
        config = Config(
            issuer=ISSUER,
            client_id=START["client_id"],
            allowed_origins=(API,),
            limits=ClientLimits(superseded=0.001),
            ssl_context=NO_TLS,
        )
        self.session = Session(config, store=store, clock=self.clock)
        self.session.core._fetcher.close()
        self.session.core._fetcher = self  # type: ignore[assignment]  # what it asks is answered by the scenario

    def close(self) -> None:
        """As a fetcher: nothing is open."""

    def fetch(self, request: FetchRequest) -> Fetched:
        """Answer as the authorization server of the scenario."""
        if request.form is None:
            return Fetched(200, {}, json.dumps(METADATA).encode())
        form = {name: str(value) for name, value in request.form.items()}
        if request.url.endswith("/revocation"):
            self.revocations.append(form["token"])
            return Fetched(200, {}, b"")
        self.token_requests.append(form)
        answer = self.answers.pop(0)
        if answer.get("before") == "sign_out":
            self.session.sign_out()
        match answer.get("fails"):
            case "network":
                raise Unavailable("no answer")
            case "timeout":
                raise TooSlow("no answer in time")
        body = answer["text"] if "text" in answer else json.dumps(answer.get("body"))
        return Fetched(answer["status"], answer.get("headers", {}), body.encode())

    def serve(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as a service."""
        authorization = request.headers.get("authorization", "")
        token = authorization.removeprefix("Bearer ")
        self.service_tokens.append(token)
        self.service_bodies.append(request.read().decode())
        answer = self.service.get(token, self.service["*"])
        return httpx2.Response(answer["status"], headers=answer.get("headers", {}))

    def step(self, step: dict[str, Any]) -> None:
        """Take one step, and compare."""
        self.token_requests, self.revocations, self.service_tokens, self.service_bodies = [], [], [], []
        outcomes: list[dict[str, Any]] = []
        if "advance" in step:
            self.clock.advance(step["advance"])
        elif "wall" in step:
            self.clock.set_wall(self.clock.now() + step["wall"])
        elif "sign_out" in step:
            self.session.sign_out()
        else:
            outcomes = self._call(step)
        if "expect" in step:
            self._compare(step["expect"], outcomes)

    def _call(self, step: dict[str, Any]) -> list[dict[str, Any]]:
        call, times = step["call"], step.get("times", 1)
        self.service, self.answers = step["service"], list(step.get("token", ()))
        transport = httpx2.MockTransport(self.serve)

        def once(http: httpx2.Client) -> dict[str, Any]:
            content = iter([call["stream"].encode()]) if "stream" in call else call.get("body")
            url = call.get("origin", API) + call["path"]
            try:
                answer = http.request(call["method"], url, content=content, headers=call.get("headers"))
            except ClientError as error:
                named = {
                    name: getattr(error, name, None) for name in ("reason", "retry_after", "acr_values", "max_age")
                }
                return {"error": error.code, **named}
            return {"status": answer.status_code}

        with (
            httpx2.Client(auth=Auth(self.session), transport=transport) as http,
            ThreadPoolExecutor(times) as pool,
        ):
            return list(pool.map(lambda _: once(http), range(times)))

    def _compare(self, expected: dict[str, Any], outcomes: list[dict[str, Any]]) -> None:
        for outcome in outcomes:
            assert expected["outcome"] == {name: outcome[name] for name in expected["outcome"]}
        flight = self.session.core.era.flight
        assert flight is None or flight.done()
        # A refresh that was left behind by a sign-out lands on its own.
        for thread in list(_flights()):
            thread.join(60)
        assert expected["state"] == self.session.state.value
        if "token_requests" in expected:
            assert len(expected["token_requests"]) == len(self.token_requests)
            for wanted, sent in zip(expected["token_requests"], self.token_requests, strict=True):
                letter = wanted.get("refresh_attempt")
                if letter is not None:
                    assert self.attempts.setdefault(letter, sent["refresh_attempt"]) == sent["refresh_attempt"]
                assert len(sent["refresh_attempt"]) == 22
                named = {name: value for name, value in wanted.items() if name != "refresh_attempt"}
                assert named == {name: sent[name] for name in named}
            assert len(self.attempts) == len(set(self.attempts.values()))
        for name in ("service_tokens", "service_bodies", "revocations"):
            if name in expected:
                assert expected[name] == getattr(self, name), name


def _flights() -> Iterator[Any]:

    return (thread for thread in threading.enumerate() if thread.name == "portero-refresh")


@pytest.mark.behaviour(66)
@pytest.mark.parametrize("scenario", VECTORS["scenarios"], ids=lambda scenario: scenario["name"])
def test_a_scenario(scenario: dict[str, Any]) -> None:
    """Server answers in; requests, outcomes and states out."""
    replay = Replay()
    for step in scenario["steps"]:
        replay.step(step)
    assert replay.answers == []
    replay.session.close()


@pytest.mark.behaviour(66)
@pytest.mark.parametrize("vector", VECTORS["token_answers"], ids=str)
def test_what_an_answer_of_the_token_endpoint_means(vector: dict[str, Any]) -> None:
    """Granted, refused with a reason, or nothing that says anything about our token."""
    outcome = process_token_response(Fetched(vector["status"], {}, json.dumps(vector["body"]).encode()), now=0)

    assert vector["outcome"] == ("granted" if isinstance(outcome, Granted) else outcome.reason)
    if isinstance(outcome, Granted):
        assert vector.get("expires_in") == outcome.grant.expires_in


@pytest.mark.behaviour(66)
@pytest.mark.parametrize("vector", VECTORS["challenges"], ids=str)
def test_the_challenge_that_concerns_us(vector: dict[str, Any]) -> None:
    """Ours among those of others, unquoted."""
    challenge = token_challenge(vector["header"])

    assert vector["scheme"] == (None if challenge is None else challenge.scheme)
    assert vector["parameters"] == ({} if challenge is None else challenge.parameters)


@pytest.mark.behaviour(26)
@pytest.mark.behaviour(66)
@pytest.mark.parametrize("vector", VECTORS["retry_after"], ids=str)
def test_how_long_to_wait(vector: dict[str, Any]) -> None:
    """Seconds, or a date by the server's own clock; an hour at most."""
    assert vector["seconds"] == retry_after_seconds(vector["headers"], now=0)


@pytest.mark.behaviour(17)
@pytest.mark.behaviour(20)
@pytest.mark.behaviour(66)
@pytest.mark.parametrize("vector", VECTORS["lives"], ids=str)
def test_how_long_a_token_is_used(vector: dict[str, Any]) -> None:
    """And when a proactive refresh is due, for the first and for the last of many."""
    grant = Grant(Secret("a"), vector["grant"].get("expires_in"), refresh_after=vector["grant"].get("refresh_after"))

    assert (math.inf if vector["usable_for"] is None else vector["usable_for"]) == pytest.approx(usable_for(grant))
    due = [math.inf if due is None else due for due in vector["due_after"]]
    assert due == pytest.approx([due_after(grant, jitter=jitter) for jitter in (0, 1)])
