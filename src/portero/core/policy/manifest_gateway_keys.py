"""The keys of `[gateway]` and what services and routes say for the gateway: parts of `manifest_keys.MANIFEST`."""

from __future__ import annotations

from typing import Final

from portero.core.policy.manifest_kinds import ByName, Duration, Flag, Key, Number, Table, Text, Texts

_ADDRESS: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/]+):[0-9]{1,5}"
_PATH: Final = r"/[^\s?#]*"
_ORIGIN: Final = r"https?://[^/?#\s@]+"
_URL: Final = r"https?://[^/?#\s@]+[^?#\s]*"
_HEADER: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

_FILE = Text(expected="the name of a file")
_RATE = Text(r"[1-9][0-9]{0,8}/[sm]", 'requests a second or a minute, such as "100/s" or "600/m"')

TLS = Table(
    {
        "certificate": Key(_FILE, "The certificate and its chain, PEM.", required=True),
        "key": Key(_FILE, "Its private key, PEM.", required=True),
    }
)

LIMITS = Table(
    {
        "header_bytes": Key(Number(1024, 262_144), "Request line and headers together; above: 431.", "32768"),
        "headers": Key(Number(10, 1000), "How many headers; above: 431.", "100"),
        "body_bytes": Key(Number(0, 2**40), "Of a request; above: 413. 0: no limit.", "10485760"),
        "connections": Key(Number(1, 1_000_000), "At once.", "10000"),
        "connections_per_client": Key(
            Number(0, 1_000_000), "At once, of one address. 0: no limit. Embedded engine only.", "0"
        ),
    }
)

TIMEOUTS = Table(
    {
        "headers": Key(Duration(), "Until the request's headers are complete; then 408.", '"10s"'),
        "request": Key(Duration(), "Until the request's body is complete; then 408.", '"60s"'),
        "connect": Key(Duration(), "Until an upstream accepts the connection; then 504.", '"2s"'),
        "response": Key(Duration(), "Until the answer is complete, on routes that are no stream; then 504.", '"30s"'),
        "idle": Key(Duration(), "A kept-alive connection without a request.", '"60s"'),
        "stream_idle": Key(Duration(), "A stream on which nothing moves.", '"5m"'),
    }
)

RATE_LIMITS = Table(
    {
        "per_client": Key(
            _RATE, "Of one network address, behind a trusted proxy of the one it names; above: 429.", "no limit"
        ),
        "per_subject": Key(
            _RATE, "Of one verified subject; above: 429. The embedded engine counts in each worker.", "no limit"
        ),
    }
)

COOKIE = Table(
    {
        "name": Key(
            Text(_HEADER, "the name of a cookie"), "The cookie that holds the token.", '"__Host-portero-access"'
        ),
        "header": Key(
            Text(_HEADER, "the name of a header"), "Must come along on all but WebSocket handshakes.", '"x-portero"'
        ),
        "origins": Key(
            Texts(Text(_ORIGIN, "an origin such as https://shop.example")),
            "Pages that may use the cookie.",
            "the service's `cors_origins`",
        ),
    }
)

GATEWAY = Table(
    {
        "listen": Key(
            Text(_ADDRESS, "host:port, such as 127.0.0.1:8000"),
            "Where the gateway listens.",
            required=True,
        ),
        "prefix": Key(
            ByName(Text(r"/[^\s?#]+", "a path such as /api"), "a service"),
            "Service → what stands before its paths outside; taken off before the request is sent on.",
            "none",
        ),
        "issuer": Key(
            Text(_URL, "an https URL, or http on this machine"),
            "The gateway's own identifier, `iss` of what it tells services in the layout `gateway`. To be given there "
            "unless it listens on this machine only.",
            "its own address",
        ),
        "jwks_uri": Key(
            Text(_URL, "an https URL, or http on this machine"),
            "Where services fetch the keys of the gateway's assertions.",
            "`/.well-known/portero-gateway/jwks.json` at `issuer`",
        ),
        "keys_file": Key(
            _FILE,
            "Private keys of the assertions, shared by all replicas; made when missing.",
            '"portero-gateway.keys"',
        ),
        "admin": Key(
            Text(_ADDRESS, "host:port, such as 127.0.0.1:9100"),
            "Where `/livez`, `/readyz` and `/metrics` are served; not for the public.",
            '"127.0.0.1:9100"',
        ),
        "trusted_proxies": Key(
            Texts(Text(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?", "an address or a network, such as 10.0.0.0/8")),
            "Whose `X-Forwarded-*` are believed.",
            "nobody's",
        ),
        "workers": Key(Number(1, 256), "Processes (embedded) or threads (Envoy).", "1"),
        "drain": Key(Duration(), "How long a stop waits for requests that run.", '"10s"'),
        "retries": Key(Number(0, 3), "How often a request that may be repeated is tried on another connection.", "1"),
        "otlp": Key(
            Text(_ORIGIN, "the origin of a collector, such as http://127.0.0.1:4317"),
            "Where spans are sent (OpenTelemetry, gRPC).",
            "nowhere",
        ),
        "tls": Key(TLS, "The listener's certificate.", "plain HTTP"),
        "limits": Key(LIMITS, "How much one request or client may be."),
        "timeouts": Key(TIMEOUTS, "How long each phase may take."),
        "rate_limits": Key(RATE_LIMITS, "How often one caller may come."),
    }
)

OF_SERVICE: Final = {
    "health": Key(
        Text(_PATH, "a path such as /readyz"),
        "Asked of each upstream; one that fails gets no requests.",
        "not asked",
    ),
    "balance": Key(Text(choices=("round_robin", "least_connections")), "How requests are spread.", '"round_robin"'),
    "protocol": Key(Text(choices=("http1", "http2")), "Spoken with the upstreams; gRPC needs `http2`.", '"http1"'),
    "upstream_ca": Key(_FILE, "Certificates that vouch for https upstreams, PEM.", "the system's"),
    "cookie": Key(COOKIE, "Which cookie may carry the token, on routes with `cookie = true`."),
}

OF_ROUTE: Final = {
    "cookie": Key(Flag(), "The service's cookie may carry the token here.", "false"),
    "stream": Key(Flag(), "WebSocket, event or gRPC stream: ended by the gateway when the token is over.", "false"),
    "timeout": Key(Duration(), "Until the answer is complete.", "`[gateway.timeouts] response`"),
}
