"""The authorization server's settings: frozen, parsed once, every field says what it trades.

Written as TOML (`portero serve --config FILE`), table `[authorization_server]`; durations are
texts such as `"5m"`. A few settings that differ from machine to machine may come from the
environment instead (`ENVIRONMENT`). An unknown key or a wrong value stops start-up with a
`ConfigurationError` that names the key, the value and what it may be.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portero.core.durations import EXPECTED as A_DURATION
from portero.core.durations import parse_duration, render_duration
from portero.core.errors import ConfigurationError
from portero.core.limits import EXPECTED as A_RATE
from portero.core.limits import is_rate
from portero.core.oauth.userinfo import PERSON_CLAIMS, SCOPE_CLAIMS

TABLE = "authorization_server"
SIGN_IN = "sign_in"
ENVIRONMENT = {
    "PORTERO_ISSUER": "issuer",
    "PORTERO_HOST": "host",
    "PORTERO_PORT": "port",
    "PORTERO_DATABASE": "database",
    "PORTERO_SECRETS_FILE": "secrets_file",
}
"""Environment variables that win over the file: what differs between machines, never a lifetime or a policy."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an operator may set. Absent settings have safe defaults; none means "unchecked"."""

    issuer: str = "http://localhost:9000"
    """The external URL, exactly as tokens carry it. Never guessed from request headers."""
    host: str = "127.0.0.1"
    port: int = 9000
    """0: a free one, which the listening message names."""
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
    pushed_request_lifetime: timedelta = timedelta(seconds=60)
    """How long a pushed authorization request (RFC 9126) waits for its browser."""
    device_code_lifetime: timedelta = timedelta(minutes=10)
    """How long a device's code may be typed elsewhere (RFC 8628). Longer: more codes to guess at a time."""
    login_lifetime: timedelta = timedelta(minutes=15)
    """How long a sign-in page may stay open."""
    id_token_lifetime: timedelta = timedelta(minutes=5)
    leeway: timedelta = timedelta(seconds=60)
    """Clock leeway of every verifier of the fleet; revocations are kept twice that much longer."""
    scopes: tuple[str, ...] = ("openid", "profile", "email", "offline_access", "revocations:read")
    """Scopes this server announces, beside those of its clients."""
    scope_claims: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(SCOPE_CLAIMS))
    """Which claims a scope opens at userinfo, as a table: `profile = ["name", "preferred_username", "locale"]` and
    `email = ["email"]` where it is not given; `roles` may be opened as well. A scope that is not named opens none."""
    scope_texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What people read of a scope when they are asked, after "It will be able to:", as a table with every configured
    language: `"orders:read" = { en = "see your orders", es = "ver tus pedidos" }`."""
    dynamic_registration: bool = False
    """Let clients register themselves at `/register` (RFC 7591), with an initial access token: one of a client for
    itself with the scope `clients:register`."""
    client_metadata_hosts: tuple[str, ...] = ()
    """Hosts whose URLs are client ids that nobody registered: what the client is, is read from a document there
    (client id metadata documents). `*`: any public host. Empty: none."""
    registration_scopes: tuple[str, ...] = ("openid", "profile", "email", "offline_access")
    """Scopes that clients may have that registered themselves, or are known by a document of theirs."""
    registration_audiences: tuple[str, ...] = ()
    """Services that the access tokens of those clients may be for. Empty: this server's userinfo alone."""
    token_limit_invented: str = "60/1m"
    """Failures at the token endpoint an address may have of each kind (credential, proof, code, refresh token) before
    its further failures are answered 429. What is authentic is served from there as ever. `off`: no limit."""
    token_limit_refused: str = "30/1m"
    """How often one authentic refresh token may be refused before it is answered 429 without a look."""
    token_limit_session: str = "120/1m"
    """How often one chain of refresh tokens may be refreshed. Lower hurts a person with many tabs."""
    token_limit_client: str = "6000/1m"
    """How often an authenticated client may ask for a token of its own (`client_credentials`)."""
    key_publish_ahead: timedelta = timedelta(minutes=15)
    """How long a new signing key is in the JWK Set before it signs: at least the Guards' key refresh interval."""
    brand_name: str = "Portero"
    brand_color: str = "#2f5d50"
    """Six-digit hex colour of buttons and links."""
    console_role: str = ""
    """People with this role may use the operator's console at `/operator`: see everybody's sessions, end them, disable
    people and clients, rotate keys. Empty: there is no console."""
    languages: tuple[str, ...] = ("en", "es")
    access_log: bool = False
    """One line per request (method, path, status, milliseconds; never a query string). Off: only events and errors."""
    metrics_networks: tuple[str, ...] = ()
    """Networks of peers that may read `/metrics` directly. Empty: nobody, and the path is not found."""
    status_list: bool = False
    """Give each device session a place in a public, cacheable status list, which its access tokens name: for verifiers
    that do not follow the revocation feed. They learn of a sign-out after a minute or so, the feed's within
    milliseconds."""
    delivery_networks: tuple[str, ...] = ()
    """Networks, beside the public internet, to which logout tokens and security events may be sent: whoever registers a
    receiver then reaches what is in them. Empty: none; loopback where the issuer is a loopback host."""
    drain_timeout: timedelta = timedelta(seconds=10)
    """How long a stop waits for the requests that run."""
    sign_in: Mapping[str, Any] = field(default_factory=dict)
    """The ways to sign in, each a table of its own beside this one, `[sign_in.NAME]`, in the order the page shows them.
    None: the password."""

    @property
    def revocation_margin(self) -> timedelta:
        """How long past a token's `exp` its revocation is kept: a verifier whose clock is a leeway behind accepts the
        token for another leeway (decision 0182)."""
        return 2 * self.leeway


def load_config(path: Path | None, *, environ: Mapping[str, str]) -> Config:
    """Read the settings: defaults, then the file's table, then the environment; checked as a whole.

    Relative paths in the file are relative to the file's folder, so that every command finds the
    same database from everywhere; those from the environment are relative to the working folder.

    Args:
        path: a TOML file, or `None` for the defaults.
        environ: the process environment.

    Raises:
        ConfigurationError: names the dotted key, its value and what it may be.
    """
    config = Config()
    if path is not None:
        document = _document_of(path)
        config = replace(parse_config(document[TABLE]), sign_in=_sign_in_of(document))
        config = _anchored(config, path.resolve().parent)
    for variable, name in ENVIRONMENT.items():
        text = environ.get(variable)
        if text is None:
            continue
        value: object = int(text) if name == "port" and text.isascii() and text.isdigit() else text
        config = replace(config, **{name: _read(name, value, setting=variable)})
    check_config(config)
    return config


def parse_config(table: Mapping[str, object]) -> Config:
    """Read the table `[authorization_server]`, value by value.

    Does not check: what several settings mean together (`check_config`).

    Raises:
        ConfigurationError: an unknown key, or a value of the wrong shape.
    """
    known = {each.name for each in fields(Config)} - {SIGN_IN}
    for key in table:
        if key not in known:
            raise unknown_key(f"{TABLE}.{key}", key, known)
    return Config(**{key: _read(key, value, setting=f"{TABLE}.{key}") for key, value in table.items()})


def unknown_key(setting: str, key: str, known: set[str]) -> ConfigurationError:
    """Make the error for a key nobody reads, with the nearest known one."""
    from difflib import get_close_matches  # start-up without a mistake does not pay for it

    near = get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here are {', '.join(sorted(known))}"
    return ConfigurationError(setting, "(unknown key)", f"no such setting; {hint}")


def check_config(config: Config) -> None:
    """Check every value's range, and what the settings mean together.

    Raises:
        ConfigurationError: the first one that is wrong.
    """
    _check_issuer(config.issuer)
    _check(0 <= config.port <= 65535, "port", config.port, "a port number from 0 (a free one) to 65535")
    _check(bool(config.host), "host", config.host, "an address to listen on, such as 127.0.0.1 or 0.0.0.0")
    _check_database(config.database)
    for name in ("trusted_proxies", "metrics_networks", "delivery_networks"):
        for network in getattr(config, name):
            _check_network(name, network)
    _check(
        config.signing_algorithm in SIGNING_ALGORITHMS,
        "signing_algorithm",
        config.signing_algorithm,
        f"it may be {', '.join(SIGNING_ALGORITHMS)}",
    )
    _check(
        0 <= config.access_token_jitter <= 0.5, "access_token_jitter", config.access_token_jitter, "it may be 0 to 0.5"
    )
    for name, (shortest, longest) in _RANGES.items():
        value: timedelta = getattr(config, name)
        limits = f"it may be from {render_duration(shortest)} to {render_duration(longest)}"
        _check(shortest <= value <= longest, name, render_duration(value), limits)
    for shorter, longer, strict in _ORDER:
        low, high = getattr(config, shorter), getattr(config, longer)
        relation = "shorter than" if strict else "at most"
        expected = f"it must be {relation} {longer}, which is {render_duration(high)}"
        _check(low < high or (low == high and not strict), shorter, render_duration(low), expected)
    for name in ("token_limit_invented", "token_limit_refused", "token_limit_session", "token_limit_client"):
        _check(is_rate(getattr(config, name)), name, getattr(config, name), A_RATE)
    _check("openid" in config.scopes, "scopes", list(config.scopes), "'openid' must be among them (OIDC Core §3.1.2.1)")
    for scope in config.registration_scopes:
        _check(
            _SCOPE.fullmatch(scope) is not None and scope not in _OWN_SCOPES,
            "registration_scopes",
            scope,
            f"a scope of services; {', '.join(sorted(_OWN_SCOPES))} are for clients that an operator registers",
        )
    _check_scope_tables(config)
    for host in config.client_metadata_hosts:
        expected = "a host name such as 'app.example', or '*' for any"
        _check(host == "*" or _HOST.fullmatch(host) is not None, "client_metadata_hosts", host, expected)
    for scope in config.scopes:
        _check(_SCOPE.fullmatch(scope) is not None, "scopes", scope, "a scope is printable ASCII (RFC 6749 §3.3)")
    _check(
        re.fullmatch(r"#[0-9a-fA-F]{6}", config.brand_color) is not None,
        "brand_color",
        config.brand_color,
        "a colour of six hex digits, such as '#2f5d50'",
    )
    name = config.brand_name
    _check(0 < len(name) <= 60 and name.isprintable(), "brand_name", name, "1 to 60 printable characters")
    for language in config.languages:
        _check(language in LANGUAGES, "languages", language, f"there are texts in {', '.join(LANGUAGES)}")
    _check(bool(config.languages), "languages", [], f"at least one of {', '.join(LANGUAGES)}")
    if config.sign_in:
        from portero.authorization_server.sign_in.methods import open_methods  # the password alone has no settings

        open_methods(config.sign_in)


def _check_scope_tables(config: Config) -> None:
    for scope, claims in config.scope_claims.items():
        expected = f"a list of {', '.join(PERSON_CLAIMS)}"
        _check(_SCOPE.fullmatch(scope) is not None, "scope_claims", scope, "a scope is printable ASCII (RFC 6749 §3.3)")
        known = isinstance(claims, tuple) and set(claims) <= set(PERSON_CLAIMS)
        _check(known, f"scope_claims.{scope}", claims, expected)
    for scope, texts in config.scope_texts.items():
        expected = f"a table of one line of text for each of {', '.join(config.languages)}"
        whole = isinstance(texts, Mapping) and set(texts) == set(config.languages)
        lines = whole and all(isinstance(text, str) and text.isprintable() and text for text in texts.values())
        _check(lines, f"scope_texts.{scope}", texts, expected)


SIGNING_ALGORITHMS = ("ES256", "RS256", "Ed25519")
LANGUAGES = ("en", "es")

# RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

_OWN_SCOPES = frozenset({"account", "operator", "revocations:read", "clients:register"})
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")

_SECOND, _MINUTE, _HOUR, _DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))
_RANGES = {
    "access_token_lifetime": (5 * _SECOND, _DAY),
    "refresh_token_lifetime": (10 * _SECOND, 400 * _DAY),
    "session_lifetime": (10 * _SECOND, 400 * _DAY),
    "idle_lifetime": (10 * _SECOND, 400 * _DAY),
    "browser_session_lifetime": (10 * _SECOND, 400 * _DAY),
    "code_lifetime": (5 * _SECOND, 10 * _MINUTE),  # RFC 6749 §4.1.2: at most ten minutes
    "pushed_request_lifetime": (5 * _SECOND, 10 * _MINUTE),
    "device_code_lifetime": (_MINUTE, _HOUR),
    "login_lifetime": (_MINUTE, _DAY),
    "id_token_lifetime": (5 * _SECOND, _DAY),
    "leeway": (0 * _SECOND, 5 * _MINUTE),
    "key_publish_ahead": (0 * _SECOND, 30 * _DAY),
    "drain_timeout": (0 * _SECOND, _HOUR),
}
_ORDER = (
    ("access_token_lifetime", "refresh_token_lifetime", True),
    ("refresh_token_lifetime", "session_lifetime", False),
    ("idle_lifetime", "session_lifetime", False),
    ("code_lifetime", "login_lifetime", False),
)


def _document_of(path: Path) -> Mapping[str, Any]:
    import tomllib  # a server without a file does not pay for it

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("--config", str(path), f"a readable TOML file ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("--config", str(path), f"a TOML file ({error})") from error
    if TABLE not in document:
        raise ConfigurationError("--config", str(path), f"a file with the table [{TABLE}]")
    for key in document:
        # Absent configuration never means unchecked: a misspelt table would be a file that sets nothing.
        if key not in (TABLE, SIGN_IN, *_OTHER_TABLES):
            raise unknown_key(key, key, {TABLE, SIGN_IN, *_OTHER_TABLES})
    table = document[TABLE]
    if not isinstance(table, dict):
        raise ConfigurationError(TABLE, table, f"a table, [{TABLE}]")
    return document


def _sign_in_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    tables = document.get(SIGN_IN, {})
    if not isinstance(tables, dict) or (SIGN_IN in document and not tables):
        raise ConfigurationError(SIGN_IN, tables, f"tables such as [{SIGN_IN}.password], at least one")
    return tables


_OTHER_TABLES = ("layout", "leeway", "issuers", "roles", "services", "gateway")
"""Keys of the manifest (`portero.toml`), which may share the file."""


def _anchored(config: Config, folder: Path) -> Config:
    database = config.database
    if database != MEMORY and ("://" not in database or database.startswith(SQLITE)):
        database = str(folder / database.removeprefix(SQLITE))
    sign_in = {name: _files_anchored(table, folder) for name, table in config.sign_in.items()}
    return replace(config, database=database, secrets_file=folder / config.secrets_file, sign_in=sign_in)


def _files_anchored(value: Any, folder: Path) -> Any:
    """In the tables of the ways to sign in, every setting whose name ends in `_file` is a path."""
    if isinstance(value, list):
        return [_files_anchored(each, folder) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: str(folder / each) if key.endswith("_file") and isinstance(each, str) else _files_anchored(each, folder)
        for key, each in value.items()
    }


MEMORY = "memory:"
SQLITE = "sqlite:///"


def _read(name: str, value: object, *, setting: str) -> Any:
    default = getattr(_DEFAULTS, name)
    for kind, read in _READERS:
        if isinstance(default, kind):
            return read(setting, value)
    raise AssertionError(f"a setting of a kind nobody reads: {name}")


def _text(setting: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(setting, value, "a text")
    return value


def _path(setting: str, value: object) -> Path:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(setting, value, "the path of a file, as a text")
    return Path(value)


def _boolean(setting: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(setting, value, "true or false")
    return value


def _integer(setting: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(setting, value, "a whole number")
    return value


def _number(setting: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigurationError(setting, value, "a number")
    return float(value)


def _duration(setting: str, value: object) -> timedelta:
    if not isinstance(value, str):
        raise ConfigurationError(setting, value, A_DURATION)
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ConfigurationError(setting, value, str(error)) from error


def _table(setting: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(setting, value, "a table")
    return {
        name: _texts(f"{setting}.{name}", entry) if isinstance(entry, list) else entry for name, entry in value.items()
    }


def _texts(setting: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(setting, value, "a list of texts")
    if len(set(value)) != len(value):
        raise ConfigurationError(setting, value, "a list of texts, each of them once")
    return tuple(value)


_DEFAULTS = Config()
_READERS: tuple[tuple[type, Callable[[str, object], object]], ...] = (
    (bool, _boolean),  # before int: a bool is one
    (int, _integer),
    (float, _number),
    (str, _text),
    (Path, _path),
    (timedelta, _duration),
    (tuple, _texts),
    (dict, _table),
)


def _check(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigurationError(f"{TABLE}.{name}", value, expected)


def _check_issuer(issuer: str) -> None:
    # RFC 8414 §2: https, no query, no fragment. http only where the wire is the machine itself.
    expected = "an https:// URL without path, query, fragment or trailing slash (http:// only for a loopback host)"
    try:
        url = urlsplit(issuer)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ConfigurationError(f"{TABLE}.issuer", issuer, expected) from None
    allowed = url.scheme == "https" or (url.scheme == "http" and is_loopback(host or ""))
    plain = not (url.path or url.query or url.fragment or url.username is not None or "?" in issuer or "#" in issuer)
    _check(allowed and plain and bool(host) and issuer.isascii() and issuer.isprintable(), "issuer", issuer, expected)
    _check(issuer == issuer.lower() and " " not in issuer, "issuer", issuer, "scheme and host in lower case")


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine itself (RFC 8252 §7.3, RFC 6761 §6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_database(database: str) -> None:
    expected = "a path (SQLite), sqlite:///path, 'memory:' or a postgresql:// URL"
    scheme, separator, _ = database.partition("://")
    # The URL may carry a password: the message names the scheme only.
    known = not separator or scheme in ("postgresql", "postgres") or database.startswith(SQLITE)
    _check(known, "database", f"{scheme}://…", expected)
    _check(bool(database) and (separator != "" or not database.endswith("/")), "database", database, expected)


def _check_network(name: str, network: str) -> None:
    try:
        ipaddress.ip_network(network)
    except ValueError as error:
        expected = "networks such as '10.0.0.0/8' or '192.0.2.7' (host bits zero)"
        raise ConfigurationError(f"{TABLE}.{name}", network, expected) from error
