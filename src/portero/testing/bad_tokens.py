"""Tokens that no service should accept, by name: what others let through is here, too.

    @pytest.mark.parametrize("name", BAD_TOKENS)
    def test_a_bad_token_is_refused(name, client, portero_issuer):
        headers = {"Authorization": f"Bearer {BAD_TOKENS[name](portero_issuer)}"}
        assert client.get("/orders", headers=headers).status_code == 401

Each differs from a good token of the issuer in the one thing its name says.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from portero.core.jose import base64url
from portero.core.jose.jwk import render_public_jwk
from portero.testing.issuer import InMemoryIssuer
from portero.testing.tokens import new_key

Bad = Callable[[InMemoryIssuer], str]


def _claims(**changes: Any) -> Bad:
    return lambda issuer: issuer.mint(**changes)


def _header(**changes: Any) -> Bad:
    return lambda issuer: issuer.mint(header=changes)


def _ago(claim: str, seconds: int) -> Bad:
    return lambda issuer: issuer.mint(**{claim: int(issuer.clock.now()) - seconds})


def _payload(change: Callable[[str], str]) -> Bad:
    def bad(issuer: InMemoryIssuer) -> str:
        return issuer.tokens.compose({}, change(json.dumps(issuer.tokens.claims())).encode())

    return bad


def _unsigned(alg: str) -> Bad:
    return lambda issuer: issuer.tokens.compose({"alg": alg}, issuer.tokens.claims(), signature=b"")


def _signed_with_the_public_key(issuer: InMemoryIssuer) -> str:
    public = json.dumps(render_public_jwk(issuer.tokens.key.public)).encode()
    text = issuer.tokens.compose({"alg": "HS256"}, issuer.tokens.claims(), signature=b"").rstrip(".")
    return f"{text}.{base64url.encode(hmac.digest(public, text.encode(), 'sha256'))}"


def _with_its_own_key(issuer: InMemoryIssuer) -> str:
    key = new_key(kid="mine")
    return issuer.mint(key=key, header={"jwk": render_public_jwk(key.public)})


def _changed_after_signing(issuer: InMemoryIssuer) -> str:
    header, _, signature = issuer.mint().split(".")
    payload = base64url.encode(json.dumps(issuer.tokens.claims(sub="admin")).encode())
    return f"{header}.{payload}.{signature}"


def _revoked(issuer: InMemoryIssuer) -> str:
    token = issuer.mint(sid="a session that was ended")
    issuer.revoke(sid="a session that was ended")
    return token


BAD_TOKENS: Mapping[str, Bad] = MappingProxyType(
    {
        "not a token": lambda _: "nonsense",
        "empty segments": lambda _: "..",
        "longer than 8 KiB": _claims(padding="x" * 9000),
        "expired": _ago("exp", 61),
        "without exp": _claims(exp=None),
        "exp as text": lambda issuer: issuer.mint(exp=str(int(issuer.clock.now()) + 300)),
        "exp beyond all dates": _claims(exp=10**30),
        "from the future": _ago("iat", -3600),
        "not valid yet": _ago("nbf", -3600),
        "of another issuer": _claims(iss="https://other.test"),
        "of an issuer with a slash more": lambda issuer: issuer.mint(iss=issuer.url + "/"),
        "for another audience": _claims(aud="https://other.test"),
        "without an audience": _claims(aud=None),
        "without a subject": _claims(sub=None),
        "without a client": _claims(client_id=None),
        "without an identifier": _claims(jti=None),
        "an ID token": _header(typ="JWT"),
        "a logout token": _header(typ="logout+jwt"),
        "without a type": _header(typ=None),
        "unsigned": _unsigned("none"),
        "unsigned, in other letters": _unsigned("nOnE"),
        "signed by another key": lambda issuer: issuer.mint(key=new_key(kid=issuer.tokens.key.kid)),
        "signed by a key nobody published": lambda issuer: issuer.mint(key=new_key(kid="nobody's")),
        "signed with the public key as a secret": _signed_with_the_public_key,
        "with its own key in the header": _with_its_own_key,
        "changed after it was signed": _changed_after_signing,
        "with a critical header nobody knows": _header(crit=["urgent"], urgent=True),
        "with a padded signature": lambda issuer: issuer.mint() + "=",
        "with the subject twice": _payload(lambda text: text[:-1] + ', "sub": "admin"}'),
        "not UTF-8": lambda issuer: issuer.tokens.compose({}, json.dumps(issuer.tokens.claims()).encode("utf-16")),
        "nested too deep": _payload(lambda text: text[:-1] + ', "x": ' + "[" * 1500 + "]" * 1500 + "}"),
        "scopes as a list": _claims(scope=["orders:read"]),
        "bound to a key, without proof": _claims(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        "bound in a way nobody knows": _claims(cnf={"kid": "mine"}),
        "revoked": _revoked,
    }
)
"""Name → makes the token. `revoked` needs a Guard that follows the feed."""
