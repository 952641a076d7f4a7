"""The Guard's answers to Envoy's `ext_authz`: what Envoy cannot decide, decided by the same code as in a service.

Envoy asks over a socket of this machine with the request's method, path and a few headers. 200 lets
the request go on, with what the service is told in the answer's headers; every other answer is sent to
the caller as it is. CORS headers are Envoy's to add.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Mapping
from typing import Final

from portero.core.policy.credentials import token_of
from portero.core.policy.manifest import Layout, Manifest, Service, gateway_matcher
from portero.core.policy.path import AmbiguousPath, split_target
from portero.core.policy.principal import Principal
from portero.core.policy.protected_resource import metadata_url
from portero.core.policy.refusal import Case, Refusal
from portero.core.policy.rendering import Challenger, http_refusal
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import NOT_NAMED, Free, Rule
from portero.gateway.assertions import Assertions
from portero.gateway.envoy.replies import REASON_HEADER
from portero.gateway.envoy.resources import SUBJECT_HEADER
from portero.gateway.guards import GatewayGuards
from portero.gateway.requests import Answer, Request
from portero.resource_server.asgi_request import joined_header
from portero.resource_server.sender import NONCE, Presented, RequestSeen, Sender
from portero.resource_server.trust import KeysWanted

_REMOVE = "x-envoy-auth-headers-to-remove"


class Authorizer:
    """Decides by one manifest.

    Args:
        manifest: the whole.
        guards: one Guard a service.
        assertions: made in the layout `gateway`.
    """

    def __init__(self, manifest: Manifest, guards: GatewayGuards, assertions: Assertions | None) -> None:
        self._services = manifest.services
        self._guards = guards
        self._assertions = assertions if manifest.layout is Layout.GATEWAY else None
        self._matcher = gateway_matcher(manifest)
        self._prefixes = manifest.gateway.prefix if manifest.gateway is not None else {}
        self._streams = {
            (service.name, route.line, route.match)
            for service in manifest.services.values()
            for route in service.routes
            if route.stream
        }
        self._challengers: Mapping[str, Challenger] = {
            name: Challenger(
                resource_metadata=metadata_url(service.audience), dpop_algorithms=guards.guard(name).senders.algorithms
            )
            for name, service in manifest.services.items()
        }

    def answer(self, request: Request) -> Answer | Awaitable[Answer]:
        """Answer one question of Envoy's."""
        try:
            path, query = split_target(request.target)
        except AmbiguousPath as error:
            return self._refusal(Refusal(Case.BAD_REQUEST, error.description), "")
        rule = self._matcher.decide(request.method, path)
        if isinstance(rule, Refusal):
            return self._refusal(rule, "")
        requirement = rule.access
        if not isinstance(requirement, Requirement):
            return self._refusal(NOT_NAMED, rule.service) if requirement is Free.DENIED else Answer(200)
        guard = self._guards.guard(rule.service)
        seen = self._seen(request, path, query, rule.service)
        websocket = (seen.header("upgrade") or "").lower() == "websocket"
        presented = guard.presented(token_of(request.headers, query or b""), seen, requirement, websocket=websocket)
        if isinstance(presented, Refusal):
            return self._refusal(presented, rule.service)
        try:
            if guard.started:
                return self._told(guard.admit(*_asked(presented, requirement)), rule, presented, seen)
        except KeysWanted:
            pass
        return self._wait(rule, presented, requirement, seen)

    def _seen(self, request: Request, path: bytes, query: bytes | None, service: str) -> RequestSeen:
        # A proof names the service's own path, as a proof to the service itself would.
        inner = path.decode("latin-1").removeprefix(self._prefixes.get(service, "")) or "/"
        headers = request.headers
        return RequestSeen(
            header=lambda name: joined_header(headers, name),
            method=request.method,
            path=inner,
            memo={},
            query=query or b"",
        )

    async def _wait(self, rule: Rule, presented: Presented, requirement: Requirement, seen: RequestSeen) -> Answer:
        outcome = await self._guards.guard(rule.service).check(*_asked(presented, requirement))
        return self._told(outcome, rule, presented, seen)

    def _told(self, outcome: Principal | Refusal, rule: Rule, presented: Presented, seen: RequestSeen) -> Answer:
        if isinstance(outcome, Refusal):
            return self._refusal(outcome, rule.service)
        service = self._services[rule.service]
        guard = self._guards.guard(rule.service)
        scheme = "DPoP" if presented.sender is not None and presented.sender.by_dpop else "Bearer"
        passed_on = f"{scheme} {presented.token.decode('ascii')}"
        if self._assertions is not None:
            now = int(guard.clock.now())
            passed_on = self._assertions.header_for(outcome, audience=service.audience, now=now).decode("ascii")
        said = [("authorization", passed_on), (SUBJECT_HEADER, _printable(outcome.subject))]
        said += _without_token(service, seen)
        nonce = seen.memo.get(NONCE)
        if isinstance(nonce, str):
            said.append(("dpop-nonce", nonce))
        if (rule.service, rule.line, rule.match) in self._streams:
            # Envoy takes gRPC's own header for the longest life of the stream.
            left = int(min(guard.seconds_left(outcome), _grpc_timeout(seen.header("grpc-timeout"))) * 1000)
            said.append(("grpc-timeout", f"{min(max(1, left), 99_999_999)}m"))
        return Answer(200, tuple(said))

    def _refusal(self, refusal: Refusal, service: str) -> Answer:
        written = http_refusal(refusal, challenger=self._challengers.get(service, Challenger()))
        return Answer(written.status, (*written.headers, (REASON_HEADER, refusal.case.value)), written.body)


def _asked(presented: Presented, requirement: Requirement) -> tuple[bytes, Requirement, Sender | None]:
    return presented.token, requirement, presented.sender


def _without_token(service: Service, seen: RequestSeen) -> list[tuple[str, str]]:
    """The cookies that are passed on: the one that carries tokens never is."""
    if service.cookie is None:
        return []
    cookies = [pair.strip() for pair in (seen.header("cookie") or "").split(";")]
    kept = [pair for pair in cookies if pair and pair.partition("=")[0] != service.cookie.name]
    if len(kept) == len([pair for pair in cookies if pair]):
        return []
    return [("cookie", "; ".join(kept))] if kept else [(_REMOVE, "cookie")]


_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def _grpc_timeout(header: str | None) -> float:
    """Seconds the caller waits (gRPC over HTTP/2, "Timeout"); infinite where it does not say so properly."""
    found = re.fullmatch(r"([0-9]{1,8})([HMSmun])", header or "")
    return math.inf if found is None else int(found[1]) * _UNITS[found[2]]


def _printable(text: str) -> str:
    # A claim may hold anything; a header may not (attack row 78).
    return "".join(char if "!" <= char <= "~" else f"%{ord(char):02X}" for char in text)
