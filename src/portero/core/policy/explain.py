"""Why a request is decided as it is: the rule that wins, what it asks, and why each other candidate lost.

Works on the list of routes, one by one, by the words of the precedence; the compiled matcher is
tested against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from portero.core.durations import render_duration
from portero.core.policy.manifest import Route, Service
from portero.core.policy.path import normal_path, segments_of
from portero.core.policy.requirement import Requirement, WhenStale
from portero.core.policy.routes import ANY_METHOD, Access, Free, Template


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that was looked at, and why it did not win."""

    route: Route
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All there is to say about one request."""

    service: str
    method: str
    path: str
    """In the normal form."""
    winner: Route | None
    """`None`: the default decides."""
    access: Access
    because: str
    asks: tuple[str, ...]
    """What is required, a line each."""
    losers: tuple[Candidate, ...]


def matches(template: Template, *, method: str, segments: Sequence[str]) -> bool:
    """Whether a template matches a request, method included."""
    return _names_method(template, method) and matches_path(template, segments)


def matches_path(template: Template, segments: Sequence[str]) -> bool:
    """Whether a template's path matches."""
    length = len(template.segments)
    if len(segments) < length or (len(segments) > length and not template.takes_rest):
        return False
    return all(text == segments[place] for place, text in template.literals)


def explain(service: Service, *, method: str, raw_path: bytes) -> Explanation:
    """Explain how one service's routes decide a request.

    Args:
        method: in capitals.
        raw_path: undecoded, without query.

    Raises:
        AmbiguousPath: the path is refused before any route is looked at.
    """
    path = normal_path(raw_path)
    segments = segments_of(path)
    fitting = [route for route in service.routes if matches_path(route.template, segments)]
    named = [route for route in fitting if _names_method(route.template, method)]
    winner = max(named, key=lambda route: route.template.rank, default=None)
    losers = [Candidate(route, _why_lost(route, winner, method)) for route in fitting if route is not winner]
    if winner is None:
        access = service.fallback.access
        because = f"no route of [services.{service.name}] is named for it, and its default is {service.default.value!r}"
    else:
        access = winner.access
        because = f"line {winner.line}: match = {winner.match!r}"
    return Explanation(service.name, method, path, winner, access, because, asked(access), tuple(losers))


def asked(access: Access) -> tuple[str, ...]:
    """What a rule asks of the caller, a line each."""
    if access is Free.PUBLIC:
        return ("nothing: no token is looked at",)
    if not isinstance(access, Requirement):
        return ("nobody passes: 403",)
    lines = ["a valid access token for this service"]
    for label, names in (
        ("all of the scopes", access.scopes),
        ("one of the scopes", access.scopes_any),
        ("all of the roles", access.roles),
        ("one of the roles", access.roles_any),
        ("a sign-in of the class", access.acr),
    ):
        if names:
            lines.append(f"{label} {', '.join(sorted(names))}")
    lines += [f"the claim {name} = {value!r}" for name, value in access.claims.items()]
    if access.max_auth_age is not None:
        lines.append(f"a sign-in not older than {render_duration(timedelta(seconds=access.max_auth_age))}")
    if access.dpop:
        lines.append("a token bound to a key, and the proof of it (DPoP)")
    if access.mtls:
        lines.append("a token bound to the client's certificate, and a connection with it")
    if access.when_stale is WhenStale.DENY:
        lines.append("a revocation feed that is not stale, else 503")
    return tuple(lines)


def _names_method(template: Template, method: str) -> bool:
    # HEAD follows GET.
    return template.method in (ANY_METHOD, "GET" if method == "HEAD" else method)


def _why_lost(route: Route, winner: Route | None, method: str) -> str:
    if not _names_method(route.template, method):
        return f"is for {route.template.method}, not {method}"
    if winner is None:
        raise AssertionError("a route that names the method cannot lose to nobody")
    mine, theirs = route.template.rank, winner.template.rank
    if mine[0] != theirs[0]:
        return f"has {mine[0]} literal segment{'' if mine[0] == 1 else 's'}, the winner {theirs[0]}"
    if mine[1] != theirs[1]:
        return "has its literal segments later than the winner"
    return "is for every method, the winner names it"
