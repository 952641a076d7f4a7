"""JSON Web Key Sets (RFC 7517 §5): parse what an issuer publishes, render what we publish.

One bad key does not void the set; a set without a usable key is an error, so that it never
replaces a good one. Keys are found by `kid` *and* algorithm.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

from portero.core.jose.jwk import JwkError, PublicKey, parse_public_jwk, render_public_jwk
from portero.core.jose.strict_json import StrictJsonError, parse_object

MAX_SET_BYTES: Final = 256 * 1024
MAX_SET_KEYS: Final = 256


class JwkSetError(ValueError):
    """The set as a whole is not acceptable."""


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A key of the set that is not used, and why; for the log."""

    kid: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class JWKSet:
    """The usable keys of one issuer. Made by `parse_jwk_set` or `jwk_set_of`."""

    keys: tuple[PublicKey, ...]
    refused: tuple[RefusedKey, ...]
    _by_kid: dict[tuple[str | None, str], PublicKey] = field(repr=False)

    def find(self, kid: str | None, alg: str) -> PublicKey | None:
        """Return the key with that `kid` for that algorithm.

        A token without `kid` finds the only key of its algorithm, if it is the only one
        (OpenID Connect Core §10.1). A `kid` is compared, never interpreted.
        """
        return self._by_kid.get((kid, alg))

    def names(self) -> Iterator[tuple[str | None, PublicKey]]:
        """Every `kid` that `find` answers to (`None` among them), with its key."""
        return ((kid, key) for (kid, _), key in self._by_kid.items())


def parse_jwk_set(data: bytes, *, max_bytes: int = MAX_SET_BYTES, default_rsa_alg: str = "RS256") -> JWKSet:
    """Parse an issuer's JWK Set.

    Args:
        data: the response body, at most `max_bytes` bytes.
        default_rsa_alg: what RSA keys without `alg` are bound to.

    Does not check: where the bytes came from. Symmetric keys are never taken from a set.

    Raises:
        JwkSetError: too large, not JSON, no `keys`, too many keys, or none that is usable.
    """
    steps = read_jwk_set(data, max_bytes=max_bytes, default_rsa_alg=default_rsa_alg)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            keys: JWKSet = end.value
            return keys


def read_jwk_set(
    data: bytes, *, max_bytes: int = MAX_SET_BYTES, default_rsa_alg: str = "RS256"
) -> Generator[None, None, JWKSet]:
    """As `parse_jwk_set`, one key a step: a large set takes milliseconds, which an event loop does not give at once.

    Raises:
        JwkSetError: as `parse_jwk_set`, in one of the steps.
    """
    if len(data) > max_bytes:
        raise JwkSetError(f"the JWK Set is larger than {max_bytes} bytes")
    try:
        members = parse_object(data)
    except StrictJsonError as error:
        raise JwkSetError(f"not a JWK Set: {error}") from None
    jwks = members.get("keys")
    if not isinstance(jwks, list):
        raise JwkSetError("keys is missing or no array")
    if len(jwks) > MAX_SET_KEYS:
        raise JwkSetError(f"more than {MAX_SET_KEYS} keys")
    keys: list[PublicKey] = []
    refused: list[RefusedKey] = []
    for jwk in jwks:
        yield
        if not isinstance(jwk, dict):
            refused.append(RefusedKey("", "no object"))
            continue
        try:
            keys.append(parse_public_jwk(jwk, default_rsa_alg=default_rsa_alg))
        except JwkError as error:
            kid = jwk.get("kid")
            refused.append(RefusedKey(kid[:64] if isinstance(kid, str) else "", str(error)))
    return _index(keys, refused)


def jwk_set_of(keys: Iterable[PublicKey]) -> JWKSet:
    """Make a set of keys already parsed: our own, or those an operator configured.

    Raises:
        JwkSetError: there is no key.
    """
    return _index(list(keys), [])


def render_jwk_set(keys: Iterable[PublicKey]) -> bytes:
    """Render the public JWK Set document.

    Raises:
        JwkError: a key is symmetric.
    """
    return orjson.dumps({"keys": [render_public_jwk(key) for key in keys]})


def _index(keys: list[PublicKey], refused: list[RefusedKey]) -> JWKSet:
    by_kid: dict[tuple[str | None, str], PublicKey] = {}
    ambiguous: set[tuple[str | None, str]] = set()
    only: dict[str, PublicKey | None] = {}
    for key in keys:
        name = (key.kid, key.alg)
        if by_kid.setdefault(name, key).thumbprint != key.thumbprint and key.kid is not None:
            ambiguous.add(name)
        first = only.setdefault(key.alg, key)
        if first is not None and first.thumbprint != key.thumbprint:
            only[key.alg] = None
    # Two different keys under one name: whichever we took, somebody's position in a list would decide.
    for name in ambiguous:
        del by_kid[name]
        refused.append(RefusedKey(str(name[0])[:64], "two different keys share this kid and alg"))
    usable = tuple(key for key in keys if (key.kid, key.alg) not in ambiguous)
    if not usable:
        raise JwkSetError("the JWK Set has no usable key")
    for alg, key_or_none in only.items():
        by_kid.pop((None, alg), None)
        if key_or_none is not None:
            by_kid[(None, alg)] = key_or_none
    return JWKSet(usable, tuple(refused), by_kid)
