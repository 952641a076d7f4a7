"""`portero restore`: after a backup was put back, take back again what it does not know was taken back."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from portero.adapters.storage.journal import Journal, journal_of
from portero.cli.settings import Desk, at_desk, config_option, database_path, seconds
from portero.core.errors import ConfigurationError
from portero.core.revocation.entry import FeedEntry, Revocation, RevokedKind
from portero.core.revocation.epoch import EPOCH_BYTES, restored_epoch
from portero.core.revocation.restoring import end_after_restore, forget_browsers, replay_session
from portero.core.sessions.ending import disable_client
from portero.core.transitions import (
    ClientKey,
    Decision,
    FeedKey,
    FeedSizeKey,
    RenewEpoch,
    ReplayKey,
    Revoke,
    SessionKey,
    SessionsKey,
    SigningKeysKey,
    SubjectKey,
    UsersKey,
)
from portero.core.types import ClientId, Digest, Issuer, Kid, NumericDate, Sid

T = TypeVar("T")

REPLAY, END_ALL, DECLARE = "replay", "end-all", "declare"
_AT_ONCE = 200
"""Transitions in flight: they share commits."""
_NOTHING = ReplayKey(Digest(bytes(32)))


@click.command("restore")
@click.option("--replay", "mode", flag_value=REPLAY, help="Take back again what the revocations file names.")
@click.option("--end-all", "mode", flag_value=END_ALL, help="End every session: everybody signs in anew.")
@click.option("--declare", "mode", flag_value=DECLARE, help="Nothing was taken back since the backup; only say so.")
@click.option(
    "--revocations",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The revocations file.  [default: beside the SQLite database]",
)
@config_option
def command(mode: str | None, revocations: Path | None, config_file: Path | None) -> None:
    """Say that the database was restored from a backup, or failed over to a copy that may be behind.

    Run it once, before the servers start. A backup shows sessions live that were ended since;
    --replay ends them again, from the file that is written beside a SQLite database. Without the
    file, or where it does not reach back to the backup, --end-all is the safe answer.
    """
    if mode is None:
        if not sys.stdin.isatty():
            raise click.UsageError("say which: --replay, --end-all or --declare")
        mode = click.prompt("What was taken back since the backup", type=click.Choice([REPLAY, END_ALL, DECLARE]))
    done = at_desk(config_file, partial(_restored, mode=mode, file=revocations))
    for what, number in done.counted.items():
        click.echo(f"{what}: {number}")
    for hint in done.hints:
        click.echo(hint)
    click.echo("the restore is declared; start the servers now")


@dataclass
class _Done:
    counted: Counter[str] = field(default_factory=Counter)
    hints: list[str] = field(default_factory=list)


async def _restored(desk: Desk, *, mode: str, file: Path | None) -> _Done:
    done = _Done()
    if mode == REPLAY:
        await _replay(desk, _journal(desk, file), done)
    if mode == END_ALL:
        await _end_all(desk, done)
    if mode != DECLARE:
        await _forget_browsers(desk, done)
    # Last: whoever finds the new epoch finds all of the above.
    now = desk.now()
    epoch = restored_epoch(desk.random.bytes(EPOCH_BYTES), now=now)
    await desk.store.transition(_NOTHING, lambda _: Decision(None, (RenewEpoch(epoch),)), now=now)
    return done


# ── replay ───────────────────────────────────────────────────────────────────────────


def _journal(desk: Desk, file: Path | None) -> Journal:
    database = database_path(desk.config)
    if file is None and database is None:
        expected = "PostgreSQL keeps no revocations file; name one, or use --end-all or --declare"
        raise ConfigurationError("--revocations", "(none)", expected)
    journal = Journal(file) if file is not None else journal_of(database or Path())
    if not journal.path.exists():
        raise ConfigurationError("--revocations", str(journal.path), "a file that exists; else use --end-all")
    return journal


async def _replay(desk: Desk, journal: Journal, done: _Done) -> None:
    feed = await desk.store.read(FeedSizeKey(desk.now()))
    entries = tuple(journal.entries())
    _check_reaches_back(journal, entries, epoch=feed.epoch, head=feed.head)
    told = {(e.revocation.kind, e.revocation.value): e.revocation.until async for e in _live_feed(desk)}
    news = [entry for entry in entries if entry.epoch != feed.epoch or entry.n > feed.head]
    # Sessions from the whole file: one that has ended never lives again, so more than news does no harm.
    sessions = _latest(entry.revocation for entry in entries if entry.revocation.kind is RevokedKind.SESSION)

    async def one(revocation: Revocation) -> None:
        in_feed = told.get((revocation.kind, revocation.value), 0) >= revocation.until
        leeway, now = seconds(desk.config.revocation_margin), desk.now()
        decide = partial(replay_session, revocation=revocation, in_feed=in_feed, now=now, leeway=leeway)
        ended = await desk.store.transition(SessionKey(Sid(revocation.value)), decide, now=now)
        done.counted["sessions ended again"] += len(ended)

    done.counted["revocations read"] = len(entries)
    done.counted["sessions ended again"] = 0
    await _many(one(revocation) for revocation in sessions)
    for revocation in _latest(entry.revocation for entry in news if entry.revocation.kind is not RevokedKind.SESSION):
        await _replay_other(desk, revocation, told.get((revocation.kind, revocation.value), 0), done)


async def _replay_other(desk: Desk, revocation: Revocation, told: int, done: _Done) -> None:
    now, config = desk.now(), desk.config
    iss, leeway, lifetime = (
        Issuer(config.issuer),
        seconds(config.revocation_margin),
        seconds(config.access_token_lifetime),
    )
    if revocation.kind is RevokedKind.CLIENT:
        disable = partial(disable_client, now=now, iss=iss, leeway=leeway, access_token_lifetime=lifetime)
        client = await desk.store.transition(ClientKey(ClientId(revocation.value)), disable, now=now)
        if client is not None:
            done.hints.append(f"the client {client.client_id} is disabled again; portero client enable undoes it")
    elif revocation.kind is RevokedKind.KEY:
        await _remove_key(desk, Kid(revocation.value), done)
    if told < revocation.until and revocation.until > now:
        await desk.store.transition(_NOTHING, lambda _: Decision(None, (Revoke(revocation),)), now=now)
        done.counted[f"told again ({revocation.kind.value})"] += 1


async def _remove_key(desk: Desk, kid: Kid, done: _Done) -> None:
    # The key ring and its cryptography are loaded for a removed key alone.
    from portero.cli.keys import new_key
    from portero.core.keys.signing_key import emergency_removal

    now, config = desk.now(), desk.config
    if all(key.kid != kid for key in await desk.store.read(SigningKeysKey())):
        return
    longest = seconds(max(config.access_token_lifetime, config.id_token_lifetime) + config.revocation_margin)
    issuer, fresh = Issuer(config.issuer), new_key(desk)
    remove = partial(emergency_removal, kid, now=now, issuer=issuer, longest_token=longest, new_key=fresh)
    await desk.store.transition(SigningKeysKey(), lambda keys: remove(keys=keys), now=now)
    done.hints.append(f"the signing key {kid} was removed in an emergency, and is removed again")


def _check_reaches_back(journal: Journal, entries: tuple[FeedEntry, ...], *, epoch: str, head: int) -> None:
    # A file that was never cut has everything. One that was must still hold what came next after the backup.
    if not journal.was_cut or any(entry.epoch == epoch and entry.n <= head + 1 for entry in entries):
        return
    expected = (
        f"a file that reaches back to the backup, whose last revocation is {epoch}:{head}; older ones were removed "
        "when the file had grown too large, so only --end-all is safe"
    )
    raise ConfigurationError("--revocations", str(journal.path), expected)


def _latest(revocations: Iterable[Revocation]) -> list[Revocation]:
    """Each thing once, with the latest end."""
    found: dict[tuple[RevokedKind, str], Revocation] = {}
    for revocation in revocations:
        before = found.get((revocation.kind, revocation.value))
        if before is None or before.until < revocation.until:
            found[revocation.kind, revocation.value] = revocation
    return list(found.values())


# ── everybody ────────────────────────────────────────────────────────────────────────


async def _end_all(desk: Desk, done: _Done) -> None:
    now, config = desk.now(), desk.config
    leeway, lifetime = seconds(config.revocation_margin), seconds(config.access_token_lifetime)
    # A token may have been issued after the backup, until this moment.
    until = NumericDate(now + lifetime + leeway)
    decide = partial(end_after_restore, until=until, now=now, iss=Issuer(config.issuer), leeway=leeway)
    while live := await desk.store.read(SessionsKey(limit=10_000)):
        await _many(desk.store.transition(SessionKey(session.sid), decide, now=now) for session in live)
        done.counted["sessions ended"] += len(live)


async def _forget_browsers(desk: Desk, done: _Done) -> None:
    now, after = desk.now(), ""
    while users := await desk.store.read(UsersKey(after=after, limit=_AT_ONCE)):
        removed = await _many(
            desk.store.transition(SubjectKey(user.subject), forget_browsers, now=now) for user in users
        )
        done.counted["browsers asked for the password again"] += sum(removed)
        after = users[-1].username


# ── reading and doing much ───────────────────────────────────────────────────────────


async def _live_feed(desk: Desk) -> AsyncIterator[FeedEntry]:
    after, now = 0, desk.now()
    while page := (await desk.store.read(FeedKey(after, now))).entries:
        for entry in page:
            yield entry
        after = page[-1].n


async def _many(steps: Iterable[Awaitable[T]]) -> list[T]:
    results: list[T] = []
    batch: list[Awaitable[T]] = []
    for step in steps:
        batch.append(step)
        if len(batch) == _AT_ONCE:
            results += await asyncio.gather(*batch)
            batch = []
    return results + list(await asyncio.gather(*batch))
