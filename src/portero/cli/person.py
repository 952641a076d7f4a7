"""What `login`, `logout`, `whoami` and `token` share: which session of this machine is meant.

The last `login` is remembered, so that the others need no options. What is remembered opens nothing: the tokens are in
the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from portero.client.config import Config
from portero.client.errors import RefreshUnavailable, SignInRequired, StoreUnavailable
from portero.client.session import Session
from portero.client.stores.file import FileStore, state_folder
from portero.client.stores.locks import write_whole

if TYPE_CHECKING:
    from portero.client.stores import TokenStore

STORES = ("file", "keyring")


@dataclass(frozen=True)
class Profile:
    """One sign-in of this person on this machine."""

    issuer: str
    client_id: str
    account: str = ""
    store: str = "file"
    scope: str = ""
    resources: tuple[str, ...] = ()
    dpop: bool = False

    def config(self) -> Config:
        """As the client wants it."""
        return Config(
            issuer=self.issuer,
            client_id=self.client_id,
            account=self.account,
            scope=self.scope or None,
            resources=self.resources,
            dpop=self.dpop,
        )

    def open(self) -> Session:
        """Open the session.

        Raises:
            click.ClickException: the keyring was asked for and is not installed.
        """
        config = self.config()
        return Session(config, store=_store(self.store, config.name))


def account_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--account`: one of several sign-ins."""
    option = click.option("--account", default="", help="A name for one of several sign-ins on this machine.")
    return option(command)


def remember(profile: Profile) -> None:
    """Keep what the last login was."""
    write_whole(_remembered(profile.account), json.dumps(asdict(profile)))


def recall(account: str) -> Profile:
    """Return the last login.

    Raises:
        click.ClickException: there was none.
    """
    try:
        known = json.loads(_remembered(account).read_text())
        return Profile(**{**known, "resources": tuple(known["resources"])})
    except (OSError, ValueError, TypeError, KeyError):
        suffix = f" --account {account}" if account else ""
        raise click.ClickException(f"nobody has signed in here yet: portero login --issuer URL{suffix}") from None


@contextmanager
def session_of(account: str) -> Iterator[Session]:
    """Open the session of the last login, and say in one line what is wrong with it."""
    with recall(account).open() as session:
        try:
            yield session
        except SignInRequired as error:
            raise click.ClickException(f"nobody is signed in ({error.reason}): portero login") from None
        except RefreshUnavailable as error:
            wait = "" if error.retry_after is None else f"; try again in {error.retry_after:g} s"
            said = f"the server does not answer ({error.reason}), and you stay signed in{wait}"
            raise click.ClickException(said) from None
        except StoreUnavailable as error:
            raise click.ClickException(error.reason) from None


def _store(kind: str, name: str) -> TokenStore:
    if kind == "file":
        return FileStore.for_session(name)
    try:
        from portero.client.stores.keyring import KeyringStore
    except ImportError:
        raise click.ClickException("the keyring needs an extra: pip install 'portero[client,keyring]'") from None
    return KeyringStore(name)


def _remembered(account: str) -> Path:
    # The name may be anything a person types; the file's is not.
    return state_folder() / f"login-{account.encode().hex() or 'last'}.json"
