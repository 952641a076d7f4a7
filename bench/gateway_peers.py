"""The gateways of `bench gateway`: each in front of the same nginx, each pinned to the same core.

Each is configured as its own documentation says for keep-alive to the upstream and one worker. What is not
installed is said to be missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portero.core.jose import base64url
from portero.core.jose.jwk import PrivateKey
from portero.testing.jwks_server import JwksServer
from portero.testing.ports import free_port

GATEWAY_CORE, LOAD_CORE = 0, 1
ANSWER = '{"orders":[]}'
AUDIENCE = "https://shop.example/orders"


@dataclass(slots=True)
class World:
    """What every gateway is given."""

    issuer: JwksServer
    key: PrivateKey
    upstream: int
    folder: Path


@dataclass(slots=True)
class Gateway:
    """One that runs."""

    port: int
    pids: list[int]


@contextlib.contextmanager
def running(command: list[str], port: int, *, core: int, environ: dict[str, str] | None = None) -> Iterator[Gateway]:
    """A program on one core, once it listens."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(environ or {})},
        start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen")
            time.sleep(0.05)
        yield Gateway(port, [process.pid])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_NGINX = """daemon off; master_process off; pid {folder}/{name}.pid; error_log {folder}/{name}.err; worker_processes 1;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
 client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
 scgi_temp_path {folder};
 {http}
 server {{ listen 127.0.0.1:{port} backlog=4096; {server} }} }}
"""


def nginx_config(folder: Path, name: str, port: int, *, server: str, http: str = "") -> list[str]:
    """Write a configuration; the command that runs it."""
    file = folder / f"{name}.conf"
    file.write_text(_NGINX.format(folder=folder, name=name, port=port, server=server, http=http))
    return ["nginx", "-c", str(file)]


def _upstream_block(name: str, port: int) -> str:
    return f"upstream {name} {{ server 127.0.0.1:{port}; keepalive 256; keepalive_requests 1000000000; }}"


_PROXIED = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass"


def nginx_plain(world: World) -> Any:
    port = free_port()
    command = nginx_config(
        world.folder, "nginx-plain", port, http=_upstream_block("orders", world.upstream),
        server=f"location /api/ {{ {_PROXIED} http://orders/; }}",
    )  # fmt: skip
    return running(command, port, core=GATEWAY_CORE)


@contextlib.contextmanager
def nginx_auth_request(world: World) -> Iterator[Gateway]:
    """nginx asks a verifier for each request: our Guard with its cache, in a process of its own on the same core."""
    port, verifier = free_port(), free_port()
    asking = [sys.executable, "-m", "bench.gateway_verifier", str(verifier), world.issuer.url]
    command = nginx_config(
        world.folder, "nginx-auth", port,
        http=_upstream_block("orders", world.upstream) + _upstream_block("verifier", verifier),
        server=f"location /api/ {{ auth_request /check; {_PROXIED} http://orders/; }}"
        f" location = /check {{ internal; proxy_pass_request_body off; proxy_set_header Content-Length '';"
        f" {_PROXIED} http://verifier; }}",
    )  # fmt: skip
    with (
        running(asking, verifier, core=GATEWAY_CORE) as asked,
        running(command, port, core=GATEWAY_CORE) as front,
    ):
        yield Gateway(port, [*front.pids, *asked.pids])


def haproxy(world: World, *, verify: bool) -> Any:
    port = free_port()
    pem = world.folder / "key.pem"
    x, y = (int.from_bytes(base64url.decode(world.key.public.members[name]), "big") for name in ("x", "y"))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    rules = (
        f"""
 http-request set-var(txn.token) http_auth_bearer
 http-request set-var(txn.iss) var(txn.token),jwt_payload_query('$.iss')
 http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
 http-request set-var(txn.now) date()
 http-request deny unless {{ var(txn.token),jwt_header_query('$.alg') -m str ES256 }}
 http-request deny unless {{ var(txn.iss) -m str {world.issuer.url} }}
 http-request deny unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}
 http-request deny unless {{ var(txn.token),jwt_verify('ES256','{pem}') -m int 1 }}"""
        if verify
        else ""
    )
    file = world.folder / f"haproxy-{verify}.cfg"
    file.write_text(f"""global
 nbthread 1
 maxconn 8192
 tune.bufsize 32768
defaults
 mode http
 timeout connect 5s
 timeout client 60s
 timeout server 60s
 http-reuse always
frontend f
 bind 127.0.0.1:{port}{rules}
 http-request set-path %[path,regsub(^/api,)]
 default_backend b
backend b
 server s 127.0.0.1:{world.upstream} pool-max-conn 256
""")
    return running(["haproxy", "-f", str(file)], port, core=GATEWAY_CORE)


def caddy(world: World) -> Any:
    port = free_port()
    file = world.folder / "Caddyfile"
    file.write_text(f"""{{
 admin off
 auto_https off
 log {{
  output discard
 }}
}}
http://127.0.0.1:{port} {{
 handle_path /api/* {{
  reverse_proxy 127.0.0.1:{world.upstream} {{
   transport http {{
    keepalive_idle_conns_per_host 256
   }}
  }}
 }}
}}
""")
    home = {"GOMAXPROCS": "1", "HOME": str(world.folder), "XDG_DATA_HOME": str(world.folder)}
    return running(
        ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"], port, core=GATEWAY_CORE, environ=home
    )


_ENVOY = "type.googleapis.com/envoy.extensions.filters"


def envoy_program() -> str | None:
    """The wheel's, or one on PATH."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else shutil.which("envoy")


def envoy(world: World, *, verify: bool, cached: bool = False) -> Any:
    port = free_port()
    filters: list[dict[str, Any]] = []
    if verify:
        provider: dict[str, Any] = {
            "issuer": world.issuer.url,
            "audiences": [AUDIENCE],
            "local_jwks": {"inline_string": world.issuer.issuer.jwk_set().decode()},
            "forward": True,
        }
        if cached:
            provider["jwt_cache_config"] = {"jwt_cache_size": 50_000}
        filters.append(
            {
                "name": "jwt",
                "typed_config": {
                    "@type": f"{_ENVOY}.http.jwt_authn.v3.JwtAuthentication",
                    "providers": {"main": provider},
                    "rules": [{"match": {"prefix": "/api/"}, "requires": {"provider_name": "main"}}],
                },
            }
        )
    router = f"{_ENVOY}.http.router.v3.Router"
    filters.append({"name": "router", "typed_config": {"@type": router}})
    connection_manager = {
        "@type": f"{_ENVOY}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "http_filters": filters,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all", "domains": ["*"],
                    "routes": [{"match": {"prefix": "/api/"}, "route": {"cluster": "orders", "prefix_rewrite": "/"}}],
                }
            ]
        },
    }  # fmt: skip
    here = {"socket_address": {"address": "127.0.0.1", "port_value": world.upstream}}
    config = {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": connection_manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "orders", "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "orders",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": here}}]}],
                    },
                }
            ],
        }
    }  # fmt: skip
    file = world.folder / f"envoy-{verify}-{cached}.json"
    file.write_text(json.dumps(config))
    program = envoy_program() or "envoy"
    command = [program, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "off"]
    return running(command, port, core=GATEWAY_CORE)


def portero(world: World, *, layout: str, routes: int = 10) -> Any:
    """Ours, with everything on: Guard, feed, rate limits, access log, request ids, limits and timeouts."""
    port, admin = free_port(), free_port()
    folder = world.folder / f"portero-{layout}-{routes}"
    folder.mkdir(exist_ok=True)
    rows = ['  { match = "GET /orders/{id}", require = { scopes = ["orders:read"] } },']
    rows += [
        f'  {{ match = "GET /other{n}/{{id}}/part", require = {{ scopes = ["orders:read"] }} }},'
        for n in range(routes - 1)
    ]
    file = folder / "portero.toml"
    file.write_text(f"""layout = "{layout}"
[issuers.main]
issuer = "{world.issuer.url}"
revocation = {{ client_id = "service", secret_env = "FEED_SECRET" }}
[services.orders]
audience = "{AUDIENCE}"
upstreams = ["http://127.0.0.1:{world.upstream}"]
routes = [
{chr(10).join(rows)}
]
[gateway]
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:{admin}"
prefix = {{ orders = "/api" }}
rate_limits = {{ per_client = "10000000/s", per_subject = "10000000/s" }}
""")
    command = [sys.executable, "-m", "portero", "gateway", "--engine", "embedded", "--manifest", str(file)]
    return running(command, port, core=GATEWAY_CORE, environ={"FEED_SECRET": "service-secret"})


CONTENDERS: dict[str, tuple[str, Callable[[World], Any]]] = {
    "Envoy plain": ("envoy", lambda world: envoy(world, verify=False)),
    "Envoy jwt_authn": ("envoy", lambda world: envoy(world, verify=True)),
    "Envoy jwt_authn, cached": ("envoy", lambda world: envoy(world, verify=True, cached=True)),
    "nginx plain": ("nginx", nginx_plain),
    "nginx auth_request": ("nginx", nginx_auth_request),
    "HAProxy plain": ("haproxy", lambda world: haproxy(world, verify=False)),
    "HAProxy jwt_verify": ("haproxy", lambda world: haproxy(world, verify=True)),
    "Caddy plain": ("caddy", caddy),
    "Portero, hybrid": ("python", lambda world: portero(world, layout="hybrid")),
    "Portero, gateway": ("python", lambda world: portero(world, layout="gateway")),
}
"""Name → the program it needs, and how it starts."""
VERIFYING = frozenset(name for name in CONTENDERS if "plain" not in name)


def missing(program: str) -> bool:
    """Whether a program is not installed."""
    if program == "envoy":
        return envoy_program() is None
    return program != "python" and shutil.which(program) is None
