"""Templates, precedence, ties, defaults; and that the compiled matcher says what the rules say."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.policy.explain import explain, matches
from portero.core.policy.manifest import Default, Gateway, Layout, Manifest, Route, Service, gateway_matcher
from portero.core.policy.path import segments_of
from portero.core.policy.refusal import Case, Refusal
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import BadTemplate, Free, RouteMatcher, Rule, Tie, parse_template

DENIED = Rule(Free.DENIED, "s")


def rule(text: str, line: int = 1) -> Rule:
    return Rule(Requirement(scopes=frozenset({text})), "s", text, line)


def matcher(*texts: str) -> RouteMatcher:
    routes = [(parse_template(text), rule(text, line)) for line, text in enumerate(texts, start=1)]
    return RouteMatcher(routes, fallbacks=[("", DENIED)])


def winner(method: str, path: str, *texts: str) -> str | None:
    decided = matcher(*texts).decide(method, path.encode())
    assert isinstance(decided, Rule)
    return decided.match


@pytest.mark.parametrize(
    ("text", "method", "path", "matched"),
    [
        ("GET /", "GET", "/", True),
        ("GET /", "GET", "/a", False),
        ("GET /a", "GET", "/a", True),
        ("GET /a", "GET", "/a/", True),
        ("GET /a/", "GET", "/a", True),
        ("GET /a", "GET", "/A", False),
        ("GET /a", "GET", "/%61", True),
        ("GET /a", "GET", "/a/b", False),
        ("GET /a", "POST", "/a", False),
        ("GET /a", "HEAD", "/a", True),
        ("POST /a", "HEAD", "/a", False),
        ("GET /a", "OPTIONS", "/a", False),
        ("* /a", "OPTIONS", "/a", True),
        ("* /a", "PROPFIND", "/a", True),
        ("M-SEARCH /a", "M-SEARCH", "/a", True),
        ("GET /{x}", "GET", "/a", True),
        ("GET /{x}", "GET", "/a/", True),
        ("GET /{x}", "GET", "/", False),
        ("GET /{x}", "GET", "/a/b", False),
        ("GET /{x...}", "GET", "/a/b/c", True),
        ("GET /{x...}", "GET", "/a", True),
        ("GET /{x...}", "GET", "/", False),
        ("GET /f/{x...}", "GET", "/f", False),
        ("GET /f/{x...}", "GET", "/f/", False),
        ("GET /f/{x...}", "GET", "/f/a/", True),
        ("GET /{a}/x/{b}", "GET", "/1/x/2", True),
        ("GET /{a}/x/{b}", "GET", "/1/y/2", False),
        ("GET /café", "GET", "/caf%C3%A9", True),
        ("GET /caf%c3%a9", "GET", "/caf%C3%A9", True),
        ("GET /a:b", "GET", "/a%3Ab", True),
        ("GET /a%3Ab", "GET", "/a:b", True),
        ("GET /.well-known/x", "GET", "/.well-known/x", True),
    ],
)
def test_a_template_matches_whole_segments(text: str, method: str, path: str, matched: bool) -> None:
    """`{name}` is one segment, `{name...}` one or more; HEAD follows GET; a slash at the end changes nothing."""
    assert (winner(method, path, text) == text) is matched


@pytest.mark.parametrize(
    ("path", "wins", "loses"),
    [
        ("/a/b", "GET /a/b", "GET /a/{x}"),
        ("/a/b/c", "GET /{x}/b/c", "GET /a/{x}/{y}"),  # more literals, though later
        ("/a/b", "GET /a/{x}", "GET /{x}/b"),  # as many, earlier
        ("/a/b/c", "GET /a/{x}/c", "GET /{x}/b/c"),
        ("/a/b/c", "GET /a/b/{x}", "GET /a/{x}/c"),
        ("/a/b", "GET /a/{x}", "* /a/{x}"),  # the same literals: the named method
        ("/a/b", "GET /a/{x}", "* /a/{x...}"),
        ("/a/b", "* /a/b", "GET /a/{x}"),  # literals come before the method
        ("/a/b", "* /a/{x}", "GET /{x...}"),
        ("/a/b/c/d", "GET /{x}/b/{y...}", "GET /{x...}"),
        ("/a/b/c/d", "GET /a/{x...}", "GET /{x}/{y}/{z}/d"),
    ],
)
def test_the_precedence_is_the_written_one(path: str, wins: str, loses: str) -> None:
    """More literal segments, then the earlier literal, then the named method; in either order of the file."""
    assert winner("GET", path, wins, loses) == wins
    assert winner("GET", path, loses, wins) == wins


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /a", "GET /a"),
        ("GET /a", "GET /a/"),
        ("GET /a", "GET /%61"),
        ("GET /{x}", "GET /{y}"),
        ("GET /a/{x}", "GET /a/{x...}"),
        ("GET /a/{x}/{y}", "GET /a/{x...}"),
        ("GET /a/{x...}", "GET /a/{y...}"),
        ("GET /{x}/{y...}", "GET /{y...}"),
        ("* /a/{x}", "* /a/{y}"),
    ],
)
def test_a_tie_is_an_error_when_the_matcher_is_made(one: str, other: str) -> None:
    """Two templates that could match one request with equal precedence."""
    with pytest.raises(Tie) as tie:
        matcher("GET /other", other, one)

    assert (tie.value.first.line, tie.value.second.line) == (2, 3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /a", "POST /a"),
        ("GET /a", "* /a"),
        ("GET /a/{x}", "GET /b/{x}"),
        ("GET /a/{x}", "GET /a/{x}/{y}"),
        ("GET /a", "GET /a/{x...}"),
        ("GET /{x}", "GET /{x}/{y...}"),
    ],
)
def test_templates_that_share_no_request_do_not_tie(one: str, other: str) -> None:
    """Other methods, other literals, other lengths."""
    assert matcher(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET",
        "/a",
        "GET a",
        "get /a",
        "GET  /a",
        "GET,POST /a",
        "HEAD /a",
        "GET /a//b",
        "GET //",
        "GET /../a",
        "GET /a%2Fb",
        "GET /%2541",
        "GET /a\\b",
        "GET /a?b",
        "GET /a#b",
        "GET /a b",
        "GET /a\x00",
        "GET /{x...}/a",
        "GET /{x}/{x}",
        "GET /a{x}",
        "GET /{x}a",
        "GET /{}",
        "GET /{1}",
        "GET /{x..}",
        "GET /{x....}",
        "GET /\ud800",
        "GET /" + "a/" * 65,
    ],
)
def test_a_template_nobody_could_mean_is_refused(text: str) -> None:
    """Told when the manifest is read, since no request could match it."""
    with pytest.raises(BadTemplate):
        parse_template(text)


@pytest.mark.parametrize("path", ["/a/../b", "/a%2Fb", "/a//b", "a", "*"])
def test_an_ambiguous_path_is_a_bad_request_whatever_the_routes_say(path: str) -> None:
    """400 before any template is tried."""
    decided = matcher("* /{any...}").decide("GET", path.encode())

    assert isinstance(decided, Refusal)
    assert decided.case is Case.BAD_REQUEST


def test_a_method_in_small_letters_is_a_bad_request() -> None:
    """A framework that folds it would serve GET where `*` was authorized."""
    decided = matcher("GET /a/{x}", "* /{x...}").decide("get", b"/a/b")

    assert isinstance(decided, Refusal)
    assert decided.case is Case.BAD_REQUEST


PATTERNS = [
    f"{method} /{'/'.join(segments)}"
    for method in ("GET", "POST", "*")
    for length in (1, 2, 3)
    for segments in itertools.product(["a", "b", "{x}", "{x...}"], repeat=length)
    if "{x...}" not in segments[:-1]
]


def distinct_names(text: str) -> str:
    for name in ("p", "q", "r"):
        text = text.replace("{x", "{" + name, 1)
    return text


@given(
    st.lists(st.sampled_from(PATTERNS).map(distinct_names), max_size=12),
    st.sampled_from(["GET", "POST", "HEAD", "PUT"]),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=4).map(lambda parts: "/" + "/".join(parts)),
)
def test_the_compiled_matcher_says_what_the_rules_say(texts: list[str], method: str, path: str) -> None:
    """One by one, by the words of the precedence, the same route wins; where none is best, the load refused."""
    routes = [(parse_template(text), rule(text, line)) for line, text in enumerate(texts, start=1)]
    fitting = [one for one in routes if matches(one[0], method=method, segments=segments_of(path))]
    best = max((template.rank for template, _ in fitting), default=None)
    bests = [found for template, found in fitting if template.rank == best]
    try:
        compiled = RouteMatcher(routes, fallbacks=[("", DENIED)])
    except Tie:
        return

    assert len(bests) <= 1
    assert compiled.decide(method, path.encode()) == (bests[0] if bests else DENIED)


def service(name: str = "s", *texts: str, default: Default = Default.DENY) -> Service:
    routes = [Route(text, parse_template(text), rule(text).access, line) for line, text in enumerate(texts, start=1)]
    return Service(name, "https://a.example", ("main",), default=default, routes=tuple(routes))


@pytest.mark.parametrize(
    ("default", "access"),
    [(Default.DENY, Free.DENIED), (Default.AUTHENTICATED, Requirement()), (Default.PUBLIC, Free.PUBLIC)],
)
def test_the_default_decides_what_is_not_named(default: Default, access: object) -> None:
    """`deny` unless something else is written."""
    assert service(default=default).fallback.access == access
    assert Service("s", "a", ()).fallback.access is Free.DENIED


def gateway(*services: Service, **prefixes: str) -> RouteMatcher:
    listed = {one.name: one for one in services}
    return gateway_matcher(Manifest(Layout.GATEWAY, {}, listed, gateway=Gateway("127.0.0.1:1", prefixes)))


def test_a_prefix_stands_before_a_services_paths() -> None:
    """External `/api/orders` is the service's `/orders`; without the prefix it is nobody's."""
    compiled = gateway(service("orders", "GET /orders"), orders="/api")

    inside, outside = compiled.decide("GET", b"/api/orders"), compiled.decide("GET", b"/orders")

    assert isinstance(inside, Rule)
    assert isinstance(outside, Rule)
    assert (inside.match, inside.service) == ("GET /orders", "orders")
    assert (outside.access, outside.service) == (Free.DENIED, "")


def test_the_longest_prefix_says_whose_default_decides() -> None:
    """A default never reaches beyond its own prefix, and prefixes end at a slash."""
    compiled = gateway(
        service("open", default=Default.PUBLIC), service("shut", default=Default.DENY), open="/a", shut="/a/b"
    )

    accesses = [
        decided.access
        for path in (b"/a/x", b"/a/b", b"/a/b/x", b"/a/bc", b"/ab")
        if isinstance(decided := compiled.decide("GET", path), Rule)
    ]

    assert accesses == [Free.PUBLIC, Free.DENIED, Free.DENIED, Free.PUBLIC, Free.DENIED]


def test_services_that_share_a_prefix_share_no_default() -> None:
    """Nobody can say whose the path is: denied."""
    compiled = gateway(service("one", default=Default.PUBLIC), service("two", default=Default.PUBLIC))

    decided = compiled.decide("GET", b"/x")

    assert isinstance(decided, Rule)
    assert decided.access is Free.DENIED


def test_an_explanation_names_each_candidate_and_why_it_lost() -> None:
    """Fewer literals, later ones, another method, every method."""
    told = explain(
        service("s", "GET /a/b", "* /a/b", "GET /a/{x}", "GET /{x}/b", "POST /a/b", "GET /z"),
        method="GET",
        raw_path=b"/%61/b",
    )

    assert told.winner is not None
    assert (told.winner.match, told.path) == ("GET /a/b", "/a/b")
    assert [(loser.route.match, loser.why) for loser in told.losers] == [
        ("* /a/b", "is for every method, the winner names it"),
        ("GET /a/{x}", "has 1 literal segment, the winner 2"),
        ("GET /{x}/b", "has 1 literal segment, the winner 2"),
        ("POST /a/b", "is for POST, not GET"),
    ]


def test_an_explanation_says_when_the_default_decides() -> None:
    """And which route was near."""
    told = explain(service("s", "POST /a", "GET /{x}/b"), method="GET", raw_path=b"/a")

    assert told.winner is None
    assert told.access is Free.DENIED
    assert [loser.why for loser in told.losers] == ["is for POST, not GET"]


def test_later_literals_lose() -> None:
    """As many literals, further right."""
    told = explain(service("s", "GET /a/{x}", "GET /{x}/b"), method="GET", raw_path=b"/a/b")

    assert [loser.why for loser in told.losers] == ["has its literal segments later than the winner"]
