"""Tokens in the operating system's keyring; here a keyring of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import pytest

from portero.client import SignInRequired, State, StoreUnavailable
from portero.client.stores.keyring import KeyringStore
from tests.client.world import World


class InMemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring that this process made."""

    priority = 0.1  # type: ignore[assignment]  # never chosen by itself

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def backend() -> Iterator[InMemoryKeyring]:
    before = keyring.get_keyring()
    backend = InMemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.mark.behaviour(62)
def test_a_session_in_the_keyring_is_shared_and_its_tokens_are_nowhere_else(
    world: World, backend: InMemoryKeyring, tmp_path: Path
) -> None:
    """Beside it lie a lock, attempts and a mark, and none of them opens anything."""
    name = world.config().name
    first = world.session(store=KeyringStore(name, folder=tmp_path))
    other = world.session(store=KeyringStore(name, folder=tmp_path), sign_in=False)
    first.refresh()
    assert first.access_token().reveal() == other.access_token().reveal()
    tokens = first.core.tokens
    assert tokens is not None
    assert tokens.refresh_token is not None
    secrets = [tokens.refresh_token.reveal(), tokens.grant.access_token.reveal()]
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert [text for text in files for secret in secrets if secret in text] == []

    first.sign_out()
    assert backend.kept == {}
    with pytest.raises(SignInRequired):
        other.access_token()
    assert other.state is State.SIGNED_OUT


def test_a_machine_without_a_keyring_says_what_to_do(world: World, tmp_path: Path) -> None:
    """No trace, no silent file."""
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    try:
        with pytest.raises(StoreUnavailable, match="FileStore"):
            world.session(store=KeyringStore("n", folder=tmp_path), sign_in=False)
    finally:
        keyring.set_keyring(before)
