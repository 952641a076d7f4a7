"""`make bench NAME=sign_in`: from a person's proof to an open session and a code, by each door.

One `portero serve` on SQLite (`synchronous=FULL`), one person at a time over loopback, the doors in turns:

- Clave Fiscal: AFIP's form arrives (RSA, SHA-1), the page that asks for whom, and its answer. Three requests.
- the password (argon2id) in the form of the sign-in page. One request.
- the password in an application's own form: `POST /authorization_challenge`. One request.

Each ends with an authorization code. What comes before (the sign-in page, the way to AFIP) and the exchange of the code
are the same whoever vouches, and are not timed. Then the proof alone, in process: a message and a password verified.

Last line: `sign_in clave_fiscal_ms=… password_ms=… direct_ms=… clave_fiscal_of_password=… aim=1 met|short`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2

from bench.plot import bars
from bench.report import RESULTS, last_line, machine, median, versions, write_json
from portero.adapters.afip.clave_fiscal import Rules, verify
from portero.adapters.passwords.argon2 import Argon2PasswordHasher
from portero.core.types import NumericDate, Secret
from portero.testing.afip import ClaveFiscalServer
from portero.testing.afip.authority import new_authority, pem_of
from portero.testing.afip.clave_fiscal import companies
from portero.testing.ports import free_port

ROUNDS = int(os.environ.get("ROUNDS", "9"))
EACH = 12
"""Sign-ins of each door in a round."""
AIM = 1.0
"""A Clave Fiscal sign-in over a password sign-in, in time."""
PASSWORD = "correct horse battery staple"
PERSON, SERVICE = "20111111112", "mi_servicio"
REDIRECT_URI = "https://client.example/cb"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
REQUEST = {
    "response_type": "code",
    "client_id": "bench",
    "scope": "openid",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
CLAVE_FISCAL, FORM, DIRECT = "Clave Fiscal", "password, page", "password, direct"


@dataclass(slots=True)
class Door:
    """A way in: makes everything ready, and returns what is timed."""

    name: str
    ready: Callable[[httpx2.Client], Callable[[], httpx2.Response]]
    rounds: list[float] = field(default_factory=list)
    """Milliseconds: the median of each round."""

    def take_round(self, issuer: str) -> None:
        times = []
        for _ in range(EACH):
            with httpx2.Client(base_url=issuer, timeout=30, trust_env=False) as browser:
                last_step = self.ready(browser)
                began = time.perf_counter()
                answer = last_step()
                times.append(1000 * (time.perf_counter() - began))
            if "code=" not in answer.headers.get("location", "") and "authorization_code" not in answer.text:
                raise SystemExit(f"{self.name}: no code: HTTP {answer.status_code} {answer.text[:300]}")
        self.rounds.append(median(times))


def main() -> None:
    """Measure, print, and write `bench/results/sign_in.json`."""
    afip = ClaveFiscalServer(authority=new_authority(now=time.time()))
    # Not /tmp: that may be memory, and durable means on a disk.
    folder = Path(tempfile.mkdtemp(prefix="portero-bench-", dir="/var/tmp"))
    try:
        with served(folder, afip) as issuer:
            doors = [
                Door(CLAVE_FISCAL, lambda browser: by_clave_fiscal(browser, afip)),
                Door(FORM, by_form),
                Door(DIRECT, by_direct),
            ]
            for door in doors:  # warm up: imports, templates, statements
                door.take_round(issuer)
                door.rounds.clear()
            for _ in range(ROUNDS):
                for door in doors:
                    door.take_round(issuer)
                print("  ".join(f"{door.name} {door.rounds[-1]:.1f} ms" for door in doors))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(doors, *alone(afip))


@contextmanager
def served(folder: Path, afip: ClaveFiscalServer) -> Iterator[str]:
    """A server with a person, a client of the house, and AFIP's key."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    (folder / "afip.pem").write_bytes(pem_of(afip.certificate(now=time.time())))
    source = f'{{ src = "{afip.src}", key_file = "afip.pem", algorithm = "RS1" }}'
    (folder / "portero-server.toml").write_text(
        f'[authorization_server]\nissuer = "{issuer}"\nport = {port}\n[sign_in.password]\n[sign_in.clave_fiscal]\n'
        f'service = "{SERVICE}"\nlogin_url = "https://afip.example/login"\nsources = [{source}]\n'
    )

    def portero(*command: str, given: str = "") -> None:
        subprocess.run(
            [sys.executable, "-m", "portero", *command],
            cwd=folder,
            check=True,
            input=given.encode(),
            stdout=subprocess.DEVNULL,
        )

    portero("user", "add", "ana", "--password-stdin", given=PASSWORD)
    client = ("client", "add", "bench", "--public", "--first-party", "--direct-sign-in")
    portero(*client, "--redirect-uri", REDIRECT_URI, "--scope", "openid")
    server = subprocess.Popen([sys.executable, "-m", "portero", "serve"], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not _is_ready(f"{issuer}/readyz"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start (exit code {server.poll()})")
            time.sleep(0.05)
        yield issuer
    finally:
        server.terminate()
        server.wait(20)


def by_form(browser: httpx2.Client) -> Callable[[], httpx2.Response]:
    """The sign-in page is open, name and password are typed."""
    form = {**_hidden(_page(browser)), "username": "ana", "password": PASSWORD}
    return lambda: browser.post("/sign-in", data=form)


def by_direct(browser: httpx2.Client) -> Callable[[], httpx2.Response]:
    """The connection of the app is open."""
    browser.get("/.well-known/openid-configuration")
    form = {**REQUEST, "username": "ana", "password": PASSWORD}
    return lambda: browser.post("/authorization_challenge", data=form)


def by_clave_fiscal(browser: httpx2.Client, afip: ClaveFiscalServer) -> Callable[[], httpx2.Response]:
    """The person comes back from AFIP; whom they act for is chosen without thinking."""
    (company,) = companies(1)
    login = _hidden(_page(browser))["login"]
    browser.get("/sign-in/clave_fiscal/start", params={"login": login})
    for cookie in browser.cookies.jar:
        cookie.secure = False  # browsers send such a cookie to a loopback host over http; this client would not
    message = afip.issue(PERSON, now=time.time(), relations=[company])
    back = {"origin": "https://auth.afip.example", "sec-fetch-site": "cross-site"}
    form = {"token": message.token, "sign": message.sign}

    def come_back() -> httpx2.Response:
        arrived = browser.post("/sign-in/clave_fiscal/return", data=form, headers=back)
        page = browser.get(arrived.headers["location"])
        return browser.post("/sign-in/clave_fiscal/confirm", data={**_hidden(page), "acting_for": company})

    return come_back


def alone(afip: ClaveFiscalServer) -> tuple[float, float]:
    """A message verified and a password verified, in process: milliseconds, medians of rounds in turns."""
    now = time.time()
    rules = Rules(sources=(afip.source,), service=SERVICE)
    message = afip.issue(PERSON, now=now, relations=companies(3))
    token, sign = Secret(message.token), Secret(message.sign)
    hasher = Argon2PasswordHasher()

    async def hashed(phc: str) -> float:
        began = time.perf_counter()
        assert await hasher.verify(Secret(PASSWORD), phc)
        return 1000 * (time.perf_counter() - began)

    verified, passwords = [], []
    with asyncio.Runner() as runner:
        phc = runner.run(hasher.hash(Secret(PASSWORD)))
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(100):
                verify(token, sign, rules=rules, now=NumericDate(int(now)))
            verified.append(10 * (time.perf_counter() - began))
            passwords.append(median([runner.run(hashed(phc)) for _ in range(5)]))
    return median(verified), median(passwords)


def report(doors: list[Door], verified: float, hashed: float) -> None:
    """Write and print what was found."""
    clave_fiscal, form, direct = (median(door.rounds) for door in doors)
    ratio = median([one / other for one, other in zip(doors[0].rounds, doors[1].rounds, strict=True)])
    met = ratio <= AIM
    measured = f"{clave_fiscal:.1f} ms (by password {form:.1f} on the page, {direct:.1f} in an application's own form)"
    write_json(
        "sign_in",
        {
            "versions": versions("portero", "argon2-cffi", "cryptography", "uvicorn"),
            "rounds": ROUNDS,
            "sign_ins_a_round": EACH,
            "milliseconds": {door.name: {"median": median(door.rounds), "rounds": door.rounds} for door in doors},
            "alone_ms": {"Clave Fiscal message verified": verified, "argon2id": hashed},
            "clave_fiscal_of_password": ratio,
            "aim": {"clave_fiscal_of_password": AIM, "met": met},
            "table": [
                {
                    "what": "a Clave Fiscal assertion verified and a session opened, on disk, with a code",
                    "measured": measured,
                    "aim": "not slower than the password",
                },
            ],
        },
    )
    for door in doors:
        print(f"{door.name:24s} {median(door.rounds):7.1f} ms")
    print(f"{'message verified, alone':24s} {verified:7.2f} ms\n{'argon2id, alone':24s} {hashed:7.1f} ms")
    bars(
        RESULTS / "sign_in.svg",
        title="From a person's proof to a session and a code",
        unit="milliseconds",
        groups={
            CLAVE_FISCAL: {"whole": clave_fiscal, "the proof alone": verified},
            FORM: {"whole": form, "the proof alone": hashed},
            DIRECT: {"whole": direct, "the proof alone": hashed},
        },
        note=f"smaller is better; one person at a time; {machine()['processor']}",
    )
    last_line(
        "sign_in",
        {"clave_fiscal_ms": clave_fiscal, "password_ms": form, "direct_ms": direct, "clave_fiscal_of_password": ratio},
        aim=AIM,
        met=met,
    )


def _page(browser: httpx2.Client) -> httpx2.Response:
    answer = browser.get("/authorize?" + urlencode({**REQUEST, "redirect_uri": REDIRECT_URI, "state": "s"}))
    return browser.get(answer.headers["location"])


def _hidden(page: httpx2.Response) -> dict[str, Any]:
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


if __name__ == "__main__":
    main()
