"""The ordinary way is taken by ordinary requests, and by nothing that another route would decide."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from portero.core.jose.jws import sign_compact
from portero.core.policy.manifest import Manifest
from portero.core.policy.manifest_parser import parse_manifest
from portero.core.policy.path import AmbiguousPath, normal_path
from portero.core.policy.routes import parse_template
from portero.gateway.envoy.configuration import gateway_of
from portero.gateway.envoy.ordinary import path_pattern, token_beginnings
from portero.gateway.envoy.providers import Keys
from portero.gateway.envoy.resources import ORDINARY
from portero.gateway.envoy.routes import route_configuration
from portero.testing.tokens import new_key

KEY = new_key(kid="key-1")
KEYS: Keys = {"main": [KEY.public]}
MANIFEST = """
layout = "hybrid"
[issuers.main]
issuer = "https://issuer.test"
revocation = "none"
[services.api]
audience = "https://api.test"
upstreams = ["http://127.0.0.1:1"]
{routes}
[gateway]
listen = "127.0.0.1:1"
"""


def manifest(*routes: str) -> Manifest:
    written = "".join(f"[[services.api.routes]]\n{route}\n" for route in routes)
    return parse_manifest(MANIFEST.format(routes=written), file="portero.toml")


def beginnings(of: Manifest) -> list[str]:
    return token_beginnings(of, of.services["api"], KEYS)


def accepts(token: str) -> bool:
    return f"Bearer {token}".startswith(tuple(beginnings(manifest('match = "GET /a"'))))


def test_a_token_as_our_server_signs_it_is_ordinary() -> None:
    """Otherwise the short way would be there and nobody would take it."""
    assert accepts(sign_compact({"typ": "at+jwt"}, b"{}", KEY))


@pytest.mark.parametrize(
    "token",
    [
        sign_compact({"typ": "logout+jwt"}, b"{}", KEY),
        sign_compact({"typ": "JWT"}, b"{}", KEY),
        sign_compact({}, b"{}", KEY),
        sign_compact({"typ": "at+jwt"}, b"{}", new_key(kid="key-2")),
        sign_compact({"typ": "at+jwt", "nonce": "x"}, b"{}", KEY),
        sign_compact({"typ": "at+jwt"}, b"{}", KEY).replace(".", "x.", 1),
        " " + sign_compact({"typ": "at+jwt"}, b"{}", KEY),
    ],
)
def test_every_other_header_goes_the_long_way(token: str) -> None:
    assert not accepts(token)


def test_an_ordinary_path_is_normal_and_the_templates() -> None:
    """Whatever the pattern takes needs no second look, and matches as the Guard matches."""
    picked = random.Random(7)
    template = parse_template("GET /a/{one}/{rest...}")
    pattern = re.compile(path_pattern(template))
    taken = 0
    for _ in range(5_000):
        path = "/a/" + "".join(picked.choice("aaab~.//%;?#\\ 2é") for _ in range(picked.randint(0, 8)))
        if pattern.fullmatch(path) is None:
            continue
        taken += 1
        try:
            normal = normal_path(path.encode())
        except AmbiguousPath:
            normal = ""
        assert normal == path
        assert path.count("/") >= 3
    assert taken > 30


def leaf(of: Manifest, beginning: str) -> list[Any]:
    routes = route_configuration(of, gateway_of(of), keys=KEYS, assertion_keys=b"")
    tree = routes["virtual_hosts"][0]["matcher"]["matcher_tree"]["prefix_match_map"]["map"]
    listed: list[Any] = tree[beginning]["action"]["typed_config"]["routes"]
    return listed


def ordinary(of: Manifest, beginning: str) -> list[str]:
    """Names of the routes with the short way, in their order."""
    per_filter = [(one.get("name", ""), one.get("typed_per_filter_config", {})) for one in leaf(of, beginning)]
    return list(dict.fromkeys(name for name, filters in per_filter if "xds_matcher" in filters.get(ORDINARY, {})))


@pytest.mark.parametrize(
    "before",
    [
        'match = "GET /a/b"\npublic = true',
        'match = "GET /a/b"\nrequire = { dpop = true }',
        'match = "GET /a/b"\nrequire = { roles = ["admin"] }',
        'match = "* /a/b"',
        'match = "OPTIONS /a/b"',
    ],
)
def test_no_route_is_passed_by(before: str) -> None:
    """A route of a lower rank has no short way where one of a higher rank has none: it would decide in its place."""
    of = manifest('match = "GET /a/{x}"', before)
    assert ordinary(of, "/a/b") == []
    assert ordinary(of, "/a/") == ["GET /a/{x}"]


def test_every_other_route_is_without_the_filter() -> None:
    """It denies by itself: a route that does not name it would be closed, and one that should be open as well."""
    of = manifest('match = "GET /a/{x}"', 'match = "GET /open"\npublic = true')
    for beginning in ("/a/", "/open", "/"):
        for route in leaf(of, beginning):
            assert ORDINARY in route["typed_per_filter_config"]
