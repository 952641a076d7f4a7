"""What the gateway needs of one service: its Guard, its servers, its CORS headers, and what is handed on to it."""

from __future__ import annotations

from portero.core.policy.principal import Principal
from portero.gateway.assertions import Assertions
from portero.gateway.embedded.pool import Cluster
from portero.resource_server.guard import Guard

_MOST_ORIGINS = 256


class ServiceSide:
    """One service.

    Args:
        assertions: what it is told about callers in the layout `gateway`; `None`: the token itself.
    """

    __slots__ = ("_assertions", "_audience", "_cors", "cluster", "failures", "guard", "has_cors", "name")

    def __init__(self, name: str, *, guard: Guard, cluster: Cluster, assertions: Assertions | None) -> None:
        self.name = name
        self.guard = guard
        self.cluster = cluster
        self.failures = 0
        """Answers this service's servers did not give, since the start."""
        self.has_cors = bool(guard.cors.origins)
        self._assertions = assertions
        self._audience = guard.audience
        self._cors: dict[bytes | None, bytes] = {}

    @property
    def asserts(self) -> bool:
        """Whether the service gets assertions, and never a caller's token."""
        return self._assertions is not None

    def handed_on(self, principal: Principal, token: bytes, now: float) -> bytes:
        """The `Authorization` value that is sent on for an admitted caller."""
        if self._assertions is None:
            return b"Bearer " + token
        return self._assertions.header_for(principal, audience=self._audience, now=int(now))

    def cors_of(self, origin: bytes | None) -> bytes:
        """The CORS headers of an answer, ready to be written."""
        known = self._cors.get(origin)
        if known is None:
            headers = self.guard.cors.response_headers(None if origin is None else origin.decode("latin-1"))
            known = b"".join(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers)
            if len(self._cors) < _MOST_ORIGINS:
                self._cors[origin] = known
        return known
