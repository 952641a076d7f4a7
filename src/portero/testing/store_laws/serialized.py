"""One serialized step, whatever happens at the same time."""

# ruff: noqa: S101  # a law asserts

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from portero.core.errors import Unavailable
from portero.core.sessions.records import EndReason, SessionStatus
from portero.core.transitions import (
    BrowserKey,
    CodeAggregate,
    CodeKey,
    Decision,
    Delete,
    FamilyAggregate,
    FamilyKey,
    Put,
    ReplayKey,
    SessionAggregate,
    SessionKey,
    SubjectAggregate,
    SubjectKey,
    UsernameKey,
)
from portero.core.types import Sid, Subject
from portero.ports import Store
from portero.testing.store_laws.steps import (
    MANY,
    MakeStore,
    mark,
    orphan,
    put,
    seen_once_more,
    use,
    with_store,
)
from portero.testing.store_samples import (
    NOW,
    authorization_code,
    browser_session,
    device_session,
    digest,
    family,
    family_id,
    user,
)


class SerializedLaws:
    """Single use, no lost change, no harmed neighbour, no half commit."""

    def test_a_code_is_used_once_however_many_try_together(self, make_store: MakeStore) -> None:
        """RFC 6749 §4.1.2: single use is a property of the port."""

        async def law(store: Store) -> None:
            await put(store, authorization_code())
            tries = (store.transition(CodeKey(digest("code")), use, now=NOW) for _ in range(MANY))

            assert sum(await asyncio.gather(*tries)) == 1

        with_store(make_store, law)

    def test_a_value_is_new_once_however_many_bring_it_together(self, make_store: MakeStore) -> None:
        """Serialized although there is no record yet to hold on to (RFC 9449 §11.1)."""

        async def law(store: Store) -> None:
            tries = (store.transition(ReplayKey(digest("jti")), mark("jti"), now=NOW) for _ in range(MANY))

            assert sum(await asyncio.gather(*tries)) == 1

        with_store(make_store, law)

    def test_no_change_of_a_session_is_lost(self, make_store: MakeStore) -> None:
        """Changes that start together, by the session's key and by its families', all count."""

        def by_family(aggregate: FamilyAggregate) -> Decision[int]:
            return seen_once_more(SessionAggregate(aggregate.session, aggregate.user))

        async def law(store: Store) -> None:
            await put(store, device_session(), family("f0"), family("f1"))
            await asyncio.gather(
                *(store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW) for _ in range(MANY)),
                *(store.transition(FamilyKey(family_id(f"f{n % 2}")), by_family, now=NOW) for n in range(MANY)),
            )

            session = (await store.read(SessionKey(Sid("sid-1")))).session
            assert session is not None
            assert session.last_seen == NOW + 2 * MANY

        with_store(make_store, law)

    def test_signing_out_everywhere_misses_no_session_opened_meanwhile(self, make_store: MakeStore) -> None:
        """Either the exchange sees that the sign-in is over, or signing out sees its session."""

        def exchange(name: str) -> Callable[[CodeAggregate], Decision[bool]]:
            def decide(found: CodeAggregate) -> Decision[bool]:
                if found.browser is None:
                    return Decision(False)
                return Decision(True, (Put(device_session(name, client_id=name)),))

            return decide

        def end_all(found: SubjectAggregate) -> Decision[None]:
            ended = (replace(s, status=SessionStatus.ENDED, end_reason=EndReason.SIGNED_OUT) for s in found.sessions)
            return Decision(None, (*map(Put, ended), *(Delete(BrowserKey(b.id_digest)) for b in found.browsers)))

        async def law(store: Store) -> None:
            codes = [authorization_code(f"c{n}", client_id=f"c{n}") for n in range(MANY)]
            await put(store, browser_session(), *codes)
            steps: list[Awaitable[object]] = [
                store.transition(CodeKey(code.code_digest), exchange(code.client_id), now=NOW) for code in codes
            ]
            steps.insert(MANY // 2, store.transition(SubjectKey(Subject("ada")), end_all, now=NOW))
            await asyncio.gather(*steps)

            assert await store.read(SubjectKey(Subject("ada"))) == SubjectAggregate(None, (), ())

        with_store(make_store, law)

    def test_a_write_that_cannot_be_stored_harms_no_neighbour(self, make_store: MakeStore) -> None:
        """Nor does a decision that raises; what failed left nothing, what did not counts exactly once."""

        def explode(_: object) -> Decision[None]:
            raise ZeroDivisionError

        async def law(store: Store) -> None:
            await put(store, device_session())
            steps: list[Awaitable[object]] = []
            for n in range(MANY):
                steps.append(store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW))
                if n % 10 == 5:
                    steps.append(store.transition(ReplayKey(digest("orphan")), orphan, now=NOW))
                    steps.append(store.transition(SessionKey(Sid("sid-1")), explode, now=NOW))
            results = await asyncio.gather(*steps, return_exceptions=True)

            failed = [type(r) for r in results if isinstance(r, BaseException)]
            assert sorted(failed, key=str) == sorted([ValueError, ZeroDivisionError] * (MANY // 10), key=str)
            assert sorted(r for r in results if isinstance(r, int)) == [NOW + n + 1 for n in range(MANY)]
            assert await store.read(ReplayKey(digest("orphan"))) is None
            assert await store.read(FamilyKey(family_id("orphan"))) == FamilyAggregate(None, None, None)

        with_store(make_store, law)

    def test_a_user_name_belongs_to_one_person(self, make_store: MakeStore) -> None:
        """In any case; the second is refused."""

        async def law(store: Store) -> None:
            await put(store, user("ada", username="ada"))
            refused = False
            try:
                await put(store, user("eve", username="ADA"))
            except ValueError:
                refused = True

            assert refused
            assert (await store.read(UsernameKey("Ada"))).user == user("ada", username="ada")

        with_store(make_store, law)

    def test_who_stops_waiting_undoes_nothing(self, make_store: MakeStore) -> None:
        """A cancelled wait leaves the transition whole, committed or not at all, and the store at work."""

        async def law(store: Store) -> None:
            await put(store, device_session())
            key = SessionKey(Sid("sid-1"))
            waiting = [asyncio.ensure_future(store.transition(key, seen_once_more, now=NOW)) for _ in range(MANY)]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            counted = await store.transition(key, seen_once_more, now=NOW)

            acknowledged = [r for r in results if isinstance(r, int)]
            assert len(set(acknowledged)) == len(acknowledged) >= MANY // 2
            assert NOW + len(acknowledged) < counted <= NOW + MANY + 1

        with_store(make_store, law)

    def test_closing_finishes_what_was_accepted(self, make_store: MakeStore) -> None:
        """However much has gathered; then the store is `Unavailable`, and closing again is no error."""

        async def law(store: Store) -> None:
            names = [f"jti {n}" for n in range(700)]
            steps = (store.transition(ReplayKey(digest(name)), mark(name), now=NOW) for name in names)
            waiting = [asyncio.ensure_future(step) for step in steps]
            await asyncio.sleep(0)
            await store.aclose()

            assert await asyncio.gather(*waiting) == [True] * len(names)
            key = SessionKey(Sid("sid-1"))
            for attempt in (store.read(key), store.transition(key, seen_once_more, now=NOW)):
                answer = (await asyncio.gather(attempt, return_exceptions=True))[0]
                assert isinstance(answer, Unavailable)

        with_store(make_store, law)
