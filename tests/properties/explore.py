"""Breadth-first search over a model, and the shortest way to a broken law in words."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tests.properties.refresh_model import Broken, Event, Model, State


@dataclass(frozen=True)
class Explored:
    """What was seen. `complete`: there is no further state."""

    states: int
    steps: int
    depth: int
    complete: bool
    counterexample: Counterexample | None


@dataclass(frozen=True)
class Counterexample:
    """The shortest way to a broken law."""

    law: str
    events: tuple[Event, ...]

    def __str__(self) -> str:
        lines = [f'broken: "{self.law}", after {len(self.events)} steps:']
        head = 0
        for number, event in enumerate(self.events, 1):
            token = "" if event.behind is None else f" token {max(0, head - event.behind)}"
            attempt = "" if event.attempt is None else f" with {_ATTEMPTS[event.attempt]}"
            outcome = f" → {_OUTCOMES[event.outcome]}" if event.outcome else ""
            rotates = event.outcome == "new" and event.behind == 0 and event.who in ("server", "network", "thief")
            head += rotates
            made = f" {head}" if rotates else ""
            lines.append(f"{number:4}  {event.who:8} {event.what}{token}{attempt}{outcome}{made}")
        return "\n".join(lines)


_ATTEMPTS = {"H": "the stored attempt", "X": "a new attempt", "T": "an attempt of his own"}
_OUTCOMES = {
    "new": "the successor",
    "same": "the same token",
    "soft": "superseded",
    "over": "refused, the session is over",
}


def explore(model: Model, *, max_states: int) -> Explored:
    """Visit every state that can be reached, nearest first, until `max_states` were visited or a law broke."""
    start = model.start()
    came_from: dict[State, tuple[State, Event] | None] = {start: None}
    frontier = deque([(start, 0)])
    steps = depth = 0
    while frontier:
        state, depth = frontier.popleft()
        for event, after in model.steps(state):
            steps += 1
            if isinstance(after, Broken):
                trace = (*_way_to(state, came_from), event)
                return Explored(len(came_from), steps, depth + 1, False, Counterexample(after.law, trace))
            if after not in came_from:
                came_from[after] = (state, event)
                frontier.append((after, depth + 1))
        if len(came_from) >= max_states:
            return Explored(len(came_from), steps, depth, False, None)
    return Explored(len(came_from), steps, depth, True, None)


def _way_to(state: State, came_from: dict[State, tuple[State, Event] | None]) -> list[Event]:
    events: list[Event] = []
    previous = came_from[state]
    while previous is not None:
        state, event = previous
        events.append(event)
        previous = came_from[state]
    return events[::-1]
