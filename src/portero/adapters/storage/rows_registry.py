"""Clients, users and signing keys as rows: what changes rarely and is read often."""

from __future__ import annotations

from portero.adapters.storage.row_values import by_value, texts_from_column, texts_to_column
from portero.adapters.storage.tables import CLIENTS, SIGNING_KEYS, USERS, Query, Row
from portero.core.transitions import (
    Client,
    ClientType,
    RefreshProfile,
    RotationPolicy,
    SigningKey,
    SigningKeyStatus,
    User,
)

_CLIENT_TYPE = by_value(ClientType)
_REFRESH_PROFILE = by_value(RefreshProfile)
_ROTATION = by_value(RotationPolicy)
_KEY_STATUS = by_value(SigningKeyStatus)

_PUT_CLIENT = CLIENTS.upsert()
_PUT_USER = USERS.upsert()
_PUT_SIGNING_KEY = SIGNING_KEYS.upsert()

USER_WIDTH = len(USERS.columns)


def client_from_row(row: Row) -> Client:
    (client_id, client_name, client_type, auth_method, secret_digest, redirect_uris, post_logout) = row[:7]
    (grant_types, scope, audiences, refresh_profile, rotation, require_pkce, first_party) = row[7:14]
    (allowed_origins, jwks, backchannel_logout_uri, enabled, created, dpop_bound, direct) = row[14:]
    return Client(
        client_id,
        client_name,
        _CLIENT_TYPE[client_type],
        auth_method,
        secret_digest,
        texts_from_column(redirect_uris),
        texts_from_column(post_logout),
        texts_from_column(grant_types),
        texts_from_column(scope),
        texts_from_column(audiences),
        _REFRESH_PROFILE[refresh_profile],
        _ROTATION[rotation],
        bool(require_pkce),
        bool(first_party),
        texts_from_column(allowed_origins),
        jwks,
        backchannel_logout_uri,
        bool(enabled),
        created,
        bool(dpop_bound),
        bool(direct),
    )


def put_client(record: Client) -> Query:
    return _PUT_CLIENT, (
        record.client_id,
        record.client_name,
        record.client_type.value,
        record.token_endpoint_auth_method,
        record.secret_digest,
        texts_to_column(record.redirect_uris),
        texts_to_column(record.post_logout_redirect_uris),
        texts_to_column(record.grant_types),
        texts_to_column(record.scope),
        texts_to_column(record.audiences),
        record.refresh_profile.value,
        record.rotation.value,
        int(record.require_pkce),
        int(record.first_party),
        texts_to_column(record.allowed_origins),
        record.jwks,
        record.backchannel_logout_uri,
        int(record.enabled),
        record.created,
        int(record.dpop_bound_access_tokens),
        int(record.direct_sign_in),
    )


def user_from_row(row: Row) -> User | None:
    """The user of a row, or of a joined row's part; `None` where the join found none."""
    (subject, username, _, password_hash, name, email, roles, locale, enabled, created) = row
    if subject is None:
        return None
    return User(subject, username, password_hash, name, email, texts_from_column(roles), locale, bool(enabled), created)


def put_user(record: User) -> Query:
    return _PUT_USER, (
        record.subject,
        record.username,
        record.username.casefold(),
        record.password_hash,
        record.name,
        record.email,
        texts_to_column(record.roles),
        record.locale,
        int(record.enabled),
        record.created,
    )


def signing_key_from_row(row: Row) -> SigningKey:
    (kid, alg, public_jwk, sealed_private, status, created, signs_from, retires, remove_after) = row
    return SigningKey(
        kid, alg, public_jwk, sealed_private, _KEY_STATUS[status], created, signs_from, retires, remove_after
    )


def put_signing_key(record: SigningKey) -> Query:
    return _PUT_SIGNING_KEY, (
        record.kid,
        record.alg,
        record.public_jwk,
        record.sealed_private,
        record.status.value,
        record.created,
        record.signs_from,
        record.retires,
        record.remove_after,
    )
