"""The fingerprint of RSA moduli from a broken generator (ROCA, CVE-2017-15361).

Primes of that generator are `k·M + (65537^a mod M)` with M a product of small primes, so the
modulus is a power of 65537 modulo each of them. A random modulus passes for all of
these primes with a probability below 2⁻⁶⁰; a fingerprinted one can be factored.
"""

from __future__ import annotations

from functools import cache
from typing import Final

_PRIMES: Final = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip


def has_roca_fingerprint(modulus: int) -> bool:
    """Tell whether the modulus is a power of 65537 modulo every small prime."""
    return all(modulus % prime in powers for prime, powers in _powers_of_65537().items())


@cache
def _powers_of_65537() -> dict[int, frozenset[int]]:
    powers = {}
    for prime in _PRIMES:
        seen, value = set(), 1
        while value not in seen:
            seen.add(value)
            value = value * 65537 % prime
        powers[prime] = frozenset(seen)
    return powers
