"""`make demo`: start everything, say where, stop on Ctrl-C. `CHECK=1`: walk the twelve steps headlessly instead."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from examples.shop.manifest import write_manifest
from examples.shop.processes import Program, Programs, StartFailed
from examples.shop.settings import PEOPLE, Settings, port_is_free
from portero.gateway.engines import ENGINES as KNOWN_ENGINES
from portero.testing.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
LAYOUTS = ("middleware", "gateway", "hybrid")
ENGINES = tuple(KNOWN_ENGINES)
STORES = ("memory", "local", "cookie")
LOGINS = ("password", "afip", "oidc")
PORTS = (9000, 8101, 8102, 8103, 8080, 8000, 9100, 9400)
READY_WITHIN = 30.0


class Stop(Exception):
    """Somebody wants the demo to end."""


class Usage(Exception):
    """A variable of the call has a value it may not have."""


def choice(name: str, valid: tuple[str, ...], default: str) -> str:
    """Read a variable that has a closed list of values; empty means the default."""
    value = os.environ.get(name, "") or default
    if value and value not in valid:
        raise Usage(f"{name}={value} is not known. Valid: {', '.join(valid) or '(none yet)'}")
    return value


def settings(folder: Path, *, own_ports: bool) -> Settings:
    """Fixed ports for people, free ones for a check."""
    engine = choice("ENGINE", ENGINES, "")
    layout = choice("LAYOUT", LAYOUTS, "hybrid" if engine else "middleware")
    if engine and layout == "middleware":
        raise Usage(f"ENGINE={engine} needs a gateway: LAYOUT=gateway or LAYOUT=hybrid")
    if layout != "middleware":
        engine = engine or ENGINES[0]
    store = choice("STORE", STORES, "memory")
    login = choice("LOGIN", LOGINS, "password")
    if own_ports:
        ports = free_ports(len(PORTS))
    else:
        ports = list(PORTS)
        taken = [str(port) for port in ports if not port_is_free(port)]
        if taken:
            raise Usage(
                f"port {', '.join(taken)} of localhost is taken. Stop what listens there (or: make demo CHECK=1)"
            )
    return Settings(
        str(folder),
        *ports,
        feed_secret=secrets.token_urlsafe(32),
        session_secret=secrets.token_urlsafe(32),
        layout=layout,
        engine=engine,
        store=store,
        login=login,
    )


def start(shop: Settings, programs: Programs) -> dict[str, Program]:
    """Start the programs and wait until all answer."""
    write_manifest(shop)
    environment = {"SHOP": shop.dump(), "PYTHONUNBUFFERED": "1"}

    def program(name: str) -> Program:
        arguments = [sys.executable, "-m", f"examples.shop.{name}"]
        return programs.add(Program(name, arguments, environment=environment, log=shop.path / f"{name}.log"))

    running: dict[str, Program] = {}
    deadline = time.monotonic() + READY_WITHIN
    if shop.login != "password":
        # Before the authorization server, which pins its key.
        running[shop.login] = program(shop.login)
        running[shop.login].wait_until_answers(f"{shop.vouching}/readyz", within=READY_WITHIN)
    running |= {"authorization": program("authorization"), "page": program("page_server")}
    running["authorization"].wait_until_answers(f"{shop.issuer}/readyz", within=READY_WITHIN)
    if shop.has_gateway:
        # Before the services, which ask it for the keys of its assertions.
        running["gateway"] = program("gateway")
        ready = f"http://127.0.0.1:{shop.gateway_admin_port}/readyz"
        running["gateway"].wait_until_answers(ready, within=READY_WITHIN)
    services = {"orders": shop.orders, "inventory": shop.inventory, "shipping": shop.shipping}
    running |= {name: program(name) for name in services}
    for name, url in {**services, "page": shop.page}.items():
        running[name].wait_until_answers(f"{url}/readyz", within=max(1.0, deadline - time.monotonic()))
    return running


def announce(shop: Settings) -> None:
    """Say where everything is and who can sign in."""
    lines = [
        "",
        f"  Portero, the demo                          layout: {shop.layout}"
        + (f", engine: {shop.engine}" if shop.has_gateway else "")
        + f", store: {shop.store}, login: {shop.login}",
        "",
        f"  the shop (open this)   {shop.page}",
        *([f"  AFIP (the emulator)    {shop.vouching}      Ingresar con Clave Fiscal"] if shop.login == "afip" else []),
        *([f"  Acme (another OpenID)  {shop.vouching}"] if shop.login == "oidc" else []),
        f"  authorization server   {shop.issuer}      devices: {shop.issuer}/account",
        *([f"  gateway                {shop.gateway}"] if shop.has_gateway else []),
        f"  orders (FastAPI)       {shop.orders}",
        f"  inventory (Flask)      {shop.inventory}",
        f"  shipping (Django)      {shop.shipping}",
        "",
        "  sign in as             " + PEOPLE[0].username.ljust(8) + PEOPLE[0].password,
        *("                         " + one.username.ljust(8) + one.password for one in PEOPLE[1:]),
        "",
        f"  logs in {shop.folder}      Ctrl-C stops everything",
        "",
    ]
    print("\n".join(lines), flush=True)


def stay(shop: Settings, programs: Programs) -> int:
    """Say that all is up, and stay until Ctrl-C or until a program dies."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Raised, not told to an event: a handler that takes a lock the main thread holds waits for ever.
        raise Stop

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, on_signal)
        announce(shop)
        while (dead := programs.first_dead()) is None:
            time.sleep(0.5)
    except Stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the second Ctrl-C must not leave a process behind
        print("\nstopping …", flush=True)
        return 0
    print(f"{dead.name} ended by itself; see {dead.log}", file=sys.stderr)
    return 1


def check(shop: Settings) -> int:
    """Walk the story in headless Chromium; its lines go straight to our output."""
    script = "check_cookie.mjs" if shop.store == "cookie" else "check.mjs"
    return subprocess.run(
        ["node", str(ROOT / "examples/shop" / script)], env={**os.environ, "SHOP": shop.dump()}, check=False
    ).returncode


def main() -> int:
    checking = bool(os.environ.get("CHECK", ""))
    try:
        if checking:
            folder = Path(tempfile.mkdtemp(prefix="portero-demo-"))
        else:
            folder = Path(os.environ.get("PORTERO_DEMO_FOLDER") or ROOT / ".demo")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        shop = settings(folder, own_ports=checking or os.environ.get("PORTERO_DEMO_PORTS") == "free")
    except Usage as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # A signal during start-up ends the block below, which ends what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Programs() as programs:
            start(shop, programs)
            if checking:
                return check(shop)
            return stay(shop, programs)
    except StartFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if checking:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
