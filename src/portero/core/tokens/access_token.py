"""The access token: issued and verified (RFC 9068; claims of RFC 7519, RFC 7800).

`verify_access_token` is the one path every Guard and gateway takes: structure → `typ` and
`alg` → key → signature → claims. What it leaves to the caller: where keys come from
(`core.keys.key_cache`), revocation, what a route requires, proof of possession (`cnf` is
returned, not proven).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from portero.core.errors import RequestError
from portero.core.jose.jws import FindKey, JwsError, JwsFault, unverified_header, unverified_payload, verify_segments
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.tokens.access_token_rules import TYP as TYP  # callers find both here
from portero.core.tokens.access_token_rules import AccessTokenRules as AccessTokenRules

MAX_NUMERIC_DATE: Final = 253402300799
"""9999-12-31T23:59:59Z: a later one is a mistake or an attack."""
_ALL_NAMES: Final = ".*"


class Fault(Enum):
    """Which check refused, in the order of the checks; for counters and logs."""

    MALFORMED = "malformed"
    TYPE = "type"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIMS = "claims"


class InvalidToken(RequestError):
    """The token is refused: 401, `invalid_token` (RFC 6750 §3.1). Never carries any part of the token."""

    def __init__(self, fault: Fault, description: str) -> None:
        super().__init__("invalid_token", description, status=401)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class VerifiedAccessToken:
    """What a verified token says."""

    issuer: str
    subject: str
    """Empty only where the rules let `sub` be absent; the same holds for `client_id` and `jti`."""
    client_id: str
    audience: tuple[str, ...]
    scope: frozenset[str]
    roles: frozenset[str]
    jti: str
    sid: str | None
    iat: int
    """NumericDate; 0 only where the rules let it be absent."""
    exp: int
    """NumericDate."""
    auth_time: int | None
    acr: str | None
    amr: tuple[str, ...]
    cnf_jkt: str | None
    """The DPoP key's thumbprint (RFC 9449 §6.1): present means it has to be proven."""
    cnf_x5t_s256: str | None
    """The client certificate's thumbprint (RFC 8705 §3.1): present means it has to be proven."""
    kid: str | None
    alg: str
    claims: Mapping[str, Any]
    """All claims, read-only."""


_Draft: Any = type("_Draft", (), {"__slots__": VerifiedAccessToken.__slots__})
"""`VerifiedAccessToken` before it is frozen. Filling a frozen dataclass takes 0.9 µs, a tenth of an HS256 token's
whole verification; filling the members of an open class of the same layout, and then changing its class, takes 0.15."""


@dataclass(frozen=True, slots=True)
class UnverifiedHeader:
    """What the header says. Nobody has verified it."""

    alg: str
    kid: str | None
    typ: str | None


def unverified_header_of(token: str) -> UnverifiedHeader:
    """Read the header, to choose which key to try. Decides nothing else.

    Raises:
        InvalidToken: `MALFORMED`.
    """
    try:
        header = unverified_header(token)
    except JwsError as error:
        raise _refused(error) from None
    return UnverifiedHeader(header.alg, header.kid, header.typ)


def unverified_issuer_of(token: str) -> str:
    """Read `iss`, to choose which issuer's keys and rules to try. Decides nothing else.

    Raises:
        InvalidToken: `MALFORMED`, or `CLAIMS` when there is no such text.
    """
    try:
        claims = parse_object(unverified_payload(token))
    except JwsError as error:
        raise _refused(error) from None
    except StrictJsonError as error:
        raise InvalidToken(Fault.MALFORMED, f"the claims are no acceptable JSON object: {error}") from None
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise InvalidToken(Fault.CLAIMS, "iss is missing or no string")
    return issuer


def verify_access_token(token: str, *, rules: AccessTokenRules, find_key: FindKey, now: float) -> VerifiedAccessToken:
    """Verify the signature of an access token and validate its claims (RFC 9068 §4).

    Args:
        token: the text after `Bearer `, as received.
        rules: what is acceptable.
        find_key: the keys of *this* issuer, by `kid` and `alg`. Its `Unavailable` propagates.
        now: seconds since the epoch.

    Does not check: revocation, scopes and roles a route requires, possession of a `cnf` key.

    Raises:
        InvalidToken: with the first check that failed.
    """
    try:
        header, payload, key = verify_segments(token, find_key, rules._algorithms, rules._typs)
    except JwsError as error:
        raise _refused(error) from None
    try:
        claims = parse_object(payload)
    except StrictJsonError as error:
        raise InvalidToken(Fault.MALFORMED, f"the claims are no acceptable JSON object: {error}") from None
    return _validate(claims, rules, now, header.kid, key.alg)


def access_token_claims(
    *,
    issuer: str,
    subject: str,
    audience: str | Iterable[str],
    client_id: str,
    scope: Iterable[str],
    jti: str,
    iat: int,
    exp: int,
    sid: str | None = None,
    auth_time: int | None = None,
    acr: str | None = None,
    amr: Iterable[str] = (),
    roles: Iterable[str] = (),
    cnf_jkt: str | None = None,
    cnf_x5t_s256: str | None = None,
    act: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compose the claims of an access token to issue (RFC 9068 §2.2). Sign them with `typ: at+jwt`.

    Claims without content are left out, except `scope` that was granted nothing (then absent as well).

    Args:
        audience: one audience is written as a string, several as an array (RFC 7519 §4.1.3).
        iat, exp: NumericDate.
        act: who acts for the subject (RFC 8693 §4.1).

    Raises:
        ValueError: no audience, or `exp` not after `iat`.
    """
    audiences = [audience] if isinstance(audience, str) else list(audience)
    if not audiences or not all(audiences):
        raise ValueError("an access token names its audience")
    if exp <= iat:
        raise ValueError("exp is after iat")
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": subject,
        "aud": audiences[0] if len(audiences) == 1 else audiences,
        "exp": exp,
        "iat": iat,
        "jti": jti,
        "client_id": client_id,
    }
    cnf = {name: value for name, value in (("jkt", cnf_jkt), ("x5t#S256", cnf_x5t_s256)) if value is not None}
    optional: tuple[tuple[str, Any], ...] = (
        ("scope", " ".join(scope)),
        ("sid", sid),
        ("auth_time", auth_time),
        ("acr", acr),
        ("amr", list(amr)),
        ("roles", list(roles)),
        ("cnf", cnf),
        ("act", dict(act) if act else None),
    )
    claims.update((name, value) for name, value in optional if value not in (None, "", [], {}))
    return claims


# ── claims, in the order of RFC 9068 §4 ──────────────────────────────────────────────


def _validate(
    claims: dict[str, Any], rules: AccessTokenRules, now: float, kid: str | None, alg: str
) -> VerifiedAccessToken:
    # The usual case of a claim is decided in place; the reason is worked out in a function when it is another.
    get = claims.get
    iss, aud, exp, iat, subject, jti, client_id, scope, roles, auth_time, sid, acr, amr = map(get, rules._names)
    # An issuer is an identifier: no prefix, no case, no trailing slash (GHSA-75c5-xw7c-p5pm).
    if iss != rules.issuer:
        raise InvalidToken(Fault.ISSUER, "the token is from another issuer")
    audience = (aud,) if type(aud) is str else _audiences(aud)
    if rules._audiences.isdisjoint(audience):
        raise InvalidToken(Fault.AUDIENCE, "the token is for another audience")
    if type(exp) is not int or not 0 <= exp <= MAX_NUMERIC_DATE:
        exp = int(_date(exp, "exp"))
    # RFC 7519 §4.1.4: on or after exp it is over.
    if now >= exp + rules.leeway:
        raise InvalidToken(Fault.EXPIRED, "the token has expired")
    if "nbf" in claims and now < _date(claims["nbf"], "nbf") - rules.leeway:
        raise InvalidToken(Fault.NOT_YET_VALID, "the token is not valid yet")
    optional = rules.insecure_optional_claims
    if type(iat) is not int or not 0 <= iat <= MAX_NUMERIC_DATE:
        iat = 0 if iat is None and "iat" in optional else int(_date(iat, "iat"))
    if now < iat - rules.leeway:
        raise InvalidToken(Fault.NOT_YET_VALID, "the token is from the future")
    if not (type(subject) is str and subject and type(jti) is str and jti and type(client_id) is str and client_id):
        subject = _identifier(subject, "sub", optional)
        jti = _identifier(jti, "jti", optional)
        client_id = _identifier(client_id, "client_id", optional)
    if rules.required_claims or rules.required_values:
        _require(claims, rules)
    if auth_time is not None and (type(auth_time) is not int or not 0 <= auth_time <= MAX_NUMERIC_DATE):
        auth_time = int(_date(auth_time, "auth_time"))
    if type(sid) is not str or not sid:
        sid = _optional_text(sid, "sid")
    if type(acr) is not str or not acr:
        acr = _optional_text(acr, "acr")
    jkt = x5t_s256 = None
    if "cnf" in claims:
        jkt, x5t_s256 = _confirmation(claims["cnf"])
    token = _Draft()
    token.issuer = iss
    token.subject = subject
    token.client_id = client_id
    token.audience = audience
    token.scope = _names_in(scope) if type(scope) is str else _scope_list(scope, rules)
    token.roles = _roles(claims, rules.roles_claim) if roles is None else frozenset(_texts(roles, rules.roles_claim))
    token.jti = jti
    token.sid = sid
    token.iat = iat
    token.exp = exp
    token.auth_time = auth_time
    token.acr = acr
    token.amr = _texts(amr, "amr")
    token.cnf_jkt = jkt
    token.cnf_x5t_s256 = x5t_s256
    token.kid = kid
    token.alg = alg
    token.claims = MappingProxyType(claims)
    token.__class__ = VerifiedAccessToken
    return token  # type: ignore[no-any-return]  # it is one now


def _require(claims: dict[str, Any], rules: AccessTokenRules) -> None:
    for name in rules.required_claims:
        if claims.get(name) is None:
            raise InvalidToken(Fault.CLAIMS, f"{name} is missing")
    for name, value in rules.required_values.items():
        # In Python True == 1; in JSON they are different values.
        if type(claims.get(name)) is not type(value) or claims[name] != value:
            raise InvalidToken(Fault.CLAIMS, f"{name} is not as required")


def _date(value: Any, name: str) -> int | float:
    """NumericDate (RFC 7519 §2): a JSON number, and a bool is none."""
    if (type(value) is int or type(value) is float) and 0 <= value <= MAX_NUMERIC_DATE:
        return value
    if value is None:
        raise InvalidToken(Fault.CLAIMS, f"{name} is missing")
    raise InvalidToken(Fault.CLAIMS, f"{name} is no acceptable NumericDate")


def _audiences(value: Any) -> tuple[str, ...]:
    """RFC 7519 §4.1.3: a string, or (here) an array of strings."""
    if type(value) is list and value and all(type(name) is str for name in value):
        return tuple(value)
    raise InvalidToken(Fault.AUDIENCE, "aud is missing or no string or array of strings")


def _identifier(value: Any, name: str, optional: frozenset[str]) -> str:
    if value is None and name in optional:
        return ""
    if type(value) is str and value:
        return value
    raise InvalidToken(Fault.CLAIMS, f"{name} is missing or no text")


def _optional_text(value: Any, name: str) -> str | None:
    if value is None or (type(value) is str and value):
        return value
    raise InvalidToken(Fault.CLAIMS, f"{name} is no text")


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if type(value) is list:
        for text in value:
            if type(text) is not str:
                break
        else:
            return tuple(value)
    raise InvalidToken(Fault.CLAIMS, f"{name} is no array of strings")


@lru_cache(maxsize=256)
def _names_in(scope: str) -> frozenset[str]:
    """RFC 6749 §3.3: names separated by single spaces; a set, so that no name is found inside another.

    Remembered: an issuer's combinations are few, and only what a signature covers comes here.
    """
    return frozenset(scope.split(" ")) - {""}


def _scope_list(value: Any, rules: AccessTokenRules) -> frozenset[str]:
    if value is None:
        return frozenset()
    if rules.insecure_accept_scope_list:
        return frozenset(_texts(value, rules.scope_claim))
    raise InvalidToken(Fault.CLAIMS, f"{rules.scope_claim} is no string")


def _roles(claims: dict[str, Any], path: str) -> frozenset[str]:
    """The roles where no member has the path for its name: absent, or inside other objects."""
    value = _at_path(claims, path) if "." in path else None
    return frozenset() if value is None else frozenset(_texts(value, path))


def _at_path(claims: dict[str, Any], path: str) -> Any:
    names_wanted = path.endswith(_ALL_NAMES)
    path = path.removesuffix(_ALL_NAMES)
    value: Any = claims.get(path)
    if value is None and "." in path:
        value = claims
        for member in path.split("."):
            value = value.get(member) if type(value) is dict else None
    if names_wanted and value is not None:
        if type(value) is not dict:
            raise InvalidToken(Fault.CLAIMS, f"{path} is no object")
        return list(value)
    return value


def _confirmation(cnf: Any) -> tuple[str | None, str | None]:
    """RFC 7800 §3.1. A binding we cannot check must not turn a bound token into a bearer token."""
    if type(cnf) is not dict:
        raise InvalidToken(Fault.CLAIMS, "cnf is no object")
    jkt = _optional_text(cnf.get("jkt"), "cnf.jkt")
    x5t_s256 = _optional_text(cnf.get("x5t#S256"), "cnf.x5t#S256")
    if jkt is None and x5t_s256 is None:
        raise InvalidToken(Fault.CLAIMS, "cnf names no confirmation method that is supported")
    return jkt, x5t_s256


_FAULTS: Final = {fault: Fault[fault.name] for fault in JwsFault}


def _refused(error: JwsError) -> InvalidToken:
    return InvalidToken(_FAULTS[error.fault], error.description)
