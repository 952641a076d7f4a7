"""An issuer in memory: keys that rotate, tokens, and a revocation feed in the real format.

`JwksServer` puts it on the network. Without a network, `trust_in(guard)` hands its keys to a
Guard directly:

    issuer = InMemoryIssuer()
    guard = Guard(issuers=[issuer.url], audience=AUDIENCE, revocation=None, clock=issuer.clock)
    issuer.trust_in(guard)
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portero.core.jose.jwk import PrivateKey
from portero.core.jose.jwk_set import parse_jwk_set, render_jwk_set
from portero.core.revocation.entry import FeedEntry, Revocation, RevokedKind
from portero.core.revocation.feed import Cursor, render_entry, render_heartbeat, render_list, render_revocation_event
from portero.core.types import Issuer, NumericDate
from portero.ports import Clock
from portero.testing.clock import FakeClock
from portero.testing.tokens import AUDIENCE, ISSUER, TokenFactory, new_key

if TYPE_CHECKING:
    from portero.resource_server import Guard


class InMemoryIssuer:
    """An issuer that does what its test says."""

    def __init__(
        self, url: str = ISSUER, *, audience: str = AUDIENCE, alg: str = "ES256", clock: Clock | None = None
    ) -> None:
        self.clock: Clock = clock or FakeClock()
        self.url = url
        self.alg = alg
        self.tokens = TokenFactory(issuer=url, audience=audience, key=new_key(alg, kid="key-1"), clock=self.clock)
        self.keys: list[PrivateKey] = [self.tokens.key]
        self.epoch = "epoch-1"
        self.entries: list[FeedEntry] = []
        self.changed = threading.Condition()
        self._rotations = 1

    def move_to(self, url: str) -> None:
        """Take another identifier: that of the server it is reached at."""
        self.url = self.tokens.issuer = url

    def mint(self, **changes: Any) -> str:
        """A token of this issuer; as `TokenFactory.mint`."""
        return self.tokens.mint(**changes)

    def rotate(self, *, keep_old: bool = True, kid: str | None = None) -> PrivateKey:
        """Sign with a new key from now on; return it. Its `kid` is new too, unless one is given."""
        self._rotations += 1
        self.tokens.key = new_key(self.alg, kid=kid or f"key-{self._rotations}")
        self.keys = [*(self.keys if keep_old else ()), self.tokens.key]
        return self.tokens.key

    def jwk_set(self) -> bytes:
        """The JWK Set document."""
        return render_jwk_set([key.public for key in self.keys])

    def revoke(self, *, until: int | None = None, **what: str) -> FeedEntry:
        """Append to the feed, for example `revoke(sid="session-1")`."""
        ((kind, value),) = what.items()
        now = int(self.clock.now())
        with self.changed:
            entry = FeedEntry(
                self.epoch,
                len(self.entries) + 1,
                Revocation(
                    Issuer(self.url),
                    RevokedKind(kind),
                    value,
                    NumericDate(now),
                    NumericDate(now + 360 if until is None else until),
                ),
            )
            self.entries.append(entry)
            self.changed.notify_all()
        return entry

    def took_back(self, claims: Mapping[str, Any]) -> bool:
        """Whether the feed names a token's session, the token itself, or its client."""
        with self.changed:
            named = {(entry.revocation.kind.value, entry.revocation.value) for entry in self.entries}
        return any((kind, claims.get(kind)) in named for kind in ("sid", "jti", "client_id"))

    def restore(self, epoch: str, *, entries: int = 0) -> None:
        """Be a database restored from a backup: another epoch, and only the first `entries`."""
        with self.changed:
            self.epoch = epoch
            self.entries = [FeedEntry(epoch, entry.n, entry.revocation) for entry in self.entries[:entries]]
            self.changed.notify_all()

    def snapshot(self) -> bytes:
        """`GET /revocations/snapshot`."""
        with self.changed:
            cursor = Cursor(self.epoch, len(self.entries))
            return b"".join(render_list(cursor, map(render_entry, self.entries), time=self.clock.now()))

    def events_after(self, n: int) -> bytes:
        """The stream's events after entry `n`, and a heartbeat."""
        with self.changed:
            entries = self.entries[n:]
            events = [render_revocation_event(Cursor(entry.epoch, entry.n), render_entry(entry)) for entry in entries]
            head = Cursor(self.epoch, len(self.entries))
            return b"".join([*events, render_heartbeat(head, time=self.clock.now())])

    def trust_in(self, guard: Guard) -> None:
        """Hand the keys, and the feed's present state, to a Guard without a network."""
        trust = guard.trust(self.url)
        monotonic = guard.clock.monotonic()
        trust.keys.fetched(parse_jwk_set(self.jwk_set()), now=monotonic)
        if trust.subscription is not None:
            now = NumericDate(int(guard.clock.now()))
            guard.connections.revoked(trust.subscription.took_snapshot(self.snapshot(), asked_at=monotonic, now=now))
