"""What can go wrong for a client: one class for each case, a stable `code`, and a `reason`.

The codes are those of the browser library. No message ever holds a token, a code or a verifier.
"""

from __future__ import annotations

from typing import Any, ClassVar

from portero.core.errors import PorteroError


class ClientError(PorteroError):
    """Base of every error of the client.

    Args:
        reason: a short word or sentence; never a secret.
    """

    code: ClassVar[str] = "client_error"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{self.code}: {reason}")
        self.reason = reason


class SignInRequired(ClientError):
    """There is no session (any more): the person has to sign in. `reason` says why."""

    code = "sign_in_required"


class RefreshUnavailable(ClientError):
    """The token has to be refreshed and cannot be right now. The session is kept; try again.

    `retry_after`: seconds until it is worth trying, where that is known. `error`: the server's own word, where it is
    this client, and not the session, that it refuses.
    """

    code = "refresh_unavailable"

    def __init__(self, reason: str, *, retry_after: float | None = None, error: str | None = None) -> None:
        super().__init__(reason if error is None else f"{reason} ({error})")
        self.reason = reason
        self.retry_after = retry_after
        self.error = error


class NotReplayableError(ClientError):
    """A 401, a fresh token is there, but the body was a stream or a file that cannot be sent twice.

    Nothing was resent. Build the body again and repeat the call. `response` is the 401.
    """

    code = "not_replayable"

    def __init__(self, reason: str, *, response: Any = None) -> None:
        super().__init__(reason)
        self.response = response


class StepUpRequired(ClientError):
    """This request needs a fresher (`max_age`, seconds) or stronger (`acr_values`) sign-in (RFC 9470)."""

    code = "step_up_required"

    def __init__(self, reason: str, *, acr_values: str | None = None, max_age: str | None = None) -> None:
        super().__init__(reason)
        self.acr_values = acr_values
        self.max_age = max_age


class LoginAttemptUnknown(ClientError):
    """An answer to a sign-in that we did not begin, or that came already."""

    code = "login_attempt_unknown"


class IssuerMismatch(ClientError):
    """The answer to a sign-in came from another server than the one we asked (RFC 9207)."""

    code = "issuer_mismatch"


class AuthorizationRefused(ClientError):
    """The server answered the sign-in with an error; `reason` is its registered name."""

    code = "authorization_refused"


class CredentialsRefused(ClientError):
    """The server did not take what the person typed: ask again.

    `reason` is `wrong` or `too_many_attempts`. `problems`: texts for the person. `retry_after`: seconds until the next
    attempt is looked at, after too many.
    """

    code = "credentials_refused"

    def __init__(self, reason: str, *, problems: tuple[str, ...] = (), retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.problems = problems
        self.retry_after = retry_after


class RedirectRequired(ClientError):
    """This sign-in needs a browser and the sign-in page: another way to sign in, or agreement."""

    code = "redirect_required"


class CodeRefused(ClientError):
    """No tokens for the code."""

    code = "code_refused"


class TokenEndpointUnavailable(ClientError):
    """The sign-in could not be finished because the token endpoint gave no usable answer."""

    code = "token_endpoint_unavailable"


class IdTokenInvalid(ClientError):
    """The ID token is not the answer to this sign-in."""

    code = "id_token_invalid"


class DiscoveryFailed(ClientError):
    """The metadata of the server is missing, or is not this issuer's, or lacks an endpoint."""

    code = "discovery_failed"


class SignInTimeout(ClientError):
    """Nobody finished the sign-in in time."""

    code = "sign_in_timeout"


class StoreUnavailable(ClientError):
    """The tokens cannot be read or written where they are kept."""

    code = "store_unavailable"
