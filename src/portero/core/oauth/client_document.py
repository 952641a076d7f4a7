"""Client id metadata documents (draft-ietf-oauth-client-id-metadata-document-01): a URL is the client's id.

Nobody registered the client: the document at the URL says what it is, and whoever controls the
URL controls the client. So there are no shared secrets (§4.1), the document must name its own URL, and a
person is shown the host. How long it is believed is the document's own say, within bounds.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from portero.core.errors import RequestError
from portero.core.jose.strict_json import StrictJsonError, parse_object
from portero.core.oauth.client_authentication import AuthenticationMethod
from portero.core.oauth.client_metadata import RegistrationTerms, client_of_metadata
from portero.core.transitions import Client
from portero.core.types import ClientId, NumericDate

MAX_BYTES: Final = 5 * 1024
METHODS: Final = (AuthenticationMethod.NONE, AuthenticationMethod.PRIVATE_KEY_JWT)
SHORTEST: Final = 300
LONGEST: Final = 86_400
USUAL: Final = 3_600
"""Seconds a document is believed: at least, at most, and where it does not say."""
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})")
_SECRETS: Final = ("client_secret", "client_secret_expires_at")


def is_document_url(client_id: str, *, hosts: tuple[str, ...], insecure_loopback: bool = False) -> bool:
    """Say whether a client id is a URL whose document may be asked for.

    Args:
        hosts: those an operator named; `*` means any.
        insecure_loopback: http on this machine too, for development.
    """
    if not client_id.isascii() or not client_id.isprintable() or len(client_id) > 512 or set(client_id) & set(' \\#"'):
        return False
    try:
        url = urlsplit(client_id)
        host, _ = url.hostname, url.port
    except ValueError:
        return False
    # §3: https, a path, no fragment, no user name, no dot segments.
    secure = url.scheme == "https" or (
        insecure_loopback and url.scheme == "http" and host in ("localhost", "127.0.0.1")
    )
    segments = url.path.split("/")
    if not secure or not host or "@" in url.netloc or url.path in ("", "/") or "." in segments or ".." in segments:
        return False
    return "*" in hosts or host in hosts


def client_of_document(
    client_id: ClientId, *, status: int, body: bytes, terms: RegistrationTerms, now: NumericDate
) -> Client:
    """Read the document of a client.

    Raises:
        RequestError: `invalid_client_metadata`, `invalid_redirect_uri`: it is none, or not this client's.
    """
    if status != 200:
        raise RequestError("invalid_client_metadata", "the client's document cannot be had", detail=f"status {status}")
    try:
        members = parse_object(body)
    except StrictJsonError:
        raise RequestError("invalid_client_metadata", "the client's document is no JSON object") from None
    # §4.1: compared as text, so that one document speaks for one URL.
    if members.get("client_id") != client_id:
        raise RequestError("invalid_client_metadata", "the client's document names another client_id")
    if any(name in members for name in _SECRETS):
        raise RequestError("invalid_client_metadata", "the client's document holds a shared secret")
    return client_of_metadata(members, client_id=client_id, secret_digest=None, terms=terms, now=now)


def believed_for(cache_control: str | None) -> int:
    """How many seconds a document is believed, from its `Cache-Control` (RFC 9111 §5.2.2.1)."""
    text = (cache_control or "").lower()
    if "no-store" in text or "no-cache" in text:
        return SHORTEST
    found = _MAX_AGE.search(text)
    return USUAL if found is None else max(SHORTEST, min(LONGEST, int(found[1])))
