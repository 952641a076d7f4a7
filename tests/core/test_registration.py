"""What may be registered: each refusal by the one thing that differs from a registration that is accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portero.core.errors import ConfigurationError
from portero.core.events import EventName
from portero.core.registration import (
    check_client,
    check_user,
    enable_client,
    enable_user,
    register_client,
    register_user,
    set_password,
)
from portero.core.revocation.entry import RevokedKind
from portero.core.sessions.records import BrowserSession, DeviceSession
from portero.core.transitions import (
    Audit,
    BrowserKey,
    Client,
    ClientAggregate,
    ClientType,
    Delete,
    Put,
    RefreshProfile,
    Revoke,
    RotationPolicy,
    SubjectAggregate,
    User,
)
from portero.core.types import ClientId, Digest, Issuer, NumericDate, Sid, Subject

NOW = NumericDate(1_800_000_000)
USER = User(Subject("u1"), "ana", "$argon2id$old", "Ana", "ana@shop.example", ("manager",), created=NOW)
PAGE = Client(
    client_id=ClientId("page"),
    client_name="Page",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=("https://shop.example/callback",),
    post_logout_redirect_uris=("https://shop.example/",),
    grant_types=("authorization_code", "refresh_token"),
    scope=("openid",),
    audiences=("https://shop.example/orders",),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
    allowed_origins=("https://shop.example",),
    created=NOW,
)
SERVICE = replace(
    PAGE,
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_basic",
    secret_digest=Digest(bytes(32)),
)


def test_the_two_registrations_that_the_others_differ_from_are_accepted() -> None:
    """Otherwise the refusals below would prove nothing."""
    check_client(PAGE)
    check_client(SERVICE)
    check_user(USER)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a b"}, "client_id"),
        ({"client_id": "-x"}, "client_id"),
        ({"client_id": "x" * 65}, "client_id"),
        ({"rotation": RotationPolicy.NEAR_END}, "clients.page.rotation"),
        ({"require_pkce": False}, "clients.page.require_pkce"),
        ({"grant_types": ("client_credentials",)}, "clients.page.grant_types"),
        ({"grant_types": ("password",)}, "clients.page.grant_types"),
        ({"grant_types": ("implicit",)}, "clients.page.grant_types"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "clients.page.token_endpoint_auth_method"),
        ({"redirect_uris": ()}, "clients.page.redirect_uris"),
        ({"scope": ("a b",)}, "clients.page.scope"),
        ({"scope": ('"',)}, "clients.page.scope"),
        ({"audiences": ("orders",)}, "clients.page.audiences"),
        ({"audiences": ("https://shop.example/#x",)}, "clients.page.audiences"),
        ({"allowed_origins": ("https://shop.example/",)}, "clients.page.allowed_origins"),
        ({"allowed_origins": ("https://Shop.example",)}, "clients.page.allowed_origins"),
        ({"allowed_origins": ("*",)}, "clients.page.allowed_origins"),
        ({"allowed_origins": ("null",)}, "clients.page.allowed_origins"),
        ({"allowed_origins": ("https://user@shop.example",)}, "clients.page.allowed_origins"),
    ],
)
def test_an_unsafe_registration_is_refused_by_name(change: dict[str, object], named: str) -> None:
    """The error names the field."""
    with pytest.raises(ConfigurationError) as refusal:
        check_client(replace(PAGE, **change))

    assert refusal.value.setting == named


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "x" * 64},
        {"rotation": RotationPolicy.NEAR_END, "dpop_bound_access_tokens": True},
        {"redirect_uris": ("org.example.app:/callback",)},
        {"redirect_uris": ("http://127.0.0.1:8080/callback", "http://[::1]/", "http://localhost:1/")},
        {"allowed_origins": ("http://localhost:5173",)},
        {"audiences": ("urn:example:orders",)},
        {"grant_types": ("authorization_code",)},
    ],
)
def test_its_safe_neighbour_is_accepted(change: dict[str, object]) -> None:
    """The other side of the refusals."""
    check_client(replace(PAGE, **change))


@pytest.mark.parametrize("field", ["redirect_uris", "post_logout_redirect_uris"])
@pytest.mark.parametrize(
    "uri",
    [
        "http://shop.example/callback",
        "http://localhost.example/callback",
        "https://",
        "https:///callback",
        "https://shop.example/callback#x",
        "https://user@shop.example/",
        "https://shop.example/a b",
        "https://shop.example\\@evil.example/",
        "https://shöp.example/",
        "https://shop.example:99999/",
        "/callback",
        "//shop.example/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "app:/callback",
        "",
    ],
)
def test_a_redirect_that_leads_elsewhere_is_refused(field: str, uri: str) -> None:
    """RFC 9700 §2.1, RFC 8252 §7: https, loopback, or an app's own scheme with a dot."""
    with pytest.raises(ConfigurationError) as refusal:
        check_client(replace(PAGE, **{field: (uri,)}))

    assert refusal.value.setting == f"clients.page.{field}"


def test_an_apps_own_scheme_is_for_public_clients() -> None:
    """A confidential client is a server, and has an https address."""
    with pytest.raises(ConfigurationError):
        check_client(replace(SERVICE, redirect_uris=("org.example.app:/callback",)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"username": ""}, "username"),
        ({"username": " ana"}, "username"),
        ({"username": "ana\n"}, "username"),
        ({"username": "a\x1bna"}, "username"),
        ({"username": "x" * 129}, "username"),
        ({"email": "ana"}, "email"),
        ({"email": "a na@x"}, "email"),
        ({"roles": ("a b",)}, "roles"),
    ],
)
def test_a_person_nobody_could_be_is_refused(change: dict[str, object], named: str) -> None:
    """The error names the field."""
    with pytest.raises(ConfigurationError) as refusal:
        check_user(replace(USER, **change))

    assert refusal.value.setting == named


@pytest.mark.parametrize("change", [{"username": "x" * 128}, {"username": "Ana María"}, {"email": ""}, {"roles": ()}])
def test_a_person_at_the_limits_is_accepted(change: dict[str, object]) -> None:
    """The other side."""
    check_user(replace(USER, **change))


def test_a_taken_name_is_left_alone() -> None:
    """False, and nothing written: the second one must not take over the first."""
    assert register_user(SubjectAggregate(USER, (), ()), user=USER).writes == ()
    assert register_client(ClientAggregate(PAGE), client=PAGE).writes == ()
    assert register_user(SubjectAggregate(USER, (), ()), user=USER).result is False
    assert register_client(ClientAggregate(PAGE), client=PAGE).result is False


def test_a_change_is_audited_in_the_same_step() -> None:
    """Who was added, and when."""
    added = register_user(SubjectAggregate(None, (), ()), user=USER)
    client = register_client(ClientAggregate(None), client=PAGE)

    assert added.writes == (Put(USER), Audit(added.events[0]))
    assert (added.events[0].name, added.events[0].subject) == (EventName.USER_CHANGED, USER.subject)
    assert client.writes == (Put(PAGE), Audit(client.events[0]))
    assert (client.events[0].name, client.events[0].client_id) == (EventName.CLIENT_CHANGED, PAGE.client_id)


def test_a_new_password_ends_everything_the_old_one_opened() -> None:
    """Session, browser session and access tokens, in the step that changes the password."""
    end = NumericDate(NOW + 1000)
    browser = BrowserSession(Digest(b"b" * 32), USER.subject, NOW, "1", ("pwd",), end, "Firefox")
    session = DeviceSession(
        Sid("s1"), browser.id_digest, USER.subject, PAGE.client_id, "Firefox", "", NOW, NOW, end, end, end
    )
    aggregate = SubjectAggregate(USER, (session,), (browser,))

    decision = set_password(aggregate, password_hash="$argon2id$new", now=NOW, iss=Issuer("https://i"), leeway=60)

    assert decision.writes[0] == Put(replace(USER, password_hash="$argon2id$new"))
    assert Delete(BrowserKey(browser.id_digest)) in decision.writes
    revocation = next(write.revocation for write in decision.writes if isinstance(write, Revoke))
    assert (revocation.kind, revocation.value, revocation.until) == (RevokedKind.SESSION, "s1", end + 60)


def test_nobody_is_changed_where_there_is_nobody() -> None:
    """A missing person or client is told, not made."""
    nobody = SubjectAggregate(None, (), ())

    assert set_password(nobody, password_hash="x", now=NOW, iss=Issuer("https://i"), leeway=60).writes == ()
    assert enable_user(nobody, now=NOW).result is False
    assert enable_client(ClientAggregate(None), now=NOW).result is False


def test_who_was_disabled_can_be_let_in_again() -> None:
    """Enabled, and nothing else about them changed."""
    person = enable_user(SubjectAggregate(replace(USER, enabled=False), (), ()), now=NOW)
    client = enable_client(ClientAggregate(replace(PAGE, enabled=False)), now=NOW)

    assert person.writes[0] == Put(USER)
    assert client.writes[0] == Put(PAGE)
