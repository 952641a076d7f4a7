"""The life of a signing key, as a table: published before it signs, kept until its last token has expired.

Rules of this file:

1. A key is in the JWK Set for `publish_ahead` before it signs: a verifier that refreshes its
   keys at least that often never meets a `kid` it does not know.
2. One key signs at a time: of those whose `signs_from` has come, the latest.
3. A key that stopped signing stays published until every token it signed has expired. Its
   private part is erased the moment it retires.
4. An emergency skips all of this: the key goes at once, and the feed says so.

Every function is pure, `tuple[SigningKey, …] → Decision`, and may run twice: `advance` on
what it has made changes nothing. What signs now is a matter of time, not of when `advance`
was last run, so no clean-up job can be late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from types import MappingProxyType
from typing import Final

import orjson

from portero.core.errors import ConfigurationError
from portero.core.events import Event, EventName
from portero.core.jose.jwk import PrivateKey, PublicKey, parse_public_jwk, render_public_jwk
from portero.core.keys.sealing import NONCE_BYTES as NONCE_BYTES
from portero.core.keys.sealing import SealError as SealError
from portero.core.keys.sealing import open_private as open_private
from portero.core.keys.sealing import seal_private as seal_private
from portero.core.keys.sealing import sealing_key_id as sealing_key_id
from portero.core.revocation.entry import Revocation, RevokedKind
from portero.core.transitions import Audit, Decision, Put, Revoke, SigningKey, SigningKeyStatus, Write
from portero.core.types import Issuer, Kid, NumericDate

PUBLISHED, SIGNING, RETIRED, REMOVED = (
    SigningKeyStatus.PUBLISHED,
    SigningKeyStatus.SIGNING,
    SigningKeyStatus.RETIRED,
    SigningKeyStatus.REMOVED,
)


class KeyEvent(Enum):
    """What moves a key on."""

    SIGNS_FROM_CAME = "its time to sign came"
    SUCCESSOR_SIGNS = "a later key signs"
    LAST_TOKEN_EXPIRED = "its last token has expired"
    EMERGENCY = "emergency"


LIFE: Final[Mapping[tuple[SigningKeyStatus, KeyEvent], SigningKeyStatus]] = MappingProxyType(
    {
        (PUBLISHED, KeyEvent.SIGNS_FROM_CAME): SIGNING,
        (PUBLISHED, KeyEvent.SUCCESSOR_SIGNS): RETIRED,
        (SIGNING, KeyEvent.SUCCESSOR_SIGNS): RETIRED,
        (RETIRED, KeyEvent.LAST_TOKEN_EXPIRED): REMOVED,
        (PUBLISHED, KeyEvent.EMERGENCY): REMOVED,
        (SIGNING, KeyEvent.EMERGENCY): REMOVED,
        (RETIRED, KeyEvent.EMERGENCY): REMOVED,
    }
)
"""The whole table. What is not in it does not happen."""

Keys = tuple[SigningKey, ...]


def life_as_mermaid() -> str:
    """Render the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> published: generated"]
    lines += [f"    {before.value} --> {after.value}: {event.value}" for (before, event), after in LIFE.items()]
    return "\n".join([*lines, "    removed --> [*]"])


def new_signing_key(key: PrivateKey, *, sealed_private: bytes, created: NumericDate) -> SigningKey:
    """Make the record of a generated key, to be handed to `plan_rotation`.

    Args:
        sealed_private: what `seal_private` made of the key's JWK under its `kid`.
    """
    public_jwk = orjson.dumps(render_public_jwk(key.public)).decode()
    return SigningKey(
        kid=Kid(key.kid),
        alg=key.alg,
        public_jwk=public_jwk,
        sealed_private=sealed_private,
        status=PUBLISHED,
        created=created,
        signs_from=created,
    )


# ── what is true now ─────────────────────────────────────────────────────────────────


def signing_key_at(keys: Keys, *, now: NumericDate) -> SigningKey | None:
    """Return the key that signs now, or `None` when there is none at all."""
    live = [key for key in keys if key.status in (PUBLISHED, SIGNING)]
    due = [key for key in live if key.signs_from <= now]
    # A machine whose clock is a little behind still signs with the key the others use.
    candidates = due or [key for key in live if key.status is SIGNING]
    return max(candidates, key=_order, default=None)


def published_at(keys: Keys, *, now: NumericDate) -> Keys:
    """Return the keys of the JWK Set, oldest first."""
    return tuple(
        key
        for key in sorted(keys, key=_order)
        if key.status is not REMOVED and not (key.remove_after is not None and key.remove_after <= now)
    )


def public_key_of(key: SigningKey) -> PublicKey:
    """Parse the public part of a stored key."""
    return parse_public_jwk(orjson.loads(key.public_jwk))


def rotation_due(keys: Keys, *, now: NumericDate, longest_life: int, publish_ahead: int) -> bool:
    """Tell whether a new key should be published now, so that none signs longer than `longest_life` seconds."""
    if any(key.status is PUBLISHED and key.signs_from > now for key in keys):
        return False
    current = signing_key_at(keys, now=now)
    return current is None or now >= current.signs_from + longest_life - publish_ahead


# ── decisions ────────────────────────────────────────────────────────────────────────


def plan_rotation(
    keys: Keys, *, now: NumericDate, publish_ahead: int, longest_token: int, new_key: SigningKey
) -> Decision[Keys]:
    """Publish `new_key`; it signs `publish_ahead` seconds from now, or at once where nothing else could.

    A rotation already under way stays as it is, and `new_key` is not used.

    Args:
        keys: all that are not removed.
        publish_ahead: seconds; at least the interval at which verifiers refresh their keys.
        longest_token: seconds any token may be accepted after it was signed: lifetime and leeway.
        new_key: a fresh record; may be thrown away.

    Returns:
        the keys as they are afterwards.
    """
    keys, writes, events = _advanced(keys, now, longest_token)
    waiting = any(key.status is PUBLISHED for key in keys)
    if not waiting:
        if signing_key_at(keys, now=now) is None:
            added = replace(new_key, status=SIGNING, signs_from=now)
        else:
            added = replace(new_key, status=PUBLISHED, signs_from=NumericDate(now + publish_ahead))
        keys = (*keys, added)
        event = _event(added, now, "signs_from", str(added.signs_from))
        writes, events = (*writes, Put(added), Audit(event)), (*events, event)
    return Decision(keys, writes, events)


def advance(keys: Keys, *, now: NumericDate, longest_token: int) -> Decision[Keys]:
    """Write down what time has done to the keys: who signs, who retired, who is gone.

    Args:
        longest_token: seconds, as for `plan_rotation`.

    Returns:
        the keys that are not removed, as they are afterwards.
    """
    after, writes, events = _advanced(keys, now, longest_token)
    return Decision(after, writes, events)


def emergency_removal(
    kid: Kid, *, keys: Keys, now: NumericDate, issuer: Issuer, longest_token: int, new_key: SigningKey
) -> Decision[Keys]:
    """Remove a key that may be known to a stranger: at once, with a feed entry for every verifier.

    Tokens it signed stop working everywhere. Where it was the one that signs, the published key, or
    else `new_key`, signs from now on although verifiers have not seen it yet: they meet an unknown
    `kid` and fetch.

    Raises:
        ConfigurationError: no such key.
    """
    doomed = next((key for key in keys if key.kid == kid and key.status is not REMOVED), None)
    if doomed is None:
        raise ConfigurationError("kid", kid, "must be the kid of a key that is in use")
    removed = replace(_moved(doomed, KeyEvent.EMERGENCY), sealed_private=b"", retires=now, remove_after=now)
    rest = tuple(key for key in keys if key.kid != kid)
    until = NumericDate(now + longest_token)
    event = _event(removed, now, "status", "emergency removal")
    writes: tuple[Write, ...] = (
        Put(removed),
        Revoke(Revocation(iss=issuer, kind=RevokedKind.KEY, value=kid, at=now, until=until)),
        Audit(event),
    )
    events: tuple[Event, ...] = (event,)
    if signing_key_at(rest, now=now) is None:
        waiting = [key for key in rest if key.status is PUBLISHED]
        successor = min(waiting, key=_order, default=new_key)
        signing = replace(successor, status=SIGNING, signs_from=now)
        rest = (*(key for key in rest if key.kid != successor.kid), signing)
        event = _event(signing, now, "status", "signing, in place of a removed key")
        writes, events = (*writes, Put(signing), Audit(event)), (*events, event)
    return Decision(rest, writes, events)


def _advanced(keys: Keys, now: NumericDate, longest_token: int) -> tuple[Keys, tuple[Write, ...], tuple[Event, ...]]:
    current = signing_key_at(keys, now=now)
    after: list[SigningKey] = []
    writes: list[Write] = []
    events: list[Event] = []
    for key in keys:
        if key.status is REMOVED:
            continue
        changed = _aged(key, current, now, longest_token)
        if changed is not key:
            event = _event(changed, now, "status", changed.status.value)
            writes += (Put(changed), Audit(event))
            events.append(event)
        if changed.status is not REMOVED:
            after.append(changed)
    return tuple(after), tuple(writes), tuple(events)


def _aged(key: SigningKey, current: SigningKey | None, now: NumericDate, longest_token: int) -> SigningKey:
    if key.status is RETIRED:
        if key.remove_after is not None and key.remove_after <= now:
            return _moved(key, KeyEvent.LAST_TOKEN_EXPIRED)
        return key
    if current is None or key.signs_from > now:
        return key
    if key.kid == current.kid:
        return _moved(key, KeyEvent.SIGNS_FROM_CAME) if key.status is PUBLISHED else key
    # Counted from now and not from the successor's signs_from: until this was written down, a
    # machine with a slower clock may have signed with it.
    remove_after = NumericDate(now + longest_token)
    return replace(_moved(key, KeyEvent.SUCCESSOR_SIGNS), sealed_private=b"", retires=now, remove_after=remove_after)


def _moved(key: SigningKey, event: KeyEvent) -> SigningKey:
    return replace(key, status=LIFE[key.status, event])


def _order(key: SigningKey) -> tuple[int, int, str]:
    return key.signs_from, key.created, key.kid


def _event(key: SigningKey, now: NumericDate, name: str, value: str) -> Event:
    return Event(EventName.KEY_ROTATED, now, fields={"kid": key.kid, "alg": key.alg, name: value})
