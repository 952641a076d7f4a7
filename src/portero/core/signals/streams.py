"""Event streams as their receivers make, read and change them (SSF 1.0 §8.1): messages in, records out.

A receiver says how it wants its events, which, and a description; everything else is ours and may be sent back to us
unchanged, not changed (§8.1.1.3). The `Authorization` header of a push stream goes in and never comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.logout.receivers import check_receiver_uri
from portero.core.oauth.errors import invalid_request
from portero.core.outbox_records import DeliveryMethod, EventStream, StreamStatus
from portero.core.signals.metadata import poll_url
from portero.core.signals.security_event import EVENTS_SUPPORTED
from portero.core.types import ClientId, Issuer, NumericDate, Secret

MAX_STREAMS: Final = 5
"""Of one client: every end of a session is told to each."""
MIN_VERIFICATION_SECONDS: Final = 10
_LONGEST_TEXT: Final = 1000
_MOST_EVENTS: Final = 50
_METHODS: Final = {method.value: method for method in DeliveryMethod}
_STATUSES: Final = {status.value: status for status in StreamStatus}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a receiver asked for; None: it did not say."""

    method: DeliveryMethod | None = None
    endpoint_url: str | None = None
    authorization: Secret[str] | None = None
    events_requested: tuple[str, ...] | None = None
    description: str | None = None


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse a request's JSON object.

    Raises:
        RequestError: `invalid_request`.
    """
    try:
        return parse_object(body)
    except StrictJsonError as error:
        raise invalid_request(f"the body must be a JSON object ({error})") from None


def parse_wishes(document: Mapping[str, Any]) -> Wishes:
    """Read what a receiver may say of its stream (§8.1.1).

    Raises:
        RequestError: `invalid_request`.
    """
    delivery = document.get("delivery")
    method, endpoint_url, authorization = None, None, None
    if delivery is not None:
        if not isinstance(delivery, dict):
            raise invalid_request("delivery must be an object with a method")
        method = _METHODS.get(str(delivery.get("method")))
        if method is None:
            raise invalid_request(f"delivery.method must be one of {', '.join(_METHODS)}")
        if method is DeliveryMethod.PUSH:
            endpoint_url = text_of(delivery, "endpoint_url", required=True)
            authorization = _header(text_of(delivery, "authorization_header"))
            try:
                check_receiver_uri(endpoint_url or "")
            except ValueError as error:
                raise invalid_request(f"delivery.endpoint_url must be {error}") from None
    events = document.get("events_requested")
    if events is not None and not (
        isinstance(events, list)
        and len(events) <= _MOST_EVENTS
        and all(isinstance(event, str) and 0 < len(event) <= _LONGEST_TEXT for event in events)
    ):
        raise invalid_request("events_requested must be a list of event types")
    return Wishes(
        method=method,
        endpoint_url=endpoint_url,
        authorization=authorization,
        events_requested=None if events is None else tuple(dict.fromkeys(events)),
        description=text_of(document, "description"),
    )


def new_stream(
    wishes: Wishes, *, stream_id: str, client_id: ClientId, issuer: Issuer, sealed: bytes | None, now: NumericDate
) -> EventStream:
    """Make the stream that was asked for: polled where nothing else was said, every event where none was named."""
    stream = EventStream(
        stream_id=stream_id,
        client_id=client_id,
        method=DeliveryMethod.POLL,
        endpoint_url=poll_url(issuer, stream_id),
        sealed_authorization=None,
        events_requested=EVENTS_SUPPORTED,
        description="",
        status=StreamStatus.ENABLED,
        status_reason="",
        created=now,
        verified=NumericDate(0),
    )
    return changed(stream, wishes, issuer=issuer, sealed=sealed)


def changed(stream: EventStream, wishes: Wishes, *, issuer: Issuer, sealed: bytes | None) -> EventStream:
    """Return the stream with what was said changed, and what was not said left as it is (§8.1.1.3).

    Args:
        sealed: the wished-for `Authorization` header, sealed.
    """
    if wishes.method is DeliveryMethod.PUSH:
        url = wishes.endpoint_url or ""
        stream = replace(stream, method=DeliveryMethod.PUSH, endpoint_url=url, sealed_authorization=sealed)
    elif wishes.method is DeliveryMethod.POLL:
        url = poll_url(issuer, stream.stream_id)
        stream = replace(stream, method=DeliveryMethod.POLL, endpoint_url=url, sealed_authorization=None)
    if wishes.events_requested is not None:
        stream = replace(stream, events_requested=wishes.events_requested)
    if wishes.description is not None:
        stream = replace(stream, description=wishes.description)
    return stream


def replaced(stream: EventStream, wishes: Wishes, *, issuer: Issuer, sealed: bytes | None) -> EventStream:
    """Return the stream as said, with what was not said as in a new one (§8.1.1.4)."""
    whole = replace(
        wishes,
        method=wishes.method or DeliveryMethod.POLL,
        events_requested=EVENTS_SUPPORTED if wishes.events_requested is None else wishes.events_requested,
        description=wishes.description or "",
    )
    return changed(stream, whole, issuer=issuer, sealed=sealed)


def check_ours(document: Mapping[str, Any], stream: EventStream, *, issuer: Issuer) -> None:
    """Refuse a request that would change what is ours to say (§8.1.1.3).

    Raises:
        RequestError: `invalid_request`.
    """
    ours = render_stream(stream, issuer=issuer)
    for name in ("iss", "aud", "events_supported", "min_verification_interval"):
        if name in document and document[name] != ours[name]:
            raise invalid_request(f"{name} is the transmitter's to say, and is another")


def delivered(stream: EventStream) -> tuple[str, ...]:
    """The events the stream brings: those asked for that there are."""
    return tuple(event for event in EVENTS_SUPPORTED if event in stream.events_requested)


def render_stream(stream: EventStream, *, issuer: Issuer) -> dict[str, Any]:
    """The stream's configuration (§8.1.1)."""
    return {
        "stream_id": stream.stream_id,
        "iss": issuer,
        "aud": stream.client_id,
        "delivery": {"method": stream.method.value, "endpoint_url": stream.endpoint_url},
        "events_supported": list(EVENTS_SUPPORTED),
        "events_requested": list(stream.events_requested),
        "events_delivered": list(delivered(stream)),
        "min_verification_interval": MIN_VERIFICATION_SECONDS,
        **({"description": stream.description} if stream.description else {}),
    }


def with_status(stream: EventStream, document: Mapping[str, Any]) -> EventStream:
    """Return the stream with the status that was asked for (§8.1.2.2).

    Raises:
        RequestError: `invalid_request`.
    """
    status = _STATUSES.get(str(document.get("status")))
    if status is None:
        raise invalid_request(f"status must be one of {', '.join(_STATUSES)}")
    return replace(stream, status=status, status_reason=text_of(document, "reason") or "")


def render_status(stream: EventStream) -> dict[str, Any]:
    """The stream's status (§8.1.2.1)."""
    status = {"stream_id": stream.stream_id, "status": stream.status.value}
    return status | ({"reason": stream.status_reason} if stream.status_reason else {})


def text_of(document: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    """A text member, at most 1,000 characters.

    Raises:
        RequestError: `invalid_request`.
    """
    value = document.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or "\x00" in value or (required and not value):
        raise invalid_request(f"{name} must be a text of at most {_LONGEST_TEXT} characters")
    return value


def _header(value: str | None) -> Secret[str] | None:
    if value is None:
        return None
    if not value.isascii() or not value.isprintable():
        raise invalid_request("delivery.authorization_header must be printable ASCII")
    return Secret(value)
