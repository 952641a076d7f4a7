"""The verified-token cache keeps within its bounds, and keeps what is used."""

from __future__ import annotations

from typing import Any, cast

import pytest

from portero.resource_server.verified_tokens import (
    BYTES_PER_ENTRY,
    BYTES_PER_TOKEN_BYTE,
    CachedToken,
    VerifiedTokens,
)


def entry(token_bytes: int = 100) -> CachedToken:
    nothing = cast("Any", None)
    return CachedToken(
        principal=nothing,
        scopes=frozenset(),
        trust=nothing,
        key_epoch=0,
        revocation_version=0,
        token_bytes=token_bytes,
        recheck_at=1e12,
    )


def digest(n: int) -> bytes:
    return n.to_bytes(32, "big")


def test_the_number_of_entries_is_bounded() -> None:
    """Both generations together stay within the limit."""
    cache = VerifiedTokens(max_entries=10, max_bytes=10**9)

    for n in range(1000):
        cache.keep(digest(n), entry())

    assert len(cache) <= 10
    assert cache.young[digest(999)]


def test_the_number_of_bytes_is_bounded() -> None:
    """A few large tokens take the place of many small ones."""
    cost = BYTES_PER_ENTRY + BYTES_PER_TOKEN_BYTE * 8000
    cache = VerifiedTokens(max_entries=1000, max_bytes=4 * cost)

    for n in range(50):
        cache.keep(digest(n), entry(8000))

    assert len(cache) <= 4


def test_what_is_used_stays() -> None:
    """An entry that is looked up again survives any number of others."""
    cache = VerifiedTokens(max_entries=10, max_bytes=10**9)
    cache.keep(digest(0), entry())

    for n in range(1, 100):
        cache.keep(digest(n), entry())
        assert cache.find(digest(0))


@pytest.mark.parametrize("max_entries", [0, 1])
def test_no_entries_means_no_cache(max_entries: int) -> None:
    """Zero switches it off."""
    cache = VerifiedTokens(max_entries=max_entries, max_bytes=10**9)
    cache.keep(digest(1), entry())

    assert len(cache) == 0


def test_a_dropped_token_is_in_neither_generation() -> None:
    """A revoked token must not come back from the old one."""
    cache = VerifiedTokens(max_entries=4, max_bytes=10**9)
    cache.keep(digest(1), entry())
    for n in (2, 3):
        cache.keep(digest(n), entry())
    assert digest(1) in cache.old
    cache.find(digest(1))

    cache.drop(digest(1))

    assert cache.find(digest(1)) is None
    assert digest(1) not in cache.young
