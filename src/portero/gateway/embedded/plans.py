"""What is decided about a method and path, once: the route, the service, and the request line sent on.

A plan is made of the manifest alone, so it is kept by the bytes a client sent: the next request
for the same path costs one look. Bounded, in two generations; another manifest begins with none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from portero.core.policy.manifest import Layout, Manifest, gateway_matcher
from portero.core.policy.manifest_gateway import KEYS_PATH, Gateway
from portero.core.policy.path import AmbiguousPath, normal_path, split_target
from portero.core.policy.refusal import Case, Refusal
from portero.core.policy.requirement import Carrier, Requirement
from portero.core.policy.routes import NOT_NAMED, Free
from portero.gateway.embedded.service_side import ServiceSide

if TYPE_CHECKING:
    from portero.core.policy.principal import Principal

MOST_PLANS: Final = 10_000
LONGEST_KEPT: Final = 512
"""Bytes of a request line that is kept; longer ones are planned anew."""
REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 §9.2.2."""
NO_REQUESTS: Final = frozenset({"CONNECT", "TRACE"})
"""No requests to a service: a tunnel, and an echo of what only the gateway and the service should see."""

Document = Callable[[], bytes]


class Plan:
    """One method and path, decided. Exactly one of `refusal`, `document`, and a service to go to."""

    __slots__ = (
        "admit", "by_hand", "document", "is_head", "line", "logged", "match", "method", "path", "refusal", "repeatable",
        "requirement", "service", "straight", "stream", "timeout", "whole_line",
    )  # fmt: skip

    def __init__(self, method: str, *, service: ServiceSide | None, match: str, path: str | None) -> None:
        self.method = method
        self.is_head = method == "HEAD"
        self.service = service
        self.match = match
        self.path = ""
        """As the service sees it."""
        self.requirement: Requirement | None = None
        """`None`, where there is a service to go to: the route is public."""
        self.admit: Callable[[bytes, Requirement], Principal | Refusal] | None = None
        self.refusal: Refusal | None = None
        self.document: Document | None = None
        self.by_hand = False
        """Whether the request is looked at for more than its one header: preflights, cookies."""
        self.straight = False
        """Whether a Bearer token in a header decides, and nothing else."""
        self.line = b""
        """Method and path as sent on, without query and version."""
        self.whole_line = b""
        self.repeatable = method in REPEATABLE
        self.stream = False
        self.timeout = 0.0
        self.logged = (
            f'"method":{json.dumps(method)},"path":{json.dumps(path)},'
            f'"service":{json.dumps(service.name if service else "")},"route":{json.dumps(match)}'
        ).encode()


class Plans:
    """All of one manifest.

    Args:
        manifest: the whole.
        services: name → its side.
        key_set: the document of the gateway's own keys.
    """

    def __init__(self, manifest: Manifest, services: Mapping[str, ServiceSide], *, key_set: Document) -> None:
        gateway = manifest.gateway
        if gateway is None:
            raise ValueError("a manifest without [gateway]")
        self._gateway: Gateway = gateway
        self._services = services
        self._matcher = gateway_matcher(manifest)
        self._stream = {
            (service.name, route.line): (route.stream, route.timeout)
            for service in manifest.services.values()
            for route in service.routes
        }
        self._documents: dict[str, tuple[ServiceSide | None, Document]] = {}
        for side in services.values():
            if side.guard.metadata_path is not None:
                self._documents.setdefault(side.guard.metadata_path, (side, side.guard.metadata))
        if manifest.layout is Layout.GATEWAY:
            self._documents[KEYS_PATH] = (None, key_set)
        self.young: dict[bytes, Plan] = {}
        self._old: dict[bytes, Plan] = {}

    def plan(self, request: bytes) -> Plan:
        """Plan a request.

        Args:
            request: method, one space, and the undecoded path without query.
        """
        plan = self._old.get(request)
        if plan is None:
            method, _, raw_path = request.partition(b" ")
            plan = self._made(method.decode("ascii"), raw_path)
        if len(request) <= LONGEST_KEPT:
            if len(self.young) >= MOST_PLANS:
                self._old, self.young = self.young, {}
            self.young[request] = plan
        return plan

    def _made(self, method: str, raw_path: bytes) -> Plan:
        if method in NO_REQUESTS:
            plan = Plan(method, service=None, match="", path=None)
            plan.refusal = Refusal(Case.BAD_REQUEST, "This method is not served here.", detail="method")
            return plan
        try:
            path, _ = split_target(raw_path)
            normal = normal_path(path)
        except AmbiguousPath as error:
            plan = Plan(method, service=None, match="", path=None)
            plan.refusal = Refusal(Case.BAD_REQUEST, error.description, detail="ambiguous path")
            return plan
        side, document = self._documents.get(normal, (None, None))
        if document is not None and method in ("GET", "HEAD"):
            plan = Plan(method, service=side, match="", path=normal)
            plan.document = document
            return plan
        rule = self._matcher.match(method, normal)
        if isinstance(rule, Refusal):
            plan = Plan(method, service=None, match="", path=normal)
            plan.refusal = rule
            return plan
        service = self._services.get(rule.service)
        # A preflight of a service's document is answered as that service's.
        plan = Plan(method, service=service or side, match=rule.match or "", path=normal)
        if service is None or rule.access is Free.DENIED:
            plan.refusal = NOT_NAMED
            return plan
        stream, timeout = self._stream.get((rule.service, rule.line), (False, None))
        plan.stream = stream
        plan.timeout = (timeout or self._gateway.timeouts.response).total_seconds()
        inner = normal[len(self._gateway.prefix.get(rule.service, "")) :] or "/"
        plan.path = inner
        plan.line = f"{method} {inner}".encode("ascii")
        plan.whole_line = plan.line + b" HTTP/1.1\r\n"
        if isinstance(rule.access, Requirement):
            plan.requirement = rule.access
            plan.admit = service.guard.admit
            plan.by_hand = (
                method == "OPTIONS"
                or Carrier.COOKIE in rule.access.carriers
                or service.guard.senders.certificate is not None
            )
            plan.straight = not plan.by_hand
        return plan
