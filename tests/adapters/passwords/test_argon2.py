"""Passwords: argon2id, the same work for nobody, and a bound on what waits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import argon2
import pytest

from portero.adapters.passwords import argon2 as room
from portero.adapters.passwords.argon2 import LONGEST_PASSWORD, Argon2PasswordHasher
from portero.core.errors import Unavailable
from portero.core.types import Secret

PASSWORD = Secret("correct horse")


def hashed(password: Secret[str]) -> str:
    return asyncio.run(Argon2PasswordHasher().hash(password))


def verified(password: Secret[str], phc: str | None) -> bool:
    return asyncio.run(Argon2PasswordHasher().verify(password, phc))


def test_a_hash_is_argon2id_with_the_recommended_cost() -> None:
    """OWASP's first set: 19 MiB, two passes, one lane."""
    assert hashed(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_the_right_password_opens_its_hash_and_a_wrong_one_does_not() -> None:
    """One letter makes the difference."""
    phc = hashed(PASSWORD)

    assert verified(PASSWORD, phc)
    assert not verified(Secret("correct horsE"), phc)


def test_nobody_can_be_signed_in_as() -> None:
    """An unknown user has no right password."""
    assert not verified(PASSWORD, None)
    assert not verified(Secret("nobody has this password, truly!"), None)


def test_nobody_costs_what_somebody_costs() -> None:
    """What is checked for an unknown user has the cost of a real hash; otherwise time would tell who exists."""
    nobody = argon2.extract_parameters(room._NOBODY)

    assert argon2.extract_parameters(hashed(PASSWORD)) == nobody


@pytest.mark.parametrize("phc", ["", "plain", "$2b$12$abcdefghijklmnopqrstuu", "$argon2id$v=19$m=19456,t=2,p=1$x"])
def test_a_stored_hash_that_is_none_opens_to_nobody(phc: str) -> None:
    """A damaged row refuses; it does not fail the server."""
    assert not verified(PASSWORD, phc)


def test_a_password_at_the_limit_works_and_one_byte_more_never_does() -> None:
    """The limit counts bytes; what is longer is refused like a wrong password."""
    longest = Secret("x" * LONGEST_PASSWORD)
    phc = hashed(longest)

    assert verified(longest, phc)
    assert not verified(Secret("x" * (LONGEST_PASSWORD + 1)), phc)
    with pytest.raises(ValueError, match="at most"):
        hashed(Secret("x" * (LONGEST_PASSWORD + 1)))


def test_the_same_letters_are_the_same_password() -> None:
    """é as one sign or as two: keyboards differ, people do not notice."""
    assert verified(Secret("caf\u00e9 caf\u00e9"), hashed(Secret("cafe\u0301 cafe\u0301")))


def test_a_lone_surrogate_is_a_wrong_password_and_no_failure() -> None:
    """What no keyboard types must not become a 500."""
    assert not verified(Secret("\udc80"), hashed(PASSWORD))


def test_a_hash_of_another_cost_asks_to_be_made_again() -> None:
    """After a sign-in the caller may store a fresh one."""
    hasher = Argon2PasswordHasher()
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("x")

    assert hasher.needs_rehash(cheap)
    assert not hasher.needs_rehash(hashed(PASSWORD))


def test_past_the_bound_the_answer_is_unavailable() -> None:
    """A queue without end would be a way to stop the server; 503 is an answer."""
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> bool:
        begun.set()
        return go_on.wait(120)

    async def scenario() -> None:
        hasher = Argon2PasswordHasher(concurrency=1)
        waiting = [asyncio.create_task(hasher._run(slow)) for _ in range(room._WAITING)]
        await asyncio.to_thread(begun.wait, 10)
        try:
            async with asyncio.timeout(60):  # without a bound it would wait with the others
                with pytest.raises(Unavailable):
                    await hasher.verify(PASSWORD, None)
        finally:
            go_on.set()
            await asyncio.gather(*waiting)
        # And once they are done, there is room again.
        assert not await hasher.verify(PASSWORD, None)

    asyncio.run(scenario())


def test_the_library_is_imported_with_the_first_password() -> None:
    """A start pays nothing for it."""
    program = (
        "import sys; from portero.adapters.passwords.argon2 import Argon2PasswordHasher; Argon2PasswordHasher();"
        "sys.exit('argon2' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
