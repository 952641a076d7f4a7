"""What sets the feed off: each cause, its entry in the transaction that causes it, and until when it matters."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from portero.adapters.keys.secrets_file import open_secrets
from portero.adapters.system import SystemClock, SystemRandom
from portero.authorization_server.config import Config
from portero.authorization_server.pages.routes import browser_routes
from portero.cli import settings as cli_settings
from portero.cli.program import run
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.transitions import ClientKey, Decision, Notify, Put, SessionKey, SigningKeysKey, SubjectKey
from portero.core.types import NumericDate, Sid
from portero.ports import Store
from portero.testing.store_samples import client, device_session, signing_key, user
from tests.authorization_server.back_channel import ISSUER, SPA, BackChannel, claims_of
from tests.authorization_server.browser.harness import Server
from tests.authorization_server.browser.test_account import act
from tests.authorization_server.browser.test_account import signed_in as on_the_account_page
from tests.authorization_server.browser.test_end_session import end, hint
from tests.authorization_server.browser.test_end_session import signed_in as in_the_browser
from tests.authorization_server.revocation.watched import Watched, ended_in

MARGIN = 2 * 60


def assert_taken_back_with(watched: Watched, sids: set[str]) -> None:
    """One commit ended exactly these sessions, revoked them until their last token is over, and left notices."""
    commit, revocations = watched.taken_back()
    ended = {session.sid: session for session in ended_in(commit)}

    assert set(ended) == sids
    assert {(r.kind, r.value) for r in revocations} == {(RevokedKind.SESSION, sid) for sid in sids}
    assert all(r.until == ended[Sid(r.value)].last_access_exp + MARGIN for r in revocations)
    assert {w.notice.sid for w in commit if isinstance(w, Notify)} == sids


# ── a person, in the browser ─────────────────────────────────────────────────────────


def watch(server: Server) -> Watched:
    """Watch a browser harness's store from here on."""
    watched = Watched(server.store)
    # The pages are made around a context: the same ones, around the watched store.
    server.app = Starlette(routes=list(browser_routes(replace(server.context, store=watched))))
    return watched


def test_signing_out_here() -> None:
    """The browser's sign-in and every device session under it; a session elsewhere goes on."""
    server, browser = in_the_browser()
    watched = watch(server)
    end(browser, id_token_hint=hint())

    assert_taken_back_with(watched, {"s-1", "s-2"})


@pytest.mark.parametrize(
    ("action", "sids"),
    [
        ({"action": "end", "sid": "phone"}, {"phone"}),
        ({"action": "end_all"}, {"here", "here2", "phone", "other"}),
    ],
)
def test_ending_a_device_or_everything_on_the_account_page(action: dict[str, str], sids: set[str]) -> None:
    """One device is one; everywhere is all of this person's, and nobody else's."""
    server, browser = on_the_account_page()
    watched = watch(server)
    act(browser, **action)

    assert_taken_back_with(watched, sids)


# ── tokens, at the back channel ──────────────────────────────────────────────────────


def test_a_refresh_token_that_is_used_again() -> None:
    """Reuse ends its device session in the transaction that notices it."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner)
        tokens = server.signed_in()
        server.clock.advance(1)
        second = server.refresh(tokens["refresh_token"]).json
        server.clock.advance(60)
        server.refresh(second["refresh_token"], attempt="B" * 21 + "A")
        watched = Watched(server.store.store)
        server.store.store = watched
        server.clock.advance(60)
        refused = server.refresh(tokens["refresh_token"], attempt="C" * 21 + "A")

        assert refused.json["error_reason"] == "reused"
        assert_taken_back_with(watched, {claims_of(tokens["access_token"])["sid"]})


def test_a_client_that_revokes_its_refresh_token() -> None:
    """RFC 7009: the session's other tokens too; the cause's time is finer than a second."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner)
        tokens = server.signed_in()
        watched = Watched(server.store.store)
        server.store.store = watched
        server.clock.advance(2.25)
        server.post("/revoke", {"token": tokens["refresh_token"], "client_id": SPA.client_id})
        _, (revocation,) = watched.taken_back()

        assert_taken_back_with(watched, {claims_of(tokens["access_token"])["sid"]})
        assert revocation.caused_at == server.clock.now()


def test_a_client_that_revokes_one_access_token() -> None:
    """By its `jti`, until it has expired everywhere; its session goes on."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner)
        tokens = server.signed_in()
        watched = Watched(server.store.store)
        server.store.store = watched
        server.post("/revoke", {"token": tokens["access_token"], "client_id": SPA.client_id})
        commit, revocations = watched.taken_back()
        claims = claims_of(tokens["access_token"])

        named = [(r.kind, r.value, r.until) for r in revocations]
        assert named == [(RevokedKind.TOKEN, claims["jti"], claims["exp"] + MARGIN)]
        assert ended_in(commit) == []


def test_a_code_that_is_used_again() -> None:
    """RFC 6749 §4.1.2: what the first use opened ends."""
    with asyncio.Runner() as runner:
        server = BackChannel(runner)
        form = {**server.exchange_form(SPA), "client_id": SPA.client_id}
        tokens = server.post("/token", form).json
        watched = Watched(server.store.store)
        server.store.store = watched
        again = server.post("/token", form)

        assert again.json["error"] == "invalid_grant"
        assert_taken_back_with(watched, {claims_of(tokens["access_token"])["sid"]})


# ── an operator ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watched]:
    """Run commands on a watched store with Ana, her two sessions, a client and a key."""
    watched = Watched()
    config = tmp_path / "portero-server.toml"
    config.write_text(f'[authorization_server]\nissuer = "{ISSUER}"\n')
    (tmp_path / "portero.db").touch()

    async def opened(*_: Any, **__: Any) -> Store:
        return watched

    monkeypatch.setattr(cli_settings, "open_store", opened)
    now = NumericDate(int(SystemClock().now()))
    ana = replace(user("u-ana", username="ana"), enabled=True)
    sessions = [
        replace(device_session(sid, subject=ana.subject), last_access_exp=NumericDate(now + exp))
        for sid, exp in (("laptop", 200), ("phone", 300))
    ]
    records: list[tuple[Any, Any]] = [
        (SubjectKey(ana.subject), ana),
        *((SessionKey(session.sid), session) for session in sessions),
        (ClientKey(client("shop").client_id), client("shop")),
        (SigningKeysKey(), signing_key("kid-1", created=now - 10)),
    ]

    def put(record: Any) -> Callable[[Any], Decision[None]]:
        return lambda _: Decision(None, (Put(record),))

    for key, record in records:
        asyncio.run(watched.transition(key, put(record), now=now))

    def typed(*arguments: str, stdin: str = "") -> Watched:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        assert run([*arguments, "--config", str(config)]) == 0
        return watched

    return typed


def test_an_operator_ends_a_session(desk: Callable[..., Watched]) -> None:
    """By its `sid`."""
    assert_taken_back_with(desk("sessions", "end", "phone"), {"phone"})


def test_an_operator_signs_a_person_out_everywhere(desk: Callable[..., Watched]) -> None:
    """By the person's name."""
    assert_taken_back_with(desk("sessions", "end", "--user", "ana"), {"laptop", "phone"})


def test_a_changed_password(desk: Callable[..., Watched]) -> None:
    """Every session that the old one opened, in the transaction that changes it."""
    watched = desk("user", "passwd", "ana", "--password-stdin", stdin="a new password\n")
    commit, _ = watched.taken_back()

    assert_taken_back_with(watched, {"laptop", "phone"})
    assert any(isinstance(write, Put) and getattr(write.record, "password_hash", None) for write in commit)


def test_a_disabled_person(desk: Callable[..., Watched]) -> None:
    """In the transaction that disables."""
    watched = desk("user", "disable", "ana")

    assert_taken_back_with(watched, {"laptop", "phone"})


def only_revocation(watched: Watched) -> Revocation:
    _, (revocation,) = watched.taken_back()
    return revocation


def test_a_disabled_client(desk: Callable[..., Watched]) -> None:
    """By its `client_id`, until its youngest possible token has expired everywhere."""
    revocation = only_revocation(desk("client", "disable", "shop"))

    assert (revocation.kind, revocation.value) == (RevokedKind.CLIENT, "shop")
    assert revocation.until - revocation.at == lifetime() + MARGIN


def test_one_token_by_its_jti(desk: Callable[..., Watched]) -> None:
    """It may be of this very second."""
    revocation = only_revocation(desk("feed", "revoke-token", "j-1"))

    assert (revocation.kind, revocation.value) == (RevokedKind.TOKEN, "j-1")
    assert revocation.until - revocation.at == lifetime() + MARGIN


def test_a_key_that_a_stranger_knows(desk: Callable[..., Watched], tmp_path: Path) -> None:
    """By its `kid`, until the youngest token it signed has expired everywhere."""
    open_secrets(tmp_path / "portero.secrets", database_is_new=True, random=SystemRandom())
    revocation = only_revocation(desk("keys", "rotate", "--emergency", "kid-1"))

    assert (revocation.kind, revocation.value) == (RevokedKind.KEY, "kid-1")
    assert revocation.until - revocation.at == lifetime() + MARGIN


def test_the_feed_s_size_is_seen(desk: Callable[..., Watched], capsys: pytest.CaptureFixture[str]) -> None:
    """How many revocations still matter."""
    desk("sessions", "end", "--user", "ana")
    desk("feed", "status", "--json")
    printed = capsys.readouterr().out

    assert '"live": 2' in printed
    assert '"head": 2' in printed


def lifetime() -> int:
    return int(Config().access_token_lifetime.total_seconds())
