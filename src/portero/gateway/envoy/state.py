"""One manifest's meaning on Envoy, and what serves by it: its Guards, its answers to Envoy, its keys."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from portero.core.errors import ConfigurationError
from portero.core.jose.algorithms import canonical_alg
from portero.core.jose.jwk import PublicKey
from portero.core.policy.manifest import Layout, Manifest
from portero.core.policy.manifest_parser import parse_manifest
from portero.core.revocation.entry import RevokedKind
from portero.gateway.assertions import AssertionKeys, Assertions
from portero.gateway.certificates import load_certificate, upstream_tls
from portero.gateway.engines import Options
from portero.gateway.envoy.authorize import Authorizer
from portero.gateway.envoy.configuration import gateway_of
from portero.gateway.guards import GatewayGuards
from portero.resource_server.issuers import FeedStart


class State:
    """One manifest's meaning, and what serves by it."""

    def __init__(self, text: str, options: Options, *, instead_of: State | None) -> None:
        file = options.manifest_file
        self.text = text
        self.manifest: Manifest = parse_manifest(text, file=str(file))
        self.gateway = gateway_of(self.manifest)
        self.check_files(file.parent)
        self._keys_file = file.parent / self.gateway.keys_file
        self.assertion_keys: AssertionKeys | None = None
        assertions = None
        if self.manifest.layout is Layout.GATEWAY:
            self.assertion_keys = AssertionKeys.open(self._keys_file)
            assertions = Assertions(self.assertion_keys, issuer=self.gateway.assertion_issuer)
        self.guards: GatewayGuards = GatewayGuards(
            self.manifest,
            options.environ,
            file=str(file),
            clock=options.clock,
            instead_of=None if instead_of is None else instead_of.guards,
        )
        self.authorizer = Authorizer(self.manifest, self.guards, assertions)

    def keys_were_changed(self) -> bool:
        """Whether the keys of the assertions are other ones now (`portero keys rotate-gateway`)."""
        return self.assertion_keys is not None and self.assertion_keys.differs_from(self._keys_file)

    def check_files(self, folder: Path) -> None:
        """Certificates are looked at here: a message of Envoy's would come too late."""
        if self.gateway.tls is not None:
            load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.gateway.tls, folder)
        for service in self.manifest.services.values():
            if service.upstream_ca:
                upstream_tls(service, folder)

    def keys(self) -> Mapping[str, Sequence[PublicKey]]:
        """The usable keys of each issuer, by its name in the manifest."""
        monotonic = self.guards.host.clock.monotonic()
        found = {}
        for name, issuer in self.manifest.issuers.items():
            trust = self.guards.host.trust(issuer.issuer)
            accepted = {canonical_alg(alg) for alg in issuer.algorithms}
            revoked = trust.subscription.revoked if trust.subscription is not None else None
            known = trust.keys.keys.keys if trust.keys.keys is not None and trust.keys.is_ready(now=monotonic) else ()
            found[name] = [
                key
                for key in known
                if key.alg in accepted and not (revoked is not None and key.kid and revoked.names_key(key.kid))
            ]
        return found

    def marks(self) -> tuple[object, ...]:
        """What `keys` depends on: while it is equal, so are they."""
        monotonic = self.guards.host.clock.monotonic()
        marks: list[object] = []
        for issuer in self.manifest.issuers.values():
            trust = self.guards.host.trust(issuer.issuer)
            revoked = () if trust.subscription is None else tuple(trust.subscription.revoked.values(RevokedKind.KEY))
            # The set itself, not its epoch, which stands still when a key is only added.
            marks.append((id(trust.keys.keys), trust.keys.epoch, trust.keys.is_ready(now=monotonic), revoked))
        return tuple(marks)

    def problems(self) -> list[str]:
        """What is missing before requests can be served; empty when nothing is."""
        host = self.guards.host
        said = []
        for issuer in self.manifest.issuers.values():
            trust = host.trust(issuer.issuer)
            if not trust.keys.is_ready(now=host.clock.monotonic()):
                said.append(f"no keys of {issuer.issuer}" + (f": {trust.problem}" if trust.problem else ""))
            waits = trust.feed is not None and trust.feed.start is FeedStart.WAIT
            if trust.subscription is not None and waits and not trust.subscription.has_snapshot:
                problem = trust.subscription.problem
                said.append(f"no feed of {issuer.issuer}" + (f": {problem}" if problem else ""))
        return said


def read_manifest(file: Path) -> str:
    """Read the file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(file), "(not readable)", f"must be a manifest ({error})") from None
