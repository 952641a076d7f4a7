"""The key ring: one key on a new database, a life that follows the clock, several processes, a store that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from portero.adapters.keys.generate import generate_private_key
from portero.adapters.keys.secrets_file import Secrets, make_secrets
from portero.adapters.storage.memory import MemoryStore
from portero.authorization_server.config import Config
from portero.authorization_server.key_ring import LONGEST_LIFE, StoredKeyRing, open_key_ring
from portero.core.errors import ConfigurationError, RequestError, Unavailable
from portero.core.jose.jws import sign_compact, unverified_header
from portero.core.transitions import SigningKeysKey
from portero.testing.clock import FakeClock, SeededRandom
from tests.authorization_server.back_channel import Interruptible

AHEAD = 900
CONFIG = Config(access_token_jitter=0)
assert CONFIG.key_publish_ahead == timedelta(seconds=AHEAD)


class Room:
    """What key rings of several processes share: a store and its secrets."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.clock = FakeClock()
        self.random = SeededRandom()
        self.secrets = make_secrets(random=self.random)
        self.store = Interruptible(MemoryStore(random=self.random, decide_twice=True))

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def ring(self, config: Config = CONFIG, secrets: Secrets | None = None) -> StoredKeyRing:
        opening = open_key_ring(
            config, store=self.store, secrets=secrets or self.secrets, clock=self.clock, random=self.random
        )
        opened: StoredKeyRing = self.run(opening)
        return opened

    def pass_time(self, seconds: float, *rings: StoredKeyRing) -> None:
        self.clock.advance(seconds)
        for ring in rings:
            self.run(ring.keep_up())


@pytest.fixture
def room() -> Iterator[Room]:
    with asyncio.Runner() as runner:
        yield Room(runner)


def kids(ring: StoredKeyRing) -> list[str]:
    return [key["kid"] for key in orjson.loads(ring.jwk_set())["keys"]]


def signer(ring: StoredKeyRing) -> str | None:
    return unverified_header(ring.sign({"iss": CONFIG.issuer}, typ="at+jwt")).kid


def test_a_new_database_gets_one_key_that_signs_at_once(room: Room) -> None:
    """There is nobody yet who would have to learn of it first."""
    ring = room.ring()

    assert kids(ring) == [signer(ring)]


def test_processes_that_start_together_end_with_one_key(room: Room) -> None:
    """The transition decides whose; the other's is thrown away."""

    async def both() -> tuple[StoredKeyRing, StoredKeyRing]:
        def opening() -> Any:
            return open_key_ring(CONFIG, store=room.store, secrets=room.secrets, clock=room.clock, random=room.random)

        return await asyncio.gather(opening(), opening())

    a, b = room.run(both())
    assert kids(a) == kids(b)
    assert signer(a) == signer(b)


def test_the_private_key_is_sealed_in_the_store(room: Room) -> None:
    """A dump of the database signs nothing."""
    room.ring()
    (record,) = room.run(room.store.read(SigningKeysKey()))

    assert b'"d"' not in record.sealed_private


def test_a_key_is_published_before_it_signs_and_kept_after(room: Room) -> None:
    """Publish, sign, retire: at each second what the table says, on two servers alike."""
    a, b = room.ring(), room.ring()
    first = signer(a)
    room.pass_time(LONGEST_LIFE - AHEAD - 1, a, b)
    assert kids(a) == [first]

    room.pass_time(1, a, b)
    _, second = kids(a)
    assert (kids(b), signer(a), signer(b)) == ([first, second], first, first)

    room.pass_time(AHEAD - 1, a, b)
    assert (signer(a), signer(b)) == (first, first)

    room.clock.advance(1)  # its second has come: nobody has read the store again yet
    assert (signer(a), signer(b)) == (second, second)

    room.pass_time(1, a, b)
    assert kids(a) == [first, second]
    # A verifier whose clock is a leeway behind takes the last token for its lifetime and two leeways.
    room.pass_time(419, a, b)
    assert kids(a) == [first, second]
    room.pass_time(1, a, b)
    assert (kids(a), kids(b)) == ([second], [second])


def test_a_token_of_a_retired_key_is_verified_until_the_key_goes(room: Room) -> None:
    """A key outlives its last token."""
    ring = room.ring()
    room.pass_time(LONGEST_LIFE - AHEAD, ring)
    room.pass_time(AHEAD - 1, ring)
    token = ring.sign({"iss": CONFIG.issuer, "sub": "x"}, typ="at+jwt")
    room.pass_time(300 + 59, ring)
    room.pass_time(1, ring)

    assert ring.verify_own(token, typ="at+jwt")["sub"] == "x"


def test_another_algorithm_is_published_first_and_signs_later(room: Room) -> None:
    """An operator changes `signing_algorithm`: nobody meets a key before it was published."""
    before = room.ring()
    after = room.ring(replace(CONFIG, signing_algorithm="Ed25519"))
    room.pass_time(1, before)

    assert set(after.algorithms) == {"ES256", "Ed25519"}
    assert signer(after) == signer(before)
    room.pass_time(AHEAD, after, before)
    assert unverified_header(after.sign({}, typ="at+jwt")).alg == "Ed25519"
    assert len(kids(before)) == 2


def test_a_store_that_is_away_stops_neither_signing_nor_publishing(room: Room) -> None:
    """The keys that are known go on; when it is back, so does their life."""
    ring = room.ring()
    room.store.away = True
    room.pass_time(2, ring)

    assert kids(ring) == [signer(ring)]


def test_the_store_is_read_at_most_once_a_second(room: Room) -> None:
    """However many requests there are."""
    ring = room.ring()
    room.pass_time(2, ring)
    before = room.store.reads
    for _ in range(10):
        room.run(ring.keep_up())
    room.pass_time(0.5, ring)

    assert room.store.reads == before


def test_the_wrong_secrets_stop_the_start(room: Room) -> None:
    """And the message names the setting."""
    room.ring()
    with pytest.raises(ConfigurationError) as refused:
        room.ring(secrets=make_secrets(random=SeededRandom(2)))

    assert refused.value.setting == "authorization_server.secrets_file"


def test_without_a_store_there_is_no_start(room: Room) -> None:
    """Unavailable, never a key ring without keys."""
    room.store.away = True
    with pytest.raises(Unavailable):
        room.ring()


@pytest.mark.parametrize(
    ("claims", "typ"),
    [({"iss": CONFIG.issuer}, "JWT"), ({"iss": "https://other.example"}, "at+jwt"), ({}, "at+jwt")],
)
def test_only_our_own_tokens_of_the_expected_type_are_ours(room: Room, claims: dict[str, str], typ: str) -> None:
    """`typ` and `iss` are looked at, not only the signature."""
    ring = room.ring()
    with pytest.raises(RequestError):
        ring.verify_own(ring.sign(claims, typ=typ), typ="at+jwt")

    assert ring.verify_own(ring.sign({"iss": CONFIG.issuer}, typ="at+jwt"), typ="at+jwt")


@pytest.mark.attack(row=19)
def test_another_key_s_signature_is_not_ours(room: Room) -> None:
    """The same kid on another key opens nothing."""
    ring = room.ring()
    stranger = generate_private_key("ES256")
    header = {"typ": "at+jwt", "kid": signer(ring)}
    namesake = replace(stranger, kid=str(signer(ring)))
    token = sign_compact(header, orjson.dumps({"iss": CONFIG.issuer}), namesake)
    with pytest.raises(RequestError):
        ring.verify_own(token, typ="at+jwt")
