"""The authorization endpoint's messages (RFC 6749 §3.1, §4.1; OIDC Core §3.1.2; RFC 7636, 8707, 9207, 9449 §10).

Two kinds of refusal, and the difference is the point: where `client_id` or `redirect_uri` is
not good, the answer is a page (`RequestError`; redirecting would make us an open redirector,
RFC 6749 §4.1.2.1); once both are good, it is a `RedirectedError`, which goes to the client.

Leaves to the caller: who the person is, whether they agree, the id token hint's signature,
and issuing the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any
from urllib.parse import urlencode

from portero.core.errors import RequestError
from portero.core.oauth.claims_parameter import ClaimsParameter, parse_claims_parameter
from portero.core.oauth.errors import invalid_request, on_the_wire
from portero.core.oauth.forms import Parameters
from portero.core.oauth.redirect_uris import matches_registered
from portero.core.oauth.token import GrantType, parse_resource, parse_scope
from portero.core.sessions.records import BrowserSession
from portero.core.transitions import Client, ClientType
from portero.core.types import ClientId, Digest, Issuer, NumericDate, Secret, Subject

MAX_CLIENT_ID = 512
MAX_REDIRECT_URI = 2000
MAX_STATE = 4096
MAX_NONCE = 512
MAX_HINT = 320
"""Characters: an e-mail address of the greatest length (RFC 5321 §4.5.3.1)."""
MAX_TOKENS = 16
"""Members of a space-separated list (`ui_locales`, `acr_values`)."""

PASSWORD_ACR = "urn:portero:password"
"""The person typed their password."""

_VSCHAR = re.compile(r"[\x20-\x7e]+")
_S256_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_JKT = _S256_CHALLENGE
_MAX_AGE = re.compile(r"[0-9]{1,9}")
_LOCALE = re.compile(r"[A-Za-z0-9-]{1,35}")
_UNREGISTERED = {
    # OIDC Core §6.1 and §7.2.1: what is not supported has an error of its own.
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}


class ResponseMode(Enum):
    """How the answer reaches the client. `fragment` is not offered: a code has no business in a fragment."""

    QUERY = "query"
    FORM_POST = "form_post"


class Prompt(Enum):
    """OIDC Core §3.1.2.1."""

    NONE = "none"
    LOGIN = "login"
    CONSENT = "consent"
    SELECT_ACCOUNT = "select_account"


@dataclass(frozen=True, slots=True)
class ResponseTarget:
    """Where an answer may go: a redirect URI that was matched against the registration."""

    redirect_uri: str
    response_mode: ResponseMode
    state: str | None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A validated authorization request. Holds no secret: the challenge is a digest."""

    client_id: ClientId
    target: ResponseTarget
    scope: tuple[str, ...]
    resource: tuple[str, ...] = ()
    """As asked for; empty: not narrowed."""
    nonce: str | None = None
    code_challenge: str | None = None
    """S256, the only method there is."""
    prompt: frozenset[Prompt] = frozenset()
    max_age: int | None = None
    """Seconds since the person last typed a password, at most."""
    login_hint: str | None = None
    ui_locales: tuple[str, ...] = ()
    acr_values: tuple[str, ...] = ()
    """Asked for, by the parameter or by `claims`; any of them, or none if none can be had (OIDC Core §3.1.2.1)."""
    essential_acr: tuple[str, ...] = ()
    """Insisted on (OIDC Core §5.5.1.1); one of them can be had. Empty: nothing is."""
    claims: str | None = None
    dpop_jkt: str | None = None
    expected_subject: Subject | None = None
    """From a verified `id_token_hint`, or `claims.id_token.sub.value`: nobody else will do."""


class RedirectedError(RequestError):
    """A refusal that goes to the client at its redirect URI. Nothing was committed."""

    def __init__(self, target: ResponseTarget, error: RequestError) -> None:
        super().__init__(error.error, error.description, detail=error.detail)
        self.target = target


def unverified_client_id(parameters: Parameters) -> ClientId:
    """Return the client the request claims to come from, to look up its registration.

    Raises:
        RequestError: `invalid_request`, for a page.
    """
    client_id = parameters.require("client_id")
    if len(client_id) > MAX_CLIENT_ID:
        raise invalid_request("client_id is too long")
    return ClientId(client_id)


def registered_client(client: Client | None) -> Client:
    """Return the client, when there is one and it may be served.

    Raises:
        RequestError: `unauthorized_client`, for a page.
    """
    if client is None or not client.enabled:
        raise RequestError("unauthorized_client", "this application is not registered here")
    return client


def response_target(parameters: Parameters, *, client: Client) -> ResponseTarget:
    """Decide where an answer to this request may go, errors included.

    Raises:
        RequestError: for a page: there is no place it is safe to redirect to.
        RedirectedError: `state` or `response_mode` is not good.
    """
    # OIDC Core §3.1.2.1 requires the parameter; RFC 6749 §3.1.2.3 would let a client with one
    # registered URI omit it, and then the code could not be bound to what the client believes.
    redirect_uri = parameters.require("redirect_uri")
    if len(redirect_uri) > MAX_REDIRECT_URI or not any(
        matches_registered(redirect_uri, registered=registered, client_type=client.client_type)
        for registered in client.redirect_uris
    ):
        raise invalid_request("redirect_uri is not one this application has registered")
    state = parameters.get("state")
    target = ResponseTarget(redirect_uri, ResponseMode.QUERY, None)
    # RFC 6749 appendix A.5: visible ASCII. What is not is refused, not sent back.
    if state is not None and (len(state) > MAX_STATE or not _VSCHAR.fullmatch(state)):
        raise RedirectedError(target, invalid_request(f"state must be at most {MAX_STATE} visible ASCII characters"))
    target = replace(target, state=state)
    mode = parameters.get("response_mode")
    if mode is None:
        return target
    try:
        return replace(target, response_mode=ResponseMode(mode))
    except ValueError:
        raise RedirectedError(target, invalid_request("response_mode may be query or form_post")) from None


def validate_authorization_request(
    parameters: Parameters, *, client: Client, target: ResponseTarget, offered_acr: tuple[str, ...]
) -> AuthorizationRequest:
    """Validate everything but the target.

    Args:
        offered_acr: the authentication context classes that this server can bring about.

    Does not check: `id_token_hint` (see `expecting`).

    Raises:
        RedirectedError: with the registered error.
    """
    try:
        return _validate(parameters, client=client, target=target, offered_acr=offered_acr)
    except RedirectedError:
        raise
    except RequestError as error:
        raise RedirectedError(target, error) from None


def unverified_id_token_hint(parameters: Parameters) -> Secret[str] | None:
    """Return the hint (OIDC Core §3.1.2.1), for the caller to verify."""
    hint = parameters.get("id_token_hint")
    return None if hint is None else Secret(hint)


def expecting(request: AuthorizationRequest, *, subject: Subject) -> AuthorizationRequest:
    """Return the request narrowed to one person.

    Raises:
        RedirectedError: `invalid_request`: it was narrowed to another already.
    """
    if request.expected_subject not in (None, subject):
        raise RedirectedError(request.target, invalid_request("id_token_hint and claims name different people"))
    return replace(request, expected_subject=subject)


def sign_in_suffices(
    request: AuthorizationRequest,
    *,
    browser: BrowserSession | None,
    authenticated: Digest | None,
    offered_acr: tuple[str, ...],
    now: NumericDate,
) -> bool:
    """Say whether the browser's sign-in answers the request without asking the person again.

    Args:
        offered_acr: as for `validate_authorization_request`.
        authenticated: the browser session that was made for this very request, when one was.
    """
    if browser is None or browser.ends <= now:
        return False
    if request.expected_subject not in (None, browser.subject):
        return False
    if authenticated is not None and authenticated == browser.id_digest:
        return True
    if Prompt.LOGIN in request.prompt or Prompt.SELECT_ACCOUNT in request.prompt:
        return False
    if not _context_suffices(request, browser.acr, offered_acr=offered_acr):
        return False
    # OIDC Core §3.1.2.1: max_age=0 is the same as prompt=login.
    return request.max_age is None or (request.max_age > 0 and now - browser.auth_time <= request.max_age)


def _context_suffices(request: AuthorizationRequest, acr: str, *, offered_acr: tuple[str, ...]) -> bool:
    """Say whether asking again could not bring about a better context than the sign-in has (RFC 9470 §5)."""
    wanted = request.essential_acr or request.acr_values
    return not wanted or acr in wanted or not set(wanted).intersection(offered_acr)


def require_essential_acr(request: AuthorizationRequest, *, acr: str) -> None:
    """Refuse a sign-in of another class than the client insists on, also one that was made for this very request.

    Raises:
        RedirectedError: `unmet_authentication_requirements` (OIDC Core §5.5.1.1, RFC 9470 §5).
    """
    if request.essential_acr and acr not in request.essential_acr:
        raise refused(request, "unmet_authentication_requirements", "the person signed in another way")


def refused(request: AuthorizationRequest, error: str, description: str) -> RedirectedError:
    """Build the refusal of a valid request: `login_required`, `consent_required`, `access_denied`, …"""
    return RedirectedError(request.target, RequestError(error, description))


def code_response(target: ResponseTarget, *, code: Secret[str], iss: Issuer) -> Mapping[str, str]:
    """The members of a successful answer (RFC 6749 §4.1.2, RFC 9207 §2)."""
    return {"code": code.reveal(), **_always(target, iss=iss)}


def error_response(error: RedirectedError, *, iss: Issuer) -> Mapping[str, str]:
    """The members of a refusal (RFC 6749 §4.1.2.1; `iss` too, RFC 9207 §2)."""
    return {
        "error": error.error,
        "error_description": on_the_wire(error.description),
        **_always(error.target, iss=iss),
    }


def response_location(target: ResponseTarget, members: Mapping[str, str]) -> str:
    """The URI that carries the answer in its query, the registered query kept (RFC 6749 §3.1.2)."""
    separator = "&" if "?" in target.redirect_uri else "?"
    return f"{target.redirect_uri}{separator}{urlencode(members)}"


def request_to_json(request: AuthorizationRequest) -> str:
    """Write a validated request, to be kept while the person signs in."""
    members = asdict(request)
    members["target"]["response_mode"] = request.target.response_mode.value
    members["prompt"] = sorted(prompt.value for prompt in request.prompt)
    return json.dumps(members, separators=(",", ":"))


def request_from_json(text: str) -> AuthorizationRequest:
    """Read what `request_to_json` wrote. Our own store is trusted: anything else in it is a bug, and raises."""
    members: dict[str, Any] = json.loads(text)
    target = members.pop("target")
    members["target"] = ResponseTarget(
        target["redirect_uri"], response_mode=ResponseMode(target["response_mode"]), state=target["state"]
    )
    members["prompt"] = frozenset(Prompt(value) for value in members["prompt"])
    for name in ("scope", "resource", "ui_locales", "acr_values", "essential_acr"):
        members[name] = tuple(members.get(name, ()))
    return AuthorizationRequest(**members)


def _always(target: ResponseTarget, *, iss: Issuer) -> Mapping[str, str]:
    return {"iss": iss} if target.state is None else {"state": target.state, "iss": iss}


def _validate(
    parameters: Parameters, *, client: Client, target: ResponseTarget, offered_acr: tuple[str, ...]
) -> AuthorizationRequest:
    for name, error in _UNREGISTERED.items():
        if name in parameters:
            raise RequestError(error, f"the parameter {name} is not supported")
    if parameters.require("response_type") != "code":
        raise RequestError("unsupported_response_type", "response_type may be code")
    if GrantType.AUTHORIZATION_CODE.value not in client.grant_types:
        raise RequestError("unauthorized_client", "this client may not use authorization codes")
    claims = parameters.get("claims")
    asked = ClaimsParameter() if claims is None else parse_claims_parameter(claims)
    if asked.essential_acr and not set(asked.essential_acr).intersection(offered_acr):
        # OIDC Core §5.5.1.1: "MUST treat that outcome as a failed authentication attempt"; RFC 9470 §5 names the code.
        raise RequestError("unmet_authentication_requirements", f"acr may be {', '.join(offered_acr)}")
    return AuthorizationRequest(
        client_id=client.client_id,
        target=target,
        scope=_scope(parameters, client=client),
        resource=_resource(parameters, client=client),
        nonce=_visible(parameters, "nonce", limit=MAX_NONCE),
        code_challenge=_code_challenge(parameters, client=client),
        prompt=_prompt(parameters),
        max_age=_max_age(parameters),
        login_hint=_bounded(parameters, "login_hint", limit=MAX_HINT),
        ui_locales=tuple(tag for tag in _tokens(parameters, "ui_locales") if _LOCALE.fullmatch(tag)),
        acr_values=_tokens(parameters, "acr_values") + asked.acr_values,
        essential_acr=asked.essential_acr,
        claims=claims,
        dpop_jkt=_dpop_jkt(parameters),
        expected_subject=asked.subject,
    )


def _scope(parameters: Parameters, *, client: Client) -> tuple[str, ...]:
    scope = parse_scope(parameters.get("scope"))
    # RFC 6749 §3.3: an omitted scope has a default or is refused. A default would hand out all
    # that the client may ever have to a client that asked for nothing.
    if scope is None:
        raise RequestError("invalid_scope", "scope is missing: name at least one")
    if not set(scope) <= set(client.scope):
        raise RequestError("invalid_scope", "the scope exceeds what this client may ask for")
    return scope


def _resource(parameters: Parameters, *, client: Client) -> tuple[str, ...]:
    resource = parse_resource(parameters)
    if not set(resource) <= set(client.audiences):
        raise RequestError("invalid_target", "resource names something this client may not ask for")
    return resource


def _code_challenge(parameters: Parameters, *, client: Client) -> str | None:
    challenge = parameters.get("code_challenge")
    method = parameters.get("code_challenge_method")
    if challenge is None:
        if method is not None:
            raise invalid_request("code_challenge_method without code_challenge")
        # RFC 7636 §4.4.1; RFC 9700 §2.1.1: public clients MUST use PKCE.
        if client.client_type is ClientType.PUBLIC or client.require_pkce:
            raise invalid_request("code_challenge is missing")
        return None
    # RFC 7636 §4.3: an absent method means `plain`, which shows the verifier to whoever sees the request.
    if method != "S256":
        raise invalid_request("code_challenge_method must be S256")
    if not _S256_CHALLENGE.fullmatch(challenge):
        raise invalid_request("code_challenge must be 43 base64url characters")
    return challenge


def _prompt(parameters: Parameters) -> frozenset[Prompt]:
    values = _tokens(parameters, "prompt")
    try:
        prompt = frozenset(Prompt(value) for value in values)
    except ValueError:
        raise invalid_request(f"prompt may be {', '.join(prompt.value for prompt in Prompt)}") from None
    if Prompt.NONE in prompt and len(prompt) > 1:
        raise invalid_request("prompt none goes with no other value")
    return prompt


def _max_age(parameters: Parameters) -> int | None:
    value = parameters.get("max_age")
    if value is None:
        return None
    if not _MAX_AGE.fullmatch(value):
        raise invalid_request("max_age must be a number of seconds")
    return int(value)


def _dpop_jkt(parameters: Parameters) -> str | None:
    value = parameters.get("dpop_jkt")
    if value is not None and not _JKT.fullmatch(value):
        raise invalid_request("dpop_jkt must be 43 base64url characters")
    return value


def _tokens(parameters: Parameters, name: str) -> tuple[str, ...]:
    value = parameters.get(name)
    if value is None:
        return ()
    tokens = tuple(dict.fromkeys(value.split()))
    if len(tokens) > MAX_TOKENS or len(value) > MAX_TOKENS * 128:
        raise invalid_request(f"{name} has more than {MAX_TOKENS} values, or is too long")
    return tokens


def _visible(parameters: Parameters, name: str, *, limit: int) -> str | None:
    value = _bounded(parameters, name, limit=limit)
    if value is not None and not _VSCHAR.fullmatch(value):
        raise invalid_request(f"{name} must be visible ASCII")
    return value


def _bounded(parameters: Parameters, name: str, *, limit: int) -> str | None:
    value = parameters.get(name)
    if value is not None and len(value) > limit:
        raise invalid_request(f"{name} is longer than {limit} characters")
    return value
