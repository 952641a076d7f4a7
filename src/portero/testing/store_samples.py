"""Records to put into a store under test: plain ones, and ones with the most extreme values a store must keep."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from portero.core.consent import Consent
from portero.core.linked import LinkedIdentity
from portero.core.outbox_records import (
    Delivery,
    DeliveryKind,
    DeliveryMethod,
    EventStream,
    Notice,
    StreamStatus,
)
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.sessions.records import (
    BrowserSession,
    DeviceSession,
    EndReason,
    Family,
    Profile,
    SessionStatus,
    TokenRecord,
)
from portero.core.sessions.ring import RING_SIZE, Ring, SpentToken
from portero.core.transitions import (
    AuthorizationCode,
    Client,
    ClientType,
    LoginTransaction,
    Record,
    RefreshProfile,
    ReplayMark,
    RotationPolicy,
    SigningKey,
    SigningKeyStatus,
    User,
)
from portero.core.types import ClientId, Digest, FamilyId, Issuer, Kid, NumericDate, Sid, Subject
from portero.core.vouched import Vouched, vouched_to_json

NOW: Final = NumericDate(1_800_000_000)
DAY: Final = 86_400
LATEST: Final = NumericDate(2**63 - 1)
STRANGE: Final = "\"'; DROP TABLE users; --\\ \n\t\x7f é \u0301 😀 \u202e {} % %s ? :a"
LONG: Final = "länger " * 20_000


def digest(name: str) -> Digest:
    """32 bytes that `name` determines."""
    return Digest(hashlib.sha256(name.encode()).digest())


def family_id(name: str) -> FamilyId:
    """16 bytes that `name` determines."""
    return FamilyId(digest(name)[:16])


def user(subject: str = "ada", *, username: str | None = None) -> User:
    return User(
        Subject(subject), username or subject, "$argon2id$…", subject.title(), f"{subject}@example.com", ("user",)
    )


def client(client_id: str = "shop") -> Client:
    return Client(
        client_id=ClientId(client_id),
        client_name="Shop",
        client_type=ClientType.PUBLIC,
        token_endpoint_auth_method="none",
        secret_digest=None,
        redirect_uris=("https://shop.example/callback",),
        post_logout_redirect_uris=(),
        grant_types=("authorization_code", "refresh_token"),
        scope=("openid",),
        audiences=("https://shop.example/orders",),
        refresh_profile=RefreshProfile.ATTEMPT,
        rotation=RotationPolicy.ALWAYS,
        require_pkce=True,
        first_party=True,
        created=NOW,
    )


def browser_session(name: str = "browser", *, subject: str = "ada", ends: int = NOW + DAY) -> BrowserSession:
    return BrowserSession(
        digest(name), Subject(subject), NOW, "urn:example:pwd", ("pwd",), NumericDate(ends), "Firefox · Linux"
    )


def device_session(
    sid: str = "sid-1",
    *,
    subject: str = "ada",
    client_id: str = "shop",
    browser: str | None = "browser",
    created: int = NOW,
    absolute_end: int = NOW + 30 * DAY,
) -> DeviceSession:
    return DeviceSession(
        sid=Sid(sid),
        browser_session=None if browser is None else digest(browser),
        subject=Subject(subject),
        client_id=ClientId(client_id),
        device_name="Firefox · Linux",
        place="203.0.113.0/24",
        created=NumericDate(created),
        last_seen=NumericDate(created),
        last_access_exp=NumericDate(created + 300),
        absolute_end=NumericDate(absolute_end),
        idle_end=NumericDate(min(absolute_end, created + 7 * DAY)),
    )


def family(name: str = "family-1", *, sid: str = "sid-1", created: int = NOW, expires: int = NOW + 14 * DAY) -> Family:
    return Family(
        id=family_id(name),
        sid=Sid(sid),
        client_id=ClientId("shop"),
        scope=("openid", "orders:read"),
        resource=("https://shop.example/orders",),
        cnf_jkt=None,
        profile=Profile.ATTEMPT,
        acr="urn:example:pwd",
        amr=("pwd",),
        auth_time=NOW,
        created=NumericDate(created),
        head=TokenRecord(digest(name + " 0"), 0, NumericDate(created), NumericDate(expires)),
    )


def authorization_code(
    name: str = "code", *, browser: str = "browser", client_id: str = "shop", expires: int = NOW + 60
) -> AuthorizationCode:
    return AuthorizationCode(
        code_digest=digest(name),
        client_id=ClientId(client_id),
        redirect_uri="https://shop.example/callback",
        code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        nonce="n-0S6_WzA2Mj",
        scope=("openid",),
        resource=(),
        subject=Subject("ada"),
        browser_session=digest(browser),
        device_name="Firefox · Linux",
        place="",
        auth_time=NOW,
        acr="urn:example:pwd",
        amr=("pwd",),
        created=NOW,
        expires=NumericDate(expires),
    )


def login_transaction(name: str = "login", *, expires: int = NOW + 900) -> LoginTransaction:
    return LoginTransaction(digest(name), '{"client_id":"shop"}', NOW, NumericDate(expires))


def replay_mark(name: str = "jti", *, expires: int = NOW + 60) -> ReplayMark:
    return ReplayMark(digest(name), NumericDate(expires))


def signing_key(kid: str = "kid-1", *, created: int = NOW) -> SigningKey:
    at = NumericDate(created)
    return SigningKey(Kid(kid), "ES256", '{"kty":"EC"}', b"\x00sealed\xff", SigningKeyStatus.SIGNING, at, at)


def notice(sid: str = "sid-1", *, client_id: str = "shop", at: int = NOW) -> Notice:
    return Notice(Sid(sid), Subject("ana"), ClientId(client_id), EndReason.SIGNED_OUT, NumericDate(at))


def delivery(id_: str = "d-1", *, receiver: str = "shop", due: int = NOW, created: int = NOW) -> Delivery:
    times = (NumericDate(created), NumericDate(due))
    return Delivery(id_, DeliveryKind.LOGOUT, receiver, "{}", *times, 0, NumericDate(NOW + 90 * DAY))


def event_stream(stream_id: str = "stream-1", *, client_id: str = "shop") -> EventStream:
    return EventStream(
        stream_id=stream_id,
        client_id=ClientId(client_id),
        method=DeliveryMethod.POLL,
        endpoint_url="https://as.example/ssf/poll/stream-1",
        sealed_authorization=None,
        events_requested=("https://schemas.openid.net/secevent/caep/event-type/session-revoked",),
        description="",
        status=StreamStatus.ENABLED,
        status_reason="",
        created=NOW,
        verified=NumericDate(0),
    )


def linked_identity(external: str = "20111111112", *, subject: str = "ada") -> LinkedIdentity:
    return LinkedIdentity("clave_fiscal", external, Subject(subject), "20-11111111-2", NOW)


def consent(subject: str = "ada", *, client_id: str = "shop") -> Consent:
    return Consent(Subject(subject), ClientId(client_id), ("openid",), (), NOW)


def revocation(value: str = "sid-1", *, until: int = NOW + 360) -> Revocation:
    return Revocation(Issuer("http://localhost:9000"), RevokedKind.SESSION, value, NOW, NumericDate(until))


_SAID: Final = vouched_to_json(Vouched(STRANGE, LONG, {STRANGE: STRANGE}, session=STRANGE, id_token_hint=LONG))


def extreme_records() -> tuple[Record, ...]:
    """Every kind of record, with the largest, emptiest and strangest values, a session before its family."""
    token = TokenRecord(digest("t"), 2**32 - 1, LATEST, LATEST, LATEST, digest("a"), bytes(range(256)), 2**31)
    ring = Ring.of(
        *(SpentToken(2**32 - 2 - n, digest(f"r{n}") if n % 2 else None, NumericDate(n)) for n in range(RING_SIZE))
    )
    session = replace(
        device_session(STRANGE, subject=STRANGE, client_id=LONG, absolute_end=LATEST),
        device_name="",
        place=LONG,
        last_seen=LATEST,
        last_access_exp=LATEST,
        idle_end=LATEST,
        status=SessionStatus.ENDED,
        end_reason=EndReason.REFRESH_REUSED,
        status_index=2**53,
    )
    full = replace(
        family("extreme", sid=STRANGE),
        scope=("", " ", STRANGE),
        resource=(),
        cnf_jkt=STRANGE,
        profile=Profile.PLAIN,
        amr=(),
        auth_time=None,
        head=token,
        parent=token,
        ring=ring,
        sharing_run=3,
        status=SessionStatus.ENDED,
        end_reason=EndReason.FAMILY_LIMIT,
    )
    bare = replace(family("bare", sid=STRANGE), head=TokenRecord(digest("0"), 0, NumericDate(0), NOW))
    return (
        session,
        full,
        bare,
        replace(browser_session("x", subject=STRANGE), amr=(), acr="", device=LONG, ends=LATEST, vouched=_SAID),
        replace(user(STRANGE, username=STRANGE), password_hash=None, roles=("", "a b"), enabled=False, locale="es"),
        replace(
            client(STRANGE),
            client_type=ClientType.CONFIDENTIAL,
            secret_digest=digest("s"),
            redirect_uris=(LONG,),
            refresh_profile=RefreshProfile.PLAIN,
            rotation=RotationPolicy.NEAR_END,
            require_pkce=False,
            first_party=False,
            allowed_origins=("https://shop.example",),
            jwks="{}",
            backchannel_logout_uri="https://shop.example/out",
            enabled=False,
            dpop_bound_access_tokens=True,
            direct_sign_in=True,
        ),
        replace(login_transaction("x"), request=LONG, expires=LATEST),
        replace(
            authorization_code("x"),
            code_challenge=None,
            nonce=None,
            scope=("", STRANGE),
            claims=STRANGE,
            dpop_jkt=STRANGE,
            used=LATEST,
            sid=Sid("elsewhere"),
            expires=NumericDate(LATEST - DAY),
        ),
        replace(replay_mark("x"), expires=LATEST),
        replace(signing_key(STRANGE), sealed_private=b"", retires=LATEST, remove_after=LATEST),
        replace(delivery(STRANGE), receiver=LONG, claims="", attempts=2**31, due=LATEST, expires=LATEST),
        replace(event_stream(STRANGE), sealed_authorization=b"\x00\xff", events_requested=("", STRANGE)),
        LinkedIdentity(STRANGE, LONG, Subject(STRANGE), "", LATEST),
        replace(consent(STRANGE, client_id=LONG), scope=("", STRANGE), resource=(LONG,), granted=LATEST),
    )
