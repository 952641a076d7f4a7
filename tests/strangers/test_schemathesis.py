"""Schemathesis, unmodified, reads the API's own OpenAPI document and finds nothing that is not true of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import InvalidArgument, Unsatisfiable
from schemathesis import GenerationMode

from portero.core.sessions.records import DeviceSession
from portero.core.tokens.access_token import TYP
from portero.core.transitions import SessionKey
from portero.core.types import ClientId, NumericDate, Sid, Subject
from tests.strangers.world import CONFIDENTIAL, SERVICE, World

SUBJECT = Subject("u-schema")


@pytest.fixture(scope="module")
def api(world: World) -> Any:
    """The document, as the server gives it to anybody."""
    world.person("schema")
    world.register(replace(SERVICE, client_id=ClientId("console"), scope=("operator",), audiences=(world.issuer,)))
    world.register(
        replace(CONFIDENTIAL, client_id=ClientId("account-page"), scope=("account",), audiences=(world.issuer,))
    )
    return schemathesis.openapi.from_url(f"{world.issuer}/api/openapi.json")


def test_the_document_is_true(world: World, api: Any) -> None:
    """Every status, header and body is one the document names, whatever is sent; what it forbids is refused."""
    operations = [found.ok() for found in api.get_all_operations()]
    for operation in operations:
        examined(operation, world)

    assert len(operations) == 20


def examined(operation: Any, world: World) -> None:
    make_token = operator_token if "/operator/" in operation.path else person_token

    for mode in GenerationMode:  # what the document allows, and what it does not
        with suppress(InvalidArgument, Unsatisfiable):  # nothing can be wrong where nothing is taken

            @settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def law(case: Any) -> None:
                case.call_and_validate(headers={"authorization": f"Bearer {make_token(world)}"})

            law()


def person_token(world: World) -> str:
    """An access token of a fresh session, so that one case's sign-out is not the next one's 401."""
    now = world.context.now()
    sid = Sid(world.context.random.bytes(8).hex())
    times = [NumericDate(now + seconds) for seconds in (0, 0, 300, 9000, 9000)]
    session = DeviceSession(sid, None, SUBJECT, ClientId("account-page"), "Firefox · Linux", "", *times)
    world.put(SessionKey(sid), session)
    return signed(world, client_id="account-page", sub=SUBJECT, scope="account", sid=sid)


def operator_token(world: World) -> str:
    """An access token of a program for itself."""
    return signed(world, client_id="console", sub="console", scope="operator")


def signed(world: World, **claims: str) -> str:
    now = world.context.now()
    times = {"iat": now, "exp": now + 300, "jti": world.context.random.bytes(8).hex()}
    return world.context.key_ring.sign({"iss": world.issuer, "aud": world.issuer, **times, **claims}, typ=TYP)
