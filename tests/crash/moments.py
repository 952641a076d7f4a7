"""One kill under load, of whatever the dice say, and everything running again afterwards."""

from __future__ import annotations

import random

from portero.testing.postgresql import PostgresServer
from tests.crash.load import Load


def kill_once(load: Load, *, dice: random.Random, postgres: PostgresServer | None = None) -> None:
    """Kill some servers, PostgreSQL, or both, after a random number of answers; start them again; settle.

    Args:
        postgres: the database's server; None where there is none to kill (SQLite).
    """
    servers = load.fleet.servers
    victims = dice.choice([servers, servers[:1], servers[1:]])
    kills_database = postgres is not None and dice.random() < 0.7
    if kills_database and dice.random() < 0.6:
        victims = []  # the database alone: the servers go on without a restart

    def kill() -> None:
        if postgres is not None and kills_database:
            postgres.kill()
        for server in victims:
            assert server.process is not None
            server.process.kill()

    load.run_until_killed(answers=dice.randrange(1, 150), kill=kill)
    for server in victims:
        server.kill()
    if postgres is not None and kills_database:
        postgres.start()
    load.fleet.start()
    load.settle()
