"""Revocations as Envoy reads them: exact-match maps on what `jwt_authn` put into headers, each a file of its own.

One filter a trusted issuer and generation: `base` holds what is known and is written rarely, `recent`
what came since and is small, so that a sign-out is a file of a few lines. The headers are named by
issuer: an entry of one can never concern a token of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from portero.core.revocation.entry import RevokedKind
from portero.gateway.envoy.matching import named_in, passes_unless_named, runs_unless
from portero.gateway.envoy.resources import Json

KINDS: Final = (RevokedKind.SESSION, RevokedKind.TOKEN, RevokedKind.CLIENT)
"""What a header names. A revoked key leaves the key set instead."""
GENERATIONS: Final = ("base", "recent")
DENIED_BECAUSE: Final = "revoked"


def header_of(kind: RevokedKind, issuer: int) -> str:
    """The header that carries a claim of a verified token, by the issuer's place in the manifest."""
    return f"x-portero-{issuer}-{_spelled(kind)}"


def _spelled(kind: RevokedKind) -> str:
    return kind.value.replace("_", "-")


def filter_name(issuer: int, generation: str) -> str:
    """The name of a filter, and of what its file delivers."""
    return f"portero.revoked.{issuer}.{generation}"


def revoked_filter(revoked: Mapping[RevokedKind, Iterable[str]], issuer: int) -> Json:
    """The filter that refuses what was taken back."""
    lists = [(header_of(kind, issuer), sorted(revoked.get(kind, ()))) for kind in reversed(KINDS)]
    everyone = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    refusal = {"rules": {"action": "DENY", "policies": {DENIED_BECAUSE: everyone}}}
    return runs_unless(passes_unless_named(lists), refusal)


def names_in(config: Mapping[str, Any]) -> dict[RevokedKind, set[str]]:
    """What a filter of `revoked_filter` refuses."""
    found: dict[RevokedKind, set[str]] = {kind: set() for kind in KINDS}
    for header, names in named_in(config):
        (kind,) = [one for one in KINDS if header.endswith(f"-{_spelled(one)}")]
        found[kind] |= names
    return found
