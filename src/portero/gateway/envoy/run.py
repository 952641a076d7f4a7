"""`portero gateway --engine envoy`: compile the manifest, run Envoy, and keep its keys, routes and revocations fresh.

This process is no part of a request's way but where the Guard decides (`authorize`). What changes is
delivered in files, each replaced whole: a broken manifest changes nothing that runs.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from portero.adapters.system import SystemClock
from portero.core.errors import ConfigurationError
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.gateway.engines import Options
from portero.gateway.envoy import metrics
from portero.gateway.envoy.binary import find_envoy
from portero.gateway.envoy.configuration import Places, bootstrap, files_of, waiting_listener
from portero.gateway.envoy.delivery import Delivery
from portero.gateway.envoy.kept import KeptRevocations
from portero.gateway.envoy.process import EnvoyProcess
from portero.gateway.envoy.routes import notes
from portero.gateway.envoy.state import State, read_manifest
from portero.gateway.requests import Answer, Answering, Request

_log = logging.getLogger("portero.gateway")
_LOOK_EVERY = 1.0
"""Seconds between looks at the manifest."""
_GATHER = 0.002
"""Seconds for which revocations are gathered before they are written."""
_ENTRIES_A_SECOND = 100_000
"""How many recent ones Envoy and this process can be asked to take in, over and over."""
_TIDY_EVERY = 25
"""Ticks between looks at whether the large file is to be written anew."""
_TICK = 0.02
"""Seconds between looks at keys and readiness."""


def run(options: Options) -> int:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the manifest, a certificate, the keys or Envoy are not as they must be.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _log.setLevel(logging.INFO)
    if options.deliver_to is not None:
        folder = options.deliver_to.resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return asyncio.run(_Supervisor(options, None, folder).serve())
    program = find_envoy()
    folder = Path(tempfile.mkdtemp(prefix="portero-gw-"))
    try:
        return asyncio.run(_Supervisor(options, program, folder).serve())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def compile_once(options: Options, folder: Path, *, patience: float) -> tuple[list[str], list[str]]:
    """Write the whole configuration as it is now, and leave it.

    Args:
        options: which manifest.
        folder: where to.
        patience: seconds to wait for keys and revocations.

    Returns:
        What the compiler has to say, and what was still missing: where an issuer's keys are,
        the Guard is asked about its tokens.
    """
    supervisor = _Supervisor(options, None, folder)
    return await supervisor.write_once(patience)


class _Supervisor:
    def __init__(self, options: Options, program: str | None, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._runs_envoy = program is not None
        self._clock = options.clock or SystemClock()
        delivered = folder / "delivered"
        delivered.mkdir(mode=0o700, exist_ok=True)
        self._places = Places(
            manifest_folder=options.manifest_file.parent.resolve(),
            delivered=delivered,
            authorize_socket=folder / "authorize",
            admin_socket=folder / "admin",
        )
        self._delivery = Delivery(delivered)
        self._state = State(read_manifest(options.manifest_file), options, instead_of=None)
        self._kept: list[KeptRevocations] = []
        self._ready = False
        self._writing = False
        self._stopping = False
        self._problem = ""
        self._marks: tuple[object, ...] = ()
        gateway = self._state.gateway
        bootstrap_file = folder / "bootstrap.json"
        bootstrap_file.write_bytes(orjson.dumps(bootstrap(gateway, self._places)))
        self._envoy = EnvoyProcess(
            program or "",
            bootstrap=bootstrap_file,
            admin_socket=self._places.admin_socket,
            workers=gateway.workers,
            drain_seconds=int(gateway.drain.total_seconds()),
        )

    async def serve(self) -> int:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        host, _, port = self._state.gateway.admin.rpartition(":")
        try:
            admin = await loop.create_server(lambda: Answering(self._administer), host.strip("[]"), int(port))
        except OSError as error:
            raise ConfigurationError("gateway.admin", self._state.gateway.admin, f"cannot listen ({error})") from None
        authorize = await loop.create_unix_server(
            lambda: Answering(lambda request: self._state.authorizer.answer(request)),
            str(self._places.authorize_socket),
        )
        self._listen_to(self._state)
        self._say_notes()
        if self._runs_envoy or not await self._envoy.is_serving():
            self._delivery.deliver(waiting_listener(self._state.gateway, self._places))
        # An Envoy that serves by what was delivered before goes on: it checks tokens, and refuses what it knew of.
        if self._runs_envoy:
            self._envoy.start()
        else:
            _log.info("the configuration is kept in %s: envoy -c %s/bootstrap.json", self._folder, self._folder)
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._follow_file())]
        try:
            await self._state.guards.start()
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        finally:
            self._stopping = True
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if self._runs_envoy:
                await self._envoy.drain(self._state.gateway.drain.total_seconds())
                await self._envoy.stop()
            self._places.authorize_socket.unlink(missing_ok=True)
            authorize.close()
            admin.close()
            await self._state.guards.aclose()
        for result in results:
            if isinstance(result, Exception):
                raise result
        return 0

    async def write_once(self, patience: float) -> tuple[list[str], list[str]]:
        """See `compile_once`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._state.guards.start()
        missing = self._state.problems()
        self._write_revocations()
        self._look_at_keys()
        await self._state.guards.aclose()
        return list(notes(self._state.manifest)), missing

    # ── what changes ─────────────────────────────────────────────────────────────────

    def _listen_to(self, state: State) -> None:
        loop = asyncio.get_running_loop()

        def came(revocations: Sequence[Revocation]) -> None:
            loop.call_soon_threadsafe(self._came, revocations)

        state.guards.host.connections.listeners[:] = [came]

    def _came(self, revocations: Sequence[Revocation]) -> None:
        for place, issuer in enumerate(self._state.manifest.issuers.values()):
            if place < len(self._kept):
                self._kept[place].add([one for one in revocations if one.iss == issuer.issuer])
        if not self._writing:
            # A crowd that signs out together is one file; the larger it is, the rarer it is written.
            self._writing = True
            recent = sum(kept.recent for kept in self._kept)
            asyncio.get_running_loop().call_later(_GATHER + recent / _ENTRIES_A_SECOND, self._write_recent)
        if any(one.kind is RevokedKind.KEY for one in revocations):
            self._look_at_keys()

    def _write_recent(self) -> None:
        self._writing = False
        for kept in self._kept:
            kept.write()

    async def _follow(self) -> None:
        """Become ready, then follow the keys."""
        for tick in itertools.count():
            await asyncio.sleep(_TICK)
            if not self._ready:
                if self._state.problems():
                    continue
                self._write_revocations()
                self._look_at_keys()
                self._ready = True
            self._look_at_keys()
            if tick % _TIDY_EVERY == 0:
                for kept in self._kept:
                    await kept.tidy()

    def _write_revocations(self) -> None:
        self._kept = []
        for place, issuer in enumerate(self._state.manifest.issuers.values()):
            subscription = self._state.guards.host.trust(issuer.issuer).subscription
            revoked = None if subscription is None else subscription.revoked
            kept = KeptRevocations(revoked, place, self._delivery, self._loaded)
            kept.write_all()
            self._kept.append(kept)

    async def _loaded(self, name: str) -> str:
        return await self._envoy.text(f"extension_config_discovery.http_filter.{name}.version_text")

    def _look_at_keys(self) -> None:
        marks = self._state.marks()
        if marks == self._marks:
            return
        self._marks = marks
        self._deliver()

    def _deliver(self) -> None:
        state = self._state
        jwks = b'{"keys":[]}' if state.assertion_keys is None else state.assertion_keys.jwk_set()
        self._delivery.deliver(
            files_of(
                state.manifest,
                self._places,
                keys=state.keys(),
                assertion_keys=jwks,
                access_log=self._options.access_log,
            )
        )

    async def _follow_file(self) -> None:
        """Take over a changed manifest once two looks find it the same; a broken one changes nothing that runs."""
        before = self._state.text
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            with suppress(ConfigurationError):
                text = await asyncio.to_thread(read_manifest, self._options.manifest_file)
                if (text != self._state.text or self._state.keys_were_changed()) and text == before:
                    await self._take_over(text)
                before = text

    async def _take_over(self, text: str) -> None:
        old = self._state
        try:
            new = State(text, self._options, instead_of=old)
            for setting in ("listen", "admin", "workers"):
                if getattr(new.gateway, setting) != getattr(old.gateway, setting):
                    expected = "changes with a restart only"
                    raise ConfigurationError(f"gateway.{setting}", getattr(new.gateway, setting), expected)
        except ConfigurationError as error:
            problem = f"the manifest is not used as it is now: {error}"
            if problem != self._problem:
                self._problem = problem
                _log.error("%s", problem)
            return
        await new.guards.start()
        self._problem = ""
        self._state = new
        self._listen_to(new)
        if self._ready:
            self._write_revocations()
            self._marks = new.marks()
            self._deliver()
        self._say_notes()
        _log.info("the manifest %s was read again", self._options.manifest_file)
        # What was asked of the old Guards a moment ago is answered first.
        await asyncio.sleep(_LOOK_EVERY)
        await old.guards.aclose(but=new.guards)

    def _say_notes(self) -> None:
        for note in notes(self._state.manifest):
            _log.info("%s", note)

    # ── what operators ask ───────────────────────────────────────────────────────────

    async def _administer(self, request: Request) -> Answer:
        path = request.target.partition(b"?")[0]
        if path == b"/livez":
            return _json(200, {"status": "alive"})
        if path == b"/readyz":
            problems = await self._not_ready()
            return _json(503 if problems else 200, {"ready": not problems, "problems": [*problems, *self._told()]})
        if path == b"/metrics":
            stats = await self._envoy.stats(metrics.WANTED)
            body = metrics.render(stats, self._state.guards, ready=not await self._not_ready())
            return Answer(200, (("content-type", "text/plain; version=0.0.4"),), body)
        return _json(404, {"paths": ["/livez", "/readyz", "/metrics"]})

    def _told(self) -> list[str]:
        return [self._problem] if self._problem else []

    async def _not_ready(self) -> list[str]:
        if self._stopping:
            return ["stopping"]
        if not self._ready:
            return self._state.problems() or ["starting"]
        if not self._runs_envoy:
            return []
        if not await self._envoy.is_serving():
            return ["envoy is not serving"]
        taken = await self._envoy.stats("^(listener_manager.total_listeners_warming|http.gateway.rds.*update_success)$")
        warming = taken.pop("listener_manager.total_listeners_warming", 1)
        if warming or not sum(taken.values()):
            return ["envoy has not taken the configuration over"]
        return []


def _json(status: int, members: Mapping[str, object]) -> Answer:
    return Answer(status, (("content-type", "application/json"),), orjson.dumps(members))
