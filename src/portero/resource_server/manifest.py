"""A service's Guard and routes from the manifest, followed while the service runs (design §3.4).

    orders = from_manifest("portero.toml", service="orders")

The middlewares of `manifest_asgi` and `manifest_wsgi` ask it for every request. The file is looked
at beside the requests; a change is used as a whole or not at all: a manifest that is broken
changes nothing that runs, and is told in the log and by `readiness`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from portero.core.errors import ConfigurationError
from portero.core.policy.manifest import Manifest, Service, service_matcher
from portero.core.policy.manifest_parser import parse_manifest
from portero.core.policy.manifest_reader import ManifestError, Problem
from portero.core.policy.refusal import Case, Refusal
from portero.core.policy.requirement import Requirement
from portero.core.policy.routes import RouteMatcher
from portero.resource_server.guard import Guard, Readiness
from portero.resource_server.manifest_guard import as_written, guard_of, what_makes

_log = logging.getLogger("portero.manifest")

MakeGuard = Callable[[Manifest, Service, Mapping[str, str]], Guard]

NO_RAW_PATH = (
    "the server must hand on the undecoded path (ASGI raw_path; WSGI REQUEST_URI or RAW_URI): without it the manifest "
    "cannot decide here; use the decorators, guard.requires(...), instead"
)

REWRITTEN = Refusal(
    Case.BAD_REQUEST, "The path cannot be decided.", detail="the application's path is not the one that was requested"
)
"""What was authorized is what is served: somebody between the server and us changed one of the two."""


def from_manifest(
    file: str | Path,
    *,
    service: str,
    environ: Mapping[str, str] | None = None,
    look_every: timedelta | None = timedelta(seconds=1),
    make_guard: MakeGuard | None = None,
    **options: Any,
) -> GuardedService:
    """Read the manifest, and make what one service needs of it.

    Args:
        file: `portero.toml`.
        service: its name in `[services]`.
        environ: where `secret_env` names a variable; `None`: the process environment.
        look_every: how often the file is looked at; a change counts once two looks agree. `None`: never.
        make_guard: makes the Guard instead of `guard_of`.
        options: further arguments of `Guard`: caches, key policy, patience, clock.

    Raises:
        ConfigurationError: the manifest is wrong (`ManifestError`: with every mistake), has no such
            service, or a secret is not in the environment.
    """

    def ours(manifest: Manifest, one: Service, variables: Mapping[str, str]) -> Guard:
        return guard_of(manifest, one, variables, file=str(file), **options)

    return GuardedService(
        Path(file),
        name=service,
        environ=os.environ if environ is None else environ,
        look_every=look_every,
        make_guard=make_guard or ours,
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """What holds now: one whole manifest's meaning for one service. Replaced as one reference."""

    manifest: Manifest
    service: Service
    guard: Guard
    matcher: RouteMatcher
    made_of: tuple[object, ...] = field(repr=False)
    """What the Guard was made of: while it is equal, the Guard stays."""

    def requirements(self) -> Iterator[Requirement]:
        """Every requirement a request may meet."""
        for access in (self.service.fallback.access, *(route.access for route in self.service.routes)):
            if isinstance(access, Requirement):
                yield access


class GuardedService:
    """One service's Guard and routes. Made by `from_manifest`; serves one event loop or many threads."""

    def __init__(
        self,
        file: Path,
        *,
        name: str,
        environ: Mapping[str, str],
        look_every: timedelta | None,
        make_guard: MakeGuard,
    ) -> None:
        self.file = file
        self.name = name
        self.problem = ""
        """Why the file as it is now is not used; empty while it is."""
        self._environ = environ
        self._make_guard = make_guard
        self._pause = None if look_every is None else look_every.total_seconds()
        self._seen: tuple[int, ...] = self._mark()
        self._unsettled: tuple[int, ...] | None = None
        text = self._text()
        self._digest = sha256(text.encode()).digest()
        self.decided = self._meaning(text, instead_of=None)
        """Read once per request; a reload replaces it."""
        self._retired: list[Guard] = []
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._thread_pid = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def guard(self) -> Guard:
        """The Guard that decides now. Ask again after a reload: another manifest may have another Guard."""
        return self.decided.guard

    def readiness(self) -> Readiness:
        """As the Guard's. A broken manifest is told, and leaves a running service ready: what runs is whole."""
        said = self.guard.readiness()
        return Readiness(said.ready, (*said.problems, self.problem) if self.problem else said.problems)

    # ── looking at the file ──────────────────────────────────────────────────────────

    def look(self) -> Decided | None:
        """Look at the file once: what it means now, if that is new and good. Changes nothing that decides.

        A file is read once two looks find it the same, so that one half written is never read.
        """
        try:
            mark = self._mark()
            if mark == self._seen:
                self._unsettled = None
                return None
            if mark != self._unsettled:
                self._unsettled = mark
                return None
            text = self._text()
        except ConfigurationError as error:
            self._tell(error)
            return None
        self._seen, self._unsettled = mark, None
        digest = sha256(text.encode()).digest()
        if digest == self._digest and not self.problem:
            return None
        self._digest = digest
        try:
            decided = self._meaning(text, instead_of=self.decided)
        except ConfigurationError as error:
            self._tell(error)
            return None
        self.problem = ""
        return decided

    def _tell(self, error: ConfigurationError) -> None:
        problem = f"the manifest is not used as it is now: {error}"
        if problem != self.problem:
            self.problem = problem
            _log.error("%s", problem)

    def _mark(self) -> tuple[int, ...]:
        try:
            status = self.file.stat()
        except OSError as error:
            raise ConfigurationError(str(self.file), "(not readable)", f"must be a manifest ({error})") from None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _text(self) -> str:
        try:
            return self.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(str(self.file), "(not readable)", f"must be a manifest ({error})") from None

    def _meaning(self, text: str, *, instead_of: Decided | None) -> Decided:
        manifest = parse_manifest(text, file=str(self.file))
        service = manifest.services.get(self.name)
        if service is None:
            known = ", ".join(sorted(manifest.services))
            raise ConfigurationError(f"{self.file}: service", self.name, f"must be one of [services]: {known}")
        made_of = what_makes(manifest, service)
        if instead_of is not None and instead_of.made_of == made_of:
            guard = instead_of.guard
        else:
            guard = self._make_guard(manifest, service, self._environ)
            if instead_of is not None:
                # A connection that is open now is still closed when its token is taken back.
                guard.connections = instead_of.guard.connections
        self._check(service, guard)
        return Decided(manifest, service, guard, service_matcher(service), made_of)

    def _check(self, service: Service, guard: Guard) -> None:
        for index, route in enumerate(service.routes):
            if not isinstance(route.access, Requirement):
                continue
            try:
                # The Guard says whether it can check it, and announces the scopes.
                guard.requires(**as_written(route.access))
            except ConfigurationError as error:
                within = "" if error.setting == "when_stale" else "require."
                key = f"services.{service.name}.routes[{index}].{within}{error.setting}"
                raise ManifestError(str(self.file), [Problem(route.line, key, error.value, error.expected)]) from None

    def use(self, decided: Decided) -> None:
        """Decide by it from the next request on. The Guard it replaces is stopped a look later."""
        old, self.decided = self.decided, decided
        if decided.guard is not old.guard:
            self._retired.append(old.guard)
        _log.info("the manifest %s was read again", self.file)

    # ── on an event loop ─────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Start the Guard and follow the file, on the running event loop."""
        loop = asyncio.get_running_loop()
        if self._pause is not None and (self._task is None or self._task.get_loop() is not loop):
            self._task = asyncio.create_task(self._follow(self._pause), name=f"manifest of {self.name}")
        await self.guard.start()

    async def aclose(self) -> None:
        """Stop what `start` began."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for guard in (*self._retired, self.guard):
            await guard.aclose()
        self._retired.clear()

    async def _follow(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            retired, self._retired = self._retired, []
            for guard in retired:
                # A look later no request of the old Guard is still being decided.
                await guard.aclose()
            decided = await asyncio.to_thread(self.look)
            if decided is not None:
                if decided.guard is not self.guard:
                    await decided.guard.start()
                self.use(decided)

    # ── in threads ───────────────────────────────────────────────────────────────────

    def start_sync(self) -> None:
        """Follow the file in a thread, begun once in each process (a thread does not survive a fork)."""
        if self._pause is None or self._thread_pid == os.getpid():
            return
        with self._lock:
            if self._thread_pid != os.getpid():
                self._stop.clear()
                self._thread = threading.Thread(
                    target=self._follow_in_thread, args=(self._pause,), name=f"manifest of {self.name}", daemon=True
                )
                self._thread.start()
                self._thread_pid = os.getpid()

    def close(self) -> None:
        """Stop what `start_sync` began."""
        self._stop.set()
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None and self._thread_pid == os.getpid():
                thread.join(10.0)
            self._thread_pid = 0
        for guard in (*self._retired, self.guard):
            guard.close()
        self._retired.clear()

    def _follow_in_thread(self, pause: float) -> None:
        while not self._stop.wait(pause):
            retired, self._retired = self._retired, []
            for guard in retired:
                guard.close()
            decided = self.look()
            if decided is not None:
                if decided.guard is not self.guard:
                    decided.guard.start_sync()
                self.use(decided)
