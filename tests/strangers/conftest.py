"""One world for all strangers: each has clients and people of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.strangers.person import Person
from tests.strangers.world import World, strange_world


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Started once; the password hash of Ana costs once."""
    with strange_world() as world:
        world.person("ana")
        yield world


@pytest.fixture
def ana(world: World) -> Iterator[Person]:
    """Ana at a browser that was never here."""
    person = Person(world)
    with person.browser:
        yield person
