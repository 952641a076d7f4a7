"""What both gRPC interceptors promise, over a real server and a real channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from typing import Any, ClassVar

import grpc
import pytest

from portero.core.errors import ConfigurationError
from portero.resource_server import Guard
from portero.resource_server.grpc import Methods
from portero.testing.adapter_conformance import DEAD_ISSUER
from portero.testing.issuer import InMemoryIssuer
from portero.testing.jwks_server import JwksServer
from portero.testing.tokens import AUDIENCE, new_key

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED

PATIENCE = 60.0
"""Seconds: a deadline, not a measure. A busy machine with two cores may take its time."""


def text(message: str) -> bytes:
    return message.encode()


def method(name: str) -> str:
    return f"/test.Orders/{name}"


def requirements(guard: Guard) -> dict[str, Any]:
    """What the service's methods require; `Unnamed` is left out on purpose."""
    reader = guard.requires(scopes=["orders:read"])
    return {
        "methods": {
            method("Who"): reader,
            method("Refund"): guard.requires(scopes=["orders:write"], roles=["manager"]),
            method("Fresh"): guard.requires(max_auth_age=timedelta(minutes=10)),
            **{method(name): reader for name in ("Count", "Wait", "Sum", "Echo")},
        },
        "public": [method("Public")],
    }


class GrpcLaws:
    """Methods `Who Refund Fresh Public Unnamed` (unary), `Count Wait` (response stream), `Sum`, `Echo`."""

    serve: ClassVar[Callable[[Guard, list[str]], AbstractContextManager[int]]]
    _stack: ClassVar[ExitStack]
    issuer: ClassVar[InMemoryIssuer]
    guard: ClassVar[Guard]
    reached: ClassVar[list[str]]
    channel: ClassVar[grpc.Channel]

    @classmethod
    def setup_class(cls) -> None:
        with ExitStack() as stack:
            server = stack.enter_context(JwksServer())
            cls.issuer = server.issuer
            cls.guard = Guard(
                issuers=[server.url, DEAD_ISSUER],
                audience=AUDIENCE,
                revocation=server.feed(),
                startup_patience=timedelta(seconds=0.2),
            )
            cls.reached = []
            port = stack.enter_context(cls.serve(cls.guard, cls.reached))
            cls.channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
            cls._stack = stack.pop_all()
        deadline = time.monotonic() + PATIENCE
        while cls.status("Who", cls.issuer.mint()) is not grpc.StatusCode.OK:
            assert time.monotonic() < deadline

    @classmethod
    def teardown_class(cls) -> None:
        cls._stack.close()

    def setup_method(self) -> None:
        self.reached.clear()

    @classmethod
    def ask(cls, name: str, token: str | None = None, *, metadata: Any = None) -> str:
        """A unary RPC."""
        if metadata is None:
            metadata = [("authorization", f"Bearer {token}")] if token else []
        answer: bytes = cls.channel.unary_unary(method(name))(b"", metadata=metadata, timeout=PATIENCE)
        return answer.decode()

    @classmethod
    def refusal(cls, name: str, token: str | None = None, *, metadata: Any = None) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as refused:
            cls.ask(name, token, metadata=metadata)
        return refused.value

    @classmethod
    def status(cls, name: str, token: str | None = None, *, metadata: Any = None) -> grpc.StatusCode:
        try:
            cls.ask(name, token, metadata=metadata)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK

    @staticmethod
    def bearer(token: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {token}")]

    @staticmethod
    def trailing(error: grpc.RpcError) -> dict[str, str]:
        return dict(error.trailing_metadata())

    # ── unary ────────────────────────────────────────────────────────────────────────

    def test_the_handler_finds_its_caller(self) -> None:
        """A valid token with the scope is served."""
        assert self.ask("Who", self.issuer.mint(sub="bob")) == "bob"

    def test_concurrent_rpcs_each_see_their_own_caller(self) -> None:
        """No identity leaks between RPCs that are served at the same time."""
        tokens = {f"caller-{n}": self.issuer.mint(sub=f"caller-{n}") for n in range(40)}

        with ThreadPoolExecutor(10) as pool:
            seen = list(pool.map(lambda name: self.ask("Who", tokens[name]), [*tokens, *tokens]))

        assert [*tokens, *tokens] == seen

    def test_a_public_method_needs_no_token_and_has_no_caller(self) -> None:
        """Health checks; and nobody is invented there."""
        assert self.ask("Public") == "nobody"

    def test_without_a_token_the_challenge_says_where_to_get_one(self) -> None:
        """In the trailing metadata, where gRPC has no header."""
        refused = self.refusal("Who")

        assert refused.code() is UNAUTHENTICATED
        assert "/.well-known/oauth-protected-resource/api" in self.trailing(refused)["www-authenticate"]
        assert "error=" not in self.trailing(refused)["www-authenticate"]
        assert self.reached == []

    def test_each_bad_token_is_refused_for_what_it_is(self) -> None:
        """Only the one thing that is wrong was changed."""
        bad = {
            "expired": self.issuer.mint(exp=int(time.time()) - 61),
            "another audience": self.issuer.mint(aud="https://other.test"),
            "another key": self.issuer.mint(key=new_key(kid="key-1")),
            "another type": self.issuer.mint(header={"typ": "JWT"}),
            "not a token": "nonsense",
        }

        for token in bad.values():
            refused = self.refusal("Who", token)
            assert refused.code() is UNAUTHENTICATED
            assert 'error="invalid_token"' in self.trailing(refused)["www-authenticate"]
        assert self.reached == []

    def test_two_tokens_are_refused_whatever_they_hold(self) -> None:
        """One credential an RPC."""
        good = ("authorization", f"Bearer {self.issuer.mint()}")

        assert self.status("Who", metadata=[good, good]) is grpc.StatusCode.INVALID_ARGUMENT
        assert self.reached == []

    def test_scope_role_and_freshness_are_each_asked_for(self) -> None:
        """The status of the table, and what the client can do about it."""
        scope = self.refusal("Who", self.issuer.mint(scope="other"))
        role = self.refusal("Refund", self.issuer.mint(scope="orders:write", roles=["clerk"]))
        old = self.refusal("Fresh", self.issuer.mint(auth_time=int(time.time()) - 3600))

        assert (scope.code(), role.code(), old.code()) == (PERMISSION_DENIED, PERMISSION_DENIED, UNAUTHENTICATED)
        assert 'scope="orders:read"' in self.trailing(scope)["www-authenticate"]
        assert 'max_age="600"' in self.trailing(old)["www-authenticate"]
        assert self.ask("Refund", self.issuer.mint(scope="orders:write", roles=["manager"])) == "alice"

    def test_a_method_that_is_not_named_is_refused(self) -> None:
        """Absent configuration never means unchecked."""
        assert self.status("Unnamed", self.issuer.mint()) is PERMISSION_DENIED
        assert self.reached == []

    def test_keys_that_cannot_be_had_are_our_failure(self) -> None:
        """UNAVAILABLE, when to come back, and no challenge."""
        refused = self.refusal("Who", self.issuer.mint(iss=DEAD_ISSUER))

        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert int(self.trailing(refused)["grpc-retry-pushback-ms"]) >= 1000
        assert "www-authenticate" not in self.trailing(refused)

    def test_a_revoked_session_is_refused_although_its_token_was_served_before(self) -> None:
        """The cache never outlives a revocation."""
        token = self.issuer.mint(sid="unary-to-end")
        assert self.ask("Who", token) == "alice"

        self.issuer.revoke(sid="unary-to-end")

        deadline = time.monotonic() + PATIENCE
        while self.status("Who", token) is not UNAUTHENTICATED:
            assert time.monotonic() < deadline

    # ── streams ──────────────────────────────────────────────────────────────────────

    def test_every_kind_of_stream_is_served_with_its_caller(self) -> None:
        """Response stream, request stream, both."""
        metadata = self.bearer(self.issuer.mint(sub="bob"))

        counted = list(self.channel.unary_stream(method("Count"))(b"3", metadata=metadata))
        summed = self.channel.stream_unary(method("Sum"))(iter([b"1", b"2"]), metadata=metadata)
        echoed = list(self.channel.stream_stream(method("Echo"))(iter([b"a", b"b"]), metadata=metadata))

        assert (counted, summed, echoed) == ([b"bob 0", b"bob 1", b"bob 2"], b"bob 3", [b"bob a", b"bob b"])

    def test_every_kind_of_stream_is_refused_without_a_token(self) -> None:
        """Before the handler is begun, and without waiting for a message."""
        silent = threading.Event()

        def nothing() -> Iterator[bytes]:
            silent.wait(2 * PATIENCE)
            yield from ()

        calls = [
            lambda: list(self.channel.unary_stream(method("Count"))(b"3", timeout=PATIENCE)),
            lambda: self.channel.stream_unary(method("Sum"))(nothing(), timeout=PATIENCE),
            lambda: list(self.channel.stream_stream(method("Echo"))(nothing(), timeout=PATIENCE)),
        ]
        try:
            for call in calls:
                with pytest.raises(grpc.RpcError) as refused:
                    call()
                assert refused.value.code() is UNAUTHENTICATED
        finally:
            silent.set()
        assert self.reached == []

    @pytest.mark.attack(row=96)
    def test_an_open_stream_ends_when_its_session_is_revoked(self) -> None:
        """While its handler waits for something that never comes; the stream of another session goes on."""
        waiting = self.channel.unary_stream(method("Wait"))
        ended = waiting(b"", metadata=self.bearer(self.issuer.mint(sid="stream-1")), timeout=PATIENCE)
        other = waiting(b"", metadata=self.bearer(self.issuer.mint(sid="stream-2")), timeout=PATIENCE)
        assert (next(ended), next(other)) == (b"alice", b"alice")

        self.issuer.revoke(sid="stream-1")

        with pytest.raises(grpc.RpcError) as over:
            next(ended)
        assert over.value.code() is UNAUTHENTICATED
        assert "revoked" in self.trailing(over.value)["www-authenticate"]
        assert other.is_active()
        other.cancel()

    @pytest.mark.attack(row=96)
    def test_an_open_request_stream_ends_when_its_session_is_revoked(self) -> None:
        """While the handler waits for the client's next message."""
        begun, silent = threading.Event(), threading.Event()

        def one_and_silence() -> Iterator[bytes]:
            yield b"1"
            begun.set()
            silent.wait(2 * PATIENCE)

        future = self.channel.stream_unary(method("Sum")).future(
            one_and_silence(), metadata=self.bearer(self.issuer.mint(sid="stream-3")), timeout=PATIENCE
        )
        assert begun.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while "Sum" not in self.reached and time.monotonic() < deadline:
            time.sleep(0.01)

        self.issuer.revoke(sid="stream-3")

        try:
            assert future.exception().code() is UNAUTHENTICATED
        finally:
            silent.set()

    @pytest.mark.attack(row=96)
    def test_an_open_stream_ends_when_its_token_expires(self) -> None:
        """At `exp` + leeway, not at the next message."""
        token = self.issuer.mint(exp=int(time.time()) - 58, sid="stream-4")
        stream = self.channel.unary_stream(method("Wait"))(b"", metadata=self.bearer(token), timeout=PATIENCE)
        assert next(stream) == b"alice"

        with pytest.raises(grpc.RpcError) as over:
            next(stream)
        assert over.value.code() is UNAUTHENTICATED
        assert "expired" in self.trailing(over.value)["www-authenticate"]

    def test_a_handler_that_fails_fails_as_without_the_guard(self) -> None:
        """Its own status stays its own; nothing stays registered."""
        stream = self.channel.unary_stream(method("Count"))(
            b"-1", metadata=self.bearer(self.issuer.mint()), timeout=PATIENCE
        )

        with pytest.raises(grpc.RpcError) as failed:
            list(stream)
        assert failed.value.code() is grpc.StatusCode.OUT_OF_RANGE

    def test_a_stream_that_ended_leaves_nothing_registered(self) -> None:
        """A service that runs for months must not remember every stream, however it ended."""
        metadata = self.bearer(self.issuer.mint())
        list(self.channel.unary_stream(method("Count"))(b"2", metadata=metadata))
        gone = self.channel.unary_stream(method("Wait"))(b"", metadata=metadata)
        next(gone)
        gone.cancel()

        deadline = time.monotonic() + PATIENCE
        while self.guard.connections._by_key and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.guard.connections._by_key == {}


@pytest.mark.parametrize("name", ["Orders/List", "/Orders", "/a/b/c"])
def test_a_name_that_is_no_full_method_name_is_a_configuration_error(name: str) -> None:
    """It would guard nothing."""
    with pytest.raises(ConfigurationError, match="full method name"):
        Methods(requirement=None, methods=None, public=[name])
