"""The ordinary request, decided the shortest way: a path that is plainly in the normal form, a usual token, scopes.

What a request needs is known before any filter runs: the route says it where the path needs no second look and
the token's header has `typ` as issuers write it, which is seen in its octets (RFC 7515 §4.1.9). Then `jwt_authn`
hands on a few claims, one tree looks at them, and no filter is made that only a doubtful request needs. Every
other request takes the way of `rules`, which says the same in more words.
"""

from __future__ import annotations

import re
from typing import Final

from portero.core.policy.manifest import Manifest, Route, Service
from portero.core.policy.path import PLAIN
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import Template
from portero.core.revocation.entry import RevokedKind
from portero.core.tokens.access_token import TYP
from portero.gateway.envoy import rules
from portero.gateway.envoy.matching import all_of, any_of, matches, on_route, passes_if, pattern, runs_unless
from portero.gateway.envoy.providers import CONFIRMED_HEADER, FAILED_STATUS, place_of
from portero.gateway.envoy.resources import (
    SCOPE_HEADER,
    SUBJECT_HEADER,
    Json,
    all_ids,
    any_id,
    has_header,
    metadata_id,
    not_id,
)
from portero.gateway.envoy.revoked import header_of

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
"""`OPTIONS` may be a preflight, and `*` any word at all."""
_FIRST: Final = re.escape(PLAIN.replace(".", ""))
_SEGMENT: Final = rf"[{_FIRST}][{re.escape(PLAIN)}]*"
_PLAIN_SEGMENT: Final = re.compile(_SEGMENT)


def is_ordinary(manifest: Manifest, service: Service, route: Route) -> bool:
    """Whether requests of a route can be decided so. Of several issuers each would say why it is not its own."""
    requirement = route.access
    return (
        isinstance(requirement, Requirement)
        and not route.stream
        and len(service.issuers) == 1
        and route.template.method in _METHODS
        and all(one is None or _PLAIN_SEGMENT.fullmatch(one) for one in route.template.segments)
        and not rules.needs_claims(manifest, requirement)
        and not rules.guard_decides_because(manifest, service, route)
    )


def path_pattern(template: Template) -> str:
    """What the template matches of paths that are plainly in the normal form (`core.policy.path`)."""
    written = ""
    last = len(template.segments) - 1
    for index, segment in enumerate(template.segments):
        if segment is not None:
            written += "/" + re.escape(segment)
        elif template.takes_rest and index == last:
            written += rf"(?:/{_SEGMENT})+"
        else:
            written += "/" + _SEGMENT
    return written + "/?"


def token_pattern(manifest: Manifest, service: Service) -> str:
    """What `authorization` is: a token whose header says an accepted `typ`, as issuers write it."""
    lax = all(manifest.issuers[name].insecure_accept_typ_jwt for name in service.issuers)
    accepted = [TYP, "JWT"] if lax else [TYP]
    written = {
        _encoded(f'{before}"typ"{colon}"{typ}"{after}'.encode(), at)
        for typ in accepted
        for before in "{, "
        for colon in (":", ": ", " : ")
        for after in ",}"
        for at in range(3)
    }
    return rf"Bearer (?:{_CHARACTER}{{4}})*(?:{'|'.join(sorted(written))}){_CHARACTER}*[.]\C*"


_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_CHARACTER: Final = "[A-Za-z0-9_-]"


def _encoded(text: bytes, at: int) -> str:
    """A pattern of the text in base64url (RFC 4648 §5), where so many octets stand before it in its group of three."""
    bits = "?" * (8 * at) + "".join(f"{octet:08b}" for octet in text)
    bits += "?" * (-len(bits) % 6)
    written = ""
    for start in range(0, len(bits), 6):
        known = re.compile(bits[start : start + 6].replace("?", "."))
        found = "".join(char for value, char in enumerate(_ALPHABET) if known.fullmatch(f"{value:06b}"))
        written += found if len(found) == 1 else _CHARACTER if len(found) == len(_ALPHABET) else f"[{found}]"
    return written


def lets_pass(manifest: Manifest, service: Service, route: Route) -> Json:
    """The per-route configuration: who passes; everyone else is told why by the filter's own (`ordinary_filter`)."""
    wanted = [
        matches("authorization", {"contains": ","}, invert=True),
        # Hardly a request has a query: the pattern is for those that have.
        any_of(
            [
                matches(":path", {"contains": "?"}, invert=True),
                matches(":path", pattern(rules.QUERY_TOKEN), invert=True),
            ]
        ),
        *[_given(name) for name in _required(place_of(manifest, service.issuers[0]))],
        matches(CONFIRMED_HEADER, pattern(_SOMETHING), invert=True),
    ]
    if isinstance(route.access, Requirement):
        wanted += [_scope(scope) for scope in sorted(route.access.scopes)]
        wanted += [any_of([_scope(scope) for scope in sorted(route.access.scopes_any)])][
            : bool(route.access.scopes_any)
        ]
    return on_route(passes_if(all_of(wanted)))


def ordinary_filter(manifest: Manifest) -> Json:
    """The filter: no route passes that says nothing, and who does not pass is told why.

    The order of the reasons is that of the Guard's checks.
    """
    complete = [
        all_ids([{"header": has_header(name)} for name in _required(place)]) for place in range(len(manifest.issuers))
    ]
    # The Guard decides, which may have to fetch keys.
    known = not_id(rules.unknown_key())
    policies = {
        rules.TWO_TOKENS: rules.two_tokens(),
        **rules.failures(),
        rules.FAILED: all_ids([known, metadata_id([FAILED_STATUS], {"present_match": True})]),
        rules.CLAIMS: all_ids([known, not_id(any_id(complete))]),
        rules.BOUND: {"header": has_header(CONFIRMED_HEADER)},
        rules.SCOPE: known,
    }
    nobody = matches("authorization", {"exact": "nobody"})
    return runs_unless(passes_if(nobody), rules.denied(policies))


_SOMETHING: Final = r"\C+"


def _given(name: str) -> Json:
    return matches(name, pattern(_SOMETHING))


def _required(place: int) -> tuple[str, ...]:
    return (header_of(RevokedKind.TOKEN, place), header_of(RevokedKind.CLIENT, place), SUBJECT_HEADER)


def _scope(scope: str) -> Json:
    return any_of([matches(SCOPE_HEADER, {"exact": scope}), matches(SCOPE_HEADER, pattern(rules.scope_pattern(scope)))])
