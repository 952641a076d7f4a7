"""Settings: what is wrong stops the start, and the message says the key, the value and what it may be."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest

from portero.authorization_server.config import ENVIRONMENT, Config, check_config, load_config, parse_config
from portero.core.errors import ConfigurationError

MINUTE = timedelta(minutes=1)


def written(folder: Path, text: str) -> Path:
    file = folder / "portero-server.toml"
    file.write_text(text)
    return file


def refused(config: Config) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        check_config(config)
    return refusal.value


def test_without_a_file_the_defaults_hold() -> None:
    """The defaults pass their own checks."""
    assert Config() == load_config(None, environ={})


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    """Each kind of value is read: text, number, duration, list, boolean, path."""
    file = written(
        tmp_path,
        """
        [authorization_server]
        issuer = "https://login.example"
        port = 9443
        access_token_lifetime = "90s"
        access_token_jitter = 0
        trusted_proxies = ["10.0.0.0/8"]
        access_log = true
        database = "postgresql://portero@db/portero"
        secrets_file = "/etc/portero/secrets"
        """,
    )

    config = load_config(file, environ={})

    assert config.issuer == "https://login.example"
    assert config.port == 9443
    assert timedelta(seconds=90) == config.access_token_lifetime
    assert config.access_token_jitter == 0.0
    assert config.trusted_proxies == ("10.0.0.0/8",)
    assert config.access_log is True
    assert config.database == "postgresql://portero@db/portero"
    assert Path("/etc/portero/secrets") == config.secrets_file


def test_paths_in_a_file_are_relative_to_the_file(tmp_path: Path) -> None:
    """Every command finds the same database, whatever folder it is called from."""
    file = written(tmp_path, '[authorization_server]\ndatabase = "data/portero.db"\nsecrets_file = "portero.secrets"\n')

    config = load_config(file, environ={})

    assert str(tmp_path / "data/portero.db") == config.database
    assert tmp_path / "portero.secrets" == config.secrets_file


def test_the_default_paths_go_with_the_file_too(tmp_path: Path) -> None:
    """A file that names no database means one beside itself."""
    config = load_config(written(tmp_path, "[authorization_server]\n"), environ={})

    assert str(tmp_path / "portero.db") == config.database


@pytest.mark.parametrize("database", ["memory:", "postgresql://portero@db/portero"])
def test_what_is_no_path_is_not_anchored(tmp_path: Path, database: str) -> None:
    """Only a path is relative to anything."""
    config = load_config(written(tmp_path, f'[authorization_server]\ndatabase = "{database}"\n'), environ={})

    assert database == config.database


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """What differs between machines may come from the environment."""
    file = written(tmp_path, '[authorization_server]\nport = 9000\ndatabase = "a.db"\n')

    config = load_config(file, environ={"PORTERO_PORT": "9001", "PORTERO_DATABASE": "memory:"})

    assert config.port == 9001
    assert config.database == "memory:"


def test_the_environment_names_settings_that_exist() -> None:
    """Each variable is read into a field there is."""
    assert set(ENVIRONMENT.values()) <= {field.name for field in fields(Config)}


def test_a_wrong_variable_is_named_as_it_was_written() -> None:
    """The operator set PORTERO_PORT, not a table's key."""
    with pytest.raises(ConfigurationError) as refusal:
        load_config(None, environ={"PORTERO_PORT": "ninety"})

    assert refusal.value.setting == "PORTERO_PORT"
    assert refusal.value.value == "ninety"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("port", "9000", "a whole number"),
        ("port", True, "a whole number"),
        ("issuer", 1, "a text"),
        ("access_log", "yes", "true or false"),
        ("access_log", 1, "true or false"),
        ("access_token_jitter", "0.1", "a number"),
        ("access_token_jitter", True, "a number"),
        ("access_token_lifetime", 300, 'a whole number and one of s, m, h, d, such as "90s", "5m", "12h" or "14d"'),
        ("access_token_lifetime", "5 min", 'a whole number and one of s, m, h, d, such as "90s", "5m", "12h" or "14d"'),
        ("trusted_proxies", "10.0.0.0/8", "a list of texts"),
        ("trusted_proxies", [1], "a list of texts"),
        ("scopes", ["openid", "openid"], "a list of texts, each of them once"),
        ("secrets_file", "", "the path of a file, as a text"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(key: str, value: object, expected: str) -> None:
    """Key, value, and what it may be, all in the message."""
    with pytest.raises(ConfigurationError) as refusal:
        parse_config({key: value})

    assert f"authorization_server.{key}" == refusal.value.setting
    assert value == refusal.value.value
    assert expected == refusal.value.expected


def test_a_misspelt_key_is_refused_with_the_nearest_one() -> None:
    """A key nobody reads is most often a misspelt one, and would leave a default in force."""
    with pytest.raises(ConfigurationError) as refusal:
        parse_config({"acces_token_lifetime": "5m"})

    assert refusal.value.setting == "authorization_server.acces_token_lifetime"
    assert "did you mean 'access_token_lifetime'?" in refusal.value.expected


def test_a_misspelt_table_is_refused_too(tmp_path: Path) -> None:
    """A file whose table nobody reads would set nothing."""
    file = written(tmp_path, "[authorization_server]\n[authorisation_server]\nport = 1\n")

    with pytest.raises(ConfigurationError, match="did you mean 'authorization_server'"):
        load_config(file, environ={})


@pytest.mark.parametrize("text", ["port = 1", "[authorization_server\n", "authorization_server = 1\n", "\xff"])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    """No table, no TOML, no text: one clear error each."""
    file = tmp_path / "portero-server.toml"
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigurationError):
        load_config(file, environ={})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The operator named a file; the defaults must not stand in for it."""
    with pytest.raises(ConfigurationError) as refusal:
        load_config(tmp_path / "none.toml", environ={})

    assert str(tmp_path / "none.toml") == refusal.value.value


@pytest.mark.parametrize(
    "issuer",
    [
        "https://login.example",
        "https://login.example:8443",
        "http://localhost:9000",
        "http://127.0.0.1:1",
        "http://[::1]:9",
    ],
)
def test_an_issuer_is_https_or_this_machine(issuer: str) -> None:
    """RFC 8414 §2: https; plain http only where the wire is the machine itself."""
    check_config(replace(Config(), issuer=issuer))


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "https://",
        "https://login.example/",
        "https://login.example?a",
        "https://login.example?",
        "https://login.example#",
        "https://user@login.example",
        "https://Login.example",
        "https://login.example:99999",
        "https://lo gin.example",
        "https://lögin.example",
        "https://[::1",
        "ftp://login.example",
        "login.example",
        "",
    ],
)
def test_any_other_issuer_is_refused(issuer: str) -> None:
    """Tokens carry it letter by letter, so it has one form."""
    assert refused(replace(Config(), issuer=issuer)).setting == "authorization_server.issuer"


def test_a_refused_database_url_is_not_quoted() -> None:
    """A database URL may carry a password."""
    refusal = refused(replace(Config(), database="mysql://user:hunter2@db/x"))

    assert "hunter2" not in str(refusal)
    assert refusal.setting == "authorization_server.database"


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"host": ""}, "host"),
        ({"database": ""}, "database"),
        ({"database": "data/"}, "database"),
        ({"signing_algorithm": "HS256"}, "signing_algorithm"),
        ({"signing_algorithm": "none"}, "signing_algorithm"),
        ({"access_token_jitter": -0.01}, "access_token_jitter"),
        ({"access_token_jitter": 0.51}, "access_token_jitter"),
        ({"access_token_jitter": float("nan")}, "access_token_jitter"),
        ({"access_token_lifetime": timedelta(seconds=4)}, "access_token_lifetime"),
        ({"code_lifetime": timedelta(seconds=601)}, "code_lifetime"),
        ({"leeway": timedelta(seconds=301)}, "leeway"),
        ({"trusted_proxies": ("10.0.0.1/8",)}, "trusted_proxies"),
        ({"metrics_networks": ("monitoring",)}, "metrics_networks"),
        ({"scopes": ("profile",)}, "scopes"),
        ({"scopes": ("openid", "a b")}, "scopes"),
        ({"brand_color": "green"}, "brand_color"),
        ({"brand_color": "#2f5d50;}"}, "brand_color"),
        ({"brand_name": ""}, "brand_name"),
        ({"brand_name": "a\nb"}, "brand_name"),
        ({"languages": ("xx",)}, "languages"),
        ({"languages": ()}, "languages"),
        ({"scope_claims": {"profile": ("password_hash",)}}, "scope_claims.profile"),
        ({"scope_claims": {"a b": ("name",)}}, "scope_claims"),
        ({"scope_texts": {"orders:read": {"en": "see your orders"}}}, "scope_texts.orders:read"),
        ({"scope_texts": {"orders:read": {"en": "a\nb", "es": "c"}}}, "scope_texts.orders:read"),
        ({"registration_scopes": ("operator",)}, "registration_scopes"),
        ({"client_metadata_hosts": ("https://app.example",)}, "client_metadata_hosts"),
    ],
)
def test_a_value_out_of_its_range_is_refused(change: dict[str, object], setting: str) -> None:
    """Each refusal names the one setting that was changed."""
    assert f"authorization_server.{setting}" == refused(replace(Config(), **change)).setting


@pytest.mark.parametrize(
    "change",
    [
        {"port": 0},
        {"port": 65535},
        {"access_token_jitter": 0.0},
        {"access_token_jitter": 0.5},
        {"access_token_lifetime": timedelta(seconds=5)},
        {"code_lifetime": timedelta(seconds=600)},
        {"leeway": timedelta(seconds=300)},
        {"leeway": timedelta(0)},
        {"trusted_proxies": ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")},
    ],
)
def test_a_value_at_its_limit_is_accepted(change: dict[str, object]) -> None:
    """The other side of each limit."""
    check_config(replace(Config(), **change))


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        (
            {"access_token_lifetime": timedelta(hours=1), "refresh_token_lifetime": timedelta(hours=1)},
            "access_token_lifetime",
        ),
        ({"refresh_token_lifetime": timedelta(days=31)}, "refresh_token_lifetime"),
        ({"idle_lifetime": timedelta(days=31)}, "idle_lifetime"),
        ({"code_lifetime": 2 * MINUTE, "login_lifetime": MINUTE}, "code_lifetime"),
    ],
)
def test_lifetimes_that_contradict_each_other_are_refused(change: dict[str, timedelta], setting: str) -> None:
    """access < refresh ≤ session, idle ≤ session, code ≤ sign-in: else one of them would mean nothing."""
    assert f"authorization_server.{setting}" == refused(replace(Config(), **change)).setting


def test_a_refresh_token_may_live_as_long_as_its_session() -> None:
    """The other side: equal is allowed where the longer one bounds the shorter anyway."""
    check_config(replace(Config(), refresh_token_lifetime=timedelta(days=30), idle_lifetime=timedelta(days=30)))


@pytest.mark.parametrize(
    ("table", "setting"),
    [
        ("sign_in = 1", "sign_in"),
        ("[sign_in]", "sign_in"),
        ("[sign_in.pasword]", "sign_in.pasword"),
        ("[sign_in.password]\nlength = 8", "sign_in.password.length"),
        ("[sign_in]\npassword = true", "sign_in.password"),
    ],
)
def test_ways_to_sign_in_are_tables_of_known_names(table: str, setting: str, tmp_path: Path) -> None:
    """A misspelt method stops the start: it would be a door that nobody finds, or one nobody meant to leave out."""
    file = tmp_path / "portero.toml"
    file.write_text(
        f"{table}\n[authorization_server]\n"
        if "=" in table.partition("\n")[0]
        else f"[authorization_server]\n{table}\n"
    )

    with pytest.raises(ConfigurationError) as refused:
        load_config(file, environ={})
    assert refused.value.setting == setting


def test_a_configured_way_to_sign_in_is_kept(tmp_path: Path) -> None:
    """In the order of the file, which is the order of the page."""
    file = tmp_path / "portero.toml"
    file.write_text("[authorization_server]\n[sign_in.password]\n")

    assert load_config(file, environ={}).sign_in == {"password": {}}


def test_scopes_are_tables_of_claims_and_of_texts(tmp_path: Path) -> None:
    """What they open, and what people read of them; a table where a list belongs is named."""
    file = tmp_path / "portero.toml"
    file.write_text(
        "[authorization_server.scope_claims]\nprofile = ['name']\n"
        "[authorization_server.scope_texts]\n'orders:read' = { en = 'see your orders', es = 'ver tus pedidos' }\n"
    )
    config = load_config(file, environ={})

    assert config.scope_claims == {"profile": ("name",)}
    assert config.scope_texts == {"orders:read": {"en": "see your orders", "es": "ver tus pedidos"}}
    file.write_text("[authorization_server]\nscope_claims = ['name']\n")
    with pytest.raises(ConfigurationError) as refused:
        load_config(file, environ={})
    assert refused.value.setting == "authorization_server.scope_claims"
