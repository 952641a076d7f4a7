"""What an operator sees of a feed: delay from cause to effect, staleness, size; and the alarms beside a readiness."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from portero.core.revocation.delays import BUCKETS, Delays
from portero.testing.jwks_server import Behaviour, JwksServer
from tests.resource_server.test_drivers import DRIVERS, admitted, started, until


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


def value(text: str, name: str) -> float:
    (found,) = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return float(found)


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_delay_is_measured_by_the_events_own_time(driver: object, server: JwksServer) -> None:
    """What was revoked before the first snapshot is history, not delay; what comes afterwards is counted once."""
    server.issuer.revoke(sid="before")
    with started(driver, server) as checked:
        before = checked.guard.metrics()
        token = server.issuer.mint(sid="s1")
        server.issuer.revoke(sid="s1")
        until(lambda: not admitted(checked, token))
        until(lambda: value(checked.guard.metrics(), "portero_revocation_delay_seconds_count") == 1)
        after = checked.guard.metrics()

    assert value(before, "portero_revocation_delay_seconds_count") == 0
    assert value(before, "portero_feed_known_entries") == 1
    assert value(after, "portero_feed_known_entries") == 2
    assert value(after, "portero_feed_stale") == 0
    assert 0 <= value(after, "portero_revocation_delay_seconds_sum") < 60


def test_the_text_is_what_prometheus_reads(server: JwksServer) -> None:
    """Each family once with HELP and TYPE; buckets grow and the last is everything."""
    with started(DRIVERS[0], server) as checked:
        text = checked.guard.metrics()
    lines = text.splitlines()
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    bounds = [re.findall(r'le="([^"]+)"', line)[0] for line in lines if "_bucket" in line]

    assert families == [
        "portero_revocation_delay_seconds",
        "portero_feed_staleness_seconds",
        "portero_feed_stale",
        "portero_feed_known_entries",
        "portero_clock_skew_seconds",
    ]
    assert len(families) == len(set(families)) == sum(line.startswith("# HELP") for line in lines)
    assert bounds[-1] == "+Inf"
    assert [float(bound) for bound in bounds[:-1]] == list(BUCKETS)
    assert all(f'issuer="{server.url}"' in line for line in lines if not line.startswith("#"))


def test_a_delay_falls_into_the_bucket_that_bounds_it() -> None:
    """The bound itself belongs to its bucket; a clock that differs makes no negative delay."""
    delays = Delays()
    for seconds in (-5.0, 0.001, 0.0011, 60.0, 61.0):
        delays.observe(seconds)
    counts = dict(delays.cumulative())

    assert (counts["0.001"], counts["0.0025"], counts["60"], counts["+Inf"]) == (2, 3, 4, 5)
    assert delays.sum == pytest.approx(121.0021)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_feed_that_went_silent_is_an_alarm(
    driver: object, server: JwksServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Routes that allow go on, and whoever looks at the probe or the log learns of it: once, not at every try."""
    with caplog.at_level(logging.WARNING, "portero.revocations"), started(driver, server, stale_after=0.5) as checked:
        until(lambda: not checked.guard.readiness().alarms)
        server.streams_cut.set()
        server.behave(Behaviour.FAIL, path="/revocations/stream")
        until(lambda: bool(checked.guard.readiness().alarms))
        readiness = checked.guard.readiness()
        until(lambda: server.asked["/revocations/stream"] >= 4)

    assert readiness.ready
    assert "nothing new was heard" in readiness.alarms[0]
    assert len([record for record in caplog.records if "cannot be followed" in record.message]) == 1
