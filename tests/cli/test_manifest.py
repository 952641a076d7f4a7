"""`portero manifest`: check tells every mistake, explain says why, schema is the committed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from portero.authorization_server.config import load_config
from tests.cli.running import run

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples/shop/portero.toml"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    shutil.copy(SHOP, tmp_path / "portero.toml")
    return tmp_path


def test_the_shops_manifest_is_good(shop: Path) -> None:
    """And what deserves a second look is noted."""
    done = run(shop, "manifest", "check")

    assert (done.returncode, done.stderr) == (0, "")
    assert "portero.toml: good. Layout middleware, 1 issuer, 3 services, 7 routes." in done.stdout
    assert "SHOP_FEED_SECRET is not set here" in done.stdout
    assert "SHOP_FEED_SECRET" not in run(shop, "manifest", "check", SHOP_FEED_SECRET="x").stdout


def test_check_tells_every_mistake_with_its_place(shop: Path) -> None:
    """File, line, key, what it is, what it may be; exit code 1; as JSON for programs."""
    text = (shop / "portero.toml").read_text()
    (shop / "portero.toml").write_text(text.replace("scopes =", "scops =", 1).replace("public = true", "public = 1", 1))

    done = run(shop, "manifest", "check", "portero.toml")
    rows = json.loads(run(shop, "manifest", "check", "--json").stdout)

    assert done.returncode == 1
    told = [line.split(" is ")[0] for line in done.stderr.splitlines()]
    assert told == [
        "portero.toml:16: services.orders.routes[0].require.scops",
        "portero.toml:24: services.orders.routes[2].public",
        "2 wrong",
    ]
    assert [(row["line"], row["key"]) for row in rows] == [
        (16, "services.orders.routes[0].require.scops"),
        (24, "services.orders.routes[2].public"),
    ]


def test_the_server_and_the_manifest_may_share_a_file(shop: Path) -> None:
    """Each reads its own keys and knows the other's."""
    file = shop / "portero.toml"
    file.write_text('leeway = "30s"\n' + file.read_text() + "\n[authorization_server]\nport = 9001\n")

    assert run(shop, "manifest", "check").returncode == 0
    assert load_config(file, environ={}).port == 9001


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_manifest_that_is_not_there_is_one_clear_line(name: str, tmp_path: Path) -> None:
    """No trace."""
    done = run(tmp_path, "manifest", "check", name)

    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr
    assert name in done.stderr


def test_explain_says_what_decides_and_what_lost(shop: Path) -> None:
    """The route with its line, each thing it asks for, and the other candidates with their reason."""
    done = run(shop, "manifest", "explain", "DELETE", "/orders/5/%72efund", "--service", "orders")

    assert done.returncode == 0
    assert "DELETE /orders/5/refund" in done.stdout
    assert "its default is 'deny'" in done.stdout
    assert "nobody passes: 403" in done.stdout
    assert "POST /orders/{number}/refund" in done.stdout
    assert "is for POST, not DELETE" in done.stdout


def test_explain_goes_through_the_gateways_prefix(shop: Path) -> None:
    """Without --service the path is the external one."""
    inside = run(shop, "manifest", "explain", "POST", "/api/orders-service/orders/5/refund?x=1").stdout
    outside = run(shop, "manifest", "explain", "GET", "/orders").stdout

    assert "POST /orders/5/refund   (outside /api/orders-service/orders/5/refund)" in inside
    assert "all of the roles manager" in inside
    assert "under the prefix of no service" in outside


@pytest.mark.parametrize("path", ["/orders/../x", "/a%2Fb", "//a", "/a#b", "*"])
def test_explain_says_when_a_path_is_refused(path: str, shop: Path) -> None:
    """400, before any route."""
    assert "refused with 400" in run(shop, "manifest", "explain", "GET", path).stdout


@pytest.mark.parametrize("arguments", [("get", "/orders"), ("GET", "/orders", "--service", "ordrs"), ("GET",)])
def test_a_question_that_cannot_be_meant_is_a_usage_error(arguments: tuple[str, ...], shop: Path) -> None:
    """Exit code 2, and what would do."""
    assert run(shop, "manifest", "explain", *arguments).returncode == 2


def test_schema_prints_the_committed_schema(tmp_path: Path) -> None:
    """For editors and pipelines."""
    assert run(tmp_path, "manifest", "schema").stdout == (ROOT / "docs/reference/manifest.schema.json").read_text()
