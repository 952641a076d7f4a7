"""Registering people and clients, as decisions: what may be registered, and what a change writes.

Disabling either is an ending (`core.sessions.ending`).

Client metadata goes by the names of RFC 7591 §2. What is refused here is refused again where it would
do harm (redirects, grants); this is where a person learns of it.

Leaves to the caller: hashing the password, making the client secret, printing it once.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import SplitResult, urlsplit

from portero.core.errors import ConfigurationError
from portero.core.events import Event, EventName
from portero.core.logout.receivers import check_receiver_uri
from portero.core.oauth.redirect_uris import has_safe_scheme
from portero.core.oauth.token import GrantType
from portero.core.sessions.ending import end_everything_of
from portero.core.sessions.records import EndReason
from portero.core.sessions.rules import check_client_policy
from portero.core.transitions import (
    Audit,
    Client,
    ClientAggregate,
    ClientType,
    Decision,
    Put,
    SubjectAggregate,
    User,
)
from portero.core.types import ClientId, Issuer, NumericDate

GRANT_TYPES = tuple(grant.value for grant in GrantType)
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")

_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")
_USERNAME = re.compile(r"\S(?:.{0,126}\S)?")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


MIN_PASSWORD = 8
"""Characters of a password (NIST SP 800-63B-4 §3.1.1.2: at least 8 where a second factor is used; longer is better)."""


def register_user(aggregate: SubjectAggregate, *, user: User) -> Decision[bool]:
    """Add a person; False, and nothing is written, where the name is taken."""
    if aggregate.user is not None:
        return Decision(False)
    return _changed_user(user, "added", at=user.created)


def set_password(
    aggregate: SubjectAggregate, *, password_hash: str, now: NumericDate, iss: Issuer, leeway: int
) -> Decision[bool]:
    """Change a password and end every session that the old one opened; False where there is nobody.

    Args:
        aggregate: the person and what is live of theirs.
        password_hash: argon2id, PHC string format.
        now: the current second.
        iss: whose tokens are taken back.
        leeway: seconds the fleet's verifiers tolerate past `exp`.
    """
    if aggregate.user is None:
        return Decision(False)
    reason = EndReason.PASSWORD_CHANGED
    ending = end_everything_of(aggregate, reason=reason, now=now, iss=iss, leeway=leeway)
    change = _changed_user(replace(aggregate.user, password_hash=password_hash), "password", at=now)
    return Decision(True, (*change.writes, *ending.writes), (*change.events, *ending.events))


def enable_user(aggregate: SubjectAggregate, *, now: NumericDate) -> Decision[bool]:
    """Let a person sign in again; False where there is nobody. What was ended stays ended."""
    if aggregate.user is None:
        return Decision(False)
    return _changed_user(replace(aggregate.user, enabled=True), "enabled", at=now)


def check_user(user: User) -> None:
    """Refuse a person's entry nobody could sign in with.

    Raises:
        ConfigurationError: names the field.
    """
    name = user.username
    if _USERNAME.fullmatch(name) is None or not name.isprintable():
        expected = "it must be 1 to 128 printable characters, not beginning or ending with a space"
        raise ConfigurationError("username", name, expected)
    if user.email and re.fullmatch(r"[^@\s]+@[^@\s]+", user.email) is None:
        raise ConfigurationError("email", user.email, "it must be an address such as ana@example.org, or nothing")
    for role in user.roles:
        _check_token("roles", role)


def register_client(aggregate: ClientAggregate, *, client: Client) -> Decision[bool]:
    """Add a client; False, and nothing is written, where the `client_id` is taken."""
    if aggregate.client is not None:
        return Decision(False)
    return _changed_client(client, "added", at=client.created)


def enable_client(aggregate: ClientAggregate, *, now: NumericDate) -> Decision[bool]:
    """Let a client in again; False where there is none."""
    if aggregate.client is None:
        return Decision(False)
    return _changed_client(replace(aggregate.client, enabled=True), "enabled", at=now)


def set_direct_sign_in(aggregate: ClientAggregate, *, allowed: bool, now: NumericDate) -> Decision[bool]:
    """Let a client ask for name and password itself, or stop it; False where there is none.

    Raises:
        ConfigurationError: it is not one of our own. Nothing was committed.
    """
    if aggregate.client is None:
        return Decision(False)
    client = replace(aggregate.client, direct_sign_in=allowed)
    check_client_policy(client)
    return _changed_client(client, "direct sign-in allowed" if allowed else "direct sign-in stopped", at=now)


def check_client(client: Client) -> None:
    """Refuse metadata that would be unsafe or of no use.

    Raises:
        ConfigurationError: names the client and the field, its value and what it may be.
    """
    if _CLIENT_ID.fullmatch(client.client_id) is None:
        expected = "it must be 1 to 64 letters, digits, '.', '_', '~' or '-', the first a letter or digit"
        raise ConfigurationError("client_id", client.client_id, expected)
    check_client_metadata(client)


def check_client_metadata(client: Client) -> None:
    """Refuse metadata that would be unsafe or of no use, whatever the client is called.

    Raises:
        ConfigurationError: names the client and the field, its value and what it may be.
    """
    where = f"clients.{client.client_id}"
    check_client_policy(client)
    for grant_type in client.grant_types:
        if grant_type not in GRANT_TYPES:
            raise ConfigurationError(f"{where}.grant_types", grant_type, f"it may be {', '.join(GRANT_TYPES)}")
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        expected = "a client that signs people in needs at least one (RFC 6749 §3.1.2.2)"
        raise ConfigurationError(f"{where}.redirect_uris", [], expected)
    for uri in client.redirect_uris:
        check_redirect_uri(f"{where}.redirect_uris", uri, client_type=client.client_type)
    for uri in client.post_logout_redirect_uris:
        check_redirect_uri(f"{where}.post_logout_redirect_uris", uri, client_type=client.client_type)
    if client.backchannel_logout_uri is not None:
        try:
            check_receiver_uri(client.backchannel_logout_uri)
        except ValueError as error:
            raise ConfigurationError(
                f"{where}.backchannel_logout_uri", client.backchannel_logout_uri, f"it must be {error}"
            ) from None
    for origin in client.allowed_origins:
        _check_origin(f"{where}.allowed_origins", origin)
    for scope in client.scope:
        _check_token(f"{where}.scope", scope)
    for audience in client.audiences:
        _check_audience(f"{where}.audiences", audience)


def check_redirect_uri(setting: str, uri: str, *, client_type: ClientType) -> None:
    """Refuse a redirect URI that leads elsewhere or runs as a script (RFC 9700 §2.1, RFC 8252 §7).

    Raises:
        ConfigurationError: names `setting`.
    """
    expected = (
        "it must be an absolute https:// URI without fragment; http:// for a loopback host only; for a public client "
        "also an app's own scheme with a dot, such as org.example.app:/callback (RFC 8252 §7.1)"
    )
    url = _split(uri)
    if url is None or "#" in uri or not has_safe_scheme(uri) or url.username is not None:
        raise ConfigurationError(setting, uri, expected)
    if url.scheme == "https" and url.hostname:
        return
    if url.scheme == "http" and url.hostname in LOOPBACK_HOSTS:
        return
    if "." in url.scheme and client_type is ClientType.PUBLIC:
        return
    raise ConfigurationError(setting, uri, expected)


def _check_origin(setting: str, origin: str) -> None:
    url = _split(origin)
    # As a browser writes it (RFC 6454 §6.2): it is compared as it stands.
    exact = url is not None and origin == f"{url.scheme}://{url.netloc}" and origin == origin.lower()
    if url is None or not exact or url.scheme not in ("http", "https") or not url.hostname or "@" in origin:
        raise ConfigurationError(setting, origin, "it must be scheme, host and port only, such as https://shop.example")


def _check_audience(setting: str, audience: str) -> None:
    url = _split(audience)
    if url is None or not url.scheme or "#" in audience:
        expected = "it must be an absolute URI without fragment (RFC 8707 §2), such as https://shop.example/orders"
        raise ConfigurationError(setting, audience, expected)


def _check_token(setting: str, value: str) -> None:
    if _SCOPE.fullmatch(value) is None:
        raise ConfigurationError(
            setting, value, "it must be printable ASCII without space, '\"' and '\\' (RFC 6749 §3.3)"
        )


def _split(uri: str) -> SplitResult | None:
    if not uri.isascii() or any(c <= " " or c == "\x7f" or c == "\\" for c in uri):
        return None
    try:
        url = urlsplit(uri)
        _ = url.port
    except ValueError:
        return None
    return url


def _changed_user(user: User, how: str, *, at: NumericDate) -> Decision[bool]:
    event = Event(EventName.USER_CHANGED, at, subject=user.subject, fields={"change": how})
    return Decision(True, (Put(user), Audit(event)), (event,))


def _changed_client(client: Client, how: str, *, at: NumericDate) -> Decision[bool]:
    event = Event(EventName.CLIENT_CHANGED, at, client_id=ClientId(client.client_id), fields={"change": how})
    return Decision(True, (Put(client), Audit(event)), (event,))
