"""The Guard in Django REST framework: an authentication class, a permission, an exception handler.

    # settings.py
    PORTERO_GUARD = "shop.guarding.guard"
    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ["portero.resource_server.drf.GuardAuthentication"],
        "EXCEPTION_HANDLER": "portero.resource_server.drf.exception_handler",
    }

    class Orders(APIView):
        permission_classes = [requires(guard, scopes=["orders:read"])]
        def get(self, request): return Response({"caller": request.auth.subject})

`request.auth` is the `Principal`. The exception handler writes refusals as problem details;
without it they are REST framework's `{"detail": …}` with the same status and challenge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from django.http import HttpResponse
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from portero.core.policy.principal import Principal
from portero.core.policy.refusal import NO_TOKEN, Refusal
from portero.resource_server.django import admit, configured_guard, refused
from portero.resource_server.guard import Guard
from portero.resource_server.required import Required, requirement_of

if TYPE_CHECKING:
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class Caller:
    """`request.user`: what REST framework's own permissions and throttles look at. No row of a database."""

    principal: Principal
    is_authenticated: bool = True
    is_anonymous: bool = False
    is_active: bool = True
    is_staff: bool = False

    @property
    def pk(self) -> str:
        """The subject; throttles count by it."""
        return self.principal.subject


class RefusedRequest(exceptions.APIException):  # type: ignore[misc] # REST framework has no types
    """A refusal on its way out of an authentication class or a permission."""

    def __init__(self, guard: Guard, refusal: Refusal) -> None:
        written = guard.http_refusal(refusal, origin=None)
        self.guard = guard
        self.refusal = refusal
        self.status_code = written.status
        # What REST framework's own exception handler makes headers of.
        challenge = ", ".join(value for name, value in written.headers if name == "www-authenticate")
        if challenge:
            self.auth_header = challenge
        if refusal.retry_after is not None:
            self.wait = refusal.retry_after
        super().__init__(refusal.description, code=refusal.row.error or refusal.case.value)


class GuardAuthentication(authentication.BaseAuthentication):  # type: ignore[misc] # REST framework has no types
    """Authenticates the caller by an access token; a request without one is anonymous, as REST framework has it."""

    guard: Guard | None = None
    """A subclass may name its own; otherwise `PORTERO_GUARD`."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        """Check the token.

        Raises:
            RefusedRequest: it is refused.
        """
        guard = self.guard or configured_guard()
        outcome = admit(guard, request._request, _ANY_TOKEN)
        if outcome is NO_TOKEN:
            return None
        if isinstance(outcome, Refusal):
            raise RefusedRequest(guard, outcome)
        return self.user_of(outcome), outcome

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a request that was anonymous and may not be."""
        return RefusedRequest(self.guard or configured_guard(), NO_TOKEN).auth_header

    def user_of(self, principal: Principal) -> Any:
        """What `request.user` becomes. A subclass may return a row of its own user table."""
        return Caller(principal)


def requires(guard: Guard, **what: Unpack[Required]) -> type[permissions.BasePermission]:
    """Make a permission class.

    Args:
        guard: the service's Guard.
        what: as `Guard.requires`.
    """
    requirement = guard.requires(**what)

    class Required(permissions.BasePermission):  # type: ignore[misc] # REST framework has no types
        def has_permission(self, request: Request, view: APIView) -> bool:
            outcome = admit(guard, request._request, requirement)
            if isinstance(outcome, Refusal):
                raise RefusedRequest(guard, outcome)
            if request.auth is None:
                # By a cookie, which counts on this route and not for the authentication class.
                request.user, request.auth = Caller(outcome), outcome
            return True

    return Required


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Write refusals as problem details; everything else is REST framework's."""
    # Importing its views imports the authentication classes of the settings: ours, which must be there by then.
    from rest_framework import views

    request = context["request"]
    if isinstance(error, exceptions.NotAuthenticated):
        for authenticator in request.authenticators:
            if isinstance(authenticator, GuardAuthentication):
                error = RefusedRequest(authenticator.guard or configured_guard(), NO_TOKEN)
                break
    if isinstance(error, RefusedRequest):
        views.set_rollback()
        return refused(error.guard, error.refusal, request._request)
    answer: HttpResponse | None = views.exception_handler(error, context)
    return answer


_ANY_TOKEN = requirement_of({})
