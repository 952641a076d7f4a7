"""One gateway of each engine and layout for the whole run: the tests leave it as they found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.gateway.engines import ENGINES
from tests.gateway.world import World, start

Worlds = Callable[[str, str], World]


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Starts what is asked for, once."""
    running: dict[tuple[str, str], World] = {}

    def world(engine: str, layout: str) -> World:
        if (engine, layout) not in running:
            running[engine, layout] = start(engine, tmp_path_factory.mktemp(f"{engine}-{layout}"), layout=layout)
        one = running[engine, layout]
        assert one.gateway.process.poll() is None, one.gateway.log.read_text()
        one.forget()
        return one

    yield world
    for one in running.values():
        one.close()


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine's name."""
    name: str = request.param
    return name


@pytest.fixture(params=["hybrid", "gateway"])
def gateway(request: pytest.FixtureRequest, engine: str, worlds: Worlds) -> World:
    """A gateway in each of its layouts, with an empty record."""
    return worlds(engine, request.param)


@pytest.fixture
def hybrid(engine: str, worlds: Worlds) -> World:
    """A gateway that passes the token on."""
    return worlds(engine, "hybrid")


@pytest.fixture
def asserting(engine: str, worlds: Worlds) -> World:
    """A gateway that passes assertions on."""
    return worlds(engine, "gateway")
