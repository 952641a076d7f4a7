"""One Guard a service, at the edge: it decides about callers' own tokens, whatever the layout.

All share the keys, the feeds and the open connections of one host Guard, so that a gateway in front
of a hundred services follows each issuer once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portero.core.policy.manifest import Manifest, Service
from portero.ports import Clock
from portero.resource_server.guard import Guard, Readiness
from portero.resource_server.manifest_guard import guard_of, what_makes


class GatewayGuards:
    """The Guards of one manifest.

    Args:
        manifest: the whole.
        environ: where `secret_env` names a variable.
        file: the manifest's name, for messages.
        clock: `None`: the system's.
        instead_of: the Guards of the manifest before: what did not change goes on, with its keys,
            its feed and its connections.
        options: further arguments of each service's `Guard`: caches.

    Raises:
        ConfigurationError: a secret is not in the environment, or a Guard does not take a value.
    """

    def __init__(
        self,
        manifest: Manifest,
        environ: Mapping[str, str],
        *,
        file: str,
        clock: Clock | None = None,
        instead_of: GatewayGuards | None = None,
        **options: Any,
    ) -> None:
        self.manifest = manifest
        # Never asked about a token: it keeps what the others share.
        everybody = Service(name="(gateway)", audience="portero:gateway", issuers=tuple(manifest.issuers))
        self._made_of = {"": (manifest.issuers, manifest.leeway)} | {
            name: what_makes(manifest, service) for name, service in manifest.services.items()
        }
        same_host = instead_of is not None and instead_of._made_of[""] == self._made_of[""]
        if instead_of is not None and same_host:
            self.host: Guard = instead_of.host
        else:
            self.host = guard_of(manifest, everybody, environ, file=file, at_edge=True, clock=clock)
            if instead_of is not None:
                self.host.connections = instead_of.host.connections
        self._guards: dict[str, Guard] = {}
        for name, service in manifest.services.items():
            if instead_of is not None and same_host and instead_of._made_of.get(name) == self._made_of[name]:
                self._guards[name] = instead_of._guards[name]
                continue
            guard = guard_of(manifest, service, environ, file=file, at_edge=True, clock=clock, **options)
            guard.join(self.host)
            self._guards[name] = guard

    def guard(self, service: str) -> Guard:
        """The Guard of one service."""
        return self._guards[service]

    def readiness(self) -> Readiness:
        """Whether every issuer's keys are there and every feed was heard."""
        return self.host.readiness()

    async def start(self) -> None:
        """Fetch keys and follow the feeds, on the running event loop."""
        await self.host.start()
        for guard in self._guards.values():
            await guard.start()

    async def aclose(self, *, but: GatewayGuards | None = None) -> None:
        """Stop what `start` began.

        Args:
            but: the Guards that took over: a host they share goes on.
        """
        if but is None or but.host is not self.host:
            await self.host.aclose()
