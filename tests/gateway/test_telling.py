"""What a gateway says of its requests: the same words in the access log and in the metrics, whatever its engine."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.gateway.world import ORDERS, STOCK, World

REFUSED = rb'portero_gateway_refusals_total\{case="(\w+)"\} (\d+)'


def asked(world: World, mark: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Method and target, what else the request has, and what the log says of it. The last is served."""
    good, other = world.token(), world.token(scope="x")
    order = {"service": "orders", "route": "GET /orders/{id}"}
    return [
        (f"GET /api/orders/{mark}?x=secret", {"token": good}, {**order, "status": 200, "reason": ""}),
        (f"GET /stock/{mark}", {"token": world.token(aud=STOCK)}, {"service": "stock", "route": "", "reason": ""}),
        (f"GET /api/orders/{mark}", {}, {**order, "status": 401, "reason": "no_token"}),
        (f"GET /api/orders/{mark}", {"token": world.token(exp=1000)}, {"status": 401, "reason": "invalid_token"}),
        (f"GET /api/orders/{mark}", {"token": world.token(aud="x")}, {"status": 401, "reason": "invalid_token"}),
        (f"GET /api/orders/{mark}", {"token": f"{good}, Bearer {good}"}, {"status": 400, "reason": "two_tokens"}),
        (f"GET /api/orders/{mark}", {"token": other}, {**order, "status": 403, "reason": "insufficient_scope"}),
        (f"DELETE /api/{mark}", {"token": good}, {"service": "orders", "status": 403, "reason": "not_permitted"}),
        (f"GET /{mark}", {"token": good}, {"service": "", "route": "", "status": 403, "reason": "not_permitted"}),
        (f"GET /api/recent?{mark}", {"token": world.token(auth_time=1000)},
         {"route": "GET /recent", "status": 401, "reason": "sign_in_not_enough"}),
        (f"GET /api/%2e%2e/{mark}", {"token": good}, {"status": 400, "reason": "bad_request"}),
        (f"GET /api/orders/{mark}-last", {"token": good}, {**order, "status": 200, "reason": ""}),
    ]  # fmt: skip


def refusals(world: World) -> dict[str, int]:
    _, body = world.gateway.ask("/metrics")
    return {case.decode(): int(count) for case, count in re.findall(REFUSED, body)}


def test_every_engine_says_the_same_of_the_same_request(gateway: World) -> None:
    """Path as it was asked for, without its query; service, route, status and reason; and each refusal is counted."""
    mark = f"said-{len(gateway.gateway.log.read_bytes())}"
    expected = asked(gateway, mark)
    # What was said before this line is of other tests, and may be written a moment later.
    gateway.gateway.request("GET", f"/api/orders/{mark}-first", token=gateway.token())
    before = refusals(gateway)
    for line, more, _ in expected:
        gateway.gateway.request(*line.split(" "), **more)
    log = gateway.gateway.wait_for_log(f"{mark}-last".encode()).decode().partition(f"{mark}-first")[2]

    said = [json.loads(line) for line in log.splitlines()[1:] if line.startswith("{")]
    for one, (line, _, wanted) in zip(said, expected, strict=True):
        assert {name: one[name] for name in wanted} == wanted, line
        assert one["method"] == line.split(" ")[0]
        assert "secret" not in str(one)
        if wanted["reason"] != "bad_request":
            assert one["path"] == line.split(" ")[1].partition("?")[0]
    counted: dict[str, int] = {}
    for reason in (wanted["reason"] for _, _, wanted in expected):
        if reason:
            counted[reason] = counted.get(reason, 0) + 1
    after = refusals(gateway)
    assert {case: after[case] - before.get(case, 0) for case in after if after[case] > before.get(case, 0)} == counted


def test_a_service_that_does_not_answer_is_named_in_the_log(hybrid: World) -> None:
    """And the answer that did not come is counted for it."""
    hybrid.orders.answer_next(b"nonsense\r\n\r\n")
    hybrid.gateway.request("POST", "/api/files/nonsense", token=hybrid.token(aud=ORDERS, scope="files:write"))

    hybrid.gateway.wait_for_log(b'"upstream_nonsense"')
    failures = rb'portero_gateway_upstream_failures_total\{service="orders"\} (\d+)'
    (count,) = re.findall(failures, hybrid.gateway.ask("/metrics")[1])
    assert int(count) > 0
