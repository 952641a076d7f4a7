"""Revocations as Envoy reads them: exact-match maps on what `jwt_authn` put into headers, each a file of its own.

One filter a trusted issuer and generation: `base` holds what is known and is written rarely, `recent`
what came since and is small, so that a sign-out is a file of a few lines. The headers are named by
issuer: an entry of one can never concern a token of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from portero.core.revocation.entry import RevokedKind
from portero.gateway.envoy.resources import Json, typed

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
    """The RBAC filter that refuses what was taken back."""
    allow = _action("not revoked", "ALLOW")
    matcher: Json | None = None
    for kind in reversed(KINDS):
        names = sorted(revoked.get(kind, ()))
        if not names:
            continue
        denied = {"action": _action(DENIED_BECAUSE, "DENY")["action"]}
        matcher = {
            "matcher_tree": {
                "input": {
                    "name": "header",
                    "typed_config": typed(
                        "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", {"header_name": header_of(kind, issuer)}
                    ),
                },
                "exact_match_map": {"map": dict.fromkeys(names, denied)},
            },
            "on_no_match": allow if matcher is None else {"matcher": matcher},
        }
    return typed(
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        {"matcher": {"on_no_match": allow} if matcher is None else matcher},
    )


def names_in(config: Mapping[str, Any]) -> dict[RevokedKind, set[str]]:
    """What a filter of `revoked_filter` refuses."""
    found: dict[RevokedKind, set[str]] = {kind: set() for kind in KINDS}
    matcher: Mapping[str, Any] | None = config.get("matcher")
    while matcher is not None:
        tree = matcher.get("matcher_tree")
        if tree is not None:
            header = tree["input"]["typed_config"]["header_name"]
            (kind,) = [one for one in KINDS if header.endswith(f"-{_spelled(one)}")]
            found[kind] |= set(tree["exact_match_map"]["map"])
        matcher = matcher["on_no_match"].get("matcher")
    return found


def _action(name: str, action: str) -> Json:
    return {
        "action": {
            "name": "action",
            "typed_config": typed("envoy.config.rbac.v3.Action", {"name": name, "action": action}),
        }
    }
