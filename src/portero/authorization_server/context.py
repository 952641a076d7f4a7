"""What every endpoint is given: the settings and the ports, chosen once in `app`.

No endpoint builds a port, reads a clock of its own or looks at the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, TypeVar

from portero.authorization_server.config import Config
from portero.core.digests import sha256_of
from portero.core.events import Event
from portero.core.revocation.cause import caused_at
from portero.core.transitions import Client, ClientKey, Decision, Key
from portero.core.types import ClientId, Digest, Issuer, NumericDate, Secret
from portero.ports import Clock, PasswordHasher, Random, Store

A = TypeVar("A")
R = TypeVar("R")


class KeyRing(Protocol):
    """The signing keys in use, opened once and refreshed as their life goes on (`authorization_server.key_ring`)."""

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Sign with the key that signs now: JWS compact, header `alg`, `kid`, `typ`."""
        ...

    def jwk_set(self) -> bytes:
        """The public JWK Set as JSON: keys published, signing, and retired but still needed."""
        ...

    def verify_own(self, token: str, *, typ: str) -> dict[str, Any]:
        """Verify a token this server issued (signature, `typ`, `iss`), expired or not.

        Does not check: `exp`, `aud`, revocation.

        Raises:
            RequestError: `invalid_token`.
        """
        ...

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The `alg` values of the published keys, for metadata."""
        ...

    def seal(self, secret: Secret[str], *, name: str) -> bytes:
        """Seal a secret for storage under a key kept outside the database; it opens under the same `name` only."""
        ...

    def unseal(self, sealed: bytes, *, name: str) -> Secret[str]:
        """Open what `seal` made.

        Raises:
            Unavailable: the secrets of this server do not open it.
        """
        ...

    async def rotate(self, *, by: str) -> None:
        """Publish a successor of the key that signs, as an operator asks; the audit trail says who.

        Raises:
            Unavailable: the store cannot be reached, or there is no key-encryption key.
        """
        ...

    async def keep_up(self) -> None:
        """Read the store again where that is due; an endpoint calls it before it signs or publishes. Never raises
        for a store that cannot be reached: the keys that are known go on."""
        ...


class TagKeys(Protocol):
    """The keys that tag refresh tokens; kept outside the database, rotated by a one-byte id."""

    @property
    def current(self) -> int: ...

    def get(self, key_id: int) -> Secret[bytes] | None: ...


class Telemetry(Protocol):
    """Counters and logs. Called after the commit; never raises."""

    def record(self, events: Iterable[Event]) -> None: ...


class ClientDocuments(Protocol):
    """Clients that nobody registered: their id is a URL, and a document there says what they are."""

    @property
    def origins(self) -> frozenset[str]:
        """The browser origins of those that were seen lately."""
        ...

    def concerns(self, client_id: ClientId) -> bool:
        """Say whether this is a client id of that kind."""
        ...

    async def get(self, client_id: ClientId) -> Client | None:
        """Return the client, or None where its document is not one.

        Raises:
            Unavailable: the document cannot be had now.
        """
        ...


async def find_client(store: Store, documents: ClientDocuments | None, client_id: ClientId) -> Client | None:
    """Look a client up: as an operator registered it, else as its document says.

    Raises:
        Unavailable: the store or the document cannot be reached.
    """
    client = (await store.read(ClientKey(client_id))).client
    if client is None and documents is not None and documents.concerns(client_id):
        return await documents.get(client_id)
    return client


class EndingTerms(TypedDict):
    """What every end of a session is written with."""

    now: NumericDate
    iss: Issuer
    leeway: int
    """Seconds past a token's `exp` for which its end is told (decision 0182)."""


@dataclass(frozen=True, slots=True)
class Context:
    """The composition root's result."""

    config: Config
    store: Store
    clock: Clock
    random: Random
    key_ring: KeyRing
    tag_keys: TagKeys
    passwords: PasswordHasher
    telemetry: Telemetry
    client_documents: ClientDocuments | None = None
    """Clients that nobody registered, where the settings allow them."""
    restored_at: NumericDate | None = None
    """When a restore of the database was last declared (`portero restore`); None: never."""

    def now(self) -> NumericDate:
        """The current second, once per request."""
        return NumericDate(int(self.clock.now()))

    def ending_terms(self) -> EndingTerms:
        """The terms of an end that happens now, the same for pages, API, console and peers."""
        config = self.config
        leeway = int(config.revocation_margin.total_seconds())
        return EndingTerms(now=self.now(), iss=Issuer(config.issuer), leeway=leeway)

    async def commit(self, key: Key[A], decide: Callable[[A], Decision[R]], *, now: NumericDate) -> R:
        """Run a transition, and once it is durable tell the telemetry what the committed decision counted.

        A revocation it appends carries this moment as its cause.

        Raises:
            Unavailable: see `Store.transition`.
        """
        events: tuple[Event, ...] = ()
        time = self.clock.now()

        def observed(aggregate: A) -> Decision[R]:
            nonlocal events
            decision = caused_at(decide(aggregate), time=time)
            events = decision.events  # the last run is the one that is committed
            return decision

        result = await self.store.transition(key, observed, now=now)
        if events:
            self.telemetry.record(events)
        return result

    def digest(self, secret: Secret[bytes] | Secret[str]) -> Digest:
        """SHA-256 of a secret: what the store may see."""
        return sha256_of(secret)
