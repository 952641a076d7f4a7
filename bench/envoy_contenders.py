"""The contenders of `bench.envoy`: plain Envoy, Envoy with cached `jwt_authn` alone, the gateway with all duties."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from portero.gateway.envoy.binary import find_envoy
from portero.testing.jwks_server import CLIENT_ID, CLIENT_SECRET, JwksServer
from portero.testing.ports import free_port

AUDIENCE = "https://bench.test/api"
ROUTES = 100
GATEWAY_CORE, OTHER_CORE = "0", "1"


def pinned(core: str, arguments: list[str]) -> list[str]:
    """On one core, where the machine has several."""
    return ["taskset", "-c", core, *arguments] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else arguments


class Process:
    """A program of the benchmark; ended by `close`."""

    def __init__(self, arguments: list[str], *, core: str, log: Path, environ: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                pinned(core, arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **(environ or {})},
            )  # fmt: skip

    @property
    def pids(self) -> list[int]:
        """It and its children."""
        found = [self.process.pid]
        for pid in found:
            found += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def wait(self, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.process.args} did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def answers(url: str, **headers: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=2) as answer:  # noqa: S310 - ours
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def nginx(folder: Path) -> tuple[Process, int]:
    """The upstream: one worker that answers a few bytes."""
    port = free_port()
    (folder / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello\\n"; }} }} }}
"""
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = Process([program, "-c", f"{folder}/nginx.conf", "-p", str(folder)], core=OTHER_CORE, log=folder / "n.log")
    process.wait(lambda: answers(f"http://127.0.0.1:{port}/"))
    return process, port


def bare_envoy(folder: Path, name: str, upstream: int, filters: list[dict[str, Any]]) -> tuple[Process, int]:
    """An Envoy with these filters and nothing else."""
    port = free_port()
    http = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": f"type.googleapis.com/{http}",
        "stat_prefix": "bench",
        "http_filters": [*filters, {"name": "router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}
            ]
        },
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    config = {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "up",
                    "load_assignment": {
                        "cluster_name": "up",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                    },
                }
            ],
        }
    }
    file = folder / f"{name}.json"
    file.write_bytes(orjson.dumps(config))
    arguments = [find_envoy(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    process = Process(arguments, core=GATEWAY_CORE, log=folder / f"{name}.log")
    return process, port


def jwt_authn(server: JwksServer) -> list[dict[str, Any]]:
    """Cached, and nothing more than that: no claim goes anywhere."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    provider = {
        "issuer": server.url,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": server.issuer.jwk_set().decode()},
        "forward": True,
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "jwt_cache_config": {"jwt_cache_size": 2000, "jwt_max_token_size": 8192},
    }
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "one"}}]
    return [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {"@type": kind, "providers": {"one": provider}, "rules": rules},
        }
    ]


def gateway(folder: Path, name: str, server: JwksServer, upstream: int, *, layout: str) -> tuple[Process, int, int]:
    """`portero gateway` with everything on, as an operator starts it; its port, and its admin port."""
    port, admin = free_port(), free_port()
    routes = "".join(
        f'[[services.api.routes]]\nmatch = "GET /things{number}/{{id}}"\nrequire = {{ scopes = ["things:read"] }}\n'
        for number in range(ROUTES)
    )
    (folder / name).mkdir()
    file = folder / name / "portero.toml"
    file.write_text(
        f"""layout = "{layout}"
[issuers.main]
issuer = "{server.url}"
revocation = {{ client_id = "{CLIENT_ID}", secret_env = "FEED_SECRET" }}
[services.api]
audience = "{AUDIENCE}"
upstreams = ["http://127.0.0.1:{upstream}"]
{routes}
[gateway]
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:{admin}"
"""
    )
    arguments = [sys.executable, "-m", "portero", "gateway", "--engine", "envoy", "--manifest", str(file), "--no-log"]
    process = Process(arguments, core=GATEWAY_CORE, log=folder / f"{name}.log", environ={"FEED_SECRET": CLIENT_SECRET})
    process.wait(lambda: answers(f"http://127.0.0.1:{admin}/readyz"))
    return process, port, admin
