"""What is not a refresh: nothing an attacker makes up, replays or sends in masses ends anybody's session.

And what is not the client's fault: clocks that jump, a disk that is full, a database that goes away.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portero.adapters.storage.postgresql import PostgresStore
from portero.adapters.storage.sqlite import SqliteStore
from portero.adapters.system import SystemRandom
from portero.authorization_server.config import Config
from portero.core.sessions.records import SessionStatus
from portero.core.tokens.refresh_token import RefreshToken, TagKey, parse_refresh_token, render_refresh_token
from portero.core.transitions import FamilyAggregate, FamilyKey
from portero.core.types import FamilyId, Secret
from portero.testing.postgresql import running_postgres
from tests.authorization_server.back_channel import ATTEMPT, BFF, ISSUER, SECRET, SPA, BackChannel, Seen, basic

UNLIMITED = Config(
    issuer=ISSUER,
    access_token_jitter=0,
    token_limit_invented="off",
    token_limit_refused="off",
    token_limit_session="off",
    token_limit_client="off",
)


@pytest.fixture
def unlimited() -> Iterator[BackChannel]:
    """A server without limits: the answers are those of the checks."""
    with asyncio.Runner() as runner:
        yield BackChannel(runner, UNLIMITED)


def attempt(number: int) -> str:
    return f"{number:022d}"


def stored(server: BackChannel, token: str) -> FamilyAggregate:
    family_id = parse_refresh_token(Secret(token), tag_key=server.secrets.tag_keys.get).family_id
    found: FamilyAggregate = server.run(server.store.store.read(FamilyKey(family_id)))
    return found


def refused_as_invented(seen: Seen) -> bool:
    """Registered error, no reason: nothing is said to who holds no authentic token."""
    return (
        seen.status == 400
        and seen.json["error"] in ("invalid_grant", "invalid_request")
        and "error_reason" not in (seen.json)
    )


# ── tokens ───────────────────────────────────────────────────────────────────────────


def test_a_truncated_token_is_refused_at_every_length(unlimited: BackChannel) -> None:
    """From nothing to all but one character; the whole one works afterwards."""
    server = unlimited
    token = server.signed_in()["refresh_token"]
    before = stored(server, token)
    answers = [server.refresh(token[:length]) for length in range(len(token))]

    assert all(map(refused_as_invented, answers))
    assert stored(server, token) == before
    assert server.refresh(token).status == 200


def test_a_token_altered_at_any_place_is_refused(unlimited: BackChannel) -> None:
    """One character changed, anywhere: tag, family, generation, secret."""
    server = unlimited
    token = server.signed_in()["refresh_token"]
    before = stored(server, token)
    altered = [token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :] for n in range(len(token))]
    answers = [server.refresh(text) for text in altered]

    assert all(map(refused_as_invented, answers))
    assert stored(server, token) == before


def test_a_token_of_another_portero_is_foreign(unlimited: BackChannel) -> None:
    """Well made, under another server's tag key and the same key id: as good as invented."""
    server = unlimited
    token = parse_refresh_token(Secret(server.signed_in()["refresh_token"]), tag_key=server.secrets.tag_keys.get)
    foreign = render_refresh_token(token, tag_key=TagKey(server.secrets.tag_keys.current, Secret(b"f" * 32)))
    unknown_key = render_refresh_token(token, tag_key=TagKey(200, Secret(b"f" * 32)))

    assert refused_as_invented(server.refresh(foreign.reveal()))
    assert refused_as_invented(server.refresh(unknown_key.reveal()))


def test_an_authentic_token_of_no_family_is_expired(unlimited: BackChannel) -> None:
    """Our tag, and a family that was swept long ago (or never came back from a backup)."""
    server = unlimited
    keys = server.secrets.tag_keys
    token = RefreshToken(FamilyId(b"f" * 16), 7, Secret(b"s" * 32))
    seen = server.refresh(render_refresh_token(token, tag_key=TagKey(keys.current, keys.current_key)).reveal())

    assert (seen.status, seen.json["error"], seen.json["error_reason"]) == (400, "invalid_grant", "expired")


@pytest.mark.parametrize("generations", [5, 40], ids=["in the ring", "older than the ring"])
def test_an_ancient_token_of_a_bound_client_ends_nothing(unlimited: BackChannel, generations: int) -> None:
    """Profile A: worthless without the credential, and harmless with it."""
    server = unlimited
    form = {**server.exchange_form(BFF)}
    ancient = live = server.post("/token", form, authorization=basic(BFF.client_id, SECRET)).json["refresh_token"]
    for _ in range(generations):
        server.clock.advance(3600)
        body = {"grant_type": "refresh_token", "refresh_token": live}
        live = server.post("/token", body, authorization=basic(BFF.client_id, SECRET)).json["refresh_token"]
    seen = server.post(
        "/token",
        {"grant_type": "refresh_token", "refresh_token": ancient},
        authorization=basic(BFF.client_id, SECRET),
    )

    assert (seen.status, seen.json["error_reason"]) == (400, "superseded")
    assert stored(server, live).session.status is SessionStatus.ACTIVE


@pytest.mark.parametrize("size", [8 * 1024, 8 * 1024 + 1, 60_000])
def test_an_enormous_token_is_refused_without_a_look(unlimited: BackChannel, size: int) -> None:
    """Both sides of the limit; no transition is tried."""
    server = unlimited
    server.signed_in()
    before = server.store.transitions
    seen = server.refresh("prt1." + "A" * (size - 5))

    assert seen.status in (400, 413)
    assert server.store.transitions == before


# ── attempts ─────────────────────────────────────────────────────────────────────────


def test_an_attempt_used_again_for_the_next_token_is_no_retry_of_the_last(unlimited: BackChannel) -> None:
    """A client that never draws a new one still rotates, and still cannot be told two things for one token."""
    server = unlimited
    tokens = [server.signed_in()["refresh_token"]]
    for _ in range(5):
        tokens.append(server.refresh(tokens[-1], attempt=ATTEMPT).json["refresh_token"])
    retry = server.refresh(tokens[-2], attempt=ATTEMPT)

    assert len(set(tokens)) == 6
    assert retry.json["refresh_token"] == tokens[-1]


def test_an_attempt_of_one_session_proves_nothing_in_another(unlimited: BackChannel) -> None:
    """It speaks for one generation of one family."""
    server = unlimited
    mine, theirs = server.signed_in()["refresh_token"], server.signed_in()["refresh_token"]
    server.refresh(mine, attempt=attempt(1))
    server.refresh(theirs, attempt=attempt(2))
    seen = server.refresh(theirs, attempt=attempt(1))

    assert (seen.status, seen.json["error_reason"]) == (400, "superseded")


# ── a fuzzer over a live family ──────────────────────────────────────────────────────

_NOISE = st.one_of(
    st.text(max_size=40),
    st.text("prt1.-_ABCabc019=%& ", max_size=200),
    st.binary(max_size=60).map(lambda raw: "prt1." + base64.urlsafe_b64encode(raw).decode()),
    st.sampled_from(["refresh_token", "spa", "prt1..", "\x00", "0", "null", "[]"]),
)
_NAMES = st.sampled_from(
    ["grant_type", "client_id", "refresh_token", "refresh_attempt", "scope", "resource", "client_secret", "token", "x"]
)
_HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "dpop", "origin", "cookie", "x-forwarded-for"]),
    st.text('abcABC019 .=/+-_:,"', max_size=80),
    max_size=3,
)


class Live:
    """A family in use, which strangers then write to."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.server = BackChannel(self.runner, UNLIMITED)
        self.old = self.server.signed_in()["refresh_token"]
        self.token = self.server.refresh(self.old, attempt=attempt(1)).json["refresh_token"]
        self.before = stored(self.server, self.token)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """One family for all examples: none of them may change it."""
    family = Live()
    yield family
    family.runner.close()


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(st.tuples(_NAMES, _NOISE), max_size=8),
    cut=st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", "A", ".", "é", "prt1.", " "])),
    brings_form=st.booleans(),
    path=st.sampled_from(["/token", "/revoke"]),
    headers=_HEADERS,
)
def test_nothing_made_up_changes_a_live_family(
    live: Live,
    pairs: list[tuple[str, str]],
    cut: tuple[int, int, str],
    brings_form: bool,
    path: str,
    headers: dict[str, str],
) -> None:
    """Any form, any headers, a live token with any piece replaced: a registered error, and no write."""
    start, end, put = cut
    mutated = live.token[:start] + put + live.token[max(start, end) :]
    form = list(pairs)
    if brings_form and mutated != live.token:
        form = [
            ("grant_type", "refresh_token"),
            ("client_id", "spa"),
            ("refresh_attempt", attempt(7)),
            ("refresh_token", mutated),
            ("token", mutated),
            *form,
        ]
    seen = live.server.post(path, form, **headers)

    assert seen.status < 500
    # Revoking what is nobody's is a success (RFC 7009 §2.2).
    assert seen.status >= 400 or path == "/revoke"
    assert stored(live.server, live.token) == live.before


# ── clocks that jump ─────────────────────────────────────────────────────────────────


def test_a_clock_set_back_signs_nobody_out(unlimited: BackChannel) -> None:
    """An hour back in the middle of a chain: refreshes, retries and late requests are as ever; no end moves back."""
    server = unlimited
    first = server.signed_in()["refresh_token"]
    second = server.refresh(first, attempt=attempt(1)).json["refresh_token"]
    ends = stored(server, second).session
    server.clock.set_wall(server.clock.now() - 3600)
    retry = server.refresh(first, attempt=attempt(1))
    third = server.refresh(second, attempt=attempt(2))
    late = server.refresh(first, attempt=attempt(1))
    session = stored(server, second).session

    assert retry.json["refresh_token"] == second
    assert third.status == 200
    assert late.json["error_reason"] == "superseded"
    assert session is not None
    assert ends is not None
    assert (session.absolute_end, session.status) == (ends.absolute_end, SessionStatus.ACTIVE)
    assert session.idle_end >= ends.idle_end
    assert session.last_access_exp >= ends.last_access_exp


def test_a_thief_gains_nothing_from_a_clock_set_back(unlimited: BackChannel) -> None:
    """Before first use is within the window: he is softly denied, until the clock has come back."""
    server = unlimited
    first = server.signed_in()["refresh_token"]
    server.refresh(first, attempt=attempt(1))
    server.clock.set_wall(server.clock.now() - 3600)
    early = server.refresh(first, attempt=attempt(9))
    server.clock.set_wall(server.clock.now() + 3600 + 11)
    late = server.refresh(first, attempt=attempt(9))

    assert early.json["error_reason"] == "superseded"
    assert late.json["error_reason"] == "reused"


def test_a_clock_that_jumps_ahead_and_back_leaves_the_session(unlimited: BackChannel) -> None:
    """A day ahead for a moment, then right again: the device goes on."""
    server = unlimited
    token = server.signed_in()["refresh_token"]
    right = server.clock.now()
    server.clock.set_wall(right + 86400)
    token = server.refresh(token, attempt=attempt(1)).json["refresh_token"]
    server.clock.set_wall(right + 1)
    back = server.refresh(token, attempt=attempt(2))

    assert back.status == 200
    assert server.refresh(back.json["refresh_token"], attempt=attempt(3)).status == 200


def test_a_clock_ahead_of_all_ends_says_expired_and_ends_nothing(unlimited: BackChannel) -> None:
    """When it is right again, so is the session: an end by time is a comparison, not a state."""
    server = unlimited
    token = server.signed_in()["refresh_token"]
    right = server.clock.now()
    server.clock.set_wall(right + 8 * 86400)
    expired = server.refresh(token, attempt=attempt(1))
    server.clock.set_wall(right + 1)

    assert expired.json["error_reason"] == "expired"
    assert server.refresh(token, attempt=attempt(1)).status == 200


# ── the world's failures ─────────────────────────────────────────────────────────────


@contextlib.contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file of this process may grow past `room` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def assert_unavailable(seen: Seen) -> None:
    """503 and when to come back; never `invalid_grant`, never 401 (design, invariant 8)."""
    assert seen.status == 503, seen.body
    assert int(seen.header("retry-after") or 0) >= 1
    assert b"invalid_grant" not in seen.body


def test_a_full_disk_is_503_and_then_the_same_request_is_served(tmp_path: Path) -> None:
    """Nothing is half done: when there is room again, the same attempt gets its successor, and the chain goes on."""
    with asyncio.Runner() as runner:
        path = tmp_path / "portero.db"
        store = runner.run(SqliteStore.open(path, random=SystemRandom()))
        server = BackChannel(runner, UNLIMITED, store=store)
        token = server.signed_in()["refresh_token"]
        met: list[Seen] = []
        with full_disk(path.with_name("portero.db-wal").stat().st_size + 3000):
            for number in range(6):
                seen = server.refresh(token, attempt=attempt(number))
                met.append(seen)
                if seen.status != 200:
                    break
                token = seen.json["refresh_token"]
            again = server.refresh(token, attempt=attempt(number))
        served = server.refresh(token, attempt=attempt(number))
        then = server.refresh(served.json["refresh_token"], attempt=attempt(99))
        runner.run(store.aclose())

    assert_unavailable(met[-1])
    assert_unavailable(again)
    assert served.status == 200
    assert then.status == 200


def test_a_database_away_for_a_minute_is_503_and_then_service_without_a_restart() -> None:
    """PostgreSQL is killed; a minute passes on the server's clock; it is back; the same request is served."""
    with running_postgres() as postgres, asyncio.Runner() as runner:
        store = runner.run(PostgresStore.open(postgres.create_database("away"), random=SystemRandom()))
        server = BackChannel(runner, UNLIMITED, store=store)
        first = server.signed_in()["refresh_token"]
        second = server.refresh(first, attempt=attempt(1)).json["refresh_token"]
        postgres.kill()
        away = []
        for _ in range(4):
            away.append(server.refresh(second, attempt=attempt(2)))
            server.clock.advance(15)
        discovery = server.get("/jwks")
        postgres.start()
        served = server.refresh(second, attempt=attempt(2))
        retried = server.refresh(second, attempt=attempt(2))
        runner.run(store.aclose())

    for seen in away:
        assert_unavailable(seen)
    assert discovery.status == 200
    assert served.status == 200
    assert retried.json["refresh_token"] == served.json["refresh_token"]


def test_a_revocation_that_could_not_be_kept_is_no_success(tmp_path: Path) -> None:
    """`POST /revoke` while the disk is full: 503, the session lives; and the client that tries again succeeds."""
    with asyncio.Runner() as runner:
        path = tmp_path / "portero.db"
        store = runner.run(SqliteStore.open(path, random=SystemRandom()))
        server = BackChannel(runner, UNLIMITED, store=store)
        token = server.signed_in()["refresh_token"]
        form = {"token": token, "client_id": SPA.client_id}
        with full_disk(0):
            refused = server.post("/revoke", form)
        live: Any = stored(server, token).session
        done = server.post("/revoke", form)
        ended: Any = stored(server, token).session
        runner.run(store.aclose())

    assert_unavailable(refused)
    assert live.status is SessionStatus.ACTIVE
    assert done.status == 200
    assert ended.status is SessionStatus.ENDED
