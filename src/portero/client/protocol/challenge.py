"""`WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PART = re.compile(r"[ \t,]*([\w!#$%&'*+.^`|~/-]+)(?:[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+)))?", re.ASCII)
"""A name, and its value if it has one: a parameter. Without a value it is a scheme."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: `scheme` in lower case, parameter names in lower case, values unquoted."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(header: str | None) -> list[Challenge]:
    """Return all challenges, in order. Reading stops at the first thing that is none: linear, whatever comes.

    Does not check: a token68 (`Negotiate abc==`) is read as a parameter or a scheme nobody asks for.
    """
    challenges: list[Challenge] = []
    text, position = header or "", 0
    while match := _PART.match(text, position):
        position = match.end()
        name, quoted, token = match[1].lower(), match[2], match[3]
        value = token if token is not None else None if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if value is None:
            challenges.append(Challenge(name))
        elif challenges:
            challenges[-1].parameters[name] = value
    return challenges


def token_challenge(header: str | None) -> Challenge | None:
    """Return the challenge that speaks of our kind of token: Bearer or DPoP, the one with an `error` first."""
    ours = [challenge for challenge in parse_challenges(header) if challenge.scheme in {"bearer", "dpop"}]
    return next((challenge for challenge in ours if challenge.parameters.get("error")), ours[0] if ours else None)
