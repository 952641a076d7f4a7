"""A device session's life against any `Store`: honest tabs, lost answers, late requests, a thief, and time.

Hypothesis draws the story; the laws are those of the refresh table. Point it at a store:

```python
TestMyStore = session_machine(open_my_store, profile=Profile.ATTEMPT)   # async () -> Store, on an empty database
```

Everything goes the real way: code exchange, token text, transition, text again. Several requests at once are
really at once, as far as the store allows.
"""

# ruff: noqa: S101, PT017  # a law asserts, without pytest

from __future__ import annotations

import asyncio
import hashlib
import unittest
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar, Final, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from portero.core.digests import sha256_of
from portero.core.errors import RequestError
from portero.core.grants.authorization_code import decide_code_exchange, issue_code
from portero.core.grants.grant import Denied, Grant
from portero.core.grants.refresh_token import decide_refresh_grant
from portero.core.jose.base64url import encode
from portero.core.oauth.token import CodeExchangeRequest, RefreshRequest
from portero.core.sessions.ending import decide_end_session, decide_token_revocation
from portero.core.sessions.records import BrowserSession, EndReason, Profile, SessionStatus
from portero.core.sessions.rules import FreshMaterial, FreshStart, RefreshRules
from portero.core.tokens.refresh_token import TagKey, parse_refresh_token
from portero.core.transitions import (
    Client,
    ClientType,
    CodeKey,
    Decision,
    FamilyAggregate,
    FamilyKey,
    FeedKey,
    Put,
    RefreshProfile,
    RotationPolicy,
    SessionKey,
    User,
)
from portero.core.types import ClientId, Digest, FamilyId, Issuer, NumericDate, Secret, Sid, Subject
from portero.ports import Store

OpenStore = Callable[[], Awaitable[Store]]

_START: Final = NumericDate(1_800_000_000)
_DAY: Final = 86_400
_RULES: Final = RefreshRules(Issuer("https://portero.example"))
_TAG_KEY: Final = TagKey(1, Secret(b"t" * 32))
_ANA: Final = User(Subject("ana"), "ana", None, "Ana", "ana@example.org", ())
_VERIFIER: Final = "v" * 43
_BACK: Final = "https://shop.example/back"
_SHOP: Final = Client(
    client_id=ClientId("shop"),
    client_name="Shop",
    client_type=ClientType.PUBLIC,
    token_endpoint_auth_method="none",
    secret_digest=None,
    redirect_uris=(_BACK,),
    post_logout_redirect_uris=(),
    grant_types=("authorization_code", "refresh_token"),
    scope=("orders:read",),
    audiences=("https://shop.example/orders",),
    refresh_profile=RefreshProfile.ATTEMPT,
    rotation=RotationPolicy.ALWAYS,
    require_pkce=True,
    first_party=True,
)
_CLIENTS: Final = {
    Profile.ATTEMPT: _SHOP,
    Profile.PLAIN: replace(_SHOP, refresh_profile=RefreshProfile.PLAIN),
    Profile.BOUND: replace(
        _SHOP,
        client_type=ClientType.CONFIDENTIAL,
        token_endpoint_auth_method="client_secret_basic",
        secret_digest=Digest(bytes(32)),
    ),
}
_STRANGER: Final = replace(_CLIENTS[Profile.BOUND], client_id=ClientId("stranger"))

_WAITS = st.sampled_from([1, 5, 10, 11, 30, 31, 300, 3600, _DAY, 6 * _DAY])
_HOW_FAR_BACK = st.integers(0, 20)


class SessionMachine(RuleBasedStateMachine):
    """The story. Subclasses name the store and the profile."""

    open_store: ClassVar[OpenStore]
    profile: ClassVar[Profile]

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._store: Store = self._run(type(self).open_store())
        self._client = _CLIENTS[self.profile]
        self._now = _START
        self._drawn = 0
        self._ended: int | None = None
        self._thief_was_here = False
        self._loot: Secret[str] | None = None
        self._latest_exp = 0
        self._tokens: list[Secret[str]] = []
        """By generation; at most one text each is the first law."""
        grant = self._sign_in()
        self._stored = 0
        self._sid: Sid = _known(grant.sid)
        self._absolute_end = _START + _known(grant.session_expires_in)
        self._family = self._parse(self._tokens[0]).family_id

    # ── what people do ───────────────────────────────────────────────────────────────

    @rule(answer_is_lost=st.booleans())
    def an_honest_tab_refreshes(self, answer_is_lost: bool) -> None:
        """The stored token works, as long as there was neither thief nor end."""
        self._honest([self._stored], lost=answer_is_lost)

    @rule(tabs=st.integers(2, 5))
    def honest_tabs_race(self, tabs: int) -> None:
        """The same token at once: one successor, the same for all."""
        self._honest([self._stored] * tabs, lost=False)

    @rule(tabs=st.integers(1, 4))
    def honest_tabs_race_a_sign_out(self, tabs: int) -> None:
        """At once: each tab is served before the end or refused after it, and nobody is served later."""

        async def together() -> list[Any]:
            requests = [self._request(self._tokens[self._stored], self._stored, self._client) for _ in range(tabs)]
            first, others = requests[0], requests[1:]
            return await asyncio.gather(first, self._end_device(), *others)

        before = self._ended
        answers = self._run(together())
        denied = [answer for answer in answers if isinstance(answer, Denied)]
        for answer in answers:
            if isinstance(answer, Grant):
                self._note(answer)
        assert (
            before is not None
            or self._thief_was_here
            or all(answer.reason in ("revoked", "expired") or self.profile is Profile.PLAIN for answer in denied)
        )
        self._has_ended()

    @precondition(lambda self: self.profile is not Profile.PLAIN)
    @rule(back=st.integers(0, 16))
    def an_old_request_arrives_late(self, back: int) -> None:
        """Repeated or reordered by the network; it ends nothing."""
        generation = max(0, len(self._tokens) - 2 - back)
        answer = self._present(self._tokens[generation], attempt=generation)
        if isinstance(answer, Denied) and not self._thief_was_here and self._live():
            assert answer.reason == "superseded", answer

    @rule(back=_HOW_FAR_BACK)
    def a_thief_presents(self, back: int) -> None:
        """He has a token, and neither key nor attempt."""
        token = self._tokens[max(0, len(self._tokens) - 1 - back)]
        if self.profile is Profile.BOUND:
            before = self._aggregate()
            assert isinstance(self._present(token, attempt=None, client=_STRANGER), Denied)
            assert self._aggregate() == before
            return
        self._thief_was_here = True
        answer = self._present(token, attempt="thief")
        if isinstance(answer, Grant) and answer.refresh_token is not None:
            self._loot = answer.refresh_token
        elif isinstance(answer, Denied) and answer.reason == "reused":
            self._has_ended()

    @precondition(lambda self: self.profile is Profile.ATTEMPT and self._loot is not None)
    @rule()
    def the_honest_user_comes_back_twice(self) -> None:
        """Two refreshes and the soft window later the thief has nothing (decision 0021 for the second try)."""
        loot = self._loot
        assert loot is not None
        for _ in range(2):
            answer = self._present(self._tokens[self._stored], attempt=self._stored)
            if isinstance(answer, Denied) and answer.reason == "superseded":
                self._wait(_RULES.attempt_soft_window + 1)
                self._present(self._tokens[self._stored], attempt="second try")
            elif isinstance(answer, Grant):
                self._stored += 1
        self._loot = None
        self._has_ended_if_it_has()
        answer = self._present(loot, attempt="thief")
        self._has_ended_if_it_has()

        assert isinstance(answer, Denied), "the thief is still served"

    @rule(place=st.integers(0, 98), change=st.sampled_from("A-_z0.=é"))
    def somebody_makes_a_token_up(self, place: int, change: str) -> None:
        """Altered anywhere, it never reaches the store."""
        text = self._tokens[-1].reveal()
        altered = text[:place] + change + text[place + 1 :]
        if altered == text:
            return
        try:
            self._parse(Secret(altered))
        except RequestError as refusal:
            assert (refusal.error, refusal.reason) == ("invalid_grant", None)
        else:
            raise AssertionError("an altered token was taken for ours")

    @rule(seconds=_WAITS)
    def time_passes(self, seconds: int) -> None:
        self._wait(seconds)

    @rule(back=_HOW_FAR_BACK)
    def the_user_revokes(self, back: int) -> None:
        """RFC 7009: any authentic generation ends the device session, twice as well as once."""
        token = self._parse(self._tokens[max(0, len(self._tokens) - 1 - back)])
        expected = 1 if self._ended is None else 0
        closed = self._run(
            self._store.transition(
                FamilyKey(token.family_id),
                lambda found: decide_token_revocation(
                    found, client_id=self._client.client_id, now=self._now, iss=_RULES.iss, leeway=_RULES.leeway
                ),
                now=self._now,
            )
        )
        assert self._swept() or len(closed) == expected
        self._has_ended()

    @rule()
    def the_user_ends_the_device(self) -> None:
        self._run(self._end_device())
        self._has_ended()

    # ── the laws ─────────────────────────────────────────────────────────────────────

    @invariant()
    def the_record_keeps_its_bounds(self) -> None:
        """Constant size, ends that hold, and a memory of the last access token."""
        found = self._aggregate()
        if found.family is None or found.session is None:
            assert self._swept() or not self._live()
            return
        family, session = found.family, found.session
        assert family.head.generation == len(self._tokens) - 1
        assert len(family.ring) <= _RULES.ring_size
        assert session.absolute_end == self._absolute_end
        assert session.idle_end <= session.absolute_end
        assert family.head.expires <= session.absolute_end
        assert session.last_access_exp >= self._latest_exp
        assert (session.status is SessionStatus.ENDED) is (self._ended is not None)

    @invariant()
    def an_end_is_in_the_feed(self) -> None:
        """As long as an access token of the session may still be accepted anywhere."""
        if self._ended is None or self._latest_exp + _RULES.leeway <= self._now:
            return
        entries = self._run(self._store.read(FeedKey(0, self._now))).entries
        assert [entry.revocation.value for entry in entries] == [self._sid]

    def teardown(self) -> None:
        self._run(self._store.aclose())
        self._runner.close()

    # ── how it is done ───────────────────────────────────────────────────────────────

    def _run(self, work: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await work

        return self._runner.run(awaited())

    def _block(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(self._drawn.to_bytes(8, "big")).digest(size)

    def _sign_in(self) -> Grant:
        browser = BrowserSession(
            Digest(b"b" * 32), _ANA.subject, _START, "1", ("pwd",), NumericDate(_START + _DAY), "Firefox · Linux"
        )
        code = Secret("c" * 43)
        record = issue_code(
            browser,
            code=code,
            client_id=self._client.client_id,
            redirect_uri=_BACK,
            code_challenge=encode(hashlib.sha256(_VERIFIER.encode()).digest()),
            nonce=None,
            scope=self._client.scope,
            resource=(),
            place="",
            now=_START,
            lifetime=60,
        )
        records = (_ANA, self._client, browser, record)
        first = Decision(None, tuple(Put(written) for written in records))
        self._run(self._store.transition(SessionKey(Sid("of nobody")), lambda _: first, now=_START))
        request = CodeExchangeRequest(code, _BACK, Secret(_VERIFIER), ())
        fresh = FreshStart.of(self._block(FreshStart.SIZE))
        grant = self._run(
            self._store.transition(
                CodeKey(sha256_of(code)),
                lambda found: decide_code_exchange(
                    found,
                    request=request,
                    client=self._client,
                    cnf_jkt=None,
                    now=_START,
                    rules=_RULES,
                    fresh=fresh,
                    tag_key=_TAG_KEY,
                ),
                now=_START,
            )
        )
        assert isinstance(grant, Grant)
        self._note(grant)
        return grant

    def _parse(self, text: Secret[str]) -> Any:
        return parse_refresh_token(text, tag_key=lambda key_id: _TAG_KEY.key if key_id == _TAG_KEY.id else None)

    def _honest(self, generations: list[int], *, lost: bool) -> None:
        """Present, judge, and store the answer where storage still holds what was presented."""

        async def together() -> list[Grant | Denied]:
            return await asyncio.gather(*(self._request(self._tokens[g], g, self._client) for g in generations))

        for answer in self._run(together()):
            self._note(answer)
            if isinstance(answer, Denied):
                self._judge_denial(answer)
            elif not lost and answer.refresh_token is not None and self._stored == generations[0]:
                self._stored += 1
        self._has_ended_if_it_has()

    def _judge_denial(self, answer: Denied) -> None:
        if self.profile is Profile.PLAIN or self._thief_was_here:
            return
        if self._live():
            raise AssertionError(f"an honest client was refused: {answer}")
        assert answer.reason in ("expired", "revoked"), answer

    async def _end_device(self) -> Any:
        return await self._store.transition(
            SessionKey(self._sid),
            lambda found: decide_end_session(
                found, reason=EndReason.DEVICE_ENDED, now=self._now, iss=_RULES.iss, leeway=_RULES.leeway
            ),
            now=self._now,
        )

    def _present(
        self, token: Secret[str], *, attempt: int | str | None, client: Client | None = None
    ) -> Grant | Denied:
        answer: Grant | Denied = self._run(self._request(token, attempt, client or self._client))
        self._note(answer)
        return answer

    async def _request(self, text: Secret[str], attempt: int | str | None, client: Client) -> Grant | Denied:
        token = self._parse(text)
        shown = None if attempt is None else Secret(encode(hashlib.sha256(repr(attempt).encode()).digest())[:22])
        request = RefreshRequest(text, shown if self.profile is Profile.ATTEMPT else None, None, ())
        fresh = FreshMaterial.of(self._block(FreshMaterial.SIZE))
        return await self._store.transition(
            FamilyKey(FamilyId(token.family_id)),
            lambda found: decide_refresh_grant(
                found,
                request=request,
                token=token,
                client=client,
                cnf_jkt=None,
                now=self._now,
                rules=_RULES,
                fresh=fresh,
                tag_key=_TAG_KEY,
            ),
            now=self._now,
        )

    def _note(self, answer: Grant | Denied) -> None:
        if isinstance(answer, Denied):
            return
        assert self._ended is None, "an ended session was served"
        self._latest_exp = max(self._latest_exp, answer.exp)
        text = answer.refresh_token
        if text is None:
            return
        generation = self._parse(text).generation
        assert generation <= len(self._tokens), "a generation was left out"
        if generation == len(self._tokens):
            self._tokens.append(text)
        assert text.matches(self._tokens[generation]), "two branches: one generation has two tokens"

    def _aggregate(self) -> FamilyAggregate:
        found: FamilyAggregate = self._run(self._store.read(FamilyKey(self._family)))
        return found

    def _wait(self, seconds: int) -> None:
        self._now = NumericDate(self._now + seconds)

    def _live(self) -> bool:
        session = self._aggregate().session
        return self._ended is None and session is not None and self._now < min(session.idle_end, session.absolute_end)

    def _swept(self) -> bool:
        return self._aggregate().session is None or self._aggregate().family is None

    def _has_ended(self) -> None:
        if self._ended is None and not self._swept():
            self._ended = self._now

    def _has_ended_if_it_has(self) -> None:
        session = self._aggregate().session
        if session is not None and session.status is SessionStatus.ENDED:
            # Without a thief only a person ends a session; a plain client's own lateness is its known price.
            assert self._ended is not None or self._thief_was_here or self.profile is Profile.PLAIN
            self._has_ended()


def session_machine(
    open_store: OpenStore, *, profile: Profile, max_examples: int = 40, steps: int = 40
) -> type[unittest.TestCase]:
    """Return a test case that plays the story against the store `open_store` opens, on an empty database each time."""
    machine: Any = type(
        "SessionMachine", (SessionMachine,), {"open_store": staticmethod(open_store), "profile": profile}
    )
    case: Any = machine.TestCase
    case.settings = settings(
        max_examples=max_examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return cast("type[unittest.TestCase]", case)


def _known(value: Any) -> Any:
    assert value is not None
    return value
