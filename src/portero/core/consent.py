"""What a person allowed an application of others (OpenID Connect Core §3.1.2.4): remembered until they take it back.

Agreement is per person and client, and covers what was asked for then: an application that
asks for more later asks again. Taking it back ends what the application has now.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from portero.core.types import ClientId, Digest, NumericDate, Subject


@dataclass(frozen=True, slots=True)
class Consent:
    """One person's agreement with one client."""

    subject: Subject
    client_id: ClientId
    scope: tuple[str, ...]
    """Scopes allowed so far."""
    resource: tuple[str, ...]
    """Resource indicators allowed so far (RFC 8707)."""
    granted: NumericDate
    """When it was last given or widened."""

    @property
    def id_digest(self) -> Digest:
        """What it is stored under."""
        return consent_digest(self.subject, self.client_id)

    def covers(self, *, scope: tuple[str, ...], resource: tuple[str, ...]) -> bool:
        """Say whether nothing is asked for that was not allowed."""
        return set(scope) <= set(self.scope) and set(resource) <= set(self.resource)

    def widened(self, *, scope: tuple[str, ...], resource: tuple[str, ...], now: NumericDate) -> Consent:
        """Return the agreement with what was allowed now beside what was before."""
        return replace(
            self,
            scope=tuple(dict.fromkeys((*self.scope, *scope))),
            resource=tuple(dict.fromkeys((*self.resource, *resource))),
            granted=now,
        )


def consent_digest(subject: Subject, client_id: ClientId) -> Digest:
    """One name for a person and a client; the length keeps two pairs with the same letters apart."""
    name = subject.encode(errors="surrogatepass")
    return Digest(hashlib.sha256(b"%d\x00%b%b" % (len(name), name, client_id.encode(errors="surrogatepass"))).digest())
