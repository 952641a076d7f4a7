"""The signing keys in use: read from the store, opened once, and kept up with as time goes on.

What signs and what is published follows from the records and the clock
(`core.keys.signing_key`), so a key begins to sign at its second on every server, without a
message between them. The store is read again at most every `KEEP_UP_SECONDS`, on the next
request after that: for keys that an operator or another server added or removed. Several
processes that start on a new database make one key: the transition decides whose.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from portero.adapters.keys.generate import generate_private_key
from portero.authorization_server.config import Config
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.jose.jwk import PrivateKey, private_key_from_jwk, private_key_to_jwk
from portero.core.jose.jwk_set import JWKSet, JwkSetError, jwk_set_of, render_jwk_set
from portero.core.jose.jws import JwsError, sign_compact, verify_compact
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.keys.signing_key import (
    NONCE_BYTES,
    Keys,
    SealError,
    advance,
    new_signing_key,
    open_private,
    plan_rotation,
    public_key_of,
    published_at,
    rotation_due,
    seal_private,
    sealing_key_id,
    signing_key_at,
)
from portero.core.oauth.errors import invalid_token
from portero.core.transitions import Decision, SigningKey, SigningKeysKey, signed
from portero.core.types import Kid, NumericDate, Secret
from portero.ports import Clock, Random, Store

KEEP_UP_SECONDS = 1.0
"""How old the knowledge of the keys may be. One small read per second, while there are requests."""
LONGEST_LIFE = 90 * 24 * 3600
"""Seconds a key signs before its successor does. An operator may rotate earlier."""

Generate = Callable[[str], PrivateKey]


class KeyEncryptionKeys(Protocol):
    """Keys by a one-byte id, kept outside the database."""

    @property
    def current(self) -> int: ...

    def get(self, key_id: int) -> Secret[bytes] | None: ...


class HoldsKeyEncryptionKeys(Protocol):
    """What the key ring needs of the secrets."""

    @property
    def key_encryption_keys(self) -> KeyEncryptionKeys: ...


async def open_key_ring(
    config: Config,
    *,
    store: Store,
    secrets: HoldsKeyEncryptionKeys,
    clock: Clock,
    random: Random,
    generate: Generate = generate_private_key,
) -> StoredKeyRing:
    """Read and open the keys; make the first one on a new database.

    Raises:
        ConfigurationError: the secrets do not open the key that signs.
        Unavailable: the store cannot be reached.
    """
    ring = StoredKeyRing(
        config, store=store, sealing=secrets.key_encryption_keys, clock=clock, random=random, generate=generate
    )
    await ring.load(starting=True)
    try:
        ring.open_signing_key()
    except SealError as error:
        raise ConfigurationError(
            "authorization_server.secrets_file",
            str(config.secrets_file),
            f"it must be the file that belongs to this database: {error}",
        ) from error
    return ring


class StoredKeyRing:
    """A `KeyRing` over the store. See `open_key_ring`."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        sealing: KeyEncryptionKeys,
        clock: Clock,
        random: Random,
        generate: Generate,
    ) -> None:
        self._config = config
        self._store = store
        self._sealing = sealing
        self._clock = clock
        self._random = random
        self._generate = generate
        self._longest_token = int(
            (max(config.access_token_lifetime, config.id_token_lifetime) + config.revocation_margin).total_seconds()
        )
        self._publish_ahead = int(config.key_publish_ahead.total_seconds())
        self._keys: Keys = ()
        self._opened: dict[Kid, PrivateKey] = {}
        self._signing: tuple[PrivateKey, NumericDate, NumericDate] | None = None
        """The key that signs, from and until which second that is known without looking."""
        self._published: tuple[NumericDate, JWKSet, bytes] | None = None
        self._keep_up_at = float("-inf")
        self._keeping_up = False

    # ── what the endpoints ask ───────────────────────────────────────────────────────

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Sign with the key that signs now: JWS compact, header `alg`, `kid`, `typ`.

        Raises:
            Unavailable: there is no key that signs, or it does not open.
        """
        try:
            key = self.open_signing_key()
        except SealError as error:
            raise Unavailable(f"the signing key cannot be opened: {error}") from error
        return sign_compact({"typ": typ}, orjson.dumps(claims), key)

    def jwk_set(self) -> bytes:
        """The public JWK Set as JSON: keys published, signing, and retired but still needed."""
        return self._public()[1]

    def verify_own(self, token: str, *, typ: str) -> dict[str, Any]:
        """Verify a token this server issued (signature, `typ`, `iss`), expired or not.

        Does not check: `exp`, `aud`, revocation.

        Raises:
            RequestError: `invalid_token`.
            Unavailable: there are no keys.
        """
        keys = self._public()[0]
        try:
            jws = verify_compact(
                token,
                find_key=keys.find,
                algorithms=self.algorithms,
                expected_typ=frozenset({typ.lower()}),
            )
            claims = parse_object(jws.payload)
        except (JwsError, StrictJsonError) as error:
            raise invalid_token("the token is not one of this server's", detail=str(error)) from None
        if claims.get("iss") != self._config.issuer:
            raise invalid_token("the token is not one of this server's", detail="another iss")
        return claims

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The `alg` values of the published keys."""
        return tuple(dict.fromkeys(key.alg for key in self._public()[0].keys))

    async def keep_up(self) -> None:
        """Read the store again where that is due. One caller at a time does; the others go on with what is known.

        Where the store cannot be reached the keys that are known go on.
        """
        if self._keeping_up or self._clock.monotonic() < self._keep_up_at:
            return
        self._keeping_up = True
        try:
            with contextlib.suppress(Unavailable):
                await self.load()
        finally:
            self._keep_up_at = self._clock.monotonic() + KEEP_UP_SECONDS
            self._keeping_up = False

    # ── how it comes to know ─────────────────────────────────────────────────────────

    async def load(self, *, starting: bool = False) -> None:
        """Read the keys, write down what time has done to them, and publish a successor where one is due.

        Args:
            starting: also where the algorithm is another than the configured one. Only a start
                says what the operator wants now: two servers of one fleet that are configured
                differently for a while would replace each other's keys forever.

        Raises:
            Unavailable: the store cannot be reached.
        """
        now = self._now()
        keys = await self._store.read(SigningKeysKey())
        if advance(keys, now=now, longest_token=self._longest_token).writes:

            def decide_advance(stored: Keys) -> Decision[Keys]:
                return advance(stored, now=now, longest_token=self._longest_token)

            keys = await self._store.transition(SigningKeysKey(), decide_advance, now=now)
        if self._successor_due(keys, now, starting=starting):
            new_key = await self._new_key(now)

            def decide_rotation(stored: Keys) -> Decision[Keys]:
                if not self._successor_due(stored, now, starting=starting):
                    return Decision(stored)  # another process was first
                return plan_rotation(
                    stored,
                    now=now,
                    publish_ahead=self._publish_ahead,
                    longest_token=self._longest_token,
                    new_key=new_key,
                )

            keys = await self._store.transition(SigningKeysKey(), decide_rotation, now=now)
        if keys != self._keys:
            self._keys = keys
            self._signing = None
            self._published = None
            kept = {key.kid for key in keys}
            self._opened = {kid: opened for kid, opened in self._opened.items() if kid in kept}

    async def rotate(self, *, by: str) -> None:
        """Publish a successor of the key that signs; it signs once verifiers have had time to see it.

        Raises:
            Unavailable: the store cannot be reached, or there is no key-encryption key.
        """
        now = self._now()
        new_key = await self._new_key(now)

        def decide(stored: Keys) -> Decision[Keys]:
            planned = plan_rotation(
                stored,
                now=now,
                publish_ahead=self._publish_ahead,
                longest_token=self._longest_token,
                new_key=new_key,
            )
            return signed(planned, by=by)

        await self._store.transition(SigningKeysKey(), decide, now=now)
        await self.load()

    def open_signing_key(self) -> PrivateKey:
        """Return the key that signs now.

        Raises:
            SealError: it does not open.
            Unavailable: there is none.
        """
        now = self._now()
        if self._signing is not None and self._signing[1] <= now < self._signing[2]:
            return self._signing[0]
        record = signing_key_at(self._keys, now=now)
        if record is None:
            raise Unavailable("no key signs")
        opened = self._opened.get(record.kid)
        if opened is None:
            opened = self._opened[record.kid] = self._open(record)
        later = [key.signs_from for key in self._keys if key.signs_from > now]
        self._signing = (opened, now, min(later, default=NumericDate(2**62)))
        return opened

    def _open(self, record: SigningKey) -> PrivateKey:
        key_id = sealing_key_id(record.sealed_private)
        sealing_key = self._sealing.get(key_id)
        if sealing_key is None:
            raise SealError(f"the private key of kid {record.kid!r} needs key-encryption key {key_id}")
        return private_key_from_jwk(open_private(record.sealed_private, key=sealing_key, kid=record.kid))

    def _successor_due(self, keys: Keys, now: NumericDate, *, starting: bool) -> bool:
        if rotation_due(keys, now=now, longest_life=LONGEST_LIFE, publish_ahead=self._publish_ahead):
            return True
        if not starting:
            return False
        newest = max(keys, key=lambda key: (key.signs_from, key.created), default=None)
        return newest is not None and newest.alg != self._config.signing_algorithm and newest.signs_from <= now

    def seal(self, secret: Secret[str], *, name: str) -> bytes:
        """Seal a secret for storage, under the current key-encryption key."""
        key_id = self._sealing.current
        sealing_key = self._sealing.get(key_id)
        if sealing_key is None:
            raise Unavailable("there is no current key-encryption key")
        return seal_private(
            Secret(secret.reveal().encode()),
            key=sealing_key,
            key_id=key_id,
            nonce=self._random.bytes(NONCE_BYTES),
            kid=name,
        )

    def unseal(self, sealed: bytes, *, name: str) -> Secret[str]:
        """Open what `seal` made.

        Raises:
            Unavailable: the key-encryption key is not among the secrets, or it was sealed under another name.
        """
        try:
            sealing_key = self._sealing.get(sealing_key_id(sealed))
            if sealing_key is None:
                raise Unavailable(f"what is sealed for {name} needs key-encryption key {sealing_key_id(sealed)}")
            return Secret(open_private(sealed, key=sealing_key, kid=name).reveal().decode())
        except SealError as error:
            raise Unavailable(f"what is sealed for {name} does not open") from error

    async def _new_key(self, now: NumericDate) -> SigningKey:
        # An RSA key takes a good part of a second to find.
        key = await asyncio.to_thread(self._generate, self._config.signing_algorithm)
        key_id = self._sealing.current
        sealing_key = self._sealing.get(key_id)
        if sealing_key is None:
            raise Unavailable("there is no current key-encryption key")
        sealed = seal_private(
            private_key_to_jwk(key),
            key=sealing_key,
            key_id=key_id,
            nonce=self._random.bytes(NONCE_BYTES),
            kid=key.kid,
        )
        return new_signing_key(key, sealed_private=sealed, created=now)

    def _public(self) -> tuple[JWKSet, bytes]:
        now = self._now()
        if self._published is None or self._published[0] != now:
            published = published_at(self._keys, now=now)
            try:
                if self._published is None or len(published) != len(self._published[1].keys):
                    keys = jwk_set_of(public_key_of(key) for key in published)
                    self._published = (now, keys, render_jwk_set(keys.keys))
                else:
                    # Only time takes keys away between two readings: as many are the same.
                    self._published = (now, self._published[1], self._published[2])
            except JwkSetError as error:
                raise Unavailable("no key is published") from error
        return self._published[1], self._published[2]

    def _now(self) -> NumericDate:
        return NumericDate(int(self._clock.now()))
