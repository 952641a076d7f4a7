"""Which server gets a request, who is left out for a while, and how often one may ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.gateway.embedded.chunks import BadChunks, ChunkReader, chunk, last_chunk
from portero.gateway.embedded.pool import EJECTED_FOR, FAILURES_IN_A_ROW, Cluster
from portero.gateway.embedded.rates import Rates
from portero.gateway.embedded.websocket_frames import FrameFollower, close_frame
from tests.gateway.embedded.conftest import World
from tests.gateway.embedded.running import Peer, Seen, until

URLS = ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")


def test_servers_take_turns() -> None:
    """Round robin: each gets a third."""
    cluster = Cluster(URLS, least_connections=False, tls=None)

    chosen = [cluster.choose(0.0) for _ in range(9)]

    assert all(chosen.count(origin) == 3 for origin in cluster.origins)


def test_least_connections_prefers_who_has_least_to_do() -> None:
    """And takes turns among equals."""
    cluster = Cluster(URLS, least_connections=True, tls=None)
    cluster.origins[0].active, cluster.origins[1].active = 5, 5

    assert {cluster.choose(0.0) for _ in range(6)} == {cluster.origins[2]}
    cluster.origins[2].active = 5
    assert len({cluster.choose(0.0) for _ in range(6)}) == 3


def test_server_that_keeps_failing_is_left_out_for_a_while() -> None:
    """Five failures in a row eject it; one answer between them does not; the second time it takes longer."""
    cluster = Cluster(URLS, least_connections=False, tls=None)
    ill = cluster.origins[0]
    for _ in range(FAILURES_IN_A_ROW - 1):
        ill.failed(100.0)
    ill.served()
    ill.failed(100.0)
    assert ill in {cluster.choose(100.0) for _ in range(6)}
    for _ in range(FAILURES_IN_A_ROW - 1):
        ill.failed(100.0)

    assert ill not in {cluster.choose(100.0) for _ in range(6)}
    assert ill not in {cluster.choose(100.0 + EJECTED_FOR - 0.1) for _ in range(6)}
    assert ill in {cluster.choose(100.0 + EJECTED_FOR) for _ in range(6)}
    for _ in range(FAILURES_IN_A_ROW):
        ill.failed(200.0)
    assert ill not in {cluster.choose(200.0 + 2 * EJECTED_FOR - 0.1) for _ in range(6)}


def test_all_ejected_are_better_than_none_and_all_ill_are_none() -> None:
    """Ejection is a guess; an active check that failed is knowledge."""
    cluster = Cluster(URLS, least_connections=False, tls=None)
    for origin in cluster.origins:
        for _ in range(FAILURES_IN_A_ROW):
            origin.failed(0.0)

    assert cluster.choose(1.0) is not None
    for origin in cluster.origins:
        origin.well = False
    assert cluster.choose(1.0) is None


def test_rate_is_kept_and_comes_back_with_time() -> None:
    """As many at once as the manifest says, then one for each part of its time."""
    rates = Rates(requests=3, seconds=6)

    assert [rates.take("ana", 10.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert rates.take("ana", 10.0) == pytest.approx(2.0)
    assert rates.take("berta", 10.0) == 0.0
    assert rates.take("ana", 11.9) > 0.0
    assert rates.take("ana", 12.0) == 0.0
    assert [rates.take("ana", 1000.0) == 0.0 for _ in range(4)] == [True, True, True, False]


def test_active_checks_find_the_ill_server(another: Callable[..., World]) -> None:
    """`health` names a path; while it does not answer 2xx nothing is sent there, and 503 says so."""
    world = another()
    healthy = threading.Event()

    def health(peer: Peer, _: Seen) -> bool:
        status = b"200 OK" if healthy.is_set() else b"500 No"
        peer.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        return True

    world.upstream.behaviours["/healthz"] = health
    manifest = world.gateway.manifest
    manifest.write_text(manifest.read_text().replace("cors_origins", 'health = "/healthz"\ncors_origins'))

    until(lambda: world.ask("GET", "/api/orders/1").status == 503)
    healthy.set()
    until(lambda: world.ask("GET", "/api/orders/1").status == 200)


@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(1, 50)), st.binary(max_size=20))
def test_chunks_are_read_as_they_were_written_however_they_arrive(
    contents: list[bytes], cuts: list[int], after: bytes
) -> None:
    """And what follows the body is left for the next request."""
    written = b"".join(map(chunk, contents)) + last_chunk([(b"X-Sum", b"1")]) + after
    reader = ChunkReader()
    read, fed = b"", 0
    for size in [*cuts, len(written)]:
        if reader.done:
            break
        read += b"".join(reader.feed(written[fed : fed + size]))
        fed += size

    assert reader.done
    assert read == b"".join(contents)
    assert reader.trailers == [(b"X-Sum", b"1")]
    assert reader.rest + written[fed:] == after


@given(st.binary(max_size=60))
def test_no_bytes_break_the_chunk_reader(data: bytes) -> None:
    """It reads on, ends, or refuses."""
    reader = ChunkReader()
    with suppress(BadChunks):
        reader.feed(data)
        assert reader.done or not reader.rest


@given(st.lists(st.tuples(st.integers(0, 70_000), st.booleans()), min_size=1, max_size=4), st.integers(1, 70_000))
def test_frames_are_followed_to_their_ends(frames: list[tuple[int, bool]], piece: int) -> None:
    """Whatever their lengths and masks, and however they arrive: `at_boundary` exactly at their ends."""
    data, ends = b"", set()
    for length, masked in frames:
        size = bytes((length,)) if length < 126 else b"\x7e" + length.to_bytes(2, "big") if length < 65536 else (
            b"\x7f" + length.to_bytes(8, "big")
        )  # fmt: skip
        first = bytes((size[0] | (0x80 if masked else 0),)) + size[1:]
        data += b"\x82" + first + (b"abcd" if masked else b"") + b"x" * length
        ends.add(len(data))
    follower = FrameFollower()
    place = 0
    while place < len(data):
        part = data[place : place + piece]
        follower.follow(part)
        place += len(part)
        assert follower.at_boundary == (place in ends)
    assert not follower.closed
    follower.follow(close_frame(4401, "invalid_token"))
    assert follower.closed
