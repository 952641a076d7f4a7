"""Verifying a logout token as the client it was sent to (OpenID Connect Back-Channel Logout 1.0 §2.6)."""

from __future__ import annotations

from dataclasses import dataclass

from portero.core.errors import RequestError
from portero.core.jose.jws import FindKey, JwsError, verify_compact
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.logout.logout_token import EVENT, TYP
from portero.core.tokens.id_token import InvalidIdToken, validate_id_token_hint

MAX_AGE = 3600
"""Seconds: one that is older is no news, whatever its `exp`."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """Whose session ended: the one with `sid`, or without one all of `subject`'s. One of them is there."""

    subject: str | None
    sid: str | None


def verify_logout_token(
    token: str,
    *,
    issuer: str,
    client_id: str,
    find_key: FindKey,
    now: float,
    algorithms: tuple[str, ...] = ("ES256",),
    leeway: int = 60,
) -> LoggedOut:
    """Verify a logout token, in the order of §2.6.

    `typ` has to be `logout+jwt`: an ID token that somebody got hold of must not pass for one.

    Does not check: whether its `jti` was seen before. To end a session twice does nothing.

    Raises:
        RequestError: `invalid_request`, with the first check that failed.
    """
    try:
        jws = verify_compact(token, find_key=find_key, algorithms=algorithms, expected_typ=frozenset({TYP}))
        claims = parse_object(jws.payload)
    except JwsError as error:
        raise _refused(error.description) from None
    except StrictJsonError as error:
        raise _refused(f"the claims are no acceptable JSON object: {error}") from None
    subject, sid = claims.get("sub"), claims.get("sid")
    for name, value in (("sub", subject), ("sid", sid)):
        if value is not None and (type(value) is not str or not value):
            raise _refused(f"{name} is no text")
    try:
        # `iss` and `aud` as of an ID token (§2.6 step 3); `sub` may be absent where there is a `sid`.
        validate_id_token_hint({"sub": "-", **claims}, issuer=issuer, client_id=client_id)
    except InvalidIdToken as error:
        raise _refused(error.description) from None
    iat, exp = claims.get("iat"), claims.get("exp")
    if isinstance(iat, bool) or not isinstance(iat, int | float) or not isinstance(exp, int | float):
        raise _refused("iat or exp is missing")
    if now >= exp + leeway or now < iat - leeway or now >= iat + MAX_AGE + leeway:
        raise _refused("it is too old, or from the future")
    if subject is None and sid is None:
        raise _refused("neither sub nor sid is there")
    events = claims.get("events")
    if type(events) is not dict or type(events.get(EVENT)) is not dict:
        raise _refused("it is no back-channel logout")
    if "nonce" in claims:
        raise _refused("a logout token has no nonce")
    if type(claims.get("jti")) is not str:
        raise _refused("jti is missing")
    return LoggedOut(subject, sid)


def _refused(why: str) -> RequestError:
    return RequestError("invalid_request", f"the logout token is refused: {why}")
