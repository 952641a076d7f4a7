"""Opening or joining a device session, and the ten families it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portero.core.digests import sha256_of
from portero.core.sessions.records import DeviceSession, Family, Profile, SessionStatus
from portero.core.sessions.starting import Joined, Started, open_or_join, start_family
from portero.core.transitions import Client, Delete, FamilyKey, Put
from portero.core.types import ClientId, Digest, FamilyId, Subject
from tests.core.sessions.worlds import BACKEND, BROWSER, NOW, PAGE, RULES, USER, at, fresh_start, world


def join(existing: DeviceSession | None, *, after: int = 0, **changes: Any) -> Joined:
    arguments: dict[str, Any] = {
        "browser_session": BROWSER,
        "subject": USER.subject,
        "client_id": PAGE.client_id,
        "device_name": "Chrome · Windows",
        "place": "",
        "now": at(after),
        "rules": RULES,
        "fresh": fresh_start("again"),
    }
    return open_or_join(existing, **{**arguments, **changes})


def start(families: tuple[Family, ...] = (), *, client: Client = PAGE, cnf_jkt: str | None = None) -> Started:
    return start_family(
        world().session,
        families,
        client=client,
        scope=("openid",),
        resource=("https://shop.example/orders",),
        cnf_jkt=cnf_jkt,
        acr="1",
        amr=("pwd",),
        auth_time=NOW,
        now=NOW,
        rules=RULES,
        fresh=fresh_start("family"),
    )


def test_a_new_session_has_its_ends_from_the_start() -> None:
    """The absolute end never moves after this; the idle end starts before it."""
    opened = join(None)

    assert opened.opened
    assert opened.session.absolute_end == NOW + RULES.session_lifetime
    assert opened.session.idle_end == NOW + RULES.idle_lifetime
    assert len(opened.session.sid) == 22


def test_a_live_session_is_joined_and_keeps_its_name() -> None:
    """One browser session × one client is one device; a person may have renamed it."""
    existing = replace(world().session, device_name="Ana's laptop")

    joined = join(existing)

    assert not joined.opened
    assert joined.session == existing


@pytest.mark.parametrize(
    "changes",
    [
        {"status": SessionStatus.ENDED},
        {"idle_end": at(100)},
        {"absolute_end": at(100)},
        {"browser_session": Digest(b"x" * 32)},
        {"browser_session": None},
        {"subject": Subject("eve")},
        {"client_id": ClientId("other")},
    ],
    ids=str,
)
def test_what_is_not_this_live_session_is_not_joined(changes: dict[str, Any]) -> None:
    """Over, another browser's, another person's or another client's: a new one opens, with a new `sid`."""
    existing = replace(world().session, **changes)

    joined = join(existing, after=100)

    assert joined.opened
    assert joined.session.sid != existing.sid


def test_a_session_is_joined_until_its_idle_end() -> None:
    """The other side of the limit."""
    assert not join(replace(world().session, idle_end=at(100)), after=99).opened


def test_a_grant_without_a_browser_opens_its_own() -> None:
    """Two such grants are two devices, also of one person and client."""
    existing = replace(world().session, browser_session=None)

    assert join(existing, browser_session=None).opened


def test_a_family_starts_with_a_digest_only() -> None:
    """Storage sees SHA-256 of the first secret."""
    started = start()

    assert started.family.head.digest == sha256_of(started.refresh_token.secret)
    assert (started.family.head.generation, started.refresh_token.generation) == (0, 0)
    assert started.writes == (Put(started.family),)


@pytest.mark.parametrize(
    ("client", "cnf_jkt", "profile", "bound_to"),
    [
        (PAGE, None, Profile.ATTEMPT, None),
        (PAGE, "jkt", Profile.BOUND, "jkt"),
        (BACKEND, None, Profile.BOUND, None),
        (BACKEND, "jkt", Profile.BOUND, None),
    ],
)
def test_the_profile_is_fixed_at_the_start(
    client: Client, cnf_jkt: str | None, profile: Profile, bound_to: str | None
) -> None:
    """RFC 9449 §5: a confidential client's refresh token is bound by its credential, not by the key."""
    family = start(client=client, cnf_jkt=cnf_jkt).family

    assert (family.profile, family.cnf_jkt) == (profile, bound_to)


@pytest.mark.parametrize(("live", "gone"), [(9, 0), (10, 1), (12, 3)])
def test_ten_families_live_and_the_oldest_end(live: int, gone: int) -> None:
    """With nine there is room for a tenth; with ten the oldest goes, and so on if the limit was lowered."""
    families = tuple(replace(world().family, id=FamilyId(bytes([i]) * 16)) for i in range(live))

    writes = start(families).writes

    assert writes[:-1] == tuple(Delete(FamilyKey(family.id)) for family in families[:gone])
    assert isinstance(writes[-1], Put)
