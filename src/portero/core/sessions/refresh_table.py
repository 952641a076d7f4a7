"""The rules of a refresh, as one table: what is presented, what speaks for it, what happens.

`core.sessions.refresh` finds the row and carries it out; nothing else decides. The page
`docs/reference` prints is made from this table (`as_markdown`, `as_mermaid`).

Before any row: the tag is authentic; the client and, where bound, the key are the family's; family and
session are live and within their ends; profile B brought an attempt; scope and resource stay within the
grant; the person is active. A refusal there changes nothing.

Profiles (RFC 9700 §4.14.2 asks for binding or rotation; FAPI 2.0 §5.3.2.1 for a retry that succeeds):

- A, bound: the same credential or key proves a retry, always.
- B, attempt: the attempt of a generation's first use proves a retry, while the family remembers it
  (parent and ring).
- C, plain: for a while after first use, and a few times, time alone proves a retry; several generations
  in a row with retries are two holders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from portero.core.events import EventName


class Standing(Enum):
    """Where the presented token stands in its family."""

    HEAD = "HEAD"
    """The newest generation; a rotation is due."""
    HEAD_KEPT = "HEAD, no rotation due"
    HEAD_EXPIRED = "HEAD past its `expires`"
    ROTATED = "ROTATED"
    """The head's parent, while the head has not been seen."""
    ROTATED_EXPIRED = "ROTATED, its successor past `expires`"
    SUPERSEDED = "SUPERSEDED"
    """The head's parent once the head was seen, and everything older."""
    OTHER_BRANCH = "a stored generation, another secret"
    """Ours, but of a history this database does not have."""
    AHEAD = "ahead of HEAD"
    AHEAD_OF_RESTORE = "ahead of HEAD, restore declared, profile A"


class Proof(Enum):
    """What speaks for a spent token being presented by the one who spent it."""

    ANY = "—"
    """The row does not ask."""
    PROVEN = "proven"
    RECENT = "not proven, within the soft window from first use"
    LATE = "not proven, later (or first use forgotten)"
    SHARED = "C: retries in too many generations in a row"


class Action(Enum):
    """What happens."""

    ROTATE = "rotate"
    KEEP = "keep"
    RETRY = "retry"
    SOFT_DENY = "soft deny"
    END = "end the session"
    REFUSE_EXPIRED = "refuse: expired"
    REFUSE_AHEAD = "refuse: ahead"
    ADOPT = "adopt"


@dataclass(frozen=True, slots=True)
class Row:
    """One rule."""

    standing: Standing
    proof: Proof
    action: Action
    event: EventName
    effect: str
    """What happens, as the documentation prints it."""
    fields: Mapping[str, str] = field(init=False, compare=False, repr=False)
    """What an event says of the row; made once, as every refresh tells of one."""

    def __post_init__(self) -> None:
        names = {"standing": self.standing.name, "proof": self.proof.name, "action": self.action.name}
        object.__setattr__(self, "fields", MappingProxyType(names))


# fmt: off
TABLE: Final = (
    Row(Standing.HEAD, Proof.ANY, Action.ROTATE, EventName.REFRESH_ROTATED,
        "the successor is made, sealed under the presented token, and sent; the presented token is ROTATED; "
        "its parent is spent; idle end moves"),
    Row(Standing.HEAD_KEPT, Proof.ANY, Action.KEEP, EventName.REFRESH_UNCHANGED,
        "a new access token, the same refresh token; the parent becomes SUPERSEDED and its box is erased; "
        "idle end moves"),
    Row(Standing.HEAD_EXPIRED, Proof.ANY, Action.REFUSE_EXPIRED, EventName.REFRESH_REFUSED,
        "`invalid_grant`, reason `expired`"),
    Row(Standing.ROTATED_EXPIRED, Proof.ANY, Action.REFUSE_EXPIRED, EventName.REFRESH_REFUSED,
        "`invalid_grant`, reason `expired`: whatever could be issued is of no use any more"),
    Row(Standing.ROTATED, Proof.PROVEN, Action.RETRY, EventName.REFRESH_RETRIED,
        "the same successor again, a new access token; idle end moves"),
    Row(Standing.ROTATED, Proof.RECENT, Action.SOFT_DENY, EventName.REFRESH_SOFT_DENIED,
        "`invalid_grant`, reason `superseded`; nothing issued, nothing revoked"),
    Row(Standing.ROTATED, Proof.LATE, Action.END, EventName.REFRESH_REUSED,
        "reuse: this device session ends, with its families and its browser session"),
    Row(Standing.ROTATED, Proof.SHARED, Action.END, EventName.REFRESH_REUSED,
        "two holders share one token: this device session ends"),
    Row(Standing.SUPERSEDED, Proof.PROVEN, Action.SOFT_DENY, EventName.REFRESH_SOFT_DENIED,
        "`invalid_grant`, reason `superseded`, however late; nothing issued, nothing revoked"),
    Row(Standing.SUPERSEDED, Proof.RECENT, Action.SOFT_DENY, EventName.REFRESH_SOFT_DENIED,
        "`invalid_grant`, reason `superseded`; nothing issued, nothing revoked"),
    Row(Standing.SUPERSEDED, Proof.LATE, Action.END, EventName.REFRESH_REUSED,
        "reuse: this device session ends, with its families and its browser session"),
    Row(Standing.OTHER_BRANCH, Proof.ANY, Action.SOFT_DENY, EventName.REFRESH_AHEAD,
        "`invalid_grant`, reason `superseded`, and an alarm; nothing issued, nothing revoked"),
    Row(Standing.AHEAD, Proof.ANY, Action.REFUSE_AHEAD, EventName.REFRESH_AHEAD,
        "`invalid_grant`, reason `revoked`, and an alarm; nothing revoked"),
    Row(Standing.AHEAD_OF_RESTORE, Proof.ANY, Action.ADOPT, EventName.REFRESH_AHEAD,
        "an alarm; the head moves there, and the HEAD rows apply"),
)
# fmt: on


def _indexed() -> dict[Standing, dict[Proof, Row]]:
    index: dict[Standing, dict[Proof, Row]] = {standing: {} for standing in Standing}
    for row in TABLE:
        if row.proof in index[row.standing]:
            raise AssertionError(f"two rows for {row.standing} and {row.proof}")
        index[row.standing][row.proof] = row
    return index


_INDEX: Final = _indexed()


def row_for(standing: Standing, proof: Proof) -> Row:
    """Return the one row that applies."""
    return _INDEX[standing][proof]


def as_markdown() -> str:
    """Print the table for the reference pages."""
    lines = ["| presented | what speaks for it | what happens | counted as |", "|---|---|---|---|"]
    lines += [f"| {row.standing.value} | {row.proof.value} | {row.effect} | `{row.event.value}` |" for row in TABLE]
    return "\n".join(lines) + "\n"


_STATES: Final = {
    Standing.HEAD: "HEAD",
    Standing.HEAD_KEPT: "HEAD",
    Standing.ROTATED: "ROTATED",
    Standing.SUPERSEDED: "SUPERSEDED",
}
"""The states of a stored token; the other standings are no states but moments or strangers."""
_TARGETS: Final = {Action.ROTATE: "ROTATED", Action.END: "ENDED"}
"""Where an action moves the presented token; the other actions leave it where it is."""


def as_mermaid() -> str:
    """Draw a token's life, from the same table."""
    lines = ["stateDiagram-v2", "    [*] --> HEAD: a grant, or a rotation"]
    for row in TABLE:
        source = _STATES.get(row.standing)
        if source is not None:
            label = row.action.value if row.proof is Proof.ANY else f"{row.action.value} ({row.proof.value})"
            lines.append(f"    {source} --> {_TARGETS.get(row.action, source)}: {label}")
    lines += [
        "    ROTATED --> SUPERSEDED: its successor is used",
        "    ENDED --> [*]",
    ]
    return "\n".join(lines) + "\n"
