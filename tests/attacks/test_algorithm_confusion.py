"""Algorithm and key confusion: the header never chooses how, or with what, it is verified."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from portero.core.errors import ConfigurationError
from portero.core.jose import base64url
from portero.core.jose.jwk import JwkError, PublicKey, parse_public_jwk, render_public_jwk
from portero.core.jose.jwk_set import JwkSetError, parse_jwk_set
from portero.core.keys.key_cache import KeyCache, Unknown, Use
from portero.core.tokens.access_token import AccessTokenRules, Fault
from tests.core.jose.minting import AUDIENCE, ISSUER, fault_of, finding, header, mint, mint_hmac, private_key, segment

EVERYTHING = AccessTokenRules(
    ISSUER,
    AUDIENCE,
    ("ES256", "RS256", "PS256", "HS256", "Ed25519"),
    insecure_accept_symmetric=True,
)
"""A verifier as careless as the rules allow: every algorithm at once."""


def test_the_token_these_tests_bend_is_good() -> None:
    """So that each refusal below has one reason."""
    for alg in ("ES256", "RS256", "Ed25519"):
        key = private_key(alg)
        assert fault_of(mint(header(key), key=key), rules=EVERYTHING, find_key=finding(key)) is None


@pytest.mark.attack(row=1)
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "none "])
@pytest.mark.parametrize("tail", [".", ".AA", ""])
def test_unsecured_tokens_are_refused(alg: str, tail: str) -> None:
    """`none` is not in the table, in no spelling, with or without a signature or its dot."""
    good_signature = "." + mint().rsplit(".", 1)[1]
    token = f"{segment(header(alg=alg))}.{segment(mint_claims())}"

    assert fault_of(token + tail, rules=EVERYTHING) in (Fault.ALGORITHM, Fault.MALFORMED)
    assert fault_of(token + good_signature, rules=EVERYTHING) is Fault.ALGORITHM


def mint_claims() -> dict[str, Any]:
    return orjson.loads(base64url.decode(mint().split(".")[1]))  # type: ignore[no-any-return]  # our own JSON


@pytest.mark.attack(row=2)
def test_no_verifier_without_a_key() -> None:
    """Nothing, an empty text or an empty set builds no key; without a key no token passes."""
    for nothing in ({}, {"kty": "oct", "k": ""}, {"kty": "oct"}, {"kty": "EC", "crv": "P-256", "x": "", "y": ""}):
        with pytest.raises(JwkError):
            parse_public_jwk(nothing, insecure_allow_hmac=True)
    with pytest.raises(JwkSetError):
        parse_jwk_set(b'{"keys":[]}')
    for alg in ("ES256", "HS256"):
        token = mint_hmac(header(alg=alg), b"")
        assert fault_of(token, rules=EVERYTHING, find_key=lambda *_: None) is Fault.UNKNOWN_KEY


def public_key_texts() -> list[bytes]:
    """The RSA key of the tests in every text an HMAC could be made with."""
    n = int.from_bytes(base64url.decode(private_key("RS256").public.members["n"]), "big")
    key = RSAPublicNumbers(65537, n).public_key()
    return [
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        orjson.dumps(render_public_jwk(private_key("RS256").public)),
    ]


@pytest.mark.attack(row=3)
@pytest.mark.parametrize("text", public_key_texts(), ids=["spki", "pkcs1", "der", "openssh", "cert", "jwk"])
def test_an_hmac_with_the_public_key_is_refused(text: bytes) -> None:
    """CVE-2017-11424 and heirs: a key is bound to RS256, and HS256 looks for another."""
    rsa = private_key("RS256")
    token = mint_hmac(header(rsa, alg="HS256"), text)

    assert fault_of(token, rules=EVERYTHING, find_key=finding(rsa)) is Fault.UNKNOWN_KEY
    assert fault_of(token, rules=EVERYTHING, find_key=lambda *_: rsa.public) is Fault.ALGORITHM
    assert (
        fault_of(token, rules=AccessTokenRules(ISSUER, AUDIENCE, ("RS256",)), find_key=finding(rsa)) is Fault.ALGORITHM
    )


@pytest.mark.attack(row=4)
@pytest.mark.attack(row=5)
@pytest.mark.parametrize("prefix", [b"", b"\n", b" ", b"\xef\xbb\xbf", b"\t", b"\r\n\x0b", b"#comment\n", b"x" * 40])
def test_public_key_text_is_no_hmac_secret_whatever_leads_it_in(prefix: bytes) -> None:
    """CVE-2026-34950 and its incomplete fix: searched for, not only at the start; DER as well."""
    parse_public_jwk({"kty": "oct", "k": base64url.encode(prefix + b"s" * 32)}, insecure_allow_hmac=True)

    for text in public_key_texts()[:5]:
        if prefix and text.startswith(b"0"):
            continue  # DER with a prefix is no DER
        with pytest.raises(JwkError, match="no secret"):
            parse_public_jwk({"kty": "oct", "k": base64url.encode(prefix + text)}, insecure_allow_hmac=True)


@pytest.mark.attack(row=7)
@pytest.mark.parametrize("alg", ["HS256", "PS256", "ES256"])
def test_a_jwk_without_alg_does_not_follow_the_header(alg: str) -> None:
    """CVE-2026-22817: an RSA key that does not say is RS256 here, and nothing else."""
    jwk = {name: value for name, value in render_public_jwk(private_key("RS256").public).items() if name != "alg"}
    keys = parse_jwk_set(orjson.dumps({"keys": [jwk]}))
    rsa = private_key("RS256")
    assert fault_of(mint(header(rsa), key=rsa), rules=EVERYTHING, find_key=keys.find) is None

    token = mint(header(rsa, alg=alg), key=rsa)

    assert fault_of(token, rules=EVERYTHING, find_key=keys.find) is Fault.UNKNOWN_KEY


@pytest.mark.attack(row=8)
def test_the_json_serialization_is_refused() -> None:
    """GHSA-jc38-x7x8-2xc8: where there is no unprotected header, no `alg` can hide in it."""
    protected, payload, signature = mint().split(".")
    general = {
        "payload": payload,
        "signatures": [{"protected": protected, "header": {"alg": "none"}, "signature": signature}],
    }
    flattened = {"payload": payload, "protected": protected, "header": {"alg": "ES256"}, "signature": signature}

    for document in (general, flattened):
        assert fault_of(orjson.dumps(document).decode(), rules=EVERYTHING) is Fault.MALFORMED


@pytest.mark.attack(row=9)
def test_an_embedded_key_is_never_used() -> None:
    """CVE-2018-0114: signed with the attacker's key and carrying it along."""
    attacker = private_key("ES256", "attacker")
    embedded = render_public_jwk(attacker.public)

    assert fault_of(mint(header(jwk=embedded), key=attacker)) is Fault.SIGNATURE
    assert fault_of(mint(header(attacker, jwk=embedded), key=attacker)) is Fault.UNKNOWN_KEY
    assert fault_of(mint(header(kid=..., jwk=embedded), key=attacker)) is Fault.UNKNOWN_KEY
    assert fault_of(mint(header(jwk=embedded))) is None


@pytest.mark.attack(row=10)
@pytest.mark.parametrize("member", ["jku", "x5u", "x5c"])
def test_a_key_address_in_the_header_is_data(member: str) -> None:
    """The path is pure: it could not fetch if it wanted to. The token stands or falls with our own key."""
    attacker = private_key("ES256", "attacker")
    where: Any = ["MIIB"] if member == "x5c" else "https://attacker.example/jwks.json"

    assert fault_of(mint(header(**{member: where}), key=attacker)) is Fault.SIGNATURE
    assert fault_of(mint(header(**{member: where}))) is None


@pytest.mark.attack(row=12)
@pytest.mark.attack(row=13)
@pytest.mark.parametrize(
    "kid",
    [
        "../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "k; rm -rf /",
        "https://attacker.example/k",
        "file:///etc/passwd",
        "%00",
        "\x00",
    ],
)
def test_kid_is_only_ever_a_name(kid: str) -> None:
    """It is compared with the names of the set, and goes nowhere else."""
    keys = parse_jwk_set(orjson.dumps({"keys": [render_public_jwk(private_key().public)]}))
    asked: list[str | None] = []

    def find_key(name: str | None, alg: str) -> PublicKey | None:
        asked.append(name)
        return keys.find(name, alg)

    for token in (mint(header(kid=kid)), mint_hmac(header(kid=kid, alg="HS256"), b"")):
        assert fault_of(token, rules=EVERYTHING, find_key=find_key) is Fault.UNKNOWN_KEY
    assert asked == [kid, kid]


@pytest.mark.attack(row=14)
@pytest.mark.parametrize("kid", [5, None, True, ["k"], {"k": 1}, "", "k" * 513])
def test_a_kid_of_another_type_or_size_is_refused(kid: object) -> None:
    """A registered parameter is a text of sensible length, or the header is malformed."""
    assert fault_of(mint(header(kid=kid))) is Fault.MALFORMED


@pytest.mark.attack(row=14)
def test_a_token_without_kid_is_not_tried_against_every_key() -> None:
    """One key of its algorithm: that one. Two: none."""
    one, two = (render_public_jwk(private_key("ES256", name).public) for name in ("one", "two"))
    token = mint(header(kid=...))

    assert fault_of(token, find_key=parse_jwk_set(orjson.dumps({"keys": [one]})).find) is None
    assert fault_of(token, find_key=parse_jwk_set(orjson.dumps({"keys": [one, two]})).find) is Fault.UNKNOWN_KEY


@pytest.mark.attack(row=14)
def test_a_kid_doubled_in_the_set_names_neither_key() -> None:
    """Which of two keys counts must not depend on their order in a list."""
    one, two, three = (render_public_jwk(private_key("ES256", name).public) for name in ("one", "two", "three"))
    doubled = parse_jwk_set(orjson.dumps({"keys": [one, {**two, "kid": one["kid"]}, three]}))

    assert fault_of(mint(), find_key=doubled.find) is Fault.UNKNOWN_KEY


@pytest.mark.attack(row=15)
@pytest.mark.parametrize("size", [0, 1, 16, 31])
def test_a_short_hmac_secret_makes_no_key(size: int) -> None:
    """GHSA and CVE-2026-45363: zero bytes were a key elsewhere."""
    with pytest.raises(JwkError, match="at least 32"):
        parse_public_jwk({"kty": "oct", "k": base64url.encode(b"s" * size)}, insecure_allow_hmac=True)


@pytest.mark.attack(row=16)
def test_weak_keys_make_no_key() -> None:
    """RSA of 1024 bits, an exponent of 1, and HS256 without an explicit choice."""
    n = "w" + "A" * 169 + "Q"
    for jwk in (
        {"kty": "RSA", "n": n, "e": "AQAB"},
        {**render_public_jwk(private_key("RS256").public), "e": "AQ"},
        {"kty": "oct", "k": base64url.encode(b"s" * 32)},
    ):
        with pytest.raises(JwkError):
            parse_public_jwk(jwk)
    with pytest.raises(ConfigurationError):
        AccessTokenRules(ISSUER, AUDIENCE, ("HS256",))


@pytest.mark.attack(row=17)
def test_a_curve_that_is_not_the_algorithms_is_refused() -> None:
    """P-384 keys under ES256 in the set, and an ES256 header over a P-384 key."""
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-384",
        "x": base64url.encode(numbers.x.to_bytes(48, "big")),
        "y": base64url.encode(numbers.y.to_bytes(48, "big")),
    }
    key = parse_public_jwk(jwk)
    assert key.alg == "ES384"

    for mislabelled in ({**jwk, "alg": "ES256"}, {**jwk, "crv": "P-256"}, {**jwk, "crv": "P-521"}):
        with pytest.raises(JwkError):
            parse_public_jwk(mislabelled)
    assert fault_of(mint(), rules=EVERYTHING, find_key=lambda *_: key) is Fault.ALGORITHM


@pytest.mark.attack(row=18)
def test_a_key_for_encryption_does_not_verify() -> None:
    """`use` and `key_ops` are read: the token is good, the key is not for it."""
    jwk = render_public_jwk(private_key().public)
    other = render_public_jwk(private_key("ES256", "two").public)

    for changes in ({"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": ["deriveBits"]}):
        keys = parse_jwk_set(orjson.dumps({"keys": [{**jwk, **changes}, other]}))
        assert fault_of(mint(), find_key=keys.find) is Fault.UNKNOWN_KEY
    assert fault_of(mint(), find_key=parse_jwk_set(orjson.dumps({"keys": [jwk, other]})).find) is None


@pytest.mark.attack(row=19)
@pytest.mark.attack(row=20)
def test_keys_of_two_issuers_are_never_together() -> None:
    """Same `kid`, two issuers: each has a cache of its own, so there is no common name to confuse."""
    caches = {}
    for issuer, name in (("https://a.example", "one"), ("https://b.example", "two")):
        caches[issuer] = KeyCache()
        jwk = {**render_public_jwk(private_key("ES256", name).public), "kid": "same"}
        caches[issuer].fetched(parse_jwk_set(orjson.dumps({"keys": [jwk]})), now=0)

    def find_key(issuer: str) -> Any:
        def find(kid: str | None, alg: str) -> PublicKey | None:
            action = caches[issuer].lookup(kid, alg, now=1)
            assert isinstance(action, Use | Unknown)
            return action.key if isinstance(action, Use) else None

        return find

    of_a = mint(header(kid="same"), {**mint_claims(), "iss": "https://a.example"})

    rules_a, rules_b = AccessTokenRules("https://a.example", AUDIENCE), AccessTokenRules("https://b.example", AUDIENCE)
    assert fault_of(of_a, rules=rules_a, find_key=find_key("https://a.example")) is None
    assert fault_of(of_a, rules=rules_b, find_key=find_key("https://b.example")) is Fault.SIGNATURE
    assert fault_of(of_a, rules=rules_b, find_key=find_key("https://a.example")) is Fault.ISSUER


@pytest.mark.attack(row=21)
@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_public_key_with_a_private_part_is_refused(member: str) -> None:
    """As in a DPoP proof's `jwk`: who sends their private key has none."""
    jwk: dict[str, Any] = dict(render_public_jwk(private_key().public))
    parse_public_jwk(jwk)

    for value in ("AA", "", None):
        with pytest.raises(JwkError, match="private"):
            parse_public_jwk({**jwk, member: value})


def test_the_der_text_of_row_three_is_a_public_key() -> None:
    """The attack material is what it claims to be."""
    assert load_der_public_key(public_key_texts()[2])
