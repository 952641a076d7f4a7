"""One person, one client of each kind, and a family to refresh: the values the tests of sessions and grants share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from portero.core.digests import sha256_of
from portero.core.sessions.records import DeviceSession, Family, Profile
from portero.core.sessions.refresh import decide_refresh
from portero.core.sessions.refresh_outcome import Presented, RefreshOutcome
from portero.core.sessions.rules import FreshMaterial, FreshStart, RefreshRules
from portero.core.sessions.starting import open_or_join, start_family
from portero.core.tokens.refresh_token import RefreshToken
from portero.core.transitions import (
    Client,
    ClientType,
    Decision,
    FamilyAggregate,
    Put,
    RefreshProfile,
    RotationPolicy,
    User,
)
from portero.core.types import ClientId, Digest, Issuer, NumericDate, Secret, Subject

ISS = Issuer("https://portero.example")
NOW = NumericDate(1_800_000_000)
RULES = RefreshRules(ISS)
BROWSER = Digest(b"b" * 32)
USER = User(Subject("ana"), "ana", None, "Ana", "ana@example.org", ("manager",))

PAGE = Client(
    client_id=ClientId("page"),
    client_name="Shop",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=("https://shop.example/back",),
    post_logout_redirect_uris=(),
    grant_types=("authorization_code", "refresh_token"),
    scope=("openid", "orders:read", "orders:write"),
    audiences=("https://shop.example/orders", "https://shop.example/stock"),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
PLAIN_PAGE = replace(PAGE, refresh_profile=RefreshProfile.PLAIN)
BACKEND = replace(
    PAGE,
    client_id=ClientId("backend"),
    client_type=ClientType.CONFIDENTIAL,
    token_endpoint_auth_method="client_secret_basic",
    secret_digest=Digest(b"s" * 32),
    grant_types=("authorization_code", "refresh_token", "client_credentials"),
    rotation=RotationPolicy.NEAR_END,
)
CLIENTS = {Profile.BOUND: BACKEND, Profile.ATTEMPT: PAGE, Profile.PLAIN: PLAIN_PAGE}

HONEST = sha256_of(Secret("honest-attempt-0000000"))
OTHER = sha256_of(Secret("another-attempt-000000"))


def at(seconds: int) -> NumericDate:
    """A point in time, from the start of the test's world."""
    return NumericDate(NOW + seconds)


def fresh(label: object) -> FreshMaterial:
    """Repeatable random material."""
    return FreshMaterial.of(hashlib.shake_256(repr(label).encode()).digest(FreshMaterial.SIZE))


def fresh_start(label: object) -> FreshStart:
    """Repeatable random material for a code exchange."""
    return FreshStart.of(hashlib.shake_256(repr(label).encode()).digest(FreshStart.SIZE))


@dataclass
class World:
    """A family behind the pure decision: applies what is written, and remembers it."""

    client: Client
    session: DeviceSession
    family: Family
    token: RefreshToken
    """The first one."""
    user: User | None = USER
    rules: RefreshRules = RULES
    decisions: int = 0

    def refresh(
        self,
        token: RefreshToken,
        *,
        after: int = 0,
        attempt: Digest | None = HONEST,
        **rest: Any,
    ) -> Decision[RefreshOutcome]:
        """Present a token `after` seconds from the start, and commit."""
        self.decisions += 1
        presented = Presented(**{"token": token, "client_id": self.client.client_id, "attempt_digest": attempt, **rest})
        decision = decide_refresh(
            FamilyAggregate(self.family, self.session, self.user),
            presented,
            now=at(after),
            rules=self.rules.for_rotation(self.client.rotation),
            fresh=fresh(self.decisions),
        )
        for write in decision.writes:
            match write:
                case Put(Family() as family):
                    self.family = family
                case Put(DeviceSession() as session):
                    self.session = session
                case _:
                    pass
        return decision


def world(profile: Profile = Profile.ATTEMPT, *, cnf_jkt: str | None = None, rules: RefreshRules = RULES) -> World:
    """A family at its first token."""
    client = CLIENTS[profile] if cnf_jkt is None else PAGE
    start = fresh_start("start")
    joined = open_or_join(
        None,
        browser_session=BROWSER,
        subject=USER.subject,
        client_id=client.client_id,
        device_name="Firefox · Linux",
        place="192.0.0.0/16",
        now=NOW,
        rules=rules,
        fresh=start,
    )
    started = start_family(
        joined.session,
        (),
        client=client,
        scope=client.scope,
        resource=client.audiences,
        cnf_jkt=cnf_jkt,
        acr="1",
        amr=("pwd",),
        auth_time=NOW,
        now=NOW,
        rules=rules,
        fresh=start,
    )
    return World(client, joined.session, started.family, started.refresh_token, rules=rules)
