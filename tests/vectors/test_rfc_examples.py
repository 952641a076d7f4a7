"""The examples of the RFCs that lie within our profile: JWS compact, signatures, public keys."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from portero.core.jose import base64url
from portero.core.jose.jwk import parse_public_jwk, private_key_from_jwk, thumbprint
from portero.core.jose.jwk_set import parse_jwk_set
from portero.core.jose.jws import INSECURE_ANY_TYP, JwsError, JwsFault, verify_compact
from portero.core.types import Secret

JOE = b'{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
JOE_SEGMENT = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
HS256_KEY = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
RS256_KEY = {
    "kty": "RSA",
    "n": (
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-"
        "pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Cap"
        "Hg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h"
        "4FRWyuXpoQ"
    ),
    "e": "AQAB",
}
ES256_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
ES512_KEY = {
    "kty": "EC",
    "crv": "P-521",
    "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
    "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
}
ED25519_KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RFC7638_KEY = {
    "kty": "RSA",
    "n": (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn"
        "jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q"
        "MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap"
        "JzKnqDKgw"
    ),
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}


@pytest.mark.parametrize(
    ("jwk", "alg", "token", "payload"),
    [
        pytest.param(
            HS256_KEY,
            "HS256",
            f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE_SEGMENT}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            JOE,
            id="RFC 7515 A.1",
        ),
        pytest.param(
            RS256_KEY,
            "RS256",
            f"eyJhbGciOiJSUzI1NiJ9.{JOE_SEGMENT}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
            "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARN"
            "PvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUi"
            "pUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            JOE,
            id="RFC 7515 A.2",
        ),
        pytest.param(
            ES256_KEY,
            "ES256",
            f"eyJhbGciOiJFUzI1NiJ9.{JOE_SEGMENT}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
            "pmWQxfKTUJqPP3-Kg6NU1Q",
            JOE,
            id="RFC 7515 A.3",
        ),
        pytest.param(
            ES512_KEY,
            "ES512",
            "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34"
            "XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
            b"Payload",
            id="RFC 7515 A.4",
        ),
        pytest.param(
            ED25519_KEY,
            "EdDSA",
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4"
            "ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            b"Example of Ed25519 signing",
            id="RFC 8037 A.4",
        ),
    ],
)
def test_the_examples_verify(jwk: dict[str, Any], alg: str, token: str, payload: bytes) -> None:
    """And with the last character of the payload exchanged they do not."""
    key = parse_public_jwk(jwk, insecure_allow_hmac=True)
    header, body, signature = token.split(".")
    body = body[:-1] + ("Q" if body[-1] != "Q" else "g")

    jws = verify_compact(token, find_key=lambda *_: key, algorithms={alg}, expected_typ=INSECURE_ANY_TYP)
    with pytest.raises(JwsError) as refused:
        verify_compact(
            f"{header}.{body}.{signature}", find_key=lambda *_: key, algorithms={alg}, expected_typ=INSECURE_ANY_TYP
        )

    assert jws.payload == payload
    assert refused.value.fault is JwsFault.SIGNATURE


def test_the_unsecured_example_is_refused() -> None:
    """RFC 7515 A.5: `none` is not in the table, whatever a caller allows."""
    with pytest.raises(JwsError) as refused:
        verify_compact(
            f"eyJhbGciOiJub25lIn0.{JOE_SEGMENT}.",
            find_key=lambda *_: parse_public_jwk(ES256_KEY),
            algorithms={"none"},
            expected_typ=INSECURE_ANY_TYP,
        )

    assert refused.value.fault is JwsFault.ALGORITHM


def test_the_critical_header_example_is_refused() -> None:
    """RFC 7515 appendix E: an extension nobody understands."""
    token = "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA."  # noqa: E501  # a vector

    with pytest.raises(JwsError, match="crit"):
        verify_compact(token, find_key=lambda *_: None, algorithms={"none"}, expected_typ=INSECURE_ANY_TYP)


def test_the_thumbprint_examples() -> None:
    """RFC 7638 §3.1 and RFC 8037 A.3; optional members change nothing."""
    assert thumbprint(RFC7638_KEY) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert parse_public_jwk(RFC7638_KEY).thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert thumbprint(ED25519_KEY) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_example_set_gives_its_signing_key() -> None:
    """RFC 7517 A.1: the key for encryption is left out, the other found by its `kid`."""
    encryption = {
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "use": "enc",
        "kid": "1",
    }

    keys = parse_jwk_set(orjson.dumps({"keys": [encryption, RFC7638_KEY]}))

    assert keys.find("1", "ES256") is None
    assert keys.find("2011-04-29", "RS256") is not None


def test_the_ed25519_example_is_signed_to_the_byte() -> None:
    """RFC 8037 A.1 and A.4."""
    key = private_key_from_jwk(
        Secret(orjson.dumps({**ED25519_KEY, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}))
    )

    signature = key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")

    assert base64url.encode(signature).startswith("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B")


def test_the_deterministic_ecdsa_example_is_signed_to_the_byte() -> None:
    """RFC 6979 A.2.5, P-256 with SHA-256, message "sample"."""

    def text(number: str) -> str:
        return base64url.encode(bytes.fromhex(number))

    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": text("60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"),
        "y": text("7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"),
        "d": text("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"),
    }

    signature = private_key_from_jwk(Secret(orjson.dumps(jwk))).sign(b"sample")

    assert signature.hex().upper() == (
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    )
