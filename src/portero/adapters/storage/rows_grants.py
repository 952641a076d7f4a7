"""Login transactions, authorization codes and replay marks as rows."""

from __future__ import annotations

from portero.adapters.storage.row_values import texts_from_column, texts_to_column
from portero.adapters.storage.tables import AUTHORIZATION_CODES, LOGIN_TRANSACTIONS, REPLAY_MARKS, Query, Row
from portero.core.transitions import AuthorizationCode, LoginTransaction, ReplayMark

_PUT_LOGIN = LOGIN_TRANSACTIONS.upsert()
_PUT_CODE = AUTHORIZATION_CODES.upsert()
_USE_CODE = AUTHORIZATION_CODES.update(("used", "sid"))
_PUT_REPLAY = REPLAY_MARKS.upsert()

CODE_WIDTH = len(AUTHORIZATION_CODES.columns)


def login_from_row(row: Row) -> LoginTransaction:
    return LoginTransaction(*row)


def put_login(record: LoginTransaction) -> Query:
    return _PUT_LOGIN, (record.id_digest, record.request, record.created, record.expires)


def replay_from_row(row: Row) -> ReplayMark:
    return ReplayMark(*row)


def put_replay(record: ReplayMark) -> Query:
    return _PUT_REPLAY, (record.digest, record.expires)


def code_from_row(row: Row) -> AuthorizationCode:
    (code_digest, client_id, redirect_uri, code_challenge, nonce, scope, resource, subject) = row[:8]
    (
        browser_session,
        device_name,
        place,
        auth_time,
        acr,
        amr,
        created,
        expires,
        claims,
        dpop_jkt,
        vouched,
        used,
        sid,
    ) = row[8:]
    return AuthorizationCode(
        code_digest,
        client_id,
        redirect_uri,
        code_challenge,
        nonce,
        texts_from_column(scope),
        texts_from_column(resource),
        subject,
        browser_session,
        device_name,
        place,
        auth_time,
        acr,
        texts_from_column(amr),
        created,
        expires,
        claims,
        dpop_jkt,
        used,
        sid,
        vouched,
    )


def put_code(record: AuthorizationCode, *, loaded: AuthorizationCode | None) -> Query | None:
    """The statement that stores `record`: its use is two columns; `None` where nothing changed."""
    row = _code_columns(record)
    if loaded is not None:
        before = _code_columns(loaded)
        if row == before:
            return None
        if row[:-2] == before[:-2]:
            return _USE_CODE, (record.used, record.sid, record.code_digest)
    return _PUT_CODE, row


def _code_columns(record: AuthorizationCode) -> Row:
    return (
        record.code_digest,
        record.client_id,
        record.redirect_uri,
        record.code_challenge,
        record.nonce,
        texts_to_column(record.scope),
        texts_to_column(record.resource),
        record.subject,
        record.browser_session,
        record.device_name,
        record.place,
        record.auth_time,
        record.acr,
        texts_to_column(record.amr),
        record.created,
        record.expires,
        record.claims,
        record.dpop_jkt,
        record.vouched,
        record.used,
        record.sid,
    )
