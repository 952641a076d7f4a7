"""Security Event Tokens (RFC 8417) with CAEP 1.0 `session-revoked` and SSF 1.0 `verification`.

Explicitly typed, without `exp` and `sub`, one event each (SSF 1.0 §4.1, CAEP interoperability profile): none of them
can pass for an access, ID or logout token. What happened and to whom is fixed when the event occurs; the signature is
made at each attempt, with the same `jti` and `iat`.
"""

from __future__ import annotations

from typing import Any, Final

from portero.core.outbox_records import Notice
from portero.core.sessions.records import EndReason
from portero.core.types import Issuer, NumericDate

TYP: Final = "secevent+jwt"
MEDIA_TYPE: Final = "application/secevent+jwt"
SESSION_REVOKED: Final = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
VERIFICATION: Final = "https://schemas.openid.net/secevent/ssf/event-type/verification"
EVENTS_SUPPORTED: Final = (SESSION_REVOKED,)

_WHY: Final[dict[EndReason, tuple[str, str, str]]] = {
    EndReason.SIGNED_OUT: ("user", "signed out", "cerró la sesión"),
    EndReason.DEVICE_ENDED: ("user", "the device was ended", "dispositivo cerrado"),
    EndReason.SIGNED_OUT_EVERYWHERE: ("user", "signed out everywhere", "cerró la sesión en todas partes"),
    EndReason.TOKEN_REVOKED: ("user", "the client gave its token back", "la aplicación devolvió su token"),
    EndReason.CONSENT_WITHDRAWN: ("user", "what the application may do was withdrawn", "permiso retirado"),
    EndReason.PASSWORD_CHANGED: ("user", "the password was changed", "contraseña cambiada"),
    EndReason.REFRESH_REUSED: ("policy", "a refresh token was used again", "reutilización de refresh token"),
    EndReason.CODE_REUSED: ("policy", "an authorization code was used again", "reutilización de código"),
    EndReason.OPERATOR: ("admin", "ended by an operator", "cerrada por el operador"),
    EndReason.USER_DISABLED: ("admin", "the person was disabled", "persona deshabilitada"),
    EndReason.CLIENT_DISABLED: ("admin", "the application was disabled", "aplicación deshabilitada"),
    EndReason.FAMILY_LIMIT: ("system", "too many at once", "demasiadas a la vez"),
}
"""Why a session ended → CAEP's `initiating_entity`, and `reason_admin` in English and Spanish."""


def session_revoked(notice: Notice, *, issuer: Issuer, txn: str) -> dict[str, Any]:
    """The claims of a session's end that are its own: `sub_id`, `events`, `txn` (CAEP 1.0 §3.1).

    Args:
        issuer: whose `sub` and `sid` these are.
        txn: the same for every receiver that is told of this session.
    """
    entity, english, spanish = _WHY[notice.reason]
    event = {
        "event_timestamp": notice.at,
        "initiating_entity": entity,
        "reason_admin": {"en": english, "es": spanish},
    }
    subject = {
        "format": "complex",
        "session": {"format": "opaque", "id": notice.sid},
        "user": {"format": "iss_sub", "iss": issuer, "sub": notice.subject},
    }
    return {"sub_id": subject, "txn": txn, "events": {SESSION_REVOKED: event}}


def verification(stream_id: str, *, state: str | None) -> dict[str, Any]:
    """The claims of the event a receiver asks for, to see that its stream works (SSF 1.0 §8.1.4)."""
    event = {} if state is None else {"state": state}
    return {"sub_id": {"format": "opaque", "id": stream_id}, "events": {VERIFICATION: event}}


def set_claims(own: dict[str, Any], *, issuer: Issuer, audience: str, jti: str, issued: NumericDate) -> dict[str, Any]:
    """Return all claims of a Security Event Token (RFC 8417 §2.2).

    Args:
        own: as `session_revoked` or `verification` made them.
        audience: the stream's `aud`: its receiver's `client_id`.
        issued: when the event was put on the stream.
    """
    return {"iss": issuer, "aud": audience, "iat": issued, "jti": jti, **own}
