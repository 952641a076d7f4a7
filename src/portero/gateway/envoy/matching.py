"""Trees of Envoy's matching API, and a filter that runs only for requests that a tree does not let pass.

RBAC writes down what it decided for every request it looks at, which costs more than the look. So a tree looks
first, and RBAC runs where it will refuse. Whatever the tree cannot say ends in RBAC, too: it denies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from portero.gateway.envoy.resources import Json, typed

WITH_MATCHER: Final = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
RBAC: Final = "envoy.extensions.filters.http.rbac.v3.RBAC"

_SKIP: Final = {
    "name": "pass",
    "typed_config": typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter"),
}
_RUN: Final = {
    # A tree's leaf has to name an action. Any but that of `_SKIP` means: do not skip; this one is short to load.
    "name": "refuse",
    "typed_config": typed(
        "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction", {"filter_chain_name": "refuse"}
    ),
}


def matches(name: str, match: Mapping[str, Any], *, invert: bool = False) -> Json:
    """A predicate on a request header; one that is missing matches nothing."""
    single = {"single_predicate": {"input": _header(name), "value_match": dict(match)}}
    return {"not_matcher": single} if invert else single


def pattern(text: str) -> Json:
    """A whole match (RE2)."""
    return {"safe_regex": {"google_re2": {}, "regex": text}}


def any_of(predicates: Sequence[Json]) -> Json:
    """One of several predicates."""
    return predicates[0] if len(predicates) == 1 else {"or_matcher": {"predicate": list(predicates)}}


def all_of(predicates: Sequence[Json]) -> Json:
    """All of several predicates."""
    return predicates[0] if len(predicates) == 1 else {"and_matcher": {"predicate": list(predicates)}}


def passes_if(predicate: Json) -> Json:
    """A tree that lets pass where a predicate holds."""
    return {"matcher_list": {"matchers": [{"predicate": predicate, "on_match": {"action": _SKIP}}]}}


def passes_unless_named(lists: Iterable[tuple[str, Sequence[str]]]) -> Json:
    """A tree that lets pass whose headers are in none of the lists (header, values)."""
    tree: Json = {"on_no_match": {"action": _SKIP}}
    for name, values in lists:
        if values:
            named = {value: {"action": _RUN} for value in values}
            looked_up = {"input": _header(name), "exact_match_map": {"map": named}}
            inner = tree["on_no_match"] if "matcher_tree" not in tree else {"matcher": tree}
            tree = {"matcher_tree": looked_up, "on_no_match": inner}
    return tree


def named_in(config: Mapping[str, Any]) -> Iterable[tuple[str, set[str]]]:
    """The lists in a filter of `runs_unless(passes_unless_named(…))`."""
    tree: Mapping[str, Any] | None = config["xds_matcher"]
    while tree is not None:
        if "matcher_tree" in tree:
            looked_up = tree["matcher_tree"]
            yield looked_up["input"]["typed_config"]["header_name"], set(looked_up["exact_match_map"]["map"])
        tree = tree["on_no_match"].get("matcher")


def runs_unless(tree: Json, rbac: Json) -> Json:
    """An RBAC filter that is made for every request and runs where the tree does not let pass."""
    inner = {"name": "refuses", "typed_config": typed(RBAC, rbac)}
    return typed(WITH_MATCHER, {"extension_config": inner, "xds_matcher": tree})


def on_route(tree: Json) -> Json:
    """A route's own tree, instead of the filter's."""
    return typed("envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute", {"xds_matcher": tree})


def _header(name: str) -> Json:
    return {
        "name": "header",
        "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", {"header_name": name}),
    }
