"""The table `[sign_in.clave_fiscal]`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from portero.adapters.afip.clave_fiscal import AFIP, VERSIONS, Rules, Source
from portero.adapters.afip.legacy_rsa import ALGORITHMS, load_key
from portero.authorization_server.config import is_loopback, unknown_key
from portero.authorization_server.sign_in.methods.clave_fiscal.method import ClaveFiscalMethod
from portero.core.errors import ConfigurationError

TABLE = "sign_in.clave_fiscal"
_KEYS = {"service", "login_url", "label", "entity", "versions", "just_in_time", "regmethods", "sources"}
_SOURCE_KEYS = {"src", "key_file", "algorithm"}
REGMETHODS = ("1", "2", "3", "4")
"""Those that were seen or are said to be there: what an application may insist on in `acr_values`."""
MAX_SOURCES = 8


def open_method(table: Mapping[str, Any]) -> ClaveFiscalMethod:
    """Read the table.

    Raises:
        ConfigurationError: names the setting, what it is and what it may be.
    """
    for key in table:
        if key not in _KEYS:
            raise unknown_key(f"{TABLE}.{key}", key, _KEYS)
    versions = table.get("versions", list(VERSIONS))
    if not isinstance(versions, list) or not versions or not set(versions) <= set(VERSIONS):
        raise ConfigurationError(f"{TABLE}.versions", versions, f"a list of {', '.join(VERSIONS)}")
    just_in_time = table.get("just_in_time", True)
    if not isinstance(just_in_time, bool):
        raise ConfigurationError(f"{TABLE}.just_in_time", just_in_time, "true or false")
    regmethods = table.get("regmethods", list(REGMETHODS))
    if not isinstance(regmethods, list) or not all(isinstance(each, str) and each for each in regmethods):
        raise ConfigurationError(f"{TABLE}.regmethods", regmethods, 'a list of texts, such as ["3", "4"]')
    rules = Rules(
        sources=_sources(table.get("sources")),
        service=_text(table, "service", "the service's name as AFIP registered it"),
        entity=_text({"entity": AFIP, **table}, "entity", "a CUIT"),
        versions=tuple(versions),
    )
    return ClaveFiscalMethod(
        rules=rules,
        login_url=_login_url(_text(table, "login_url", "the URL of AFIP's sign-in page for the service")),
        label=_text({"label": "", **table}, "label", "a text", empty=True),
        just_in_time=just_in_time,
        regmethods=tuple(regmethods),
    )


def _text(table: Mapping[str, Any], key: str, expected: str, *, empty: bool = False) -> str:
    value = table.get(key)
    if not isinstance(value, str) or (not value and not empty):
        raise ConfigurationError(f"{TABLE}.{key}", value, expected)
    return value


def _login_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        secure = False
    if not secure or not url.isascii() or not url.isprintable():
        raise ConfigurationError(f"{TABLE}.login_url", url, "an https:// URL (http:// for a loopback host only)")
    return url


def _sources(value: object) -> tuple[Source, ...]:
    setting = f"{TABLE}.sources"
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SOURCES:
        raise ConfigurationError(setting, value, f"1 to {MAX_SOURCES} tables [[{setting}]]: whose signatures count")
    sources = tuple(_source(f"{setting}[{index}]", table) for index, table in enumerate(value))
    if len({source.src for source in sources}) != len(sources):
        raise ConfigurationError(setting, [source.src for source in sources], "each src once")
    return sources


def _source(setting: str, table: object) -> Source:
    if not isinstance(table, Mapping):
        raise ConfigurationError(setting, table, "a table")
    for key in table:
        if key not in _SOURCE_KEYS:
            raise unknown_key(f"{setting}.{key}", key, _SOURCE_KEYS)
    src, file, algorithm = table.get("src"), table.get("key_file"), table.get("algorithm")
    if not isinstance(src, str) or not src:
        raise ConfigurationError(f"{setting}.src", src, "the name of AFIP's server exactly as its messages say it")
    # No default: which hash a key signs with is a fact about that key, which an operator looks up.
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(f"{setting}.algorithm", algorithm, f"one of {', '.join(ALGORITHMS)}")
    if not isinstance(file, str):
        raise ConfigurationError(f"{setting}.key_file", file, "the path of a PEM file")
    try:
        key = load_key(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{setting}.key_file", file, f"a PEM file with an RSA key ({error})") from error
    return Source(src, key, algorithm)
