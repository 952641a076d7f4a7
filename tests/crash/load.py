"""Devices that refresh under fire, as the browser library does, and the laws that must hold whenever they come to rest.

A device stores token and attempt before it sends; no answer, or 503, means the same request again; `superseded` means
reading storage again, then a wait, then one more try with a new attempt (decision 0021). Now and then it loses an
answer on purpose, or two of its tabs ask at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from portero.adapters.keys.secrets_file import read_secrets
from portero.core.digests import sha256_of
from portero.core.sessions.records import SessionStatus
from portero.core.tokens.refresh_token import parse_refresh_token
from portero.core.transitions import Client, FamilyAggregate, FamilyKey
from portero.core.types import Secret
from portero.ports import Store
from tests.races.fleet import BACKEND, PAGE, Fleet, attempt, refresh_form


@dataclass
class Tally:
    """What a run counted. `lost`: honest devices refused; `stolen`: of these, those told of a theft that was none."""

    answers: int = 0
    retries: int = 0
    lost: int = 0
    stolen: int = 0
    kills: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another run as well."""
        for name in ("answers", "retries", "lost", "stolen", "kills"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.broken += other.broken


@dataclass
class Device:
    """One device with its storage."""

    client: Client
    token: str
    dice: random.Random
    tally: Tally
    pending: str = field(default_factory=attempt)
    seen: list[str] = field(default_factory=list)
    """Every refresh token received, by generation."""

    def __post_init__(self) -> None:
        self.seen.append(self.token)

    async def refresh(self, send: Callable[[dict[str, str]], Awaitable[httpx2.Response]]) -> bool:
        """One refresh, perhaps of two tabs at once; whether it was answered."""
        public = self.client is PAGE
        form = refresh_form(self.token, attempt=self.pending if public else None, client=self.client)
        tabs = 2 if self.dice.random() < 0.2 else 1
        met = await asyncio.gather(*(send(form) for _ in range(tabs)), return_exceptions=True)
        answered = False
        for answer in met:
            if isinstance(answer, httpx2.ReadTimeout):
                self.tally.broken.append("a request was left without an answer by a server that runs")
            if isinstance(answer, httpx2.TransportError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            if answer.status_code == 503:
                continue
            if answer.status_code != 200:
                self._refused(answer)
                return True
            answered = True
            self._received(answer.json(), presented=form["refresh_token"])
        if not answered:
            self.tally.retries += 1
        return answered

    def _received(self, tokens: dict[str, Any], *, presented: str) -> None:
        self.tally.answers += 1
        successor = tokens["refresh_token"]
        generation = self.seen.index(presented) + 1
        if generation < len(self.seen):
            if self.seen[generation] != successor:
                self.tally.broken.append("one generation has two tokens: there are two branches")
            if self.token == presented:
                self._store(successor)
            return
        self.seen.append(successor)
        if self.dice.random() > 0.1:  # else the answer is lost on its way, and the same request comes again
            self._store(successor)

    def _store(self, successor: str) -> None:
        self.token, self.pending = successor, attempt()

    def _refused(self, answer: httpx2.Response) -> None:
        # The storage did not change between request and answer: nobody else writes it.
        reason = answer.json().get("error_reason")
        self.tally.lost += 1
        self.tally.stolen += reason == "reused"
        self.tally.broken.append(f"an honest device was refused: {answer.status_code} {answer.text}")


class Load:
    """Devices of both kinds (profiles A and B) against a fleet."""

    def __init__(self, fleet: Fleet, *, devices: int, seed: int) -> None:
        self.fleet = fleet
        self.dice = random.Random(seed)
        self.tally = Tally()
        half = devices // 2
        kinds = [(PAGE, half), (BACKEND, devices - half)]
        self.devices = [
            Device(client, tokens["refresh_token"], random.Random(self.dice.getrandbits(64)), self.tally)
            for client, number in kinds
            for tokens in fleet.signed_in(number, client=client)
        ]

    def run_until_killed(self, *, answers: int, kill: Callable[[], None]) -> None:
        """Let all devices refresh, and kill after so many answers: which request is where by then is chance."""
        asyncio.run(self._run(self.tally.answers + answers, kill))
        self.tally.kills += 1

    def settle(self) -> None:
        """With everything running again: each device gets its answer, and the laws hold."""
        asyncio.run(self._settle())
        self.fleet.at_store(self._check)

    async def _run(self, wanted: int, kill: Callable[[], None]) -> None:
        killed = False

        async def keep_refreshing(device: Device) -> None:
            nonlocal killed
            while not killed and not self.tally.broken:
                answered = await device.refresh(send)
                if not killed and self.tally.answers >= wanted:
                    killed = True
                    kill()
                if not answered and not killed:
                    await asyncio.sleep(0)

        async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
            send = self._sender(http)
            await asyncio.gather(*(keep_refreshing(device) for device in self.devices))

    async def _settle(self) -> None:
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
            send = self._sender(http)

            async def until_answered(device: Device) -> None:
                for _ in range(20):
                    if await device.refresh(send):
                        return
                self.tally.lost += 1
                self.tally.broken.append("a device got no answer from servers that run")

            await asyncio.gather(*(until_answered(device) for device in self.devices))

    def _sender(self, http: httpx2.AsyncClient) -> Callable[[dict[str, str]], Awaitable[httpx2.Response]]:
        async def send(form: dict[str, str]) -> httpx2.Response:
            server = self.dice.choice(self.fleet.servers)
            return await http.post(f"{server.url}/token", data=form)

        return send

    async def _check(self, store: Store) -> None:
        tag_keys = read_secrets(self.fleet.folder / "portero.secrets").tag_keys
        for device in self.devices:
            newest = parse_refresh_token(Secret(device.seen[-1]), tag_key=tag_keys.get)
            found: FamilyAggregate = await store.read(FamilyKey(newest.family_id))
            if found.family is None or found.session is None:
                self.tally.broken.append("a family is gone")
            elif found.session.status is not SessionStatus.ACTIVE:
                self.tally.stolen += 1
                self.tally.broken.append(f"a session ended without a thief: {found.session.end_reason}")
            elif found.family.head.generation != newest.generation:
                self.tally.broken.append(
                    f"the head is generation {found.family.head.generation}, the device has {newest.generation}"
                )
            elif found.family.head.digest != sha256_of(newest.secret):
                self.tally.broken.append("the live successor is not the one the device was given")
