"""What the API says and hears: the JSON of its OpenAPI document. Never a secret, a digest or a key's private part."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from portero.core.events import Event
from portero.core.sessions.device_name import MAX_LENGTH
from portero.core.sessions.records import DeviceSession, EndReason, SessionStatus
from portero.core.transitions import (
    Client,
    ClientType,
    RefreshProfile,
    RotationPolicy,
    SigningKey,
    SigningKeyStatus,
    User,
)
from portero.core.types import NumericDate, Sid

MAX_ID = 512
"""Characters of an identifier in a path."""
MAX_LIMIT = 1000


class Shape(BaseModel):
    """Exactly the members named: another one is refused, none is added silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    error: str | None = Field(default=None, description="A registered error code, where there is one.")


class SessionOut(Shape):
    """One device: a browser or app in one application."""

    sid: str
    name: str
    client_id: str
    client_name: str
    place: str = Field(description="Coarse place of use, such as a network prefix. May be empty.")
    created: datetime
    last_seen: datetime = Field(description="The last refresh, or the sign-in.")
    idle_end: datetime = Field(description="When it ends if it is not used before.")
    absolute_end: datetime = Field(description="When it ends in any case.")
    current: bool = Field(description="Whether this request came with a token of this very session.")

    @staticmethod
    def of(session: DeviceSession, *, client_name: str, current: Sid | None) -> SessionOut:
        """Show a session to its owner."""
        return SessionOut(
            sid=session.sid,
            name=session.device_name,
            client_id=session.client_id,
            client_name=client_name,
            place=session.place,
            created=at(session.created),
            last_seen=at(session.last_seen),
            idle_end=at(session.idle_end),
            absolute_end=at(session.absolute_end),
            current=session.sid == current,
        )


class SessionsOut(Shape):
    """A person's devices, the newest use first."""

    sessions: list[SessionOut]


class OperatorSessionOut(Shape):
    """One device, as an operator sees it."""

    sid: str
    subject: str
    name: str
    client_id: str
    client_name: str
    place: str
    created: datetime
    last_seen: datetime
    idle_end: datetime
    absolute_end: datetime
    status: SessionStatus
    end_reason: EndReason | None

    @staticmethod
    def of(session: DeviceSession, *, client_name: str) -> OperatorSessionOut:
        """Show a session to an operator."""
        return OperatorSessionOut(
            sid=session.sid,
            subject=session.subject,
            name=session.device_name,
            client_id=session.client_id,
            client_name=client_name,
            place=session.place,
            created=at(session.created),
            last_seen=at(session.last_seen),
            idle_end=at(session.idle_end),
            absolute_end=at(session.absolute_end),
            status=session.status,
            end_reason=session.end_reason,
        )


class OperatorSessionsOut(Shape):
    """Live sessions, the newest use first."""

    sessions: list[OperatorSessionOut]


class ConsentOut(Shape):
    """What a person allowed an application of others."""

    client_id: str
    client_name: str
    scope: list[str]
    resource: list[str]
    granted: datetime


class ConsentsOut(Shape):
    """A person's agreements, by `client_id`."""

    consents: list[ConsentOut]


class RenameIn(Shape):
    """A new name for a device. Made one line of printable characters."""

    # One character that can be seen, at least: `str.isprintable`, in the words of ECMA-262 that JSON Schema asks for.
    name: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH, pattern=r"[^\p{C}\p{Z}]")]


class EndIn(Shape):
    """Which of one's sessions to end."""

    which: Literal["others", "all"] = Field(
        description="`others`: all but this browser's (or, without a browser, this session). `all`: this one, too."
    )


class EndedOut(Shape):
    """How many sessions were ended."""

    ended: int


class EnabledIn(Shape):
    """Whether it may be used. Disabling ends what is live; enabling brings nothing back."""

    enabled: Annotated[bool, Field(strict=True)]


class UserOut(Shape):
    """A person who can sign in."""

    subject: str
    username: str
    name: str
    email: str
    roles: list[str]
    locale: str
    enabled: bool
    created: datetime | None

    @staticmethod
    def of(user: User) -> UserOut:
        """Show a person to an operator."""
        return UserOut(
            subject=user.subject,
            username=user.username,
            name=user.name,
            email=user.email,
            roles=list(user.roles),
            locale=user.locale,
            enabled=user.enabled,
            created=at(user.created) if user.created else None,
        )


class UsersOut(Shape):
    """Users by username."""

    users: list[UserOut]
    next: str | None = Field(description="What to send as `after` for the next page; null: this is the last.")


class ClientOut(Shape):
    """A registered client (RFC 7591 names)."""

    client_id: str
    client_name: str
    client_type: ClientType
    token_endpoint_auth_method: str
    redirect_uris: list[str]
    post_logout_redirect_uris: list[str]
    grant_types: list[str]
    scope: list[str]
    audiences: list[str]
    allowed_origins: list[str]
    refresh_profile: RefreshProfile
    rotation: RotationPolicy
    require_pkce: bool
    dpop_bound_access_tokens: bool
    direct_sign_in: bool
    first_party: bool
    enabled: bool
    created: datetime | None

    @staticmethod
    def of(client: Client) -> ClientOut:
        """Show a client to an operator."""
        return ClientOut(
            client_id=client.client_id,
            client_name=client.client_name,
            client_type=client.client_type,
            token_endpoint_auth_method=client.token_endpoint_auth_method,
            redirect_uris=list(client.redirect_uris),
            post_logout_redirect_uris=list(client.post_logout_redirect_uris),
            grant_types=list(client.grant_types),
            scope=list(client.scope),
            audiences=list(client.audiences),
            allowed_origins=list(client.allowed_origins),
            refresh_profile=client.refresh_profile,
            rotation=client.rotation,
            require_pkce=client.require_pkce,
            dpop_bound_access_tokens=client.dpop_bound_access_tokens,
            direct_sign_in=client.direct_sign_in,
            first_party=client.first_party,
            enabled=client.enabled,
            created=at(client.created) if client.created else None,
        )


class ClientsOut(Shape):
    """All clients, by `client_id`."""

    clients: list[ClientOut]


class KeyOut(Shape):
    """A signing key."""

    kid: str
    alg: str
    status: SigningKeyStatus
    created: datetime
    signs_from: datetime
    retires: datetime | None
    remove_after: datetime | None

    @staticmethod
    def of(key: SigningKey) -> KeyOut:
        """Show a key's life to an operator."""
        return KeyOut(
            kid=key.kid,
            alg=key.alg,
            status=key.status,
            created=at(key.created),
            signs_from=at(key.signs_from),
            retires=None if key.retires is None else at(key.retires),
            remove_after=None if key.remove_after is None else at(key.remove_after),
        )


class KeysOut(Shape):
    """The signing keys in use, oldest first."""

    keys: list[KeyOut]


class AuditEventOut(Shape):
    """One thing that happened."""

    name: str
    at: datetime
    subject: str | None
    client_id: str | None
    sid: str | None
    fields: dict[str, str]

    @staticmethod
    def of(event: Event) -> AuditEventOut:
        """Show an event to an operator."""
        return AuditEventOut(
            name=event.name.value,
            at=at(event.at),
            subject=event.subject,
            client_id=event.client_id,
            sid=event.sid,
            fields=dict(event.fields),
        )


class AuditOut(Shape):
    """The newest events, newest first."""

    events: list[AuditEventOut]


def at(second: NumericDate) -> datetime:
    """Write a second as the API does: RFC 3339, UTC."""
    return datetime.fromtimestamp(second, UTC)
