"""Errors, sorted by whose move is next.

`RequestError`: the peer's. `ConfigurationError`: the operator's, at start-up only.
`Unavailable`: the world's (a store, a key set, a network). Anything else is a bug of
ours and propagates. An expected outcome that needs a write is not an error but a value
(see `core.transitions`): an exception would roll the write back.
"""

from __future__ import annotations


class PorteroError(Exception):
    """Base of every error Portero raises on purpose."""


class RequestError(PorteroError):
    """The peer sent something that cannot be served. Nothing was committed.

    Args:
        error: the registered error code (RFC 6749 §4.1.2.1, §5.2, RFC 6750 §3.1, …).
        description: text for the wire; never a secret, never which of two
            indistinguishable checks failed.
        status: HTTP status.
        detail: text for our log, when it may say more than the wire.
        reason: machine-readable refinement, sent as `error_reason` when set.
    """

    def __init__(
        self,
        error: str,
        description: str,
        *,
        status: int = 400,
        detail: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(f"{error}: {detail or description}")
        self.error = error
        self.description = description
        self.status = status
        self.detail = detail or description
        self.reason = reason


class ConfigurationError(PorteroError):
    """A setting is wrong. Raised at start-up only, before anything listens.

    Args:
        setting: the dotted name of the setting, as written by the operator.
        value: what it is (never a secret; say `"(secret)"` instead).
        expected: what it may be, as a sentence.
    """

    def __init__(self, setting: str, value: object, expected: str) -> None:
        super().__init__(f"{setting} is {value!r}: {expected}")
        self.setting = setting
        self.value = value
        self.expected = expected


class Unavailable(PorteroError):
    """Something we depend on is not there; never the caller's fault (HTTP 503).

    Args:
        what: what is missing, for the log.
        retry_after: whole seconds until it is worth trying again.
    """

    def __init__(self, what: str, *, retry_after: int = 1) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after = retry_after
