"""The same question put to Portero, PyJWT and joserfc: is this a good token, by these rules, with this key?

Each is given everything it offers: algorithms, issuer, audience, leeway, required claims.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import jwt
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError

from portero.core.jose.jwk import render_public_jwk
from portero.core.jose.jwk_set import jwk_set_of
from portero.core.tokens.access_token import InvalidToken, verify_access_token
from tests.core.jose.minting import AUDIENCE, ISSUER, RULES, private_key

ACCEPTED = "accepted"
REQUIRED = ("exp", "iss", "aud", "sub", "iat", "jti", "client_id")
_KEY = private_key().public
_FIND_KEY = jwk_set_of([_KEY]).find
_PYJWT_KEY = jwt.PyJWK(render_public_jwk(_KEY))
_JOSERFC_KEY = joserfc_jwk.import_key(dict(render_public_jwk(_KEY)))


def portero(token: str) -> str:
    """`ACCEPTED`, or what was refused."""
    try:
        verify_access_token(token, rules=RULES, find_key=_FIND_KEY, now=time.time())
    except InvalidToken as error:
        return f"{error.fault.value}: {error.description}"
    return ACCEPTED


def pyjwt(token: str) -> str:
    """`ACCEPTED`, the refusal, or `raised` with an exception it does not document."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            jwt.decode(
                token, _PYJWT_KEY, algorithms=["ES256"], issuer=ISSUER, audience=AUDIENCE, leeway=RULES.leeway,
                options={"require": list(REQUIRED)},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            return f"{type(error).__name__}: {error}"
        except Exception as error:  # the difference itself: what its callers are not told to catch
            return f"raised {type(error).__name__}: {error}"
    return ACCEPTED


def joserfc(token: str) -> str:
    """As `pyjwt`."""
    registry = joserfc_jwt.JWTClaimsRegistry(
        leeway=RULES.leeway,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
        sub={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
        client_id={"essential": True},
    )
    try:
        registry.validate(joserfc_jwt.decode(token, _JOSERFC_KEY, algorithms=["ES256"]).claims)
    except JoseError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # as above
        return f"raised {type(error).__name__}: {error}"
    return ACCEPTED


LIBRARIES: dict[str, Callable[[str], str]] = {"portero": portero, "PyJWT": pyjwt, "joserfc": joserfc}
