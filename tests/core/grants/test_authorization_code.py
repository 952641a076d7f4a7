"""The code exchange: once, by whoever asked, while the sign-in lives."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from portero.core.errors import RequestError
from portero.core.events import EventName
from portero.core.grants.authorization_code import decide_code_exchange, issue_code
from portero.core.grants.grant import Denied, Grant
from portero.core.jose.base64url import encode
from portero.core.oauth.token import CodeExchangeRequest
from portero.core.sessions.records import BrowserSession, DeviceSession, EndReason, Family, Profile, SessionStatus
from portero.core.tokens.refresh_token import TagKey, parse_refresh_token
from portero.core.transitions import (
    Audit,
    AuthorizationCode,
    Client,
    CodeAggregate,
    Decision,
    Delete,
    Put,
    Revoke,
    User,
    Write,
)
from portero.core.types import ClientId, FamilyId, Secret, Subject
from tests.core.sessions.worlds import BACKEND, BROWSER, NOW, PAGE, RULES, USER, at, fresh_start, world

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""RFC 7636 Appendix B."""
CODE = Secret("code-of-256-bits")
BACK = PAGE.redirect_uris[0]
SIGN_IN = BrowserSession(BROWSER, USER.subject, NOW, "1", ("pwd",), at(3600), "Firefox · Linux")
TAG = TagKey(1, Secret(b"t" * 32))


def code(client: Client = PAGE, **changes: Any) -> AuthorizationCode:
    issued = issue_code(
        SIGN_IN,
        code=CODE,
        client_id=client.client_id,
        redirect_uri=BACK,
        code_challenge=CHALLENGE,
        nonce="n-0S6_WzA2Mj",
        scope=("openid", "orders:read"),
        resource=(),
        place="192.0.0.0/16",
        now=NOW,
        lifetime=60,
    )
    return replace(issued, **changes)


def exchange(
    issued: AuthorizationCode | None = None,
    *,
    client: Client = PAGE,
    after: int = 1,
    browser: BrowserSession | None = SIGN_IN,
    session: DeviceSession | None = None,
    families: tuple[Family, ...] = (),
    user: User | None = USER,
    redirect_uri: str | None = BACK,
    code_verifier: str | None = VERIFIER,
    resource: tuple[str, ...] = (),
    cnf_jkt: str | None = None,
) -> Decision[Grant | Denied]:
    request = CodeExchangeRequest(
        CODE, redirect_uri, None if code_verifier is None else Secret(code_verifier), resource
    )
    return decide_code_exchange(
        CodeAggregate(code() if issued is None else issued, browser, session, families, user),
        request=request,
        client=client,
        cnf_jkt=cnf_jkt,
        now=at(after),
        rules=RULES,
        fresh=fresh_start("exchange"),
        tag_key=TAG,
    )


def granted(decision: Decision[Grant | Denied]) -> Grant:
    assert isinstance(decision.result, Grant), decision.result
    return decision.result


def put(writes: tuple[Write, ...], kind: type) -> Any:
    return next(write.record for write in writes if isinstance(write, Put) and isinstance(write.record, kind))


def refusal(**arguments: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        exchange(**arguments)
    return caught.value


def test_a_code_gives_a_session_a_family_and_an_access_token() -> None:
    """What the token endpoint needs is in the grant; what must hold is in the writes."""
    decision = exchange()

    grant = granted(decision)
    session, family, used = (put(decision.writes, kind) for kind in (DeviceSession, Family, AuthorizationCode))
    assert (grant.subject, grant.client_id, grant.sid) == (USER.subject, PAGE.client_id, session.sid)
    assert (grant.scope, grant.audience, grant.roles) == (("openid", "orders:read"), PAGE.audiences, ("manager",))
    assert (grant.nonce, grant.auth_time, grant.acr, grant.amr) == ("n-0S6_WzA2Mj", NOW, "1", ("pwd",))
    assert session.last_access_exp == grant.exp
    assert session.device_name == "Firefox · Linux"
    assert (used.used, used.sid) == (at(1), session.sid)
    assert (family.sid, family.profile, family.scope) == (session.sid, Profile.ATTEMPT, grant.scope)
    assert grant.refresh_token is not None
    token = parse_refresh_token(grant.refresh_token, tag_key=lambda _: TAG.key)
    assert (token.family_id, token.generation) == (family.id, 0)
    assert grant.session_expires_in == RULES.session_lifetime
    assert grant.refresh_token_expires_in == RULES.idle_lifetime
    assert any(isinstance(write, Audit) for write in decision.writes)


def test_a_second_code_of_the_same_browser_joins() -> None:
    """A reload starts a family in the same device session; its oldest goes when ten live."""
    existing = world().session
    families = tuple(replace(world().family, id=FamilyId(bytes([i]) * 16)) for i in range(10))

    decision = exchange(session=existing, families=families)

    assert granted(decision).sid == existing.sid
    assert [write.key for write in decision.writes if isinstance(write, Delete)] != []
    assert not any(isinstance(write, Audit) for write in decision.writes)


def test_a_client_without_the_refresh_grant_gets_no_refresh_token() -> None:
    """Its registration does not name `refresh_token`."""
    decision = exchange(client=replace(PAGE, grant_types=("authorization_code",)))

    assert granted(decision).refresh_token is None
    assert not any(isinstance(write, Put) and isinstance(write.record, Family) for write in decision.writes)


# ── who may exchange: nothing is committed, and the code is still good for its owner ─


@pytest.mark.parametrize(
    "arguments",
    [
        {"issued": code(client_id=ClientId("other"))},
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": None},
        {"code_verifier": None},
        {"code_verifier": VERIFIER[:-1] + "l"},
        {"code_verifier": CHALLENGE},
        {"issued": code(dpop_jkt="jkt")},
        {"issued": code(dpop_jkt="jkt"), "cnf_jkt": "another"},
        {"after": 60},
        {"browser": None},
        {"browser": replace(SIGN_IN, ends=at(1))},
        {"browser": replace(SIGN_IN, subject=Subject("eve"))},
        {"user": None},
        {"user": replace(USER, enabled=False)},
    ],
    ids=lambda arguments: ", ".join(arguments),
)
def test_what_is_not_as_it_was_asked_for_is_refused(arguments: dict[str, Any]) -> None:
    """RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 9449 §10; a sign-out between code and exchange."""
    assert refusal(**arguments).error == "invalid_grant"


def test_a_code_is_good_until_it_expires() -> None:
    """The other side of the limit."""
    assert isinstance(exchange(after=59).result, Grant)


def test_a_sign_in_is_good_until_it_ends() -> None:
    """The other side of the limit."""
    assert isinstance(exchange(browser=replace(SIGN_IN, ends=at(2))).result, Grant)


def test_the_named_key_is_accepted() -> None:
    """RFC 9449 §10: and binds the family of a public client."""
    decision = exchange(code(dpop_jkt="jkt"), cnf_jkt="jkt")

    assert granted(decision).cnf_jkt == "jkt"
    assert put(decision.writes, Family).profile is Profile.BOUND


def test_a_verifier_without_a_challenge_is_a_downgrade() -> None:
    """RFC 9700 §2.1.1: somebody removed the challenge from the authorization request."""
    plain = code(BACKEND, code_challenge=None)
    client = replace(BACKEND, require_pkce=False)

    assert refusal(issued=plain, client=client).error == "invalid_grant"
    assert isinstance(exchange(plain, client=client, code_verifier=None).result, Grant)


@pytest.mark.parametrize("client", [PAGE, replace(PAGE, require_pkce=False), BACKEND])
def test_a_client_that_needs_pkce_is_not_served_without_it(client: Client) -> None:
    """Public always; confidential where registered."""
    assert refusal(issued=code(client, code_challenge=None), client=client, code_verifier=None).error == "invalid_grant"


def test_the_challenge_is_the_hash_of_the_verifier() -> None:
    """RFC 7636 Appendix B, and no `plain`: the challenge itself is not its verifier."""
    assert encode(hashlib.sha256(VERIFIER.encode()).digest()) == CHALLENGE
    assert refusal(code_verifier=CHALLENGE).description == "code_verifier does not match"


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (replace(PAGE, grant_types=("refresh_token",)), "unauthorized_client"),
        (replace(PAGE, enabled=False), "unauthorized_client"),
        (replace(PAGE, dpop_bound_access_tokens=True), "invalid_dpop_proof"),
    ],
)
def test_a_client_may_use_what_it_is_registered_for(client: Client, error: str) -> None:
    """RFC 6749 §5.2, RFC 9449 §5.2."""
    assert refusal(client=client).error == error


def test_an_unknown_code_is_refused() -> None:
    """Made up, or swept after it expired."""
    request = CodeExchangeRequest(CODE, BACK, Secret(VERIFIER), ())
    with pytest.raises(RequestError) as caught:
        decide_code_exchange(
            CodeAggregate(None, None, None, (), None),
            request=request,
            client=PAGE,
            cnf_jkt=None,
            now=NOW,
            rules=RULES,
            fresh=fresh_start("x"),
            tag_key=TAG,
        )

    assert caught.value.error == "invalid_grant"


# ── audiences ────────────────────────────────────────────────────────────────────────


def test_the_access_token_may_be_narrowed_to_one_resource() -> None:
    """RFC 8707 §2.2: the family keeps all that was granted."""
    decision = exchange(resource=("https://shop.example/stock",))

    assert granted(decision).audience == ("https://shop.example/stock",)
    assert put(decision.writes, Family).resource == PAGE.audiences


@pytest.mark.parametrize("asked_for", [(), ("https://shop.example/orders",)])
def test_a_resource_outside_the_grant_is_refused(asked_for: tuple[str, ...]) -> None:
    """Neither one of nobody's, nor one of the client's that was not granted."""
    wanted = "https://shop.example/stock" if asked_for else "https://elsewhere.example"

    assert refusal(issued=code(resource=asked_for), resource=(wanted,)).error == "invalid_target"


def test_a_client_without_audiences_gets_tokens_for_the_issuer() -> None:
    """RFC 9068 §3: a default resource; `aud` is never absent."""
    assert granted(exchange(client=replace(PAGE, audiences=()))).audience == (RULES.iss,)


# ── the second use ───────────────────────────────────────────────────────────────────


def used_code() -> tuple[AuthorizationCode, DeviceSession]:
    first = exchange()
    return put(first.writes, AuthorizationCode), put(first.writes, DeviceSession)


@pytest.mark.parametrize("after", [2, 60, 600])
def test_a_second_use_ends_what_the_first_opened(after: int) -> None:
    """RFC 6749 §4.1.2; a value, because the end has to be committed."""
    used, session = used_code()

    decision = exchange(used, session=session, after=after)

    assert decision.result == Denied(
        "invalid_grant", "the code was used before; the session it opened was ended", "reused"
    )
    ended = put(decision.writes, DeviceSession)
    assert (ended.sid, ended.status, ended.end_reason) == (session.sid, SessionStatus.ENDED, EndReason.CODE_REUSED)
    assert any(isinstance(write, Revoke) for write in decision.writes)
    assert [event.name for event in decision.events] == [EventName.CODE_REUSED]


def test_a_third_use_writes_nothing() -> None:
    """The session has ended before."""
    used, session = used_code()
    over = replace(session, status=SessionStatus.ENDED, end_reason=EndReason.CODE_REUSED)

    decision = exchange(used, session=over)

    assert isinstance(decision.result, Denied)
    assert decision.writes == ()
    assert exchange(used, session=None).writes == ()


@pytest.mark.parametrize(
    "arguments",
    [{"code_verifier": "x" * 43}, {"code_verifier": None}, {"redirect_uri": None}, {"client": BACKEND}],
    ids=lambda arguments: ", ".join(arguments),
)
def test_a_code_from_an_address_bar_ends_nobodys_session(arguments: dict[str, Any]) -> None:
    """Decision 0022: a second use counts only from whoever could have made the first."""
    used, session = used_code()

    assert refusal(issued=used, session=session, **arguments).error == "invalid_grant"


def test_a_code_record_holds_no_code() -> None:
    """Storage sees its digest."""
    assert CODE.reveal() not in repr(code())
    assert code().code_digest == hashlib.sha256(CODE.reveal().encode()).digest()
