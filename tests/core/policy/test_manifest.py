"""The manifest: what is read, what is refused and how it is told, and the schema beside it."""

from __future__ import annotations

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.policy.json_schema import manifest_schema
from portero.core.policy.manifest import Default, Layout, service_matcher
from portero.core.policy.manifest_keys import MANIFEST
from portero.core.policy.manifest_kinds import ByName, Kind, Table, TableOr, Tables
from portero.core.policy.manifest_parser import ManifestError, parse_manifest
from portero.core.policy.requirement import Requirement, WhenStale
from portero.core.policy.routes import Free, Rule
from portero.core.policy.toml_lines import lines_of

ROOT = Path(__file__).resolve().parents[3]

WHOLE = """\
layout = "hybrid"

[issuers.main]
issuer     = "http://localhost:9000"
algorithms = ["ES256"]
roles      = "roles"
revocation = { client_id = "shop", secret_env = "SHOP_SECRET", stale_after = "10s" }

[roles]
manager = ["orders:read", "orders:write"]

[services.orders]
audience  = "https://shop.example/orders"
upstreams = ["http://127.0.0.1:8101"]
default   = "deny"

[[services.orders.routes]]
match   = "GET /orders/{id}"
require = { scopes = ["orders:read"] }

[[services.orders.routes]]
match   = "POST /orders/{id}/refund"
require = { scopes = ["orders:write"], roles = ["manager"], max_auth_age = "10m", dpop = false }
when_stale = "deny"

[gateway]
listen = "127.0.0.1:8000"
prefix = { orders = "/api" }
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ManifestError) as refused:
        parse_manifest(text, file="portero.toml")
    return [str(problem) for problem in refused.value.problems]


def changed(before: str, after: str) -> str:
    assert before in WHOLE
    return WHOLE.replace(before, after, 1)


def test_the_designs_example_is_read_as_it_is_meant() -> None:
    """Every value of design §3.4, typed."""
    manifest = parse_manifest(WHOLE, file="portero.toml")

    orders, main = manifest.services["orders"], manifest.issuers["main"]
    assert manifest.layout is Layout.HYBRID
    assert manifest.roles == {"manager": ("orders:read", "orders:write")}
    assert manifest.leeway == timedelta(seconds=60)
    assert main.revocation is not None
    assert (main.revocation.secret_env, main.revocation.stale_after) == ("SHOP_SECRET", timedelta(seconds=10))
    assert (orders.default, orders.issuers) == (Default.DENY, ("main",))
    assert [(route.match, route.line) for route in orders.routes] == [
        ("GET /orders/{id}", 18),
        ("POST /orders/{id}/refund", 22),
    ]
    assert orders.routes[1].access == Requirement(
        scopes=frozenset({"orders:write"}),
        roles=frozenset({"manager"}),
        max_auth_age=600,
        when_stale=WhenStale.DENY,
    )
    assert manifest.gateway is not None
    assert manifest.gateway.prefix == {"orders": "/api"}


@pytest.mark.parametrize(
    ("before", "after", "line", "key", "said"),
    [
        ('layout = "hybrid"', 'layot = "hybrid"', 1, "layot", "did you mean 'layout'"),
        ('layout = "hybrid"', 'layout = "hybird"', 1, "layout", "did you mean 'hybrid'"),
        ('layout = "hybrid"', "layout = 3", 1, "layout", '"middleware", "gateway" or "hybrid"'),
        ('layout = "hybrid"', "", 1, "layout", "must be given"),
        ("[issuers.main]", "[isuers.main]", 3, "isuers", "did you mean 'issuers'"),
        ('"http://localhost:9000"', '"http://id.example"', 4, "issuers.main.issuer", "https"),
        ('"http://localhost:9000"', '"ftp://id.example"', 4, "issuers.main.issuer", "https"),
        ('["ES256"]', '["none"]', 5, "issuers.main.algorithms[0]", '"ES256"'),
        ('["ES256"]', '["HS256"]', 5, "issuers.main.algorithms[0]", '"ES256"'),
        ('["ES256"]', "[]", 5, "issuers.main.algorithms", "at least one"),
        ('["ES256"]', '["ES256", "ES256"]', 5, "issuers.main.algorithms", "once"),
        (", stale_after", ", stale_aftr", 7, "issuers.main.revocation.stale_aftr", "did you mean 'stale_after'"),
        ('"10s"', '"10"', 7, "issuers.main.revocation.stale_after", "whole number and one of s, m, h, d"),
        ('"10s"', "10", 7, "issuers.main.revocation.stale_after", "whole number and one of s, m, h, d"),
        ('"10s"', '"1s"', 7, "issuers.main.revocation.stale_after", '"2s"'),
        ('secret_env = "SHOP_SECRET", ', "", 7, "issuers.main.revocation.secret_env", "must be given"),
        ("revocation = {", 'revocation = "no" #{', 7, "issuers.main.revocation", '"none"'),
        ('["orders:read", "orders:write"]', '["a b"]', 10, "roles.manager[0]", "scope"),
        ('["orders:read", "orders:write"]', '"orders:read"', 10, "roles.manager", "list"),
        ("[services.orders]", "[services.orders]\nissuer = []", 13, "services.orders.issuer", "did you mean 'issuers'"),
        ("[services.orders]", '[services.orders]\nissuers = ["x"]', 13, "services.orders.issuers[0]", "main"),
        (
            "[services.orders]",
            '[services.orders]\ncors_origins = ["*"]',
            13,
            "services.orders.cors_origins[0]",
            "origin",
        ),
        ('"http://127.0.0.1:8101"', '"127.0.0.1:8101"', 14, "services.orders.upstreams[0]", "origin"),
        ('"http://127.0.0.1:8101"', '"http://a:8101/x"', 14, "services.orders.upstreams[0]", "without path"),
        ('default   = "deny"', 'default   = "allow"', 15, "services.orders.default", '"authenticated"'),
        ('"GET /orders/{id}"', '"get /orders"', 18, "services.orders.routes[0].match", "capitals"),
        ('"GET /orders/{id}"', '"GET /a/../b"', 18, "services.orders.routes[0].match", "dot segment"),
        ('scopes = ["orders:read"]', "scopes = []", 19, "services.orders.routes[0].require.scopes", "at least one"),
        ('scopes = ["orders:read"]', "scps = []", 19, "services.orders.routes[0].require.scps", "scopes"),
        ('scopes = ["orders:read"]', "claims = {}", 19, "services.orders.routes[0].require.claims", "at least one"),
        ('scopes = ["orders:read"]', "claims = {a = 1.5}", 19, "services.orders.routes[0].require.claims.a", "number"),
        ('require = { scopes = ["orders:read"] }', "public = 1", 19, "services.orders.routes[0].public", "true or"),
        (
            'when_stale = "deny"',
            'when_stale = "refuse"',
            24,
            "services.orders.routes[1].when_stale",
            '"allow" or "deny"',
        ),
        ("dpop = false", 'dpop = "no"', 23, "services.orders.routes[1].require.dpop", "true or false"),
        ('"127.0.0.1:8000"', '"8000"', 27, "gateway.listen", "host:port"),
        ('"127.0.0.1:8000"', '"a:70000"', 27, "gateway.listen", "port"),
        ('"/api"', '"api"', 28, "gateway.prefix.orders", "/api"),
        ('"/api"', '"/api/"', 28, "gateway.prefix.orders", "/api"),
        ('"/api"', '"/a//b"', 28, "gateway.prefix.orders", "empty segment"),
        ("{ orders =", "{ order =", 28, "gateway.prefix.order", "orders"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(before: str, after: str, line: int, key: str, said: str) -> None:
    """One thing is changed in a manifest that is valid, and that is what is told, and how to mend it."""
    with pytest.raises(ManifestError) as refused:
        parse_manifest(changed(before, after), file="portero.toml")

    told = [problem for problem in refused.value.problems if problem.key == key]
    assert len(told) == 1
    assert told[0].line == line
    assert said in told[0].expected
    first = refused.value.problems[0]
    assert str(refused.value).startswith(f"portero.toml:{first.line}: {first.key} is ")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    """One look mends a file."""
    text = changed('"GET /orders/{id}"', '"get /x"').replace("hybrid", "gateway").replace("upstreams", "# upstreams")

    assert [line.split(":")[0] for line in problems(text)] == ["line 12", "line 18"]


def test_broken_toml_is_told_with_its_line() -> None:
    """The parser's own words, with the line."""
    assert problems(changed('default   = "deny"', "default   = deny"))[0].startswith("line 15: (the file)")


@pytest.mark.parametrize("key", ["secret", "client_secret"])
def test_a_secret_is_never_written_in_the_manifest_nor_repeated(key: str) -> None:
    """Only the name of an environment variable; a secret written anyway is not in the message."""
    told = problems(changed('secret_env = "SHOP_SECRET"', f'{key} = "hunter2!"'))
    misplaced = problems(changed('"SHOP_SECRET"', '"hunter2!"'))

    assert any("secret_env" in line and "environment variable" in line for line in told)
    assert "hunter2" not in " ".join([*told, *misplaced])


def test_a_feed_is_never_absent_by_omission() -> None:
    """Absent configuration never means unchecked: `"none"` is written by hand, or the feed is named."""
    without = changed('revocation = { client_id = "shop", secret_env = "SHOP_SECRET", stale_after = "10s" }', "")

    assert "issuers.main.revocation" in problems(without)[0]
    silent = without.replace('roles      = "roles"', 'revocation = "none"').replace('when_stale = "deny"', "")
    assert parse_manifest(silent, file="x").issuers["main"].revocation is None


def test_to_refuse_when_stale_needs_a_feed() -> None:
    """Nothing could ever be stale."""
    text = changed("revocation = {", 'revocation = "none" # {')

    assert "services.orders.routes[1].when_stale" in problems(text)[0]


@pytest.mark.parametrize("beside", ["require = { scopes = ['a'] }", 'when_stale = "allow"'])
def test_public_stands_alone(beside: str) -> None:
    """A route that asks for something and for nothing cannot be meant."""
    text = changed('require = { scopes = ["orders:read"] }', f"public = true\n{beside}")

    assert "public = true" in problems(text)[0]


@pytest.mark.parametrize("layout", ["gateway", "hybrid"])
def test_a_gateway_needs_its_table_and_upstreams(layout: str) -> None:
    """In `middleware` neither is asked for."""
    text = WHOLE.replace('"hybrid"', f'"{layout}"').split("[gateway]")[0].replace("upstreams", "# upstreams")

    assert [line.split(" is ")[0] for line in problems(text)] == [
        "line 1: layout",
        "line 12: services.orders.upstreams",
    ]
    assert parse_manifest(text.replace(f'"{layout}"', '"middleware"'), file="x").gateway is None


def test_a_tie_names_both_lines() -> None:
    """Where the two routes stand."""
    told = problems(changed("POST /orders/{id}/refund", "GET /orders/{number}"))

    assert told[0].startswith("line 22: services.orders.routes[1].match is 'GET /orders/{number}': ties with")
    assert "line 18" in told[0]


def test_services_tie_at_the_gateway_only() -> None:
    """Two services with the same path: fine apart, a tie under one prefix."""
    other = '\n[services.other]\naudience = "o"\nupstreams = ["http://a:1"]\n'
    other += '[[services.other.routes]]\nmatch = "GET /orders/{x}"\n'

    assert parse_manifest(WHOLE + other, file="x")
    assert "services.other.routes[0].match" in problems(changed('{ orders = "/api" }', "{}") + other)[0]


def test_one_issuer_has_one_name() -> None:
    """Two names with two sets of rules for one issuer would leave open which holds."""
    text = WHOLE + '\n[issuers.again]\nissuer = "http://localhost:9000"\nrevocation = "none"\n'

    assert "issuers.again.issuer" in problems(text)[0]


def test_the_servers_own_table_may_share_the_file() -> None:
    """`portero serve` reads it by its own rules."""
    assert parse_manifest(WHOLE + "\n[authorization_server]\nport = 9001\n", file="x")


def decided(text: str, method: str, path: str) -> Any:
    rule = service_matcher(parse_manifest(text, file="x").services["orders"]).decide(method, path.encode())
    assert isinstance(rule, Rule)
    return rule.access


@pytest.mark.attack(row=91)
def test_a_route_without_requirement_under_a_guarded_one_stays_protected() -> None:
    """The more specific route replaces the wider one's requirement: by any valid token, never by nothing."""
    child = '\n[[services.orders.routes]]\nmatch = "GET /orders/{id}/items"\n'

    for default in ("deny", "authenticated", "public"):
        text = changed('default   = "deny"', f'default   = "{default}"') + child
        assert decided(text, "GET", "/orders/5/items") == Requirement()


@pytest.mark.attack(row=93)
def test_what_is_not_named_is_denied() -> None:
    """Default deny, also when `default` is not written; another method of a named path is not named."""
    for text in (WHOLE, changed('default   = "deny"', "")):
        assert decided(text, "GET", "/other") is Free.DENIED
        assert decided(text, "DELETE", "/orders/5") is Free.DENIED
        assert decided(text, "OPTIONS", "/orders/5/refund") is Free.DENIED


def test_a_public_route_asks_for_nothing() -> None:
    """Only where it is written."""
    text = changed('require = { scopes = ["orders:read"] }', "public = true")

    assert decided(text, "GET", "/orders/5") is Free.PUBLIC


# ── lines ──────────────────────────────────────────────────────────────────────────────

AWKWARD = '''\
# [not.a.table]
"a.b" . 'c d' = """
[no]
x = 1 \\"""
""""
list = [ 1, # one ]
  "two ]",
  { in = [ 3 ], "q\\u0041" = '#' },
]
[t.u]
v.w = 1979-05-27 07:32:00
[[t.rows]]
k = { a.b = 1 }
[[t.rows]]
k = true
[t.rows.sub]
z = \'\'\'
\'\'\'
end = 1
'''


def test_lines_are_found_in_awkward_documents() -> None:
    """Comments, texts of several lines, quoted and dotted keys, inline tables, arrays of tables."""
    lines = lines_of(AWKWARD)

    assert lines["a.b", "c d"] == 2
    assert lines["list",] == 6
    assert lines["list", 1] == 7
    assert lines["list", 2, "in", 0] == 8
    assert lines["list", 2, "qA"] == 8
    assert lines["t", "u", "v", "w"] == 11
    assert lines["t", "rows", 0, "k", "a", "b"] == 13
    assert lines["t", "rows", 1, "k"] == 15
    assert lines["t", "rows", 1, "sub", "z"] == 17
    assert lines["t", "rows", 1, "sub", "end"] == 19


def paths(value: object, at: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {(*at, key) for key, _ in inner}
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found.union(*(paths(child, (*at, key)) for key, child in inner))


@pytest.mark.parametrize("text", [WHOLE, AWKWARD])
def test_every_key_of_a_document_has_a_line(text: str) -> None:
    """What `tomllib` finds, the scanner finds, and nothing else."""
    assert set(lines_of(text)) == paths(tomllib.loads(text))


VALUES = st.sampled_from(
    ["1", "'#'", '"\\"="', "[1, 2]", "[]", "{}", "{ a = 1, b.c = [ {} ] }", '"""\n[x]\n"""', "[ # ]\n1,]"]
)
KEYS = st.sampled_from(["a", "b", '"x y"', "'#'", "a1.b", "c . d"])


@given(st.lists(st.tuples(st.sampled_from(["", "[t]\n", "[[r]]\n", "[r.s]\n"]), KEYS, VALUES), max_size=8))
def test_lines_of_any_document(pieces: list[tuple[str, str, str]]) -> None:
    """Also where pieces meet that nobody writes together."""
    text = "".join(f"{header}{key} = {value}\n" for header, key, value in pieces)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return

    assert set(lines_of(text)) == paths(document)


# ── schema ─────────────────────────────────────────────────────────────────────────────


def test_the_committed_schema_is_the_parsers() -> None:
    """`portero manifest schema > docs/reference/manifest.schema.json` would change nothing."""
    assert (ROOT / "docs/reference/manifest.schema.json").read_text() == manifest_schema()


def keys_of(kind: Kind) -> Any:
    match kind:
        case Table():
            return {name: keys_of(key.kind) for name, key in kind.keys.items()}
        case ByName() | Tables():
            return keys_of(kind.item)
        case TableOr():
            return keys_of(kind.table)
        case _:
            return None


def properties_of(schema: dict[str, Any]) -> Any:
    if "properties" in schema:
        assert schema["additionalProperties"] is False
        return {name: properties_of(inner) for name, inner in schema["properties"].items()}
    for inner in (*schema.get("patternProperties", {}).values(), *schema.get("anyOf", ())):
        return properties_of(inner)
    return properties_of(schema["items"]) if schema.get("type") == "array" else None


def test_the_schema_has_the_parsers_keys() -> None:
    """Each of them, nested as they are, and no other."""
    assert properties_of(json.loads(manifest_schema())) == keys_of(MANIFEST)


def test_the_reference_page_has_every_key_with_its_words() -> None:
    """No key without its row in the docs, and no row that says something else."""
    page = (ROOT / "docs/reference/manifest.md").read_text()
    rows = {
        line.split(" | ")[0].strip("| `") + ": " + line.split(" | ")[-1][:-2]
        for line in page.splitlines()
        if "|" in line
    }

    def said(kind: Kind) -> set[str]:
        match kind:
            case Table():
                own = {f"{name}: {key.says}" for name, key in kind.keys.items()}
                return own.union(*(said(key.kind) for key in kind.keys.values()))
            case ByName() | Tables():
                return said(kind.item)
            case TableOr():
                return said(kind.table)
            case _:
                return set()

    assert said(MANIFEST) - rows == set()
