"""What is fuzzed: every parser that strangers' bytes reach, and the errors it may answer with.

A target takes any bytes and returns, or raises one of its documented errors, in bounded time. Whatever else
comes out is a crash. Where a signature stands before a parser, the target signs for the stranger.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from portero.adapters.fetch.discovery import discover, discover_provider
from portero.adapters.fetch.requests import Fetched
from portero.authorization_server.config import parse_config
from portero.core.durations import parse_duration, render_duration
from portero.core.errors import ConfigurationError, RequestError, Unavailable
from portero.core.jose import base64url
from portero.core.jose.base64url import Base64UrlError
from portero.core.jose.jwk import JwkError, PublicKey, parse_public_jwk, private_key_from_jwk
from portero.core.jose.jwk_set import JwkSetError, parse_jwk_set
from portero.core.jose.jws import INSECURE_ANY_TYP, JwsError, verify_compact
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.oauth.authorization import (
    request_from_json,
    request_to_json,
    response_target,
    unverified_client_id,
    validate_authorization_request,
)
from portero.core.oauth.claims_parameter import parse_claims_parameter
from portero.core.oauth.client_authentication import parse_credentials
from portero.core.oauth.device import parse_device_code
from portero.core.oauth.dpop import PROOF_TYP, issue_nonce, verify_proof
from portero.core.oauth.forms import Parameters, parse_form, parse_query
from portero.core.policy.client_certificate import CertificateEncoding, ClientCertificate
from portero.core.policy.cookie_credential import CookieCredential
from portero.core.policy.credentials import carries_token, token_of_header, token_of_subprotocols
from portero.core.policy.manifest_parser import ManifestError, parse_manifest
from portero.core.policy.path import AmbiguousPath, normal_path, split_target
from portero.core.revocation.feed import parse_cursor, parse_wait
from portero.core.revocation.subscription import NotAFeed, Subscription
from portero.core.revocation.subscription_stream import EventReader, StreamEvent, StreamTooLong
from portero.core.sessions.device_name import cleaned_device_name, coarse_place, device_name
from portero.core.signals.polling import parse_poll
from portero.core.signals.streams import parse_body, parse_wishes
from portero.core.tokens.access_token import InvalidToken, unverified_issuer_of, verify_access_token
from portero.core.tokens.id_token import InvalidIdToken, verify_id_token
from portero.core.tokens.refresh_token import RefreshToken, TagKey, parse_refresh_token, render_refresh_token
from portero.core.types import FamilyId, Issuer, NumericDate, Secret
from tests.core.jose.minting import AUDIENCE, CLAIMS, ISSUER, NOW, RULES, mint, private_key
from tests.core.oauth.test_authorization import PUBLIC

_NOW = NumericDate(NOW)
_TAG_KEY = Secret(b"t" * 32)
_NONCE_KEY = Secret(b"n" * 32)
_BELIEVES_ALL = PublicKey("ES256", "k", "thumbprint", lambda *_: True, {})
"""What is behind the signature has to stand up to an issuer that was broken into."""
_HTU = "https://auth.shop.example/token"


@dataclass(frozen=True)
class Target:
    """One parser."""

    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    """The documented ones."""
    seeds: tuple[bytes, ...]
    """Acceptable input, to start from."""

    def run(self, data: bytes) -> bool:
        """Parse; whether the input was accepted. Whatever is not documented propagates."""
        try:
            self.parse(data)
        except self.errors:
            return False
        return True


def _text(data: bytes) -> str:
    """Any text a header or a decoded parameter may be."""
    return data.decode("utf-8", "surrogateescape")


def _segments(data: bytes) -> str:
    """A token of header and claims, divided by a line feed, that `_BELIEVES_ALL` signed."""
    header, _, claims = data.partition(b"\n")
    return f"{base64url.encode(header)}.{base64url.encode(claims)}.{base64url.encode(bytes(64))}"


def _base64url(data: bytes) -> None:
    decoded = base64url.decode(data)
    assert base64url.encode(decoded).encode() == data, "one byte string, one text"


def _strict_json(data: bytes) -> None:
    value = parse_object(data)
    assert parse_object(orjson.dumps(value)) == value if _renders(value) else True


def _renders(value: Any) -> bool:
    """orjson renders integers of 64 bits; parsed ones may be longer."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _jws(data: bytes) -> None:
    key = private_key().public
    verify_compact(_text(data), find_key=lambda *_: key, algorithms=frozenset({"ES256"}), expected_typ=INSECURE_ANY_TYP)


def _access_token(data: bytes) -> None:
    token = verify_access_token(_segments(data), rules=RULES, find_key=lambda *_: _BELIEVES_ALL, now=NOW)
    assert token.issuer == ISSUER
    assert token.exp + RULES.leeway > NOW
    assert AUDIENCE in token.audience
    hash((token.scope, token.roles, token.amr, token.audience))


def _id_token(data: bytes) -> None:
    verify_id_token(
        _segments(data), issuer=ISSUER, client_id="shop", find_key=lambda *_: _BELIEVES_ALL, now=NOW, leeway=60,
        expected_nonce=None,
    )  # fmt: skip


def _refresh_token(data: bytes) -> None:
    def tag_key(number: int) -> Secret[bytes] | None:
        return _TAG_KEY if number == 1 else None

    if len(data) >= 52:
        token = RefreshToken(FamilyId(data[:16]), int.from_bytes(data[16:20], "big"), Secret(data[20:52]))
        parsed = parse_refresh_token(render_refresh_token(token, tag_key=TagKey(1, _TAG_KEY)), tag_key=tag_key)
        assert (parsed.family_id, parsed.generation) == (token.family_id, token.generation)
    parse_refresh_token(Secret(_text(data)), tag_key=tag_key)


def _form(data: bytes) -> None:
    parameters = parse_form(data, content_type="application/x-www-form-urlencoded")
    parse_credentials(parameters, authorization=None)


def _authorization_header(data: bytes) -> None:
    token_of_header(data, b"")
    carries_token(data)
    parse_credentials(_NO_PARAMETERS, authorization=data.decode("latin-1"))


_NO_PARAMETERS: Parameters = parse_form(b"", content_type="application/x-www-form-urlencoded")


def _authorization_request(data: bytes) -> None:
    parameters = parse_query(data)
    unverified_client_id(parameters)
    request = validate_authorization_request(
        parameters,
        client=PUBLIC,
        target=response_target(parameters, client=PUBLIC),
        offered_acr=("urn:portero:password",),
    )
    assert request_from_json(request_to_json(request)) == request


def _dpop_proof(data: bytes) -> None:
    """A proof as it comes, or (after a line feed) claims that the stranger's own key signs."""
    proof = _text(data)
    if data.startswith(b"\n"):
        key = private_key(name="stranger")
        proof = mint({"typ": PROOF_TYP, "alg": key.alg, "jwk": dict(key.public.members)}, data[1:], key)
    verify_proof(proof, htm="POST", htu=_HTU, now=_NOW, leeway=60, nonce_key=_NONCE_KEY)


def _duration(data: bytes) -> None:
    duration = parse_duration(_text(data))
    assert parse_duration(render_duration(duration)) == duration


def _toml(data: bytes) -> str:
    """Documents that are TOML: its parser is the standard library's."""
    try:
        text = data.decode()
        tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return ""
    return text


def _config(data: bytes) -> None:
    parse_config(tomllib.loads(_toml(data)))


def _manifest(data: bytes) -> None:
    parse_manifest(_toml(data), file="portero.toml")


def _cursor(data: bytes) -> None:
    cursor = parse_cursor(_text(data))
    assert parse_cursor(str(cursor)) == cursor


def _snapshot(data: bytes) -> None:
    Subscription(Issuer(ISSUER), stale_after=10).took_snapshot(data, asked_at=1.0, now=_NOW)


def _event_stream(data: bytes) -> None:
    """Wherever the stream is cut, the events are the same."""
    whole = EventReader().feed(data)
    cut = data[0] % len(data) if data else 0
    reader = EventReader()
    assert [*reader.feed(data[:cut]), *reader.feed(data[cut:])] == whole
    subscription = Subscription(Issuer(ISSUER), stale_after=10)
    subscription.took_snapshot(_SNAPSHOT, asked_at=1.0, now=_NOW)
    subscription.connected()
    for event in whole:
        subscription.took_event(StreamEvent(event.event, event.data, event.id), arrived=2.0, now=_NOW)


_SNAPSHOT = b'{"cursor":"0011223344556677:3","entries":[],"time":1800000000}'


def _path(data: bytes) -> None:
    path, _ = split_target(data)
    normal = normal_path(path)
    assert normal.startswith("/")


def _certificate(data: bytes) -> None:
    """What a proxy, or a caller who went around it, writes into the header; and what a server hands on."""
    value = data.decode("latin-1")
    for encoding in CertificateEncoding:
        found = ClientCertificate("client-cert", encoding).thumbprint_of(lambda _: value, None)
        assert found is None or len(found) == 43
    ClientCertificate(None).thumbprint_of(lambda _: None, data)
    ClientCertificate(None).thumbprint_of(lambda _: None, _text(data))


def _cookie(data: bytes) -> None:
    headers = {"cookie": data.decode("latin-1"), "origin": "https://shop.example", "x-portero": "1"}
    CookieCredential(("https://shop.example",)).token_of(headers.get, websocket=True)


def _subprotocols(data: bytes) -> None:
    token_of_subprotocols(_text(data).split(", "))


def _issuer_metadata(data: bytes) -> None:
    """Discovery as an issuer answers it, whatever it answers."""
    for conversation in (discover(Issuer(ISSUER)), discover_provider(Issuer(ISSUER))):
        next(conversation)
        found = None
        try:
            conversation.send(Fetched(200, {}, data))
        except StopIteration as end:
            found = end.value
        assert found is None or (found.issuer == ISSUER and found.jwks_uri.lower().startswith("https://"))


def _stream_wishes(data: bytes) -> None:
    document = parse_body(data)
    parse_poll(document)
    parse_wishes(document)


def _device(data: bytes) -> None:
    text = _text(data)
    device_name(text)
    cleaned_device_name(text)
    coarse_place(text)


_HEADER = b'{"alg":"ES256","kid":"k","typ":"at+jwt"}\n'
_PROOF = {"htm": "POST", "htu": _HTU, "jti": "j", "iat": NOW, "nonce": issue_nonce(_NONCE_KEY, now=_NOW)}
_JWK = (
    b'{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
    b'"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}'
)
_OKP = b'{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig"}'
_QUERY = (
    b"client_id=spa&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&response_type=code&scope=openid&state=s&nonce=n"
    b"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&max_age=60&prompt=login"
    b"&resource=https%3A%2F%2Fapi.example%2F&claims=%7B%22id_token%22%3A%7B%22sub%22%3A%7B%22value%22%3A%22a%22%7D%7D%7D"
)
_METADATA = orjson.dumps(
    {
        "issuer": ISSUER,
        **{
            name: f"{ISSUER}/{name}"
            for name in (
                "authorization_endpoint",
                "token_endpoint",
                "jwks_uri",
                "userinfo_endpoint",
                "end_session_endpoint",
            )
        },
    }
)
_MANIFEST = b"""layout = "middleware"
leeway = "60s"
[issuers.main]
issuer = "https://auth.shop.example"
revocation = { client_id = "shop", secret_env = "SHOP_SECRET", stale_after = "10s" }
[roles]
manager = ["orders:read"]
[services.orders]
audience = "https://shop.example/orders"
default = "deny"
[[services.orders.routes]]
match = "GET /orders/{id}"
require = { scopes = ["orders:read"] }
"""

TARGETS: dict[str, Target] = {
    "base64url": Target(_base64url, (Base64UrlError,), (b"AQID-_8", b"")),
    "strict_json": Target(_strict_json, (StrictJsonError,), (b'{"a":[1,-2.5e3,"\\u00e9",{"b":null}]}', b"{}")),
    "jws": Target(_jws, (JwsError,), (mint().encode(),)),
    "jwk": Target(lambda data: parse_public_jwk(parse_object(data)), (JwkError, StrictJsonError), (_JWK, _OKP)),
    "private_jwk": Target(
        lambda data: private_key_from_jwk(Secret(data)),
        (JwkError,),
        (_OKP[:-1] + b',"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}',),
    ),
    "jwk_set": Target(parse_jwk_set, (JwkSetError,), (b'{"keys":[' + _JWK + b"," + _OKP + b"]}",)),
    "access_token": Target(_access_token, (InvalidToken,), (_HEADER + orjson.dumps(CLAIMS),)),
    "unverified_issuer": Target(lambda data: unverified_issuer_of(_text(data)), (InvalidToken,), (mint().encode(),)),
    "id_token": Target(
        _id_token, (InvalidIdToken,), (_HEADER.replace(b"at+jwt", b"JWT") + orjson.dumps(CLAIMS | {"aud": "shop"}),)
    ),
    "refresh_token": Target(
        _refresh_token,
        (RequestError,),
        (
            render_refresh_token(RefreshToken(FamilyId(bytes(16)), 1, Secret(bytes(32))), tag_key=TagKey(1, _TAG_KEY))
            .reveal()
            .encode(),
        ),
    ),
    "form": Target(_form, (RequestError,), (b"grant_type=refresh_token&client_id=a&refresh_token=b+%C3%A9",)),
    "authorization_header": Target(_authorization_header, (RequestError,), (b"Basic YTpi", b"Bearer a.b.c")),
    "authorization_request": Target(_authorization_request, (RequestError,), (_QUERY,)),
    "dpop_proof": Target(_dpop_proof, (RequestError,), (b"\n" + orjson.dumps(_PROOF), mint().encode())),
    "duration": Target(_duration, (ValueError,), (b"10m", b"1h", b"90d", b"0s")),
    "config": Target(
        _config,
        (ConfigurationError,),
        (b'issuer = "https://auth.shop.example"\naccess_token_lifetime = "10m"\nport = 80\n',),
    ),
    "manifest": Target(_manifest, (ManifestError,), (_MANIFEST,)),
    "feed_cursor": Target(_cursor, (RequestError,), (b"0011223344556677:12",)),
    "feed_wait": Target(lambda data: parse_wait(_text(data)), (RequestError,), (b"25",)),
    "feed_snapshot": Target(_snapshot, (NotAFeed,), (_SNAPSHOT,)),
    "event_stream": Target(
        _event_stream,
        (StreamTooLong, NotAFeed),
        (
            b'id: 0011223344556677:4\nevent: revocation\ndata: {"cursor":"0011223344556677:4",'
            b'"iss":"https://issuer.example","what":{"jti":"j"},"at":1800000000,"until":1800000600}\n\n',
            b': comment\r\n\r\nevent: heartbeat\rdata: {"cursor":"0011223344556677:4","time":1800000000.5}\r\r',
        ),
    ),
    "path": Target(_path, (AmbiguousPath,), (b"/orders/7?x=1", b"/a%20b/%C3%A9")),
    "client_certificate": Target(
        _certificate,
        (),
        (b":MIIB:", b"Hash=" + b"ab" * 32, b"-----BEGIN CERTIFICATE-----%0AMIIB%0A-----END CERTIFICATE-----"),
    ),
    "cookie": Target(_cookie, (), (b"__Host-portero-access=a.b.c; other=1",)),
    "subprotocols": Target(_subprotocols, (), (b"portero.bearer.a.b.c, chat",)),
    "issuer_metadata": Target(_issuer_metadata, (Unavailable,), (_METADATA,)),
    "claims_parameter": Target(
        lambda data: parse_claims_parameter(data.decode("utf-8", "replace")),
        (RequestError,),
        (b'{"id_token":{"sub":{"value":"a"},"acr":{"essential":true,"values":["b"]}},"userinfo":{"email":null}}',),
    ),
    "device_code": Target(lambda data: parse_device_code(Secret(_text(data))), (), (b"A" * 96,)),
    "stream_wishes": Target(
        _stream_wishes,
        (RequestError,),
        (
            b'{"delivery":{"method":"urn:ietf:rfc:8936"},"events_requested":["a"],"maxEvents":1,"returnImmediately":true}',
        ),
    ),
    "device_name": Target(
        _device, (), (b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", b"2001:db8::1")
    ),
}
"""Name → target. `make fuzz` gives each an equal share of the time."""
