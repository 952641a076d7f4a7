"""The system's randomness: drawn ahead, used once, and never shared with a child."""

from __future__ import annotations

import os
import threading

from portero.adapters.system import SystemRandom


def test_what_is_drawn_ahead_is_given_once() -> None:
    """No two needs, of whatever size and thread, get the same bytes."""
    random = SystemRandom()
    drawn: list[bytes] = []

    def draw() -> None:
        drawn.extend(random.bytes(8 + n % 57) for n in range(2000))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each[:8] for each in drawn}) == 8000
    assert {len(each) for each in drawn} == set(range(8, 65))


def test_a_large_need_is_met_by_itself() -> None:
    """More than what is drawn ahead comes whole."""
    assert len(SystemRandom().bytes(10_000)) == 10_000


def test_a_child_process_draws_its_own() -> None:
    """What the parent drew ahead is dropped in a forked child."""
    random = SystemRandom()
    random.bytes(8)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random.bytes(32))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 32)
    os.close(reading)
    os.close(writing)

    assert theirs != random.bytes(32)
