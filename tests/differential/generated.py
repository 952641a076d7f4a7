"""Tokens that deviate from a good one in named ways: what they are is known before anybody verifies them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from portero.core.jose import base64url
from portero.core.jose.jwk import PrivateKey
from tests.core.jose.minting import AUDIENCE, ISSUER, private_key, segment

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _compact(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


@dataclass
class Draft:
    """A good token in parts, to be spoiled. What the wire carries is what these members say."""

    key: PrivateKey
    head: dict[str, Any]
    body: dict[str, Any]
    render: Callable[[dict[str, Any]], bytes] = _compact
    encode_payload: Callable[[bytes], str] = base64url.encode
    sign: Callable[[bytes], bytes] = lambda signature: signature
    encode_signature: Callable[[bytes], str] = base64url.encode
    wrap: Callable[[str], str] = lambda token: token

    def token(self) -> str:
        signing_input = f"{segment(self.head)}.{self.encode_payload(self.render(self.body))}"
        signature = self.sign(self.key.sign(signing_input.encode()))
        return self.wrap(f"{signing_input}.{self.encode_signature(signature)}")


Change = Callable[[Draft, Any], None]


def good() -> Draft:
    """What all accept. The clock is the real one: not every library lets itself be told the time."""
    now = int(time.time())
    key = private_key()
    body: dict[str, Any] = {"iss": ISSUER, "sub": "ana", "aud": AUDIENCE, "exp": now + 600, "iat": now}
    body |= {"jti": "j-1", "client_id": "shop", "scope": "orders:read"}
    return Draft(key, {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}, body)


def _claim(name: str) -> Change:
    return lambda draft, value: _set(draft.body, name, value)


def _parameter(name: str) -> Change:
    return lambda draft, value: _set(draft.head, name, value)


def _set(members: dict[str, Any], name: str, value: Any) -> None:
    if value is ...:
        members.pop(name, None)
    else:
        members[name] = value


def _later(name: str) -> Change:
    """The claim so many seconds from now."""
    return lambda draft, seconds: _set(draft.body, name, int(time.time()) + seconds)


def _rendered(render: Callable[[dict[str, Any]], bytes]) -> Change:
    return lambda draft, _: setattr(draft, "render", render)


def _part(name: str, function: Callable[[Any], Any]) -> Change:
    return lambda draft, _: setattr(draft, name, function)


def _high_s(signature: bytes) -> bytes:
    """The other signature of the same message: (r, n − s)."""
    return signature[:32] + (P256_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def _der(signature: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def _spare_bits(data: bytes) -> str:
    """86 characters end in four spare bits: the next character of the alphabet means the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = base64url.encode(data)
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


def _padded(data: bytes) -> str:
    text = base64url.encode(data)
    return text + "=" * (-len(text) % 4)


def _standard_alphabet(data: bytes) -> str:
    return base64url.encode(data).replace("-", "+").replace("_", "/")


def _interrupted(by: str) -> Callable[[bytes], str]:
    return lambda data: base64url.encode(data)[:40] + by + base64url.encode(data)[40:]


def _flipped(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


_once = st.just(None)
_words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
_kinds: dict[str, SearchStrategy[Any]] = {
    "missing": st.just(...),
    "null": st.none(),
    "boolean": st.booleans(),
    "empty": st.just(""),
    "number": st.integers(0, 10**9),
    "array": st.lists(_words, max_size=3),
    "mixed array": st.tuples(_words, st.integers(0, 9)).map(list),
    "object": st.dictionaries(_words, st.integers(0, 9), max_size=2),
}
_dates: dict[str, SearchStrategy[Any]] = {
    "missing": st.just(...),
    "null": st.none(),
    "boolean": st.booleans(),
    "text": _words.filter(lambda text: not text.isdigit()),
    "digits": st.integers(4 * 10**9, 9 * 10**9).map(str),
    "negative": st.integers(-(10**9), -1),
    "beyond 9999": st.integers(253402300800, 10**15),
    "array": st.lists(st.integers(0, 9), max_size=2),
    "object": st.just({}),
}

DEVIATIONS: dict[str, tuple[SearchStrategy[Any], Change]] = {
    **{
        f"{name}: {kind}": (values, _claim(name))
        for name in ("iss", "aud", "sub", "jti", "client_id")
        for kind, values in _kinds.items()
    },
    **{f"{name}: {kind}": (values, _claim(name)) for name in ("exp", "iat", "nbf") for kind, values in _dates.items()},
    **{f"{name}: future": (st.integers(300, 10**6), _later(name)) for name in ("exp", "iat", "nbf")},
    **{f"{name}: past": (st.integers(-(10**6), -300), _later(name)) for name in ("exp", "iat", "nbf")},
    **{f"{name}: within the leeway": (st.integers(-40, 40), _later(name)) for name in ("exp", "iat", "nbf")},
    "exp: fraction": (st.just(600.5), _later("exp")),
    "iat: fraction": (st.just(-600.5), _later("iat")),
    "nbf: fraction": (st.just(-600.5), _later("nbf")),
    "iss: another": (_words, _claim("iss")),
    "iss: with a slash more": (st.just(ISSUER + "/"), _claim("iss")),
    "iss: array with ours": (st.just([ISSUER]), _claim("iss")),
    "aud: another": (_words, _claim("aud")),
    "aud: beginning like ours": (st.just(AUDIENCE + "x"), _claim("aud")),
    "aud: several, ours among them": (_words.map(lambda word: [word, AUDIENCE]), _claim("aud")),
    "aud: ours and a number": (st.just([AUDIENCE, 1]), _claim("aud")),
    "sub: another": (_words, _claim("sub")),
    "a claim nobody knows": (st.dictionaries(_words, _words, max_size=2), _claim("https://shop.example/extra")),
    **{
        f"{name}: {kind}": (_kinds[kind], _claim(name))
        for name in ("scope", "sid", "acr")
        for kind in ("null", "number", "object", "mixed array")
    },
    **{
        f"{name}: {kind}": (_kinds[kind], _claim(name))
        for name in ("roles", "amr")
        for kind in ("null", "array", "number", "object", "mixed array")
    },
    **{f"cnf: {kind}": (_kinds[kind], _claim("cnf")) for kind in ("null", "number", "object")},
    "cnf: a thumbprint": (st.just({"jkt": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}), _claim("cnf")),
    "typ: upper case": (st.just("AT+JWT"), _parameter("typ")),
    "typ: with its prefix": (st.just("application/at+jwt"), _parameter("typ")),
    "typ: JWT": (st.just("JWT"), _parameter("typ")),
    "typ: another": (_words, _parameter("typ")),
    "typ: missing": (st.just(...), _parameter("typ")),
    "typ: no text": (st.integers(0, 9) | st.none(), _parameter("typ")),
    "alg: none": (st.sampled_from(["none", "None", "NONE"]), _parameter("alg")),
    "alg: another": (st.sampled_from(["HS256", "RS256", "ES384", "ES256K", "es256", ""]), _parameter("alg")),
    "alg: missing": (st.just(...), _parameter("alg")),
    "alg: no text": (st.integers(0, 9) | st.none(), _parameter("alg")),
    "kid: missing": (st.just(...), _parameter("kid")),
    "kid: another": (_words, _parameter("kid")),
    "kid: no text": (st.integers(0, 9) | st.none(), _parameter("kid")),
    "crit: known to nobody": (_words.map(lambda word: [f"https://x.example/{word}"]), _parameter("crit")),
    "crit: empty": (st.just([]), _parameter("crit")),
    "crit: a registered name": (st.just(["exp"]), _parameter("crit")),
    "crit: no array": (st.just("exp") | st.none(), _parameter("crit")),
    "b64: true": (st.just(True), _parameter("b64")),
    "b64: false": (st.just(False), _parameter("b64")),
    "enc: there": (st.just("A256GCM"), _parameter("enc")),
    "zip: there": (st.just("DEF"), _parameter("zip")),
    "jwk: there": (st.just({"kty": "oct", "k": "AAAA"}), _parameter("jwk")),
    "jku: there": (st.just("https://thief.example/jwks"), _parameter("jku")),
    "x5c: there": (st.just(["AAAA"]), _parameter("x5c")),
    "payload: with white space": (_once, _rendered(lambda body: json.dumps(body, indent=1).encode())),
    "payload: with escapes": (_once, _rendered(lambda body: _compact(body).replace(b"ana", b"\\u0061na"))),
    "payload: a member twice": (_once, _rendered(lambda body: b'{"sub":"bea",' + _compact(body)[1:])),
    "payload: with a byte order mark": (_once, _rendered(lambda body: b"\xef\xbb\xbf" + _compact(body))),
    "payload: UTF-16": (_once, _rendered(lambda body: json.dumps(body).encode("utf-16"))),
    "payload: not UTF-8": (_once, _rendered(lambda body: _compact(body)[:-1] + b',"x":"\xff"}')),
    "payload: NaN": (_once, _rendered(lambda body: _compact(body)[:-1] + b',"x":NaN}')),
    "payload: a number out of range": (_once, _rendered(lambda body: _compact(body)[:-1] + b',"x":1e999}')),
    "payload: a lone surrogate": (_once, _rendered(lambda body: _compact(body)[:-1] + b',"x":"\\ud800"}')),
    "payload: a hundred levels": (
        _once,
        _rendered(lambda body: _compact(body)[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}"),
    ),
    "payload: an array": (_once, _rendered(lambda body: b"[" + _compact(body) + b"]")),
    "payload: something behind it": (_once, _rendered(lambda body: _compact(body) + b"x")),
    "payload: empty": (_once, _rendered(lambda _: b"")),
    "payload: padded base64": (_once, _part("encode_payload", _padded)),
    "payload: a line break in base64": (_once, _part("encode_payload", _interrupted("\n"))),
    "payload: a character outside base64url": (_once, _part("encode_payload", _interrupted("!"))),
    "token: nine thousand characters": (_once, lambda draft, _: _set(draft.body, "x", "y" * 9000)),
    "token: white space around": (_once, _part("wrap", lambda token: f" {token}\n")),
    "token: four segments": (_once, _part("wrap", lambda token: f"{token}.")),
    "token: two segments": (_once, _part("wrap", lambda token: token.rpartition(".")[0])),
    "token: not ASCII": (_once, _part("wrap", lambda token: token + "é")),
    "signature: the other s": (_once, _part("sign", _high_s)),
    "signature: DER": (_once, _part("sign", _der)),
    "signature: zeros": (_once, _part("sign", lambda _: bytes(64))),
    "signature: empty": (_once, _part("sign", lambda _: b"")),
    "signature: shortened": (
        st.integers(1, 63),
        lambda draft, count: setattr(draft, "sign", lambda signature: signature[:count]),
    ),
    "signature: lengthened": (_once, _part("sign", lambda signature: signature + b"\0")),
    "signature: a bit changed": (
        st.integers(0, 511),
        lambda draft, bit: setattr(draft, "sign", lambda signature: _flipped(signature, bit)),
    ),
    "signature: spare bits": (_once, _part("encode_signature", _spare_bits)),
    "signature: padded": (_once, _part("encode_signature", _padded)),
    "signature: the other base64 alphabet": (_once, _part("encode_signature", _standard_alphabet)),
    "key: a thief's": (_once, lambda draft, _: setattr(draft, "key", private_key(name="thief"))),
}
"""Name → the values it takes, and how a value spoils the draft."""


@st.composite
def spoiled(draw: Any, names: tuple[str, ...] | None = None) -> tuple[str, tuple[str, ...]]:
    """A token and the names of what is unusual about it: nothing, one thing, or two."""
    if names is None:
        names = tuple(
            draw(st.lists(st.sampled_from(sorted(DEVIATIONS)), max_size=2, unique_by=lambda name: name.split(":")[0]))
        )
    draft = good()
    for name in names:
        values, change = DEVIATIONS[name]
        change(draft, draw(values))
    return draft.token(), names
