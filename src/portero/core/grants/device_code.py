"""The grant `device_code` (RFC 8628): a person agrees on another device, and the device polls.

`agree` and `refuse` are what the person's page decides; `decide_device_exchange` is the poll that finds the agreement.
The device gets a session of its own: signing out in the browser where the code was typed does not end it.
"""

from __future__ import annotations

from dataclasses import replace

from portero.core.consent import Consent
from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.grants.authorization_code import check_person, first_use, second_use
from portero.core.grants.grant import Denied, Grant, check_may_use
from portero.core.oauth.device import DEVICE_REDIRECT, read_waiting, waiting_record
from portero.core.oauth.errors import invalid_grant
from portero.core.oauth.token import DeviceTokenRequest, GrantType
from portero.core.sessions.records import BrowserSession
from portero.core.sessions.rules import FreshStart, RefreshRules
from portero.core.tokens.refresh_token import TagKey
from portero.core.transitions import (
    Audit,
    AuthorizationCode,
    Client,
    CodeAggregate,
    Decision,
    Delete,
    LoginKey,
    LoginTransaction,
    Put,
    Write,
)
from portero.core.types import Digest, NumericDate
from portero.core.vouched import claims_of


def agree(
    waiting: LoginTransaction | None, *, browser: BrowserSession, consent: Consent | None, now: NumericDate
) -> Decision[bool]:
    """Let the device that waits have its code, in the name of the person of this browser; False: it waits no more.

    Args:
        browser: live, and whose person has just agreed.
        consent: what is to be remembered of it; None: nothing.
    """
    request = read_waiting(waiting, now=now)
    if waiting is None or request is None or request.denied:
        return Decision(False)
    code = AuthorizationCode(
        code_digest=Digest(bytes.fromhex(request.code_digest)),
        client_id=request.client_id,
        redirect_uri=DEVICE_REDIRECT,
        code_challenge=None,
        nonce=None,
        scope=request.scope,
        resource=request.resource,
        subject=browser.subject,
        browser_session=browser.id_digest,
        device_name=request.device_name,
        place=request.place,
        auth_time=browser.auth_time,
        acr=browser.acr,
        amr=browser.amr,
        created=now,
        # As long as the device was told that it may ask.
        expires=waiting.expires,
        vouched=claims_of(browser.vouched),
    )
    writes: list[Write] = [Put(code), Delete(LoginKey(waiting.id_digest))]
    if consent is None:
        return Decision(True, tuple(writes))
    event = Event(EventName.CONSENT_GIVEN, now, consent.subject, consent.client_id)
    return Decision(True, (*writes, Put(consent), Audit(event)), (event,))


def refuse(waiting: LoginTransaction | None, *, user_code: str, now: NumericDate) -> Decision[bool]:
    """Let the device hear `access_denied`; False: it waits no more."""
    request = read_waiting(waiting, now=now)
    if waiting is None or request is None:
        return Decision(False)
    denied = waiting_record(
        replace(request, denied=True), user_code=user_code, created=waiting.created, expires=waiting.expires
    )
    return Decision(True, (Put(denied),))


def decide_device_exchange(
    aggregate: CodeAggregate,
    *,
    request: DeviceTokenRequest,
    client: Client,
    cnf_jkt: str | None,
    now: NumericDate,
    rules: RefreshRules,
    fresh: FreshStart,
    tag_key: TagKey,
) -> Decision[Grant | Denied]:
    """Exchange a device code that was agreed to. Arguments and results as `decide_code_exchange`.

    Raises:
        RequestError: `invalid_grant`, `expired_token`, `invalid_target`, `unauthorized_client`,
            `invalid_dpop_proof`. Nothing was committed.
    """
    check_may_use(client, GrantType.DEVICE_CODE.value, cnf_jkt=cnf_jkt)
    code = aggregate.code
    # The code of a redirect is no device code, whoever brings it.
    if code is None or code.redirect_uri != DEVICE_REDIRECT or code.client_id != client.client_id:
        raise invalid_grant("the device code is not valid")
    if code.used is not None:
        return second_use(aggregate, client_id=client.client_id, now=now, rules=rules)
    if now >= code.expires:
        raise RequestError("expired_token", "the device code has expired")
    user = check_person(aggregate, code, now=now)
    # Another machine than the browser that agreed: a session of its own.
    return first_use(
        replace(aggregate, session=None, families=()),
        code,
        user,
        browser_session=None,
        grant_type=GrantType.DEVICE_CODE,
        resource=request.resource,
        client=client,
        cnf_jkt=cnf_jkt,
        now=now,
        rules=rules,
        fresh=fresh,
        tag_key=tag_key,
    )
