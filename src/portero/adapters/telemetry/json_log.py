"""Structured logs: one JSON object per line on standard error, filtered by `scrubbing`.

Everything this process logs goes through `JsonFormatter`, the server library's and ours, so that
there is one filter and no way round it. Members: `time` (RFC 3339, UTC), `level`, `logger`,
`message`, then the record's own fields; an exception adds `error` with its traceback (which names
lines of code, never the values of variables).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from portero.adapters.telemetry.counters import Counters
from portero.adapters.telemetry.scrubbing import scrub
from portero.core.events import Event, EventName

LOGGER = "portero"
FIELDS = "portero_fields"
"""The attribute of a log record that carries our own members, a mapping of short texts and numbers."""

_logger = logging.getLogger(LOGGER)

_LEVELS = {
    # What an operator should look at.
    EventName.REFRESH_REUSED: logging.WARNING,
    EventName.REFRESH_AHEAD: logging.WARNING,
    EventName.CODE_REUSED: logging.WARNING,
    # Thousands a second on a busy server: the counters tell of them.
    EventName.TOKEN_ISSUED: logging.DEBUG,
    EventName.REFRESH_ROTATED: logging.DEBUG,
    EventName.REFRESH_UNCHANGED: logging.DEBUG,
    # As many as somebody cares to send.
    EventName.TOKEN_LIMITED: logging.DEBUG,
}


class JsonFormatter(logging.Formatter):
    """Renders a record as one filtered JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        fields: Mapping[str, Any] = getattr(record, FIELDS, {})
        for name, value in fields.items():
            line[name] = value if isinstance(value, int | float) else scrub(str(value))
        if record.exc_info:
            line["error"] = scrub(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure_logging(*, level: int = logging.INFO) -> None:
    """Send every logger of this process to standard error as JSON lines; replaces what was configured."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def log(
    message: str,
    fields: Mapping[str, str | float] | None = None,
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
) -> None:
    """Write one line with members of its own; an `error` adds its traceback."""
    if _logger.isEnabledFor(level):
        _logger.log(level, message, exc_info=error, extra={FIELDS: fields or {}})


class LogTelemetry:
    """`Telemetry`: counts every event and logs it, after its commit. Never raises."""

    __slots__ = ("counters",)

    def __init__(self, counters: Counters) -> None:
        self.counters = counters

    def record(self, events: Iterable[Event]) -> None:
        """Count and log; a failure to do so is logged as far as possible and goes no further."""
        events = tuple(events)
        try:
            self.counters.count_events(events)
            for event in events:
                level = _LEVELS.get(event.name, logging.INFO)
                # Asked before the fields are put together: thousands of events a second are below the level.
                if _logger.isEnabledFor(level):
                    log(event.name.value, _fields_of(event), level=level)
        except Exception as error:  # telemetry must not fail the request it tells of: it is committed already
            log("an event could not be recorded", level=logging.ERROR, error=error)


def _fields_of(event: Event) -> dict[str, str | float]:
    fields: dict[str, str | float] = {f"event_{name}": value for name, value in event.fields.items()}
    for name in ("subject", "client_id", "sid"):
        value = getattr(event, name)
        if value is not None:
            fields[name] = value
    return fields
