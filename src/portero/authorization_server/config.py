"""The authorization server's settings: frozen, parsed once, every field says what it trades.

Written as TOML (`portero serve --config FILE`), table `[authorization_server]`; durations are
texts such as `"5m"`. An unknown key or a wrong value stops start-up with a
`ConfigurationError` that names the key, the value and what it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an operator may set. Absent settings have safe defaults; none means "unchecked"."""

    issuer: str = "http://localhost:9000"
    """The external URL, exactly as tokens carry it. Never guessed from request headers."""
    host: str = "127.0.0.1"
    port: int = 9000
    database: str = "portero.db"
    """A path (SQLite), `memory:` or a `postgresql://` URL."""
    secrets_file: Path = Path("portero.secrets")
    """Tag keys and key-encryption keys, outside the database, mode 0600. Made on a new database's first start."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose `X-Forwarded-For` is believed, for the place of a device and for limits. Empty: none."""
    signing_algorithm: str = "ES256"
    """`ES256`, `RS256` or `Ed25519`."""
    access_token_lifetime: timedelta = timedelta(minutes=5)
    """Longer: fewer refreshes, and a longer exposure where no Guard follows the feed."""
    access_token_jitter: float = 0.1
    """Share of the lifetime taken off at random, so that a crowd does not come back at once."""
    refresh_token_lifetime: timedelta = timedelta(days=14)
    session_lifetime: timedelta = timedelta(days=30)
    """Absolute end of a device session. Never moves."""
    idle_lifetime: timedelta = timedelta(days=7)
    """Idle end of a device session: moves with each success, never past the absolute end."""
    browser_session_lifetime: timedelta = timedelta(hours=12)
    """How long the sign-in cookie opens new device sessions without the password."""
    code_lifetime: timedelta = timedelta(seconds=60)
    login_lifetime: timedelta = timedelta(minutes=15)
    """How long a sign-in page may stay open."""
    id_token_lifetime: timedelta = timedelta(minutes=5)
    leeway: timedelta = timedelta(seconds=60)
    """Clock leeway of every verifier of the fleet; revocations are kept that much longer."""
    scopes: tuple[str, ...] = ("openid", "profile", "email", "offline_access", "revocations:read")
    """Scopes this server announces, beside those of its clients."""
    key_publish_ahead: timedelta = timedelta(minutes=15)
    """How long a new signing key is in the JWK Set before it signs: at least the Guards' key refresh interval."""
    brand_name: str = "Portero"
    brand_color: str = "#2f5d50"
    """Six-digit hex colour of buttons and links."""
    languages: tuple[str, ...] = ("en", "es")
