"""The examples of RFC 7520 that lie within our profile: §3.1, §3.3 and §3.5 (keys), §4.1 to §4.5 (compact JWS).

Left out: JSON serialization (§4.6 to §4.8), JWE (§5, §6). Wycheproof has §4.1 to §4.4 too, but names another `alg`
in the keys of §4.2 and §4.3; here the keys are as the RFC prints them, without one.
"""

from __future__ import annotations

from typing import Any

import pytest

from portero.core.jose import base64url
from portero.core.jose.jwk import PublicKey, parse_public_jwk
from portero.core.jose.jws import INSECURE_ANY_TYP, JwsError, JwsFault, VerifiedJws, verify_compact

RSA_KEY = {
    "kty": "RSA",
    "kid": "bilbo.baggins@hobbiton.example",
    "use": "sig",
    "n": (
        "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRB"
        "SFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD"
        "1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_"
        "qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw"
    ),
    "e": "AQAB",
}
"""§3.3."""
EC_KEY = {
    "kty": "EC",
    "kid": "bilbo.baggins@hobbiton.example",
    "use": "sig",
    "crv": "P-521",
    "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
    "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
}
"""§3.1."""
SYMMETRIC_KEY = {
    "kty": "oct",
    "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037",
    "use": "sig",
    "alg": "HS256",
    "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
}
"""§3.5."""
PAYLOAD = (
    "It’s a dangerous business, Frodo, going out your door. You step onto the road, and if you don't keep your feet, "
    "there’s no knowing where you might be swept off to."
).encode()
"""§4, figure 7."""
SIGNED: dict[str, tuple[dict[str, str], str, str, str]] = {
    "4.1": (
        RSA_KEY,
        "RS256",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        (
            "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi8"
            "4wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocS"
            "adnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJu"
            "shZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"
        ),
    ),
    "4.2": (
        RSA_KEY,
        "PS384",
        "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        (
            "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItl"
            "lVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0"
            "TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0"
            "uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"
        ),
    ),
    "4.3": (
        EC_KEY,
        "ES512",
        "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        (
            "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_"
            "sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"
        ),
    ),
    "4.4": (
        SYMMETRIC_KEY,
        "HS256",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
        "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
    ),
}
"""Section → key, algorithm, protected header, signature; the payload is the same in all."""


def verified(section: str, token: str) -> VerifiedJws:
    jwk, alg, _, _ = SIGNED[section]
    key = parse_public_jwk(jwk, default_rsa_alg=alg if alg.startswith("PS") else "RS256", insecure_allow_hmac=True)

    def find_key(kid: str | None, wanted: str) -> PublicKey | None:
        return key if (kid, wanted) == (key.kid, key.alg) else None

    return verify_compact(token, find_key=find_key, algorithms=(alg,), expected_typ=INSECURE_ANY_TYP)


@pytest.mark.parametrize("section", SIGNED)
def test_the_signature_is_verified_and_covers_the_payload(section: str) -> None:
    """§4.1 to §4.4: the key is found by the header's `kid` and `alg`, and the payload comes back to the byte."""
    jwk, alg, header, signature = SIGNED[section]

    jws = verified(section, f"{header}.{base64url.encode(PAYLOAD)}.{signature}")

    assert (jws.payload, jws.header.alg, jws.header.kid) == (PAYLOAD, alg, jwk["kid"])


@pytest.mark.parametrize("section", SIGNED)
def test_another_payload_is_not_covered(section: str) -> None:
    """The same header and signature over one character more."""
    _, _, header, signature = SIGNED[section]

    with pytest.raises(JwsError) as refused:
        verified(section, f"{header}.{base64url.encode(PAYLOAD + b'!')}.{signature}")

    assert refused.value.fault is JwsFault.SIGNATURE


def test_detached_content_is_not_taken_for_empty_content() -> None:
    """§4.5: a compact JWS whose payload is elsewhere. There is no way to hand it in, so it does not verify."""
    _, _, header, signature = SIGNED["4.4"]

    with pytest.raises(JwsError) as refused:
        verified("4.4", f"{header}..{signature}")

    assert refused.value.fault is JwsFault.SIGNATURE


@pytest.mark.parametrize(
    ("jwk", "alg"),
    [pytest.param(EC_KEY, "ES512", id="3.1"), pytest.param(RSA_KEY, "RS256", id="3.3")],
)
def test_a_key_without_alg_is_bound_to_one(jwk: dict[str, Any], alg: str) -> None:
    """§3.1 by its curve, §3.3 by the default for RSA; the header chooses nothing."""
    assert parse_public_jwk(jwk).alg == alg
