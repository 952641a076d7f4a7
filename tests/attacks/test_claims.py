"""Claims: one meaning each, compared whole, required where it matters."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from portero.core.errors import ConfigurationError
from portero.core.tokens.access_token import AccessTokenRules, Fault, verify_access_token
from tests.core.jose.minting import AUDIENCE, CLAIMS, ISSUER, NOW, RULES, claims, fault_of, finding, mint, private_key


def with_raw(name: str, value: bytes, base: dict[str, Any] = CLAIMS) -> bytes:
    """The good claims, with one member written as these very bytes."""
    rest = orjson.dumps({key: content for key, content in base.items() if key != name})
    return b'{"%b":%b,%b' % (name.encode(), value, rest[1:])


@pytest.mark.attack(row=34)
@pytest.mark.parametrize("name", ["sub", "aud", "exp", "iss", "scope"])
def test_a_claim_twice_is_refused(name: str) -> None:
    """RFC 7519 §4: first wins here, last wins there, and both readings are signed."""
    good = orjson.dumps(CLAIMS[name])
    body = with_raw(name, good)
    assert fault_of(mint(body=body)) is None

    assert (
        fault_of(mint(body=with_raw(name, good, CLAIMS)[:-1] + b',"%b":%b}' % (name.encode(), good))) is Fault.MALFORMED
    )
    escaped = b"".join(b"\\u%04x" % byte for byte in name.encode())
    assert fault_of(mint(body=body[:-1] + b',"%b":"other"}' % escaped)) is Fault.MALFORMED


@pytest.mark.attack(row=34)
def test_a_claim_in_another_case_is_another_claim() -> None:
    """Go's decoder takes `Aud` for `aud`; here it is just unknown."""
    token = mint(body=claims(Aud="https://other.example", SUB="root", Exp=1, Roles=["admin"]))

    verified = verify_access_token(token, rules=RULES, find_key=finding(private_key()), now=NOW)

    assert (verified.subject, verified.roles) == ("ana", frozenset())
    assert fault_of(mint(body=claims(aud=..., Aud=AUDIENCE))) is Fault.AUDIENCE
    assert fault_of(mint(body=claims(exp=..., Exp=NOW + 9))) is Fault.CLAIMS


@pytest.mark.attack(row=35)
@pytest.mark.parametrize(
    "aud",
    [
        [],
        [[AUDIENCE]],
        [AUDIENCE, 5],
        [None, AUDIENCE],
        {"0": AUDIENCE},
        {AUDIENCE: True},
        5,
        True,
        None,
        "",
        ["https://other.example"],
        AUDIENCE[:-1],
        AUDIENCE + "/",
        AUDIENCE + " ",
        AUDIENCE.upper(),
        f"{AUDIENCE} https://other.example",
        f"{AUDIENCE},https://other.example",
        "https://other.example/?" + AUDIENCE,
    ],
)
def test_aud_names_us_exactly_or_not_at_all(aud: object) -> None:
    """CVE-2020-26160: a string or an array of strings, and membership, not containment."""
    assert fault_of(mint(body=claims(aud=[AUDIENCE]))) is None
    assert fault_of(mint(body=claims(aud=["https://other.example", AUDIENCE]))) is None

    assert fault_of(mint(body=claims(aud=aud))) is Fault.AUDIENCE


@pytest.mark.attack(row=36)
def test_a_token_for_the_neighbour_is_refused() -> None:
    """Same issuer, same key, another API; and a verifier that names no audience is not built."""
    assert fault_of(mint(body=claims(aud="https://shop.example/stock"))) is Fault.AUDIENCE
    assert fault_of(mint(body=claims(aud=...))) is Fault.AUDIENCE
    for nothing in ("", (), ("",)):
        with pytest.raises(ConfigurationError):
            AccessTokenRules(ISSUER, nothing)


@pytest.mark.attack(row=37)
@pytest.mark.parametrize(
    "iss",
    [
        "h",
        "https://",
        ISSUER[:-1],
        ISSUER + "/",
        ISSUER.upper(),
        ISSUER + ".evil.example",
        " " + ISSUER,
        [ISSUER],
        {ISSUER: 1},
        5,
        "",
        None,
    ],
)
def test_an_issuer_that_is_nearly_ours_is_not_ours(iss: object) -> None:
    """GHSA-75c5-xw7c-p5pm: not contained, not prefixed, not folded: equal."""
    assert fault_of(mint(body=claims(iss=iss))) is Fault.ISSUER


@pytest.mark.attack(row=38)
def test_a_token_without_exp_is_refused() -> None:
    """It would be good for ever."""
    assert fault_of(mint(body=claims(exp=...))) is Fault.CLAIMS
    assert fault_of(mint(body=claims(exp=None))) is Fault.CLAIMS


@pytest.mark.attack(row=39)
@pytest.mark.attack(row=40)
@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
@pytest.mark.parametrize(
    "value",
    [
        b"-1",
        b"-9223372036854775808",
        b"9223372036854775808",
        b"18446744073709551616",
        b"1000000000000000000000000000000",
        b"1e30",
        b"1e308",
        b"true",
        b"false",
        b'"1800000300"',
        b'""',
        b"[1800000300]",
        b'{"a":1}',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
    ],
)
def test_a_date_is_a_number_in_a_sensible_range(name: str, value: bytes) -> None:
    """CVE of Envoy 1.24: negative read as huge; infinity as a crash. Refused as a claim or as JSON, never a 500."""
    assert fault_of(mint(body=with_raw(name, str(NOW).encode()))) in (None, Fault.EXPIRED)

    assert fault_of(mint(body=with_raw(name, value))) in (Fault.CLAIMS, Fault.MALFORMED)


@pytest.mark.attack(row=39)
@pytest.mark.parametrize("value", [0, 1, 0.0, NOW - 60])
def test_a_date_long_ago_is_expired(value: float) -> None:
    """Zero is a date, and it has passed."""
    assert fault_of(mint(body=claims(exp=value))) is Fault.EXPIRED


@pytest.mark.attack(row=41)
@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps(CLAIMS).decode().encode("utf-16"),
        orjson.dumps(CLAIMS).decode().encode("utf-16-le"),
        orjson.dumps(CLAIMS).decode().encode("utf-32"),
        b"\xef\xbb\xbf" + orjson.dumps(CLAIMS),
        orjson.dumps(CLAIMS).replace(b'"ana"', b'"\\ud800"'),
        orjson.dumps(CLAIMS).replace(b'"ana"', b'"\\udc00\\ud800"'),
        orjson.dumps(CLAIMS).replace(b'"ana"', b'"\xff"'),
        orjson.dumps(CLAIMS).replace(b'"ana"', b'"\xc0\xaf"'),
        orjson.dumps(CLAIMS).replace(b'"ana"', b'"\xed\xa0\x80"'),
    ],
)
def test_claims_are_utf_8_and_nothing_else(body: bytes) -> None:
    """RFC 7519 §7.2: no guessing of encodings, no byte order mark, no half characters."""
    assert fault_of(mint(body=body)) is Fault.MALFORMED


@pytest.mark.attack(row=42)
def test_no_claim_is_taken_apart() -> None:
    """CVE-2026-40574: `a@evil.com@good.com` stays one text; nothing here reads a domain, a path or a host out of it."""
    token = mint(body=claims(sub="a@evil.com@good.com", email="a@evil.com@good.com"))

    verified = verify_access_token(token, rules=RULES, find_key=finding(private_key()), now=NOW)

    assert verified.subject == verified.claims["email"] == "a@evil.com@good.com"


@pytest.mark.attack(row=43)
@pytest.mark.parametrize(
    ("issuer", "audience"), [(".*", AUDIENCE), (ISSUER, ".*"), ("https://.*", AUDIENCE), (ISSUER, "(a+)+$"), ("*", "*")]
)
def test_configured_names_are_no_patterns(issuer: str, audience: str) -> None:
    """CVE-2026-35041: no regular expression of anybody's ever meets a claim."""
    body = claims(sub="a" * 4000 + "!")

    assert fault_of(mint(body=body), rules=AccessTokenRules(issuer, audience)) in (Fault.ISSUER, Fault.AUDIENCE)


@pytest.mark.attack(row=44)
@pytest.mark.parametrize("leeway", [0, 1, 60])
@pytest.mark.parametrize(
    ("name", "fault"), [("exp", Fault.EXPIRED), ("nbf", Fault.NOT_YET_VALID), ("iat", Fault.NOT_YET_VALID)]
)
def test_the_leeway_has_two_sides(name: str, fault: Fault, leeway: int) -> None:
    """Accepted on one side of the edge, refused on the other, for whole seconds and between them."""
    rules = AccessTokenRules(ISSUER, AUDIENCE, leeway=leeway)
    # exp has to lie ahead of now - leeway; nbf and iat at or before now + leeway.
    good, bad = (NOW - leeway + 1, NOW - leeway) if name == "exp" else (NOW + leeway, NOW + leeway + 1)

    assert fault_of(mint(body=claims(**{name: good})), rules=rules) is None
    assert fault_of(mint(body=claims(**{name: bad})), rules=rules) is fault


@pytest.mark.attack(row=45)
@pytest.mark.parametrize(
    "scope", ["administrator", "not:admin", "admin2", "xadmin", "ADMIN", "admin\u00a0", "admin,read", "admin\tx"]
)
def test_a_scope_is_not_found_inside_another(scope: str) -> None:
    """RFC 6749 §3.3: names between spaces, as a set."""
    assert "admin" in verified_scope("read admin")

    assert "admin" not in verified_scope(scope)


def verified_scope(scope: str) -> frozenset[str]:
    token = mint(body=claims(scope=scope))
    return verify_access_token(token, rules=RULES, find_key=finding(private_key()), now=NOW).scope


@pytest.mark.attack(row=45)
@pytest.mark.parametrize("scope", [["admin"], {"admin": True}, 5, True])
def test_a_scope_that_is_no_text_is_refused(scope: object) -> None:
    """Not iterated, not stringified."""
    assert fault_of(mint(body=claims(scope=scope))) is Fault.CLAIMS


@pytest.mark.attack(row=46)
def test_nothing_is_decided_before_the_signature() -> None:
    """Every claim is wrong and the signature is bad: the signature is what refuses (401), not a scope (403)."""
    attacker = private_key("ES256", "attacker")
    body = {"iss": "x", "aud": "x", "exp": 1, "scope": ""}

    token = mint(body=body, key=attacker).split(".")
    head = mint().split(".")[0]

    assert fault_of(f"{head}.{token[1]}.{token[2]}") is Fault.SIGNATURE
