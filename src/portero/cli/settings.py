"""What every command begins with: the settings, and the store of the server they describe.

A command beside a running server works on the same store: what it writes is one transaction like
the server's own, and the server notices.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import click

from portero.adapters.storage.open import open_store
from portero.adapters.system import SystemClock, SystemRandom
from portero.authorization_server.config import MEMORY, TABLE, Config, load_config
from portero.core.errors import ConfigurationError
from portero.core.revocation.cause import caused_at
from portero.core.transitions import Decision, Key
from portero.core.types import NumericDate
from portero.ports import Clock, Random, Store

A = TypeVar("A")
T = TypeVar("T")

DEFAULT_FILE = Path("portero-server.toml")

config_option = click.option(
    "--config",
    "config_file",
    envvar="PORTERO_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"Settings, TOML with the table [{TABLE}].  [default: $PORTERO_CONFIG, then ./{DEFAULT_FILE} if there is one]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def settings(config_file: Path | None) -> Config:
    """Read the settings of this call.

    Raises:
        ConfigurationError: as `load_config`.
    """
    if config_file is None and DEFAULT_FILE.is_file():
        config_file = DEFAULT_FILE
    return load_config(config_file, environ=os.environ)


@dataclass(frozen=True, slots=True)
class Desk:
    """What an operator's command works with."""

    config: Config
    store: Store
    clock: Clock
    random: Random

    def now(self) -> NumericDate:
        """The current second."""
        return NumericDate(int(self.clock.now()))

    async def commit(self, key: Key[A], decide: Callable[[A], Decision[T]], *, now: NumericDate) -> T:
        """Run a transition; a revocation it appends carries this moment as its cause.

        Raises:
            Unavailable: see `Store.transition`.
        """
        time = self.clock.now()
        return await self.store.transition(key, lambda found: caused_at(decide(found), time=time), now=now)


def seconds(duration: timedelta) -> int:
    """Whole seconds of a setting, as `core` takes them."""
    return int(duration.total_seconds())


def at_desk(config_file: Path | None, work: Callable[[Desk], Awaitable[T]], *, creates: bool = False) -> T:
    """Open the store, do the work, close it.

    Args:
        config_file: as given by `config_option`.
        work: receives the desk.
        creates: whether a new database is what the caller wants. Without it, a missing one is an
            error: an empty list from the wrong folder would be worse.

    Raises:
        ConfigurationError: a setting is wrong, or there is no database.
        Unavailable: the database cannot be reached.
    """
    config = settings(config_file)
    path = database_path(config)
    if config.database == MEMORY:
        expected = "a memory: database lives inside the server's process; this command needs a path or a URL"
        raise ConfigurationError(f"{TABLE}.database", config.database, expected)
    if path is not None and not path.exists():
        if not creates:
            expected = f"no database at {path.absolute()}; portero serve makes one, --config names another"
            raise ConfigurationError(f"{TABLE}.database", config.database, expected)
        click.echo(f"a new database: {path.absolute()}", err=True)

    async def session() -> T:
        clock, random = SystemClock(), SystemRandom()
        store = await open_store(config.database, random=random, clock=clock)
        try:
            return await work(Desk(config, store, clock, random))
        finally:
            await store.aclose()

    return asyncio.run(session())


def database_path(config: Config) -> Path | None:
    """The SQLite file, or `None` for another kind of database."""
    if config.database == MEMORY or (("://" in config.database) and not config.database.startswith("sqlite:///")):
        return None
    return Path(config.database.removeprefix("sqlite:///"))
