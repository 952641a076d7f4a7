"""A snapshot is read in pieces: with the same result as whole, and nothing taken in of one that is broken anywhere."""

from __future__ import annotations

import orjson
import pytest

from portero.core.revocation import snapshot
from portero.core.revocation.entry import FeedEntry, Revocation, RevokedKind
from portero.core.revocation.feed import Cursor, render_entries, render_entry, render_list
from portero.core.revocation.snapshot import NotAFeed, Snapshot
from portero.core.revocation.subscription import Subscription
from portero.core.types import Issuer, NumericDate

ISS = Issuer("https://as.example")
NOW = NumericDate(1_800_000_000)
VALUES = ['},{"cursor":', '"},{"cursor":"', "plain", "]}", '"entries":[', "\\", "ñ\u2028", ""]
"""What a hostile client_id could hold: everything that the body is cut at."""


def entries(count: int) -> list[FeedEntry]:
    kinds = list(RevokedKind)
    return [
        FeedEntry(
            "e", n, Revocation(ISS, kinds[n % 4], f"{VALUES[n % 8]}{n}", NOW, NumericDate(NOW + 60 + n % 7), n % 3)
        )
        for n in range(1, count + 1)
    ]


def body(found: list[FeedEntry]) -> bytes:
    return b"".join(render_list(Cursor("e", len(found)), [render_entries(found)] if found else [], time=NOW + 0.5))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PIECE", 100)


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_pieces_say_what_the_whole_says(count: int) -> None:
    """Whatever the entries hold."""
    found = entries(count)
    cut, whole = Snapshot(body(found)), Snapshot(body(found), whole=True)

    assert list(cut.revocations()) == list(whole.revocations()) == [entry.revocation for entry in found]
    assert {name: cut.head[name] for name in ("cursor", "time")} == {"cursor": f"e:{count}", "time": NOW + 0.5}


def test_entries_rendered_together_are_those_rendered_alone() -> None:
    """Byte for byte."""
    assert render_entries(entries(20)) == b",".join(map(render_entry, entries(20)))


@pytest.mark.parametrize("indent", [None, orjson.OPT_INDENT_2])
def test_a_snapshot_that_is_written_otherwise_is_taken_in_as_well(indent: int | None) -> None:
    """Another server's spaces and order of members."""
    document = orjson.loads(body(entries(30)))
    other = {"entries": document["entries"], "time": document["time"], "cursor": document["cursor"]}
    subscription = Subscription(ISS, stale_after=10)
    subscription.took_snapshot(orjson.dumps(other, option=indent), asked_at=0, now=NOW)

    assert len(subscription.revoked) == 30
    assert subscription.cursor == "e:30"


def test_of_a_snapshot_that_is_broken_anywhere_nothing_is_taken_in() -> None:
    """Cut short at every byte, and with one bad entry at the end."""
    good = body(entries(12))
    bad = good.replace(b'"until":1800000065}]}', b'"until":"x"}]}')
    assert bad != good
    for broken in (*(good[:at] for at in range(len(good))), bad):
        subscription = Subscription(ISS, stale_after=10)
        with pytest.raises(NotAFeed):
            subscription.took_snapshot(broken, asked_at=0, now=NOW)

        assert (len(subscription.revoked), subscription.cursor, subscription.has_snapshot) == (0, None, False)


def test_the_later_of_two_ends_counts_in_a_snapshot_too() -> None:
    """In either order; it is forgotten after the later, not before."""
    for untils in ((60, 100), (100, 60)):
        twice = [
            FeedEntry("e", n, Revocation(ISS, RevokedKind.SESSION, "s", NOW, NumericDate(NOW + until)))
            for n, until in enumerate(untils, 1)
        ]
        subscription = Subscription(ISS, stale_after=10)
        subscription.took_snapshot(body(twice), asked_at=0, now=NOW)
        subscription.revoked.prune(NumericDate(NOW + 100))
        kept = len(subscription.revoked)
        subscription.revoked.prune(NumericDate(NOW + 101))

        assert (kept, len(subscription.revoked)) == (1, 0)
