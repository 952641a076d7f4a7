"""Signature encoding: one spelling for every signature, and identifiers, never bytes, for revocation."""

from __future__ import annotations

import orjson
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from portero.core.jose import base64url
from portero.core.jose.jwk import parse_public_jwk
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.revocation.subscription_set import RevokedSet
from portero.core.tokens.access_token import AccessTokenRules, Fault, verify_access_token
from portero.core.types import Issuer, NumericDate
from tests.core.jose.minting import AUDIENCE, CLAIMS, ISSUER, NOW, RULES, fault_of, finding, mint, private_key, segment

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256."""
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def parts(token: str) -> tuple[str, bytes]:
    signing_input, _, signature = token.rpartition(".")
    return signing_input, base64url.decode(signature)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.mark.attack(row=22)
@pytest.mark.parametrize("r", [0, 1, N - 1, N, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, N - 1, N, 2**256 - 1])
def test_psychic_signatures_are_refused(r: int, s: int) -> None:
    """CVE-2022-21449: values that satisfy a careless equation for any message."""
    signing_input, _ = parts(mint())

    assert fault_of(f"{signing_input}.{base64url.encode(raw(r, s))}") is Fault.SIGNATURE


@pytest.mark.attack(row=23)
def test_an_ecdsa_signature_has_exactly_64_bytes() -> None:
    """RFC 7518 §3.4: DER, longer, shorter and padded forms of a good signature are no signature."""
    signing_input, good = parts(mint())
    r, s = int.from_bytes(good[:32], "big"), int.from_bytes(good[32:], "big")
    assert fault_of(f"{signing_input}.{base64url.encode(good)}") is None

    for bad in (
        encode_dss_signature(r, s),
        good + b"\x00",
        b"\x00" + good,
        good[:-1],
        good[1:],
        good[:32] + b"\x00" + good[32:],
        good[:32],
        good * 2,
        raw(s, r),
        b"",
    ):
        assert fault_of(f"{signing_input}.{base64url.encode(bad)}") is Fault.SIGNATURE


@pytest.mark.attack(row=23)
def test_small_components_are_encoded_rightly() -> None:
    """A signature whose r or s begins with zero bytes is as good as any other: the DER is ours, and must be right."""
    key = private_key()
    seen = 0
    for counter in range(3000):
        text = counter.to_bytes(4, "big")
        signature = key.sign(text)
        if signature[0] and signature[32]:
            continue
        seen += 1
        assert key.public.verify(signature, text)
    assert seen


@pytest.mark.attack(row=24)
def test_ps_and_rs_are_not_exchanged_and_the_salt_is_the_hash() -> None:
    """RFC 7518 §3.5: RS256 under PS256 and back, another salt length, another MGF hash."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "e": "AQAB", "n": base64url.encode(numbers.n.to_bytes(256, "big"))}
    rules = AccessTokenRules(ISSUER, AUDIENCE, ("RS256", "PS256"))
    sha256, sha1_mgf = hashes.SHA256(), padding.MGF1(hashes.SHA384())
    pss = padding.PSS(padding.MGF1(sha256), 32)

    def fault(alg: str, scheme: padding.AsymmetricPadding) -> Fault | None:
        public = parse_public_jwk({**jwk, "alg": alg})
        signing_input = f"{segment({'alg': alg, 'typ': 'at+jwt'})}.{segment(CLAIMS)}"
        signature = key.sign(signing_input.encode(), scheme, sha256)
        return fault_of(f"{signing_input}.{base64url.encode(signature)}", rules=rules, find_key=lambda *_: public)

    assert fault("PS256", pss) is None
    assert fault("RS256", padding.PKCS1v15()) is None
    assert fault("RS256", pss) is Fault.SIGNATURE
    assert fault("PS256", padding.PKCS1v15()) is Fault.SIGNATURE
    for salt in (0, 20, 31, 33):
        assert fault("PS256", padding.PSS(padding.MGF1(sha256), salt)) is Fault.SIGNATURE
    assert fault("PS256", padding.PSS(sha1_mgf, 32)) is Fault.SIGNATURE


@pytest.mark.attack(row=25)
def test_every_segment_has_one_spelling() -> None:
    """Padding, white space, the other alphabet and spare bits, in each segment of a good token."""
    good = mint()
    assert fault_of(good) is None

    for index in range(3):
        segments = good.split(".")
        segment_text = segments[index]
        variants = [
            segment_text + "=",
            segment_text + "==",
            segment_text + "\n",
            " " + segment_text,
            segment_text + "A",
        ]
        if len(segment_text) % 4:
            last = ALPHABET.index(segment_text[-1])
            variants.append(segment_text[:-1] + ALPHABET[last ^ 1])
        variants += [segment_text.replace("-", "+"), segment_text.replace("_", "/")]
        for variant in variants:
            if variant != segment_text:
                segments[index] = variant
                assert fault_of(".".join(segments)) is not None, variant


@pytest.mark.attack(row=25)
def test_a_payload_signed_in_another_spelling_is_refused() -> None:
    """The signature is good over these very characters; only the spelling is wrong."""
    key = private_key()
    head, body, _ = mint(body={**CLAIMS, "pad": "x" * (2 - len(orjson.dumps(CLAIMS)) % 3 + 2)}).split(".")
    for wrong in (body + "=", body + "==", body + "\n", body[:-1] + ALPHABET[ALPHABET.index(body[-1]) ^ 1]):
        signing_input = f"{head}.{wrong}"
        token = f"{signing_input}.{base64url.encode(key.sign(signing_input.encode()))}"
        if wrong[:-1] == body[:-1] and len(body) % 4 == 0:
            continue  # no spare bits to set
        assert fault_of(token) is Fault.MALFORMED


@pytest.mark.attack(row=26)
def test_the_other_valid_signature_of_a_revoked_token_is_revoked() -> None:
    """(r, n − s) verifies as well: a list of token bytes or digests would let it through, a list of `jti` does not."""
    token = mint(body={**CLAIMS, "sid": "s-1"})
    signing_input, signature = parts(token)
    flipped = raw(int.from_bytes(signature[:32], "big"), N - int.from_bytes(signature[32:], "big"))
    twin = f"{signing_input}.{base64url.encode(flipped)}"
    assert twin != token
    revoked = RevokedSet(Issuer(ISSUER))
    at, until = NumericDate(NOW), NumericDate(NOW + 400)
    revoked.add(Revocation(iss=Issuer(ISSUER), kind=RevokedKind.TOKEN, value="j-1", at=at, until=until))

    for text in (token, twin):
        verified = verify_access_token(text, rules=RULES, find_key=finding(private_key()), now=NOW)

        assert revoked.names(sid=verified.sid, jti=verified.jti, client_id=verified.client_id, kid=verified.kid)


@pytest.mark.attack(row=27)
def test_a_token_has_three_segments() -> None:
    """RFC 7515 §7.1: fewer, more, empty ones, and nothing at all."""
    head, body, signature = mint().split(".")

    for token in (
        "",
        ".",
        "..",
        "...",
        head,
        f"{head}.{body}",
        f"{head}.{body}.",
        f".{body}.{signature}",
        f"{head}..{signature}",
        f"{head}.{body}.{signature}.",
        f".{head}.{body}.{signature}",
        f"{head}.{body}.{signature}.{signature}",
        f"{head}.{body}.{signature}.a.b",
    ):
        assert fault_of(token) in (Fault.MALFORMED, Fault.SIGNATURE)


@pytest.mark.attack(row=28)
def test_a_token_that_is_compact_and_json_at_once_is_refused() -> None:
    """CVE-2022-39227: the signature of one reading, the claims of the other."""
    head, body, signature = mint().split(".")
    forged = segment({**CLAIMS, "sub": "root"})

    for token in (
        f'{{"protected":"{head}","payload":"{body}","signature":"{signature}"}}',
        f'{{"x":"{head}.{body}.{signature}"}}',
        f'{{"  {head}.":".{forged}.{signature}"}}',
        f'{head}.{forged}.{signature}{{"payload":"{body}"}}',
        f'{{"protected":"{head}", "payload":"{body}","signature":"{signature}"}}.{forged}.{signature}',
    ):
        assert fault_of(token) is Fault.MALFORMED
