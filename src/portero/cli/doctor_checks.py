"""The single looks of `portero doctor`. Each returns findings; none changes anything or raises for what it finds."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portero.adapters.keys.secrets_file import Secrets, read_secrets
from portero.adapters.storage.migrations import HEAD, STORED_REVISION, Standing, standing_of
from portero.adapters.storage.open import open_store
from portero.adapters.system import SystemClock, SystemRandom
from portero.authorization_server.config import MEMORY, Config, is_loopback
from portero.cli.settings import database_path
from portero.core.durations import render_duration
from portero.core.errors import ConfigurationError, Unavailable
from portero.core.keys.signing_key import SealError, open_private, sealing_key_id, signing_key_at
from portero.core.registration import check_client
from portero.core.transitions import (
    AuditKey,
    Client,
    ClientsKey,
    ClientType,
    RefreshProfile,
    SigningKey,
    SigningKeysKey,
    UsersKey,
)
from portero.core.types import NumericDate

_REACH_SECONDS = 3.0


class Verdict(Enum):
    """How bad it is. Only WRONG makes the command fail."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look gave, and what to do about it."""

    verdict: Verdict
    about: str
    what: str
    remedy: str = ""


def ok(about: str, what: str) -> Finding:
    """Nothing to do."""
    return Finding(Verdict.OK, about, what)


def note(about: str, what: str, remedy: str) -> Finding:
    """Works, but somebody should know."""
    return Finding(Verdict.NOTE, about, what, remedy)


def wrong(about: str, what: str, remedy: str) -> Finding:
    """Does not work, or is not safe."""
    return Finding(Verdict.WRONG, about, what, remedy)


@dataclass(frozen=True, slots=True)
class Look:
    """What the database said, where it could be read."""

    findings: tuple[Finding, ...]
    readable: bool = False
    keys: tuple[SigningKey, ...] = ()
    clients: tuple[Client, ...] = ()
    some_user: bool = False
    newest_event: NumericDate | None = field(default=None)


def settings_file(path: Path) -> Iterator[Finding]:
    """Nobody else may write what the server believes."""
    mode = path.stat().st_mode
    if mode & 0o022:
        yield wrong(
            "settings file", f"{path} can be written by others ({stat.S_IMODE(mode):04o})", f"chmod go-w {path}"
        )


def exposure(config: Config) -> Iterator[Finding]:
    """What fits a laptop and not a server."""
    issuer_host = urlsplit(config.issuer).hostname or ""
    local_issuer, local_listener = is_loopback(issuer_host), is_loopback(config.host)
    if local_issuer and not local_listener:
        remedy = "set issuer to the https:// URL people use, or host to 127.0.0.1"
        yield wrong("issuer", f"{config.issuer} is for this machine only, but host is {config.host}", remedy)
    elif local_issuer:
        yield note("issuer", f"{config.issuer} works on this machine only", "set issuer before others use it")
    else:
        yield ok("issuer", config.issuer)
    if not local_issuer and not local_listener:
        remedy = "let a proxy end TLS and connect from loopback or a private network; then ignore this"
        yield note("host", f"{config.host} is reachable from outside, and speaks http there", remedy)
    if not local_issuer and not config.trusted_proxies:
        remedy = "set trusted_proxies to the proxy's network, such as ['127.0.0.1']"
        yield note("trusted_proxies", "empty: behind a proxy every device seems to be at the proxy's address", remedy)
    for name in ("trusted_proxies", "metrics_networks"):
        for network in getattr(config, name):
            if ipaddress.ip_network(network).prefixlen == 0:
                yield wrong(name, f"{network} is everybody", "name the networks of your proxies or scrapers only")


def lifetimes(config: Config) -> Iterator[Finding]:
    """What is allowed, and costs something."""
    if config.access_token_lifetime > timedelta(hours=1):
        remedy = "minutes are enough: clients refresh, and a token nobody can ask about is not good for long"
        yield note("access_token_lifetime", render_duration(config.access_token_lifetime), remedy)
    if config.key_publish_ahead < timedelta(minutes=1):
        remedy = "set it to at least the services' key refresh interval, 15m by default"
        yield note("key_publish_ahead", render_duration(config.key_publish_ahead), remedy)
    if config.leeway == timedelta(0):
        yield note("leeway", "0s: a service whose clock is a second behind refuses new tokens", "60s is the default")


async def look_into_database(config: Config) -> Look:
    """Read what the other checks need, without making or migrating anything."""
    path = database_path(config)
    if config.database == MEMORY:
        what = "memory: everybody is signed out, and every user and client gone, at each start"
        return Look((note("database", what, "name a file or a postgresql:// URL"),))
    if path is not None:
        finding = _standing_of_file(path)
        if finding.verdict is not Verdict.OK:
            return Look((finding,))
    try:
        store = await open_store(config.database, random=SystemRandom(), clock=SystemClock())
    except ConfigurationError as error:
        return Look((wrong("database", f"{error.value}", error.expected),))
    except Unavailable as error:
        return Look((wrong("database", error.what, "is it running, and may this user connect?"),))
    except ImportError as error:
        return Look((wrong("database", f"this kind needs a part that is not installed ({error})", "install it"),))
    try:
        events = await store.read(AuditKey(limit=1))
        return Look(
            (ok("database", f"{path or urlsplit(config.database).hostname}, schema {HEAD} is current"),),
            readable=True,
            keys=await store.read(SigningKeysKey()),
            clients=await store.read(ClientsKey()),
            some_user=bool(await store.read(UsersKey(limit=1))),
            newest_event=events[0].at if events else None,
        )
    except Unavailable as error:
        return Look((wrong("database", error.what, "see the message; nothing of it was changed"),))
    finally:
        await store.aclose()


def _standing_of_file(path: Path) -> Finding:
    if not path.exists():
        if not path.absolute().parent.is_dir():
            return wrong("database", f"the folder {path.absolute().parent} does not exist", "create it")
        return note("database", f"{path.absolute()} does not exist yet", "portero serve makes it")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return wrong("database", f"{path} can be read or written by others ({mode:04o})", f"chmod 600 {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            row = connection.execute(STORED_REVISION).fetchone() if tables else None
    except sqlite3.Error as error:
        return wrong("database", f"{path} cannot be read: {error}", "restore it from a backup, or name another file")
    revision = None if row is None else row[0]
    standing = standing_of(revision)
    if standing is Standing.OLDER:
        return note("database", f"its schema is {revision}, ours {HEAD}", "back it up; the next start migrates it")
    if standing is Standing.NEWER:
        return wrong("database", f"its schema is {revision}, newer than ours", "start the Portero that made it")
    if standing is Standing.NEW:
        return note("database", f"{path} is empty", "portero serve makes the schema")
    return ok("database", str(path))


def secrets_file(config: Config, look: Look) -> Iterator[Finding]:
    """There, ours, and for nobody else's eyes."""
    path = config.secrets_file
    if config.database == MEMORY:
        return
    if not os.path.lexists(path):
        if look.keys:
            yield wrong("secrets_file", f"{path} is missing, and the database is in use", "put it back from its backup")
        else:
            yield note("secrets_file", f"{path} does not exist yet", "portero serve makes it; back it up then")
        return
    try:
        secrets = read_secrets(path)
    except ConfigurationError as error:
        yield wrong("secrets_file", str(path), error.expected)
        return
    yield ok("secrets_file", f"{path}, tag key {secrets.tag_keys.current}, for its owner alone")
    database = database_path(config)
    if database is not None and database.absolute().parent == path.absolute().parent:
        remedy = "keep them apart: a backup of the folder is then no key to itself"
        yield note("secrets_file", "it lies beside the database", remedy)


def signing_keys(config: Config, look: Look) -> Iterator[Finding]:
    """One signs, it opens, and it is of the algorithm that is configured."""
    if not look.readable:
        return
    if not look.keys:
        yield note("signing keys", "none yet", "portero serve makes the first")
        return
    key = signing_key_at(look.keys, now=NumericDate(int(time.time())))
    if key is None:
        yield wrong("signing keys", "none signs now", "is the clock right? else: portero keys rotate")
        return
    try:
        secrets = read_secrets(config.secrets_file)
    except ConfigurationError:
        return  # told already
    if not _opens(key, secrets):
        remedy = "the secrets file is another database's: put back the one that belongs to this"
        yield wrong("signing keys", f"{key.kid} does not open with {config.secrets_file}", remedy)
    elif key.alg != config.signing_algorithm:
        what = f"{key.alg} signs, {config.signing_algorithm} is configured"
        yield note("signing keys", what, "the server publishes a key of the new algorithm and changes to it by itself")
    else:
        yield ok("signing keys", f"{len(look.keys)}, {key.kid} ({key.alg}) signs")


def _opens(key: SigningKey, secrets: Secrets) -> bool:
    try:
        sealing = secrets.key_encryption_keys.get(sealing_key_id(key.sealed_private))
        if sealing is not None:
            open_private(key.sealed_private, key=sealing, kid=key.kid)
    except SealError:
        return False
    return sealing is not None


def clients(config: Config, look: Look) -> Iterator[Finding]:
    """Registrations that would stop the start, and those that cost honest users."""
    if not look.readable:
        return
    for client in look.clients:
        about = f"client {client.client_id}"
        try:
            check_client(client)
        except ConfigurationError as error:
            yield wrong(about, f"{error.setting.rpartition('.')[2]} is {error.value!r}", error.expected)
            continue
        if client.client_type is ClientType.PUBLIC and client.refresh_profile is RefreshProfile.PLAIN:
            remedy = "let it send refresh_attempt, and register it with --profile attempt"
            yield note(about, "profile plain signs honest users out when answers are lost", remedy)
        if not client.require_pkce and "authorization_code" in client.grant_types:
            yield note(about, "signs in without PKCE", "register it again with --pkce (RFC 9700 §2.1.1)")
        if not is_loopback(urlsplit(config.issuer).hostname or ""):
            for uri in (*client.redirect_uris, *client.allowed_origins):
                if uri.startswith("http://"):
                    yield note(about, f"{uri} is left over from a laptop", "register it without")
    enabled = sum(client.enabled for client in look.clients)
    if look.clients:
        yield ok("clients", f"{len(look.clients)}, {enabled} enabled")
    else:
        yield note("clients", "none: nothing can ask for a token", "portero client add --help")


def people(look: Look) -> Iterator[Finding]:
    """Somebody should be able to sign in."""
    if look.readable and not look.some_user:
        yield note("users", "none: nobody can sign in", "portero user add NAME")
    now = int(time.time())
    if look.newest_event is not None and look.newest_event > now + 60:
        ahead = look.newest_event - now
        remedy = "is the clock right? lifetimes count from it"
        yield wrong("clock", f"the newest audit event is {ahead} s in the future", remedy)


def place_to_listen(config: Config) -> Iterator[Finding]:
    """The port is free, or a Portero is on it."""
    about = f"{config.host}:{config.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        yield wrong("host", f"{config.host} is no address of this machine ({error.strerror})", "0.0.0.0 is all of them")
        return
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if _answers_as_portero(config):
                yield ok("port", f"{about} has a running Portero")
            else:
                remedy = "stop what listens there, or set another port"
                yield wrong("port", f"{about} cannot be listened on ({error.strerror})", remedy)
            return
    yield ok("port", f"{about} is free")


def _answers_as_portero(config: Config) -> bool:
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 - compared, not bound
    host = f"[{host}]" if ":" in host else host
    try:
        status, _, body = _get(f"http://{host}:{config.port}/healthz")
    except OSError:
        return False
    return status == 200 and body == b'{"status":"live"}'


def issuer_and_clock(config: Config) -> Iterator[Finding]:
    """The world finds this server under its issuer, and the clocks agree."""
    url = f"{config.issuer}/.well-known/oauth-authorization-server"
    try:
        status, date, body = _get(url)
        document: Any = json.loads(body) if status == 200 else {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield note(
            "issuer", f"{url} does not answer ({reason})", "start the server, or check DNS, proxy and certificate"
        )
        return
    found = document.get("issuer") if isinstance(document, dict) else None
    if status != 200 or found != config.issuer:
        remedy = "the proxy must hand that path to this server, and the issuer be what is in the settings"
        yield wrong("issuer", f"{url} answers {status} with issuer {found!r}", remedy)
        return
    yield ok("issuer", f"{url} answers")
    if date is not None:
        skew = (datetime.now(UTC) - date).total_seconds()
        if abs(skew) > 5:
            yield wrong(
                "clock", f"this machine is {skew:+.0f} s off the one that answers there", "synchronize both (NTP)"
            )
        else:
            yield ok("clock", "agrees with the one at the issuer")


def _get(url: str) -> tuple[int, datetime | None, bytes]:
    """Fetch a URL of the settings; no redirects.

    Raises:
        OSError: it does not answer, or does not answer in HTTP.
    """
    import http.client
    import ssl

    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=_REACH_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_REACH_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        date = response.headers.get("date")
        body = response.read(1 << 20)
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()
    try:
        return response.status, None if date is None else parsedate_to_datetime(date), body
    except ValueError:
        return response.status, None, body
