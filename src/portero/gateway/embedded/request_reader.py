"""Reads one request's head: what the gateway keeps of llhttp's reading, and what it refuses beyond it (RFC 9112).

Bodies are framed here, and never by llhttp: the parser is made anew after a request that has one.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, cast

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from portero.gateway import failures
from portero.gateway.embedded.chunks import ChunkReader
from portero.gateway.embedded.head_rules import NAMES, Kind, kind_of, without
from portero.gateway.embedded.plans import LONGEST_KEPT
from portero.gateway.failures import Failure, bad_request

if TYPE_CHECKING:
    from portero.gateway.embedded.worker import Worker

_LENGTH: Final = re.compile(rb"[0-9]{1,18}\Z")
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{1,5})?\Z")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._=+/:-]{8,128}\Z")
_TRACE: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_OF_EVERY_REQUEST: Final = frozenset({Kind.DROP, Kind.READ, Kind.FORWARDED_FOR})
"""Of the headers looked at by name, those that change nothing but what is sent on."""
_LONGEST_KNOWN: Final = 4096
_VERSION: Final = b" HTTP/1.1"
_HOSTS: dict[bytes, bytes] = {}
_MOST_HOSTS: Final = 1024


class RequestReader(asyncio.Protocol):
    """What is known of the request under way."""

    __slots__ = (
        "_believed", "_block", "_body_left", "_chunks", "_connection", "_content_length", "_forwarded_for",
        "_host", "_known", "_lines", "_middle", "_parser", "_peer", "_peer_block", "_rare", "_read",
        "_received", "_trace", "_transfer_coding", "_trusted", "_twice", "_underscored", "_upgrade", "_whole",
        "address", "authorization", "body_done", "body_until", "by_dpop", "by_page", "caller", "closes",
        "cookies", "dpop", "expects", "is_old", "memo", "request_id", "worker",
    )  # fmt: skip

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.address = ""
        """The peer's."""
        self.closes = False
        """Whether the connection ends with the present answer."""
        self.is_old = False
        """Whether the client speaks HTTP/1.0."""
        self.body_done = True
        self.body_until = 0.0
        self._trusted = False
        self._chunks: ChunkReader | None = None
        self._body_left = self._received = 0
        self._block = b""
        self._peer = b""
        self._peer_block = b""
        """What a server is told about the peer, ready to be written."""
        self._parser = HttpRequestParser(self)
        self._clear()

    def _clear(self) -> None:
        self._lines: list[bytes] = []
        self.authorization: bytes | None = None
        self._host: bytes | None = None
        self._content_length: bytes | None = None
        self._transfer_coding: bytes | None = None
        self._connection: bytes | None = None
        self._upgrade: bytes | None = None
        self.request_id = b""
        self._trace: bytes | None = None
        self._read: dict[bytes, bytes] | None = None
        self._believed: list[tuple[bytes, bytes]] | None = None
        self.cookies: list[bytes] | None = None
        self.dpop: list[bytes] | None = None
        self._forwarded_for: bytes | None = None
        self.caller = self._peer
        """Whose request it is, for rates and the log: the peer's address, or what a trusted proxy says of it."""
        self.expects = self._twice = self._whole = self._underscored = False
        self.by_dpop = self.by_page = self._rare = False
        self._known = b""
        """What follows the target in a head that may come again with another one (`keep_head`)."""
        self._middle = b""
        self.memo: dict[str, Any] | None = None

    # ── llhttp's calls ───────────────────────────────────────────────────────────────

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        kind = NAMES.get(name)
        if kind is None:
            kind = kind_of(name)
        if kind == 0:
            self._lines += (name, b": ", value, b"\r\n")
        elif kind == 2:
            self._twice = self._twice or self._host is not None
            self._host = value
        elif kind == 3:
            self._twice = self._twice or self.authorization is not None
            self.authorization = value
        else:
            self._rare_header(kind, name, value)

    def _rare_header(self, kind: int, name: bytes, value: bytes) -> None:
        value = value.rstrip(b" \t")
        if kind not in _OF_EVERY_REQUEST and not (kind == Kind.CONNECTION and value.lower() == b"keep-alive"):
            self._rare = True
        if kind == Kind.CONNECTION:
            self._connection = value if self._connection is None else self._connection + b"," + value
        elif kind == Kind.CONTENT_LENGTH:
            self._twice = self._twice or self._content_length is not None
            self._content_length = value
        elif kind == Kind.TRANSFER_ENCODING:
            self._twice = self._twice or self._transfer_coding is not None
            self._transfer_coding = value
        elif kind == Kind.READ:
            self._read = self._read or {}
            lower = name.lower()
            self._twice = self._twice or (lower == b"origin" and lower in self._read)
            self._read[lower] = self._read[lower] + b", " + value if lower in self._read else value
            if lower != b"sec-websocket-protocol":
                self._lines += (name, b": ", value, b"\r\n")
        elif kind == Kind.COOKIE:
            self.cookies = self.cookies or []
            self.cookies.append(value)
        elif kind == Kind.DPOP:
            self.dpop = self.dpop or []
            self.dpop.append(value)
        elif kind == Kind.EXPECT:
            self.expects = True
            self._twice = self._twice or value.lower() != b"100-continue"
        elif kind == Kind.UPGRADE:
            self._upgrade = value if self._upgrade is None else self._upgrade + b"," + value
        elif kind == Kind.REFUSED:
            self._underscored = True
        elif self._trusted:
            if kind == Kind.REQUEST_ID and _REQUEST_ID.match(value):
                self.request_id = value
            elif kind == Kind.TRACEPARENT and _TRACE.match(value):
                self._trace = value
            elif kind == Kind.FORWARDED_FOR:
                self._forwarded_for = value if self._forwarded_for is None else self._forwarded_for + b", " + value
            self._believed = self._believed or []
            self._believed.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The end of the head."""
        self._whole = True

    # ── one head ─────────────────────────────────────────────────────────────────────

    def checked(self, head: bytes) -> tuple[bytes, bytes]:
        """Read a head, and refuse what llhttp lets through.

        Returns:
            Method and path, and the query.
        """
        upgrade = False
        try:
            self._parser.feed_data(head)
        except HttpParserUpgrade:
            upgrade = True
        except HttpParserInvalidMethodError:
            self._parser = HttpRequestParser(self)
            word = head.split(b" ", 1)[0]
            raise (failures.UNKNOWN_METHOD if word.isupper() else bad_request("The method is malformed.")) from None
        except HttpParserError:
            raise bad_request("The request is malformed.") from None
        if not self._whole:
            raise bad_request("The request is malformed.")
        line = head[: head.find(b"\r\n")]
        version = line[-9:]
        self.is_old = False
        if version != _VERSION:
            # HTTP/0.9 has no headers, and llhttp takes it.
            if version != b" HTTP/1.0":
                raise bad_request("The request line is malformed.")
            self.is_old = True
        target = line[:-9]
        query = b""
        if b"?" in target:
            target, _, query = target.partition(b"?")
            if b"#" in query:
                raise bad_request("The request target has a fragment.")
            if b"\n" in query or b" " in query:
                # llhttp ends the line of HTTP/0.9 at a bare LF, and reads on: a server would see a header there.
                raise bad_request("The request line is malformed.")
        if self._twice:
            raise self._repeated()
        host = self._host
        if host is None:
            if not self.is_old:
                raise bad_request("The request has no Host.")
            host = b"localhost"
        block = _HOSTS.get(host)
        if block is None:
            block = _host_block(host)
        self._block = block
        if self._forwarded_for is not None:
            self.caller = self.worker.bounds.caller_in(self._forwarded_for) or self._peer
        if len(head) > 400 and head.count(b"\n") - 2 > self.worker.bounds.headers:
            raise failures.TOO_LARGE_HEAD
        if self._underscored:
            raise bad_request("A header's name has an underscore.")
        self.closes = self.is_old or self.worker.draining
        self.body_done = True
        self._chunks = None
        self._body_left = 0
        if self._content_length is not None or self._transfer_coding is not None or upgrade:
            self._framing()
        connection = self._connection
        if connection is not None:
            self._hop_by_hop(connection.lower())
        else:
            self._upgrade = None
        return target, query

    def keep_head(self, head: bytes) -> None:
        """Keep a head that was read: a client's next one is most often the same but for its target.

        What llhttp read of these bytes it would read of them again, so a head of the same bytes behind another target
        (one that llhttp took as well) keeps what is known here. Not one that frames a body, upgrades, ends the
        connection, or carries what counts for one request.
        """
        known = head[head.find(b"\r\n") - len(_VERSION) :]
        if len(known) <= _LONGEST_KNOWN and len(head) + LONGEST_KEPT <= self.worker.bounds.header_bytes:
            self._known = known

    def forget_head(self) -> None:
        """Read the next one anew, whatever it is: the limits may be others now."""
        self._known = b""

    def middle(self) -> bytes:
        """The part of the head sent on that is the same for every target: the client's own headers, and the peer."""
        if not self._middle:
            peer = self._peer_block if self._forwarded_for is None else self._behind_proxy()
            self._middle = b"".join((self._block, *self._lines, peer))
        return self._middle

    def _repeated(self) -> Failure:
        if self.expects:
            return failures.UNKNOWN_EXPECTATION
        return bad_request("A header that counts once is repeated.")

    def _framing(self) -> None:
        """How long the body is (RFC 9112 §6.3). The parser is made anew after it: bodies are not llhttp's here."""
        self._parser = HttpRequestParser(self)
        if self._transfer_coding is not None:
            if self._content_length is not None or self.is_old:
                raise bad_request("The request's length can be read in two ways.")
            if self._transfer_coding.lower() != b"chunked":
                raise failures.UNKNOWN_CODING
            self._chunks = ChunkReader()
            self.body_done = False
            self._received = 0
        elif self._content_length is not None:
            if _LENGTH.match(self._content_length) is None:
                raise bad_request("The request's length is malformed.")
            self._body_left = int(self._content_length)
            self.body_done = self._body_left == 0
            if self._body_left > (self.worker.bounds.body_bytes or self._body_left):
                raise failures.TOO_LARGE_BODY
        if not self.body_done:
            self.body_until = self.worker.now() + self.worker.bounds.body_within

    def _hop_by_hop(self, connection: bytes) -> None:
        named = {name.strip() for name in connection.split(b",")}
        if b"close" in named:
            self.closes = True
        if b"upgrade" not in named:
            self._upgrade = None
        named -= {b"close", b"keep-alive", b"upgrade", b""}
        if named:
            self._lines = without(self._lines, named)

    # ── what it said ─────────────────────────────────────────────────────────────────

    def header(self, name: str) -> str | None:
        """A header by its name in lower case, for who decides by hand; several are joined as HTTP joins them."""
        wanted = name.encode("latin-1")
        if wanted == b"authorization":
            return None if self.authorization is None else self.authorization.decode("latin-1")
        if wanted == b"cookie":
            return b"; ".join(self.cookies).decode("latin-1") if self.cookies else None
        if wanted == b"dpop":
            return b", ".join(self.dpop).decode("latin-1") if self.dpop else None
        if self._read is not None and wanted in self._read:
            return self._read[wanted].decode("latin-1")
        lines = self._lines
        found = [lines[n + 2] for n in range(0, len(lines), 4) if lines[n].lower() == wanted]
        found += [value for known, value in self._believed or () if known == wanted]
        return b", ".join(found).decode("latin-1") if found else None

    @property
    def origin(self) -> bytes | None:
        """The page's origin, where a page asks."""
        return None if self._read is None else self._read.get(b"origin")

    @property
    def websocket_headers(self) -> dict[bytes, bytes]:
        """The handshake's own headers, by name in lower case."""
        return self._read or {}

    def _behind_proxy(self) -> bytes:
        scheme = next(
            (v for n, v in self._believed or () if n == b"x-forwarded-proto" and v in (b"http", b"https")), None
        )
        if scheme is None:
            scheme = b"https" if self.worker.bounds.is_https else b"http"
        known = cast("bytes", self._forwarded_for)
        return b"x-forwarded-for: %b, %b\r\nx-forwarded-proto: %b\r\n" % (known, self.address.encode(), scheme)


def _host_block(host: bytes) -> bytes:
    if _HOST.match(host.rstrip(b" \t")) is None:
        raise bad_request("The Host is malformed.")
    host = host.rstrip(b" \t")
    block = b"host: %b\r\nx-forwarded-host: %b\r\n" % (host, host)
    if len(_HOSTS) < _MOST_HOSTS:
        _HOSTS[host] = block
    return block
