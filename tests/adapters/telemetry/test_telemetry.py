"""Counters and logs, and the law of the filter: nothing with the shape of a credential gets through."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.adapters.telemetry.counters import MOST_CLIENTS, Counters
from portero.adapters.telemetry.json_log import JsonFormatter, LogTelemetry, log
from portero.adapters.telemetry.scrubbing import scrub
from portero.core.events import Event, EventName
from portero.core.types import ClientId, NumericDate, Secret, Sid, Subject

NOW = NumericDate(1_800_000_000)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


TOKENS = st.one_of(
    st.binary(min_size=30, max_size=90).map(lambda part: f"eyJhbGciOiJFUzI1NiJ9.{b64(part)}.{b64(part[::-1])}"),
    st.tuples(st.binary(min_size=53, max_size=53), st.binary(min_size=16, max_size=16)).map(
        lambda parts: f"prt1.{b64(parts[0])}.{b64(parts[1])}"
    ),
    # 256 random bits, as codes, cookies and client secrets are. All-letter ones are as rare as a word of 43 letters.
    st.binary(min_size=32, max_size=32).map(b64).filter(lambda t: any(c.isdigit() for c in t) and "." not in t),
    st.binary(min_size=32, max_size=32).map(bytes.hex).filter(lambda t: not t.isdigit() and not t.isalpha()),
)
AROUND = st.sampled_from(["", " ", "'", '"', "(", ")", "=", ":", ",", "\n", "/", "<", ">"])


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the portero logger writes, through the formatter."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("portero")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)  # not the attribute: loggers remember what was asked of them before
    yield output
    logger.removeHandler(handler)
    logger.setLevel(level)


@given(token=TOKENS, before=AROUND, after=AROUND)
def test_no_token_passes_the_filter(token: str, before: str, after: str) -> None:
    """Whatever stands beside it."""
    clean = scrub(f"saw {before}{token}{after} here")

    assert max(token.split("."), key=len) not in clean
    assert clean.startswith("saw ")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GET /authorize?code=abc&state=xyz HTTP/1.1", "abc"),
        ("https://shop.example/callback?code=s3cr3t", "s3cr3t"),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("authorization: basic c2hvcDpzZWNyZXQ=", "c2hvcDpzZWNyZXQ="),
        ("refresh_token=prt1.x", "prt1.x"),
        ("client_secret=hunter2 and more", "hunter2"),
        ("a body password=hunter2&x=1", "hunter2"),
        ("-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----", "MIGH"),
        ("cut off eyJhbGciOiJFUzI1NiJ9.eyJzdWIi", "eyJzdWIi"),
    ],
)
def test_what_carries_a_credential_is_cut(text: str, hidden: str) -> None:
    """Queries, headers, form members, PEM, and a token cut in the middle."""
    assert hidden in text
    assert hidden not in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "POST /token 200",
        "refused: the header origin is repeated",
        "sid abcdefghijklmnopqrstuv ended",
        "subject 0123456789abcdef0123456789abcdef",
        "what is this?",
        '  File "/srv/app/src/portero/authorization_server/edge.py", line 70, in __call__',
    ],
)
def test_what_an_operator_needs_stays(text: str) -> None:
    """Paths, identifiers and traces are no credentials."""
    assert text == scrub(text)


@given(token=TOKENS)
def test_a_token_in_an_exception_never_reaches_the_log(token: str) -> None:
    """The message, the fields, the exception's text: one filter for all."""
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed with %s", (token,), None)
    try:
        raise ValueError(f"cannot parse {token}")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    record.portero_fields = {"detail": token}

    line = JsonFormatter().format(record)

    assert max(token.split("."), key=len) not in line
    assert "ValueError" in json.loads(line)["error"]


def test_a_secret_in_a_field_says_nothing(lines: io.StringIO) -> None:
    """A `Secret` that is handed over by mistake prints as one."""
    log("oops", {"value": Secret("hunter2")})  # type: ignore[dict-item]  # the mistake is the point

    assert "hunter2" not in lines.getvalue()


def test_a_line_is_one_json_object(lines: io.StringIO) -> None:
    """A newline in a value must not forge a second line."""
    log("a\nb", {"path": 'x"\n{"level":"error"}'})

    assert lines.getvalue().count("\n") == 1
    line = json.loads(lines.getvalue())
    assert line["message"] == "a\nb"
    assert line["level"] == "info"
    assert line["time"].endswith("+00:00")


def test_an_event_is_logged_with_who_and_where(lines: io.StringIO) -> None:
    """Identifiers and reasons, each under its name."""
    event = Event(
        EventName.SESSION_ENDED, NOW, Subject("ana"), ClientId("shop"), Sid("s1"), fields={"reason": "operator"}
    )

    LogTelemetry(Counters()).record([event])

    line = json.loads(lines.getvalue())
    assert (
        line["message"],
        line["subject"],
        line["client_id"],
        line["sid"],
        line["event_reason"],
    ) == ("session_ended", "ana", "shop", "s1", "operator")


def test_reuse_is_a_warning(lines: io.StringIO) -> None:
    """What an operator should look at stands out."""
    LogTelemetry(Counters()).record([Event(EventName.REFRESH_REUSED, NOW)])

    assert json.loads(lines.getvalue())["level"] == "warning"


def test_telemetry_never_raises(lines: io.StringIO) -> None:
    """The commit has happened; a failure to tell of it is not the caller's."""
    LogTelemetry(Counters()).record([object()])  # type: ignore[list-item]  # a bug of ours, simulated

    assert "an event could not be recorded" in lines.getvalue()


def test_counters_count_by_event_and_client() -> None:
    """In the Prometheus text format, sorted."""
    counters = Counters()
    counters.count_events([Event(EventName.TOKEN_ISSUED, NOW, client_id=ClientId("shop"))] * 2)
    counters.count_events([Event(EventName.KEY_ROTATED, NOW)])
    counters.count_response(200)

    text = counters.render()

    assert 'portero_events_total{event="token_issued",client="shop"} 2\n' in text
    assert 'portero_events_total{event="key_rotated",client=""} 1\n' in text
    assert 'portero_http_responses_total{status="200"} 1\n' in text


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    """A client id with quotes stays one label."""
    counters = Counters()
    counters.count_events([Event(EventName.TOKEN_ISSUED, NOW, client_id=ClientId('a"} 1\nb\\'))])

    assert 'client="a\\"} 1\\nb\\\\"} 1\n' in counters.render()


def test_labels_are_bounded() -> None:
    """However many clients there are, the counters stay of one size."""
    counters = Counters()
    for n in range(MOST_CLIENTS + 10):
        counters.count_events([Event(EventName.TOKEN_ISSUED, NOW, client_id=ClientId(f"c{n}"))])

    text = counters.render()

    assert 'client="(other)"} 10\n' in text
    assert f'client="c{MOST_CLIENTS - 1}"' in text
    assert f'client="c{MOST_CLIENTS}"' not in text


@pytest.mark.parametrize(
    ("name", "fields", "outcome", "reason"),
    [
        (EventName.REFRESH_ROTATED, {"standing": "HEAD", "proof": "ANY"}, "rotated", ""),
        (EventName.REFRESH_UNCHANGED, {"standing": "HEAD_KEPT", "proof": "ANY"}, "unchanged", ""),
        (EventName.REFRESH_RETRIED, {"standing": "ROTATED", "proof": "PROVEN"}, "retried", ""),
        (EventName.REFRESH_SOFT_DENIED, {"standing": "ROTATED", "proof": "RECENT"}, "raced", "recent"),
        (EventName.REFRESH_SOFT_DENIED, {"standing": "SUPERSEDED", "proof": "PROVEN"}, "soft_denied", "proven"),
        (EventName.REFRESH_REUSED, {"standing": "ROTATED", "proof": "LATE"}, "stolen", "late"),
        (EventName.REFRESH_REUSED, {"standing": "ROTATED", "proof": "SHARED"}, "stolen", "shared"),
        (EventName.REFRESH_REFUSED, {"because": "token_expired"}, "refused", "token_expired"),
        (EventName.REFRESH_AHEAD, {"standing": "AHEAD", "proof": "ANY"}, "ahead_of_head", "ahead"),
    ],
)
def test_what_a_refresh_came_to_is_told_apart(
    name: EventName, fields: dict[str, str], outcome: str, reason: str
) -> None:
    """Per client, with the reason where there is one to ask for."""
    counters = Counters()
    counters.count_events([Event(name, NOW, client_id=ClientId("shop"), fields=fields)])

    line = f'portero_refreshes_total{{client="shop",outcome="{outcome}",reason="{reason}"}} 1\n'
    assert line in counters.render()


def test_limited_requests_are_counted_by_limit() -> None:
    """Answered 429: which limit, and whose client where one is known."""
    counters = Counters()
    counters.count_events([Event(EventName.TOKEN_LIMITED, NOW, fields={"limit": "invented"})] * 3)

    assert 'portero_token_limited_total{limit="invented",client=""} 3\n' in counters.render()
