"""Records: written, read back, replaced, removed; and the aggregates they are read in."""

# ruff: noqa: S101  # a law asserts

from __future__ import annotations

from dataclasses import replace

from portero.core.errors import RequestError
from portero.core.events import Event, EventName
from portero.core.sessions.records import BrowserSession, EndReason, SessionStatus
from portero.core.transitions import (
    Audit,
    AuditKey,
    BrowserKey,
    ClientKey,
    ClientsKey,
    CodeAggregate,
    CodeKey,
    ConsentKey,
    ConsentsKey,
    Decision,
    Delete,
    FamilyAggregate,
    FamilyKey,
    LinkedIdentitiesKey,
    LinkedKey,
    LoginKey,
    Put,
    Record,
    ReplayKey,
    SessionAggregate,
    SessionKey,
    SessionsKey,
    SigningKeysKey,
    SigningKeyStatus,
    SubjectAggregate,
    SubjectKey,
    UsernameKey,
    UsersKey,
    VouchedSessionKey,
)
from portero.core.types import ClientId, NumericDate, Sid, Subject
from portero.core.vouched import Vouched, vouched_to_json
from portero.ports import Store
from portero.testing.store_laws.steps import (
    MakeStore,
    put,
    seen_once_more,
    stored,
    with_store,
    write,
)
from portero.testing.store_samples import (
    LONG,
    NOW,
    STRANGE,
    authorization_code,
    browser_session,
    client,
    consent,
    delivery,
    device_session,
    digest,
    event_stream,
    extreme_records,
    family,
    family_id,
    linked_identity,
    login_transaction,
    replay_mark,
    signing_key,
    user,
)


class RecordLaws:
    """What a store keeps, and what each key loads."""

    def test_every_record_reads_back_as_it_was_written(self, make_store: MakeStore) -> None:
        """The largest, emptiest and strangest values survive, in every kind of record."""

        async def law(store: Store) -> None:
            await put(store, *extreme_records())

            for record in extreme_records():
                assert await stored(store, record) == record

        with_store(make_store, law)

    def test_a_put_replaces_the_record_with_its_key(self, make_store: MakeStore) -> None:
        """Every field of the later record stands, those set to nothing too."""

        async def law(store: Store) -> None:
            await put(store, *extreme_records())
            later: list[Record] = [
                replace(device_session(STRANGE), subject=Subject("eve")),
                family("extreme", sid=STRANGE),
                family("bare", sid=STRANGE),
                browser_session("x"),
                login_transaction("x"),
                authorization_code("x"),
                replay_mark("x"),
                user(STRANGE),
                client(STRANGE),
                signing_key(STRANGE),
                delivery(STRANGE),
                event_stream(STRANGE),
                consent(STRANGE, client_id=LONG),
            ]
            await put(store, *later)

            for record in later:
                assert await stored(store, record) == record

        with_store(make_store, law)

    def test_what_is_not_there_is_an_empty_aggregate(self, make_store: MakeStore) -> None:
        """A key of nothing answers with nothing, a key no database could hold too."""

        async def law(store: Store) -> None:
            for name in ("nobody", "", "a\x00b", "\ud800", "x" * 100_000):
                assert (await store.read(SessionKey(Sid(name)))).session is None
                assert (await store.read(ClientKey(ClientId(name)))).client is None
                assert (await store.read(SubjectKey(Subject(name)))) == SubjectAggregate(None, (), ())
                assert (await store.read(UsernameKey(name))) == SubjectAggregate(None, (), ())
                assert (await store.read(SessionsKey(subject=Subject(name)))) == ()
                assert (await store.read(AuditKey(subject=Subject(name)))) == ()
                assert (await store.read(ConsentKey(Subject(name), ClientId(name)))) is None
                assert (await store.read(ConsentsKey(Subject(name)))) == ()
            assert await store.read(FamilyKey(family_id("none"))) == FamilyAggregate(None, None, None)
            assert await store.read(CodeKey(digest("none"))) == CodeAggregate(None, None, None, (), None)
            assert (await store.read(BrowserKey(digest("none")))).browser is None
            assert await store.read(LoginKey(digest("none"))) is None
            assert await store.read(ReplayKey(digest("none"))) is None
            assert await store.read(UsersKey(after="\ud800")) == ()

        with_store(make_store, law)

    def test_a_transition_returns_its_result_and_shows_its_writes_at_once(self, make_store: MakeStore) -> None:
        """What was acknowledged is what the next read sees."""

        async def law(store: Store) -> None:
            await put(store, device_session())

            assert await store.transition(SessionKey(Sid("sid-1")), seen_once_more, now=NOW) == NOW + 1
            assert (await store.read(SessionKey(Sid("sid-1")))).session == replace(
                device_session(), last_seen=NumericDate(NOW + 1)
            )

        with_store(make_store, law)

    def test_a_decision_that_raises_commits_nothing(self, make_store: MakeStore) -> None:
        """A refusal is the caller's own exception, and leaves no trace."""

        def refuse(_: object) -> Decision[None]:
            raise RequestError("invalid_grant", "no", reason="expired")

        async def law(store: Store) -> None:
            caught = None
            try:
                await store.transition(ReplayKey(digest("jti")), refuse, now=NOW)
            except RequestError as error:
                caught = error

            assert caught is not None
            assert caught.reason == "expired"
            assert await store.read(ReplayKey(digest("jti"))) is None

        with_store(make_store, law)

    def test_the_last_write_of_a_record_in_one_decision_stands(self, make_store: MakeStore) -> None:
        """Writes apply in their order, a device session before its family wherever it is named."""

        async def law(store: Store) -> None:
            moved = replace(device_session(), place="elsewhere")
            renewed = replace(family(), sharing_run=2)
            await write(store, Put(family()), Put(device_session()), Put(moved), Put(renewed))
            await write(store, Put(replay_mark()), Delete(ReplayKey(digest("jti"))))
            await write(store, Delete(LoginKey(digest("login"))), Put(login_transaction()))

            assert await stored(store, moved) == moved
            assert await stored(store, renewed) == renewed
            again = replace(renewed, sharing_run=1)
            both = (Delete(FamilyKey(renewed.id)), Put(again))
            await store.transition(FamilyKey(renewed.id), lambda _: Decision(None, both), now=NOW)
            assert await stored(store, again) == again
            assert await store.read(ReplayKey(digest("jti"))) is None
            assert await store.read(LoginKey(digest("login"))) == login_transaction()

        with_store(make_store, law)

    def test_a_delete_removes_the_one_record_and_may_come_again(self, make_store: MakeStore) -> None:
        """Removing what is gone is no error; an ended browser session leaves its device sessions."""

        async def law(store: Store) -> None:
            kept = (device_session(), user())
            await put(
                store,
                *kept,
                family(),
                browser_session(),
                login_transaction(),
                authorization_code(),
                replay_mark(),
                consent(),
            )
            deletes = (
                Delete(FamilyKey(family().id)),
                Delete(BrowserKey(digest("browser"))),
                Delete(LoginKey(digest("login"))),
                Delete(CodeKey(digest("code"))),
                Delete(ReplayKey(digest("jti"))),
                Delete(ConsentKey(consent().subject, consent().client_id)),
            )
            await write(store, *deletes)
            await write(store, *deletes)

            gone = (family(), browser_session(), login_transaction(), authorization_code(), replay_mark(), consent())
            assert [await stored(store, record) for record in gone] == [None] * 6
            assert [await stored(store, record) for record in kept] == list(kept)
            assert (await store.read(BrowserKey(digest("browser")))).sessions == (device_session(),)

        with_store(make_store, law)

    def test_identities_elsewhere_are_of_one_person(self, make_store: MakeStore) -> None:
        """`LinkedIdentitiesKey` finds one person's, `LinkedKey` the one; and a link that is taken back is gone."""

        async def law(store: Store) -> None:
            first, second = linked_identity("1"), linked_identity("2")
            await put(store, second, first, linked_identity("3", subject="bob"))

            assert await store.read(LinkedIdentitiesKey(Subject("ada"))) == (first, second)
            await write(store, Delete(LinkedKey(first.provider, first.external)))
            assert await store.read(LinkedKey(first.provider, first.external)) is None
            assert await store.read(LinkedIdentitiesKey(Subject("ada"))) == (second,)

        with_store(make_store, law)

    def test_a_sign_in_is_found_by_the_session_that_vouched(self, make_store: MakeStore) -> None:
        """`VouchedSessionKey` finds those of one session at one party; without it none is found."""

        def vouched(name: str, provider: str, session: str | None, *, subject: str = "ada") -> BrowserSession:
            said = vouched_to_json(Vouched(provider, "ada-1", session=session))
            return replace(browser_session(name, subject=subject), vouched=said)

        async def law(store: Store) -> None:
            mine, other = vouched("a", "https://a.example", "s"), vouched("b", "https://a.example", "s", subject="bob")
            strange = vouched("e", STRANGE, STRANGE)
            await put(store, mine, other, strange, vouched("c", "https://a.example", "t"), browser_session("f"))
            await put(store, vouched("d", "https://b.example", "s"), vouched("g", "https://a.example", None))

            found = await store.read(VouchedSessionKey("https://a.example", "s"))
            assert set(found) == {mine, other}
            assert await store.read(VouchedSessionKey(STRANGE, STRANGE)) == (strange,)
            await put(store, replace(other, vouched=None))
            assert await store.read(VouchedSessionKey("https://a.example", "s")) == (mine,)
            await write(store, Delete(BrowserKey(mine.id_digest)))
            assert await store.read(VouchedSessionKey("https://a.example", "s")) == ()

        with_store(make_store, law)

    def test_what_a_person_allowed_is_listed_by_application(self, make_store: MakeStore) -> None:
        """`ConsentsKey` finds one person's agreements, and nobody else's; names that run together are told apart."""

        async def law(store: Store) -> None:
            first, second = consent("ada", client_id="a"), consent("ada", client_id="b")
            await put(store, second, first, consent("ad", client_id="aa"))

            assert await store.read(ConsentsKey(Subject("ada"))) == (first, second)
            assert await store.read(ConsentKey(Subject("ad"), ClientId("aa"))) == consent("ad", client_id="aa")
            assert await store.read(ConsentKey(Subject("ada"), ClientId("aa"))) is None

        with_store(make_store, law)

    def test_a_refresh_sees_family_session_and_person(self, make_store: MakeStore) -> None:
        """`FamilyKey` loads the three; a session of no person has none."""

        async def law(store: Store) -> None:
            machine = device_session("sid-2", subject="machine", browser=None)
            await put(store, user(), device_session(), family(), machine, family("family-2", sid="sid-2"))

            assert await store.read(FamilyKey(family().id)) == FamilyAggregate(family(), device_session(), user())
            assert await store.read(FamilyKey(family_id("family-2"))) == FamilyAggregate(
                family("family-2", sid="sid-2"), machine, None
            )
            assert await store.read(SessionKey(Sid("sid-2"))) == SessionAggregate(machine, None)

        with_store(make_store, law)

    def test_a_code_sees_the_session_it_would_join(self, make_store: MakeStore) -> None:
        """The live one of its browser session and client, with its live families, oldest first."""

        async def law(store: Store) -> None:
            mine = device_session("mine")
            ended = replace(family("ended", sid="mine"), status=SessionStatus.ENDED, end_reason=EndReason.OPERATOR)
            families = tuple(family(f"f{n}", sid="mine", created=NOW + n) for n in range(12))
            await put(
                store,
                user(),
                browser_session(),
                authorization_code(),
                replace(device_session("over"), status=SessionStatus.ENDED, end_reason=EndReason.OPERATOR),
                device_session("other client", client_id="blog"),
                device_session("other browser", browser="another"),
                mine,
                ended,
                *reversed(families),
            )

            assert await store.read(CodeKey(digest("code"))) == CodeAggregate(
                authorization_code(), browser_session(), mine, families, user()
            )

        with_store(make_store, law)

    def test_a_used_code_sees_the_session_it_opened_even_over(self, make_store: MakeStore) -> None:
        """So that a second use can end it (RFC 6749 §4.1.2)."""

        async def law(store: Store) -> None:
            over = replace(device_session("opened"), status=SessionStatus.ENDED, end_reason=EndReason.SIGNED_OUT)
            used = replace(authorization_code(), used=NOW, sid=Sid("opened"))
            await put(store, used, device_session("live"), over)

            assert await store.read(CodeKey(digest("code"))) == CodeAggregate(used, None, over, (), None)

        with_store(make_store, law)

    def test_a_person_sees_live_sessions_only(self, make_store: MakeStore) -> None:
        """By subject, by user name in any case, by browser session, and for operators newest use first."""

        async def law(store: Store) -> None:
            ada = user(username="Ada.ÄSSER")
            live = tuple(
                replace(device_session(f"s{n}", created=NOW + n), last_seen=NumericDate(NOW + 9 - n)) for n in range(3)
            )
            over = replace(device_session("over"), status=SessionStatus.ENDED, end_reason=EndReason.OPERATOR)
            eves = device_session("eve's", subject="eve", browser=None)
            await put(store, ada, browser_session(), *live, over, eves)

            whole = SubjectAggregate(ada, live, (browser_session(),))
            assert await store.read(SubjectKey(ada.subject)) == whole
            assert await store.read(UsernameKey("ada.ässer")) == whole
            assert (await store.read(BrowserKey(digest("browser")))).sessions == live
            assert (await store.read(BrowserKey(digest("browser")))).user == ada
            assert await store.read(SessionsKey(subject=ada.subject, limit=2)) == live[:2]
            assert await store.read(SessionsKey()) == (*live, eves)

        with_store(make_store, law)

    def test_lists_come_in_their_order_and_at_most_as_many_as_asked(self, make_store: MakeStore) -> None:
        """Clients by identifier, users by name and after a name, keys oldest first, audit newest first."""

        async def law(store: Store) -> None:
            people = [user(f"u{n}", username=name) for n, name in enumerate(("Zoë", "anna", "Ben", "älva"))]
            keys = [signing_key("b", created=NOW), signing_key("a", created=NOW + 1)]
            removed = replace(signing_key("r"), status=SigningKeyStatus.REMOVED)
            events = [
                Event(EventName.SIGNED_IN, NumericDate(NOW + n), Subject(f"u{n % 2}"), fields={"n": str(n)})
                for n in range(4)
            ]
            await put(store, *people, *keys, removed, client("b"), client("B"), client("a"))
            await write(store, *map(Audit, events))

            assert [u.username for u in await store.read(UsersKey())] == ["anna", "Ben", "Zoë", "älva"]
            assert [u.username for u in await store.read(UsersKey(after="ANNA", limit=2))] == ["Ben", "Zoë"]
            assert [c.client_id for c in await store.read(ClientsKey())] == ["B", "a", "b"]
            assert await store.read(SigningKeysKey()) == tuple(keys)
            assert await store.read(AuditKey(limit=3)) == (events[3], events[2], events[1])
            assert await store.read(AuditKey(subject=Subject("u0"))) == (events[2], events[0])

        with_store(make_store, law)
