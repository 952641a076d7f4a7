"""Which rule decides a request: route templates, their precedence, and a matcher that stays flat (design §3.4).

`{name}` is one segment, `{name...}` the rest (one segment or more); HEAD follows GET. Of several
templates that match, the one with more literal segments wins, then the earlier literal, then the
method named over `*`. Two that could tie are an error when the matcher is made, never a
surprise at a request. A path with and without a slash at its end is the same path here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from portero.core.errors import PorteroError
from portero.core.policy.path import AmbiguousPath, normal_path, segments_of
from portero.core.policy.refusal import Case, Refusal
from portero.core.policy.requirement import Requirement

MAX_SEGMENTS: Final = 64
ANY_METHOD: Final = "*"


class Free(Enum):
    """What is decided without looking at the caller."""

    PUBLIC = "public"
    DENIED = "deny"


Access = Requirement | Free
"""What a rule asks: a requirement of the caller, nothing at all, or that nobody passes."""


@dataclass(frozen=True, slots=True)
class Template:
    """What a route matches. `segments` are literals in the normal form; `None` is a parameter."""

    method: str
    segments: tuple[str | None, ...]
    takes_rest: bool
    """Whether the last segment is `{name...}`."""
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def literals(self) -> tuple[tuple[int, str], ...]:
        """Position and text of each literal segment."""
        return tuple((index, text) for index, text in enumerate(self.segments) if text is not None)

    @property
    def rank(self) -> tuple[int, tuple[int, ...], bool]:
        """The precedence: the greater one wins. Equal ranks that match one request are a tie."""
        places = [index for index, _ in self.literals]
        return len(places), tuple(-place for place in places), self.method != ANY_METHOD

    def under(self, prefix: str) -> Template:
        """The same template behind a prefix (a normal path without a slash at its end, or empty)."""
        return Template(self.method, (*segments_of(prefix or "/"), *self.segments), self.takes_rest, self.names)


@dataclass(frozen=True, slots=True)
class Rule:
    """The answer of a matcher."""

    access: Access
    service: str
    match: str | None = None
    """The template as written; `None`: no route is named, the service's default decides."""
    line: int = 0
    """Where it stands in the manifest; 0 for a default."""


class BadTemplate(ValueError):
    """A `match` that cannot be meant; the text says what it may be."""


class Tie(PorteroError):
    """Two routes could match one request with equal precedence."""

    def __init__(self, first: Rule, second: Rule) -> None:
        super().__init__(f"{second.match!r} and {first.match!r} (line {first.line}) can match the same request")
        self.first, self.second = first, second


def parse_template(text: str) -> Template:
    """Read `METHOD /path/{name}/{name...}`.

    Raises:
        BadTemplate: it is not of that shape.
    """
    method, separator, path = text.partition(" ")
    if not separator or not path.startswith("/"):
        raise BadTemplate("must be a method or * and a path, such as 'GET /orders/{id}'")
    if method != ANY_METHOD and _METHOD.fullmatch(method) is None:
        raise BadTemplate("the method is written in capitals, or * for every method")
    if method == "HEAD":
        raise BadTemplate("HEAD follows GET: name GET")
    segments: list[str | None] = []
    names: list[str] = []
    takes_rest = False
    written = path.removeprefix("/").removesuffix("/").split("/") if path != "/" else []
    if len(written) > MAX_SEGMENTS:
        raise BadTemplate(f"may have at most {MAX_SEGMENTS} segments")
    for piece in written:
        if takes_rest:
            raise BadTemplate("{name...} must be the last segment")
        parameter = _PARAMETER.fullmatch(piece)
        if parameter is None:
            segments.append(_literal(piece))
            continue
        names.append(parameter[1])
        takes_rest = parameter[2] is not None
        segments.append(None)
    if len(set(names)) < len(names):
        raise BadTemplate("names each parameter once")
    return Template(method, tuple(segments), takes_rest, tuple(names))


_METHOD: Final = re.compile(r"[A-Z][A-Z0-9_-]*")
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")


def _literal(piece: str) -> str:
    if not piece:
        raise BadTemplate("no segment may be empty")
    if "{" in piece or "}" in piece:
        raise BadTemplate("a parameter is a whole segment, {name} or {name...}")
    # Letters beyond ASCII may be written as themselves; the rest is held to the rules of requests.
    encoded = "".join(char if char.isascii() else _octets(char) for char in piece)
    try:
        return normal_path(b"/" + encoded.encode("ascii"))[1:]
    except AmbiguousPath as error:
        raise BadTemplate(f"the path could not be requested: {error.description}") from None


def _octets(char: str) -> str:
    return "".join(f"%{octet:02X}" for octet in char.encode("utf-8", "surrogatepass"))


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    ends: dict[str, _End] = field(default_factory=dict)
    rests: dict[str, _End] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _End:
    rank: tuple[int, tuple[int, ...], bool]
    rule: Rule


class RouteMatcher:
    """Templates compiled to one dictionary per segment: a request costs its own length, whatever their number.

    Args:
        routes: template and rule of each.
        fallbacks: (prefix, rule) of what decides where no route matches; the longest prefix wins.
            A path under none of them is denied.

    Raises:
        Tie: two routes could match one request with equal precedence.
    """

    __slots__ = ("_fallbacks", "_only_fallback", "_root", "_whole")

    def __init__(self, routes: Iterable[tuple[Template, Rule]], *, fallbacks: Sequence[tuple[str, Rule]]) -> None:
        listed = list(routes)
        refuse_ties(listed)
        self._root = _Node()
        self._whole: dict[str, dict[str, Rule]] = {}
        for template, rule in listed:
            self._add(template, rule)
        by_length = sorted(fallbacks, key=lambda item: -len(item[0]))
        self._fallbacks = tuple((segments_of(prefix or "/"), rule) for prefix, rule in by_length)
        self._only_fallback = fallbacks[0][1] if len(fallbacks) == 1 and fallbacks[0][0] in ("", "/") else None

    def decide(self, method: str, raw_path: bytes) -> Rule | Refusal:
        """Find the rule of a request.

        Args:
            method: as received.
            raw_path: undecoded, without query.

        Returns:
            The rule, or the refusal (400) of a path or method that could be read in two ways.
        """
        try:
            path = normal_path(raw_path)
        except AmbiguousPath as error:
            return Refusal(Case.BAD_REQUEST, error.description, detail="ambiguous path")
        return self.match(method, path)

    def match(self, method: str, path: str) -> Rule | Refusal:
        """As `decide`, for a path already in the normal form."""
        if method == "HEAD":
            method = "GET"
        # A route of literals alone, with its method named, has more literals than any other that matches.
        whole = self._whole.get(path)
        if whole is not None and (rule := whole.get(method)) is not None:
            return rule
        # Some frameworks fold the method's case, others do not.
        if not method.isupper():
            return _BAD_METHOD
        segments = segments_of(path)
        best: _End | None = None
        nodes = [self._root]
        for segment in segments:
            following = []
            for node in nodes:
                if node.rests:
                    best = _better(best, node.rests, method)
                child = node.literal.get(segment)
                if child is not None:
                    following.append(child)
                if node.parameter is not None:
                    following.append(node.parameter)
            nodes = following
            if not nodes:
                break
        for node in nodes:
            if node.ends:
                best = _better(best, node.ends, method)
        return self._fallback(segments) if best is None else best.rule

    def _fallback(self, segments: tuple[str, ...]) -> Rule:
        if self._only_fallback is not None:
            return self._only_fallback
        for prefix, rule in self._fallbacks:
            if segments[: len(prefix)] == prefix:
                return rule
        return _NOBODYS

    def _add(self, template: Template, rule: Rule) -> None:
        node = self._root
        fixed = template.segments[:-1] if template.takes_rest else template.segments
        for segment in fixed:
            if segment is None:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(segment, _Node())
        end = _End(template.rank, rule)
        (node.rests if template.takes_rest else node.ends)[template.method] = end
        if not template.takes_rest and None not in template.segments:
            path = "/" + "/".join(segment for segment in template.segments if segment is not None)
            for form in {path, path.rstrip("/") + "/"}:
                self._whole.setdefault(form, {})[template.method] = rule


_NOBODYS: Final = Rule(Free.DENIED, "")
_BAD_METHOD: Final = Refusal(Case.BAD_REQUEST, "The request method is not written in capitals.", detail="method")
NOT_NAMED: Final = Refusal(
    Case.NOT_PERMITTED, "The caller may not do this.", detail="no route of the manifest is named"
)
"""A request that the default denies (design §3.5: "route not named")."""


def _better(best: _End | None, ends: Mapping[str, _End], method: str) -> _End | None:
    end = ends.get(method) or ends.get(ANY_METHOD)
    return end if end is not None and (best is None or end.rank > best.rank) else best


def refuse_ties(routes: Iterable[tuple[Template, Rule]]) -> None:
    """Refuse two templates that could match one request with equal precedence.

    Equal precedence means: the same literals at the same places, the same method. They share a
    request when their lengths can be the same.

    Raises:
        Tie: the first pair.
    """
    alike: dict[tuple[str, tuple[tuple[int, str], ...]], list[tuple[Template, Rule]]] = defaultdict(list)
    for template, rule in routes:
        alike[template.method, template.literals].append((template, rule))
    for group in alike.values():
        by_length: dict[int, Rule] = {}
        resting: tuple[int, Rule] | None = None
        # Shortest rest last: with equal literals, one rest meets every fixed length from its own on.
        for template, rule in sorted(group, key=lambda item: (item[0].takes_rest, len(item[0].segments))):
            length = len(template.segments)
            if template.takes_rest:
                other = resting[1] if resting else next((r for n, r in by_length.items() if n >= length), None)
                resting = (length, rule)
            else:
                other = by_length.get(length)
                by_length[length] = rule
            if other is not None:
                first, second = sorted((other, rule), key=lambda one: one.line)
                raise Tie(first, second)
