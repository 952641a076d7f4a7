"""Ten thousand idle connections at the embedded gateway: bounded memory, and others are served meanwhile."""

from __future__ import annotations

import resource
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.gateway.world import World, start

CONNECTIONS = 10_000
MOST_KB_EACH = 32
MANIFEST = 'limits = { connections = 12000 }\ntimeouts = { headers = "10m", idle = "10m" }'


def idle_connections(time_is_up: Callable[[], bool]) -> tuple[str, list[str]]:
    """Open them, half of them after a request, and ask on; returns what to print, and what broke."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(CONNECTIONS, most - 500)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="portero-soak-"))
        world = start("embedded", Path(folder), extra=MANIFEST)
        stack.callback(world.close)
        token = world.token()
        ask = f"GET /api/orders/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        before = resident_kb(world)
        held: list[socket.socket] = []
        while len(held) < count and not time_is_up():
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", world.gateway.port), timeout=60))
            held.append(connection)
            if len(held) % 2:
                connection.sendall(ask)
                if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    return "failed", [f"idle connection {len(held)} was not served"]
        served = world.gateway.request("GET", "/api/orders/1", token=token).status
        each = (resident_kb(world) - before) / max(1, len(held))
        broken = [] if served == 200 else [f"among {len(held)} idle connections a request got {served}"]
        if each > MOST_KB_EACH:
            broken.append(f"{each:.1f} KB an idle connection")
        return f"{len(held)} idle connections, {each:.1f} KB each", broken


def resident_kb(world: World) -> int:
    """Resident memory of the gateway's process."""
    status = Path(f"/proc/{world.gateway.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
