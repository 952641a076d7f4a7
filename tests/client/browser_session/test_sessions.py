"""What every place where sessions are kept must do, and what each does of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from portero.client.browser_session import SealedSessions, Sessions, SqliteSessions
from portero.client.browser_session.records import Session
from portero.client.browser_session.sessions import key_of
from portero.core.errors import Unavailable
from portero.core.types import Secret
from tests.client.browser_session.world import SESSION_SECRET

NOW = 1_800_000_000.0
OTHER_SECRET = Secret("another-secret-" + "o" * 40)


def session(name: str = "one", **changes: object) -> Session:
    """A session that lives for an hour, and whose cookie is its name."""
    given = Session(
        key=key_of(name),
        sub="ana",
        sid=f"sid-{name}",
        claims={"sub": "ana", "name": "Ana"},
        access_token=Secret("access"),
        access_until=NOW + 300,
        refresh_from=NOW + 240,
        refresh_token=Secret("refresh"),
        started=NOW,
        ends=NOW + 3600,
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def test_what_was_kept_is_found_by_its_cookie_until_its_end(sessions: Sessions) -> None:
    """At its end it is gone; an unknown cookie finds nothing."""

    async def story() -> None:
        cookie = await sessions.create(session(), Secret("one"), now=NOW)
        found = await sessions.find(cookie, now=NOW + 3599)
        assert found is not None
        assert (found.sub, found.refresh_token and found.refresh_token.reveal()) == ("ana", "refresh")
        assert await sessions.find(cookie, now=NOW + 3600) is None
        assert await sessions.find("two", now=NOW) is None
        await sessions.aclose()

    asyncio.run(story())


def test_of_two_refreshes_one_is_kept(sessions: Sessions) -> None:
    """The second is told, and finds what the first brought."""

    async def story() -> None:
        await sessions.create(session(), Secret("one"), now=NOW)
        first = session(version=1, access_token=Secret("first"))
        assert await sessions.replace(first, now=NOW)
        assert not await sessions.replace(session(version=1, access_token=Secret("second")), now=NOW)
        latest = await sessions.latest(session(), now=NOW)
        assert latest is not None
        assert latest.access_token.reveal() == "first"
        await sessions.aclose()

    asyncio.run(story())


@pytest.mark.parametrize("by", ["key", "sid", "sub"])
@pytest.mark.behaviour(45)
def test_a_session_that_ended_never_comes_back(sessions: Sessions, by: str) -> None:
    """Neither by its cookie nor by a refresh that lands late; another one is untouched."""

    async def story() -> None:
        cookie = await sessions.create(session(), Secret("one"), now=NOW)
        other = session("two", sub="bruno")
        kept = await sessions.create(other, Secret("two"), now=NOW)
        if by == "key":
            await sessions.end(session().key, until=NOW + 3600)
        else:
            sid = "sid-one" if by == "sid" else None
            await sessions.end_all(sid=sid, sub="ana", now=NOW, until=NOW + 3600)

        late = session(version=1)
        assert await sessions.find(cookie, now=NOW + 1) is None
        assert not await sessions.replace(late, now=NOW + 1)
        assert sessions.renewed_cookie(late) is None
        assert await sessions.latest(session(), now=NOW + 1) is None
        assert await sessions.find(kept, now=NOW + 1) is not None
        await sessions.aclose()

    asyncio.run(story())


def test_a_later_session_of_the_same_person_is_another(sessions: Sessions) -> None:
    """To end all of somebody's sessions ends those that were begun by then."""

    async def story() -> None:
        await sessions.end_all(sid=None, sub="ana", now=NOW, until=NOW + 3600)
        later = session(started=NOW + 1)
        cookie = await sessions.create(later, Secret("one"), now=NOW + 1)
        assert await sessions.find(cookie, now=NOW + 2) is not None
        await sessions.aclose()

    asyncio.run(story())


def test_the_file_holds_neither_cookie_nor_token(tmp_path: Path) -> None:
    """A copy of it opens nothing, and it is its owner's only."""
    path = tmp_path / "sessions.db"

    async def story() -> None:
        sessions = SqliteSessions(path, secrets=[SESSION_SECRET])
        secrets = {"access_token": Secret("access-token-value"), "refresh_token": Secret("refresh-token-value")}
        await sessions.create(session("the-cookie-value", sid="sid", **secrets), Secret("the-cookie-value"), now=NOW)
        await sessions.aclose()

    asyncio.run(story())
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not [one for one in (b"the-cookie-value", b"access-token-value", b"refresh-token-value") if one in content]
    assert path.stat().st_mode & 0o077 == 0


def test_sessions_in_a_file_outlive_the_process_and_are_shared(tmp_path: Path) -> None:
    """A restart signs nobody out, and a sign-out in one process is one in all."""
    path = tmp_path / "sessions.db"

    async def story() -> None:
        first = SqliteSessions(path, secrets=[SESSION_SECRET])
        cookie = await first.create(session(), Secret("one"), now=NOW)
        second = SqliteSessions(path, secrets=[OTHER_SECRET, SESSION_SECRET])
        assert await second.find(cookie, now=NOW) is not None
        await second.end(session().key, until=NOW + 3600)
        assert await first.find(cookie, now=NOW) is None
        await first.aclose()
        await second.aclose()

    asyncio.run(story())


def test_a_sealed_cookie_opens_under_its_secrets_only() -> None:
    """Changed by a character, or sealed by a stranger, it is nobody's; a new secret in front opens it."""

    async def story() -> None:
        cookie = await SealedSessions(secrets=[SESSION_SECRET]).create(session(), Secret("one"), now=NOW)
        for place in (0, 10, len(cookie) // 2, len(cookie) - 2):
            changed = cookie[:place] + ("A" if cookie[place] != "A" else "B") + cookie[place + 1 :]
            assert await SealedSessions(secrets=[SESSION_SECRET]).find(changed, now=NOW) is None
        assert await SealedSessions(secrets=[OTHER_SECRET]).find(cookie, now=NOW) is None
        assert await SealedSessions(secrets=[OTHER_SECRET, SESSION_SECRET]).find(cookie, now=NOW) is not None
        assert await SealedSessions(secrets=[SESSION_SECRET]).find("A" * 10_000, now=NOW) is None

    asyncio.run(story())


def test_a_session_that_fits_no_cookie_is_said_so() -> None:
    """A browser would drop it without a word."""
    with pytest.raises(Unavailable, match="fits no cookie"):
        asyncio.run(
            SealedSessions(secrets=[SESSION_SECRET]).create(
                session(access_token=Secret("a" * 4000)), Secret("one"), now=NOW
            )
        )
