"""A signing key is published before it signs and kept until its last token has expired."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.errors import ConfigurationError
from portero.core.jose.jwk import private_key_from_jwk, private_key_to_jwk
from portero.core.keys.sealing import SealError, open_private, seal_private, sealing_key_id
from portero.core.keys.signing_key import (
    LIFE,
    KeyEvent,
    advance,
    emergency_removal,
    life_as_mermaid,
    new_signing_key,
    plan_rotation,
    public_key_of,
    published_at,
    rotation_due,
    signing_key_at,
)
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.transitions import Put, Revoke, SigningKey, SigningKeyStatus
from portero.core.types import Issuer, Kid, NumericDate, Secret
from tests.core.jose.minting import private_key

AHEAD, LONGEST = 900, 360
KEK = Secret(b"k" * 32)
Keys = tuple[SigningKey, ...]


def at(seconds: int) -> NumericDate:
    return NumericDate(seconds)


def fresh(name: str, created: int = 0) -> SigningKey:
    return new_signing_key(private_key("ES256", name), sealed_private=b"sealed", created=at(created))


def rotated(keys: Keys, name: str, now: int) -> Keys:
    return plan_rotation(keys, now=at(now), publish_ahead=AHEAD, longest_token=LONGEST, new_key=fresh(name, now)).result


def advanced(keys: Keys, now: int) -> Keys:
    return advance(keys, now=at(now), longest_token=LONGEST).result


def signer(keys: Keys, now: int) -> str | None:
    key = signing_key_at(keys, now=at(now))
    return key.kid if key else None


def kid(name: str) -> str:
    return private_key("ES256", name).kid


def test_the_first_key_signs_at_once() -> None:
    """There is nobody yet who could have seen another."""
    keys = rotated((), "one", 100)

    assert [key.status for key in keys] == [SigningKeyStatus.SIGNING]
    assert signer(keys, 100) == kid("one")


def test_a_new_key_is_published_before_it_signs() -> None:
    """Just before its time the old key signs, from then on the new one; both are published."""
    keys = rotated(rotated((), "one", 0), "two", 1000)

    assert signer(keys, 1000 + AHEAD - 1) == kid("one")
    assert signer(keys, 1000 + AHEAD) == kid("two")
    assert [key.kid for key in published_at(keys, now=at(1000))] == [kid("one"), kid("two")]


def test_a_retired_key_stays_until_its_last_token_has_expired() -> None:
    """Published until then, without its private part; gone at that second."""
    keys = advanced(rotated(rotated((), "one", 0), "two", 1000), 1000 + AHEAD)
    retired = next(key for key in keys if key.kid == kid("one"))
    gone_at = 1000 + AHEAD + LONGEST

    assert retired.status is SigningKeyStatus.RETIRED
    assert (retired.sealed_private, retired.retires, retired.remove_after) == (b"", 1000 + AHEAD, gone_at)
    assert len(published_at(keys, now=at(gone_at - 1))) == 2
    assert [key.kid for key in published_at(keys, now=at(gone_at))] == [kid("two")]
    assert [key.kid for key in advanced(keys, gone_at - 1)] == [kid("one"), kid("two")]
    assert [key.kid for key in advanced(keys, gone_at)] == [kid("two")]
    removal = advance(keys, now=at(gone_at), longest_token=LONGEST)
    assert [write.record.status for write in removal.writes if isinstance(write, Put)] == [SigningKeyStatus.REMOVED]  # type: ignore[union-attr]  # a key


def test_a_late_advance_keeps_the_old_key_longer_never_shorter() -> None:
    """What signs follows from time; the old key's end is counted from when its retirement was written."""
    keys = rotated(rotated((), "one", 0), "two", 1000)

    late = advanced(keys, 50_000)

    assert signer(keys, 50_000) == signer(late, 50_000) == kid("two")
    assert next(key for key in late if key.kid == kid("one")).remove_after == 50_000 + LONGEST


def test_a_slow_clock_signs_with_the_key_the_others_use() -> None:
    """A machine a second behind never finds itself without a key."""
    keys = advanced(rotated(rotated((), "one", 0), "two", 1000), 1000 + AHEAD)

    assert signer(keys, 1000 + AHEAD - 1) == kid("two")
    assert signer(rotated((), "one", 100), 99) == kid("one")


def test_a_rotation_under_way_is_not_begun_again() -> None:
    """An operator who presses twice gets one new key."""
    keys = rotated(rotated((), "one", 0), "two", 1000)

    again = plan_rotation(keys, now=at(1001), publish_ahead=AHEAD, longest_token=LONGEST, new_key=fresh("three", 1001))

    assert again.result == keys
    assert again.writes == ()


def test_deciding_twice_changes_nothing_more() -> None:
    """A store may run the decision again on what it has made."""
    keys = rotated(rotated((), "one", 0), "two", 1000)
    for now in (1500, 1000 + AHEAD, 1000 + AHEAD + LONGEST, 10**6):
        once = advance(keys, now=at(now), longest_token=LONGEST).result

        assert advance(once, now=at(now), longest_token=LONGEST).writes == ()


def test_rotation_is_due_before_a_key_has_signed_too_long() -> None:
    """Early enough to publish ahead; not while one waits; and when there is none at all."""
    keys = rotated((), "one", 0)

    def due(of: Keys, now: int) -> bool:
        return rotation_due(of, now=at(now), longest_life=10_000, publish_ahead=AHEAD)

    assert due((), 0)
    assert not due(keys, 10_000 - AHEAD - 1)
    assert due(keys, 10_000 - AHEAD)
    assert not due(rotated(keys, "two", 9_100), 9_200)


def test_an_emergency_removes_at_once_and_tells_the_feed() -> None:
    """Key, feed entry and successor in one decision; the leaked private part is erased."""
    keys = rotated((), "one", 0)

    decision = emergency_removal(
        Kid(kid("one")), keys=keys, now=at(50), issuer=Issuer("i"), longest_token=LONGEST, new_key=fresh("two", 50)
    )

    revocation = Revocation(iss=Issuer("i"), kind=RevokedKind.KEY, value=kid("one"), at=at(50), until=at(50 + LONGEST))
    assert Revoke(revocation) in decision.writes
    assert signer(decision.result, 50) == kid("two")
    assert [key.kid for key in published_at(decision.result, now=at(50))] == [kid("two")]
    records = [write.record for write in decision.writes if isinstance(write, Put)]
    gone = next(key for key in records if isinstance(key, SigningKey) and key.kid == kid("one"))
    assert (gone.status, gone.sealed_private) == (SigningKeyStatus.REMOVED, b"")


def test_an_emergency_prefers_the_key_already_published() -> None:
    """Verifiers may have seen it. A key that did not sign is removed without a successor."""
    keys = rotated(rotated((), "one", 0), "two", 1000)

    def removed(name: str) -> Keys:
        return emergency_removal(
            Kid(kid(name)), keys=keys, now=at(1100), issuer=Issuer("i"), longest_token=1, new_key=fresh("three")
        ).result

    assert signer(removed("one"), 1100) == kid("two")
    assert [key.kid for key in removed("two")] == [kid("one")]
    with pytest.raises(ConfigurationError):
        removed("three")


@given(
    st.lists(
        st.tuples(st.integers(min_value=0, max_value=2000), st.sampled_from(["rotate", "advance", "leak"])), max_size=25
    )
)
def test_somebody_always_signs_and_every_live_token_has_its_key(steps: list[tuple[int, str]]) -> None:
    """Any order of rotations, advances and leaks: one signer, and its key published as long as its tokens live."""
    keys = rotated((), "0", 0)
    now = 0
    signed: list[tuple[str, int]] = []
    leaked: set[str] = set()
    for number, (pause, what) in enumerate(steps, start=1):
        now += pause
        if what == "rotate":
            keys = rotated(keys, str(number), now)
        elif what == "advance":
            keys = advanced(keys, now)
        else:
            doomed = signing_key_at(keys, now=at(now))
            assert doomed is not None
            leaked.add(doomed.kid)
            keys = emergency_removal(
                doomed.kid,
                keys=keys,
                now=at(now),
                issuer=Issuer("i"),
                longest_token=LONGEST,
                new_key=fresh(str(number), now),
            ).result
        current = signer(keys, now)
        assert current is not None
        signed.append((current, now + LONGEST))
        published = {key.kid for key in published_at(keys, now=at(now))}
        assert {name for name, exp in signed if exp > now} - leaked <= published
        assert sum(key.status is SigningKeyStatus.SIGNING for key in advanced(keys, now)) == 1


def test_the_diagram_is_the_table() -> None:
    """Each row once, by its statuses and event."""
    diagram = life_as_mermaid()

    assert diagram.startswith("stateDiagram-v2\n")
    for (before, event), after in LIFE.items():
        assert diagram.count(f"{before.value} --> {after.value}: {event.value}") == 1
    assert not any(before is SigningKeyStatus.REMOVED for before, _ in LIFE)
    assert {event for _, event in LIFE} == set(KeyEvent)


def test_the_record_carries_the_public_key_only() -> None:
    """What is stored in the clear is what the JWK Set shows."""
    key = fresh("one")

    assert public_key_of(key).thumbprint == private_key("ES256", "one").public.thumbprint
    assert '"d"' not in key.public_jwk
    assert dataclasses.replace(key, sealed_private=b"") != key


def test_a_sealed_key_opens_under_its_name_only() -> None:
    """AES-256-GCM with the `kid` and the key id authenticated: another name, key, id or bit does not open."""
    key = private_key("ES256", "one")
    sealed = seal_private(private_key_to_jwk(key), key=KEK, key_id=7, nonce=b"n" * 12, kid=key.kid)

    opened = private_key_from_jwk(open_private(sealed, key=KEK, kid=key.kid))

    assert opened.public.thumbprint == key.public.thumbprint
    assert sealing_key_id(sealed) == 7
    assert b'"d"' not in sealed
    for damaged in (b"\x08" + sealed[1:], sealed[:-1], sealed[:-1] + bytes((sealed[-1] ^ 1,)), sealed[:20], b""):
        with pytest.raises(SealError):
            open_private(damaged, key=KEK, kid=key.kid)
    with pytest.raises(SealError):
        open_private(sealed, key=KEK, kid="another")
    with pytest.raises(SealError):
        open_private(sealed, key=Secret(b"x" * 32), kid=key.kid)


@pytest.mark.parametrize(
    ("kek", "key_id", "nonce"), [(31, 1, 12), (32, 256, 12), (32, -1, 12), (32, 1, 11), (16, 1, 12)]
)
def test_sealing_with_wrong_sizes_is_a_mistake_of_ours(kek: int, key_id: int, nonce: int) -> None:
    """AES-128 or a short nonce would work, quietly."""
    with pytest.raises(ValueError, match="32 bytes"):
        seal_private(Secret(b"{}"), key=Secret(b"k" * kek), key_id=key_id, nonce=b"n" * nonce, kid="k")
