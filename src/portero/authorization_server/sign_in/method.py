"""What a way to sign in is: doors that lead to it, steps over a stored attempt, and outcomes that are values.

Steps never call each other. Each is given the attempt as it is stored, looks at one request and returns an
`Outcome`; the dispatcher (`page`) keeps what the outcome says, and answers. So a step can be repeated, arrive out of
order or in another browser, and finds only what the attempt holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from portero.authorization_server.pages.site import Site
from portero.authorization_server.pages.texts import Texts
from portero.authorization_server.pages.visit import Visit
from portero.core.transitions import User
from portero.core.types import NumericDate
from portero.core.vouched import Vouched

if TYPE_CHECKING:
    from starlette.routing import BaseRoute


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a step may know of the sign-in under way."""

    handle: str
    """Names the attempt in our URLs; opens nothing without its cookie."""
    kept: Mapping[str, Any] | None
    """What this method kept for its next step; None: it has kept nothing."""
    username: str
    """Whom the application or the browser's own sign-in suggests; may be empty."""
    acr_values: tuple[str, ...] = ()
    """Classes of sign-in that the application asks for."""
    fresh: bool = False
    """The application asks that the person proves themselves anew."""
    links: bool = False
    """Nobody signs in: who comes back is shown to the person who is here, and linked if they say so."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody another party vouches for: whoever that is here is found by the link, never by name or e-mail."""

    vouched: Vouched
    label: str
    """What the person recognizes the identity by."""
    name: str = ""
    email: str = ""
    create: bool = True
    """Make an account where none is linked."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The person is known: the attempt is over."""

    who: User | Person
    auth_time: NumericDate
    acr: str
    amr: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Show a page of this method, whose form comes back to one of its steps.

    Beside `values` the template gets `login`, `form_token` and what every page has.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Again:
    """Show the sign-in page, with what went wrong on top.

    Args:
        problems: texts, each with the id of the field it is about.
        values: what the method's panel shows beside its defaults.
        wait: seconds until the next try is welcome.
    """

    problems: tuple[tuple[str, str | None], ...]
    status: int
    values: Mapping[str, Any] = field(default_factory=dict)
    wait: int = 0


@dataclass(frozen=True, slots=True)
class Away:
    """Keep something, then send the browser elsewhere.

    Args:
        location: an absolute URL of somebody else, or a path of ours as `Site.path` makes it.
        cookies: `Set-Cookie` values.
    """

    location: str
    keep: Mapping[str, Any] | None
    cookies: tuple[str, ...] = ()


Outcome = Proven | Ask | Again | Away
Step = Callable[[Site, Visit, Attempt, Texts], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class StepOf:
    """One step: what runs, and which requests may reach it.

    Args:
        posts: it changes something and comes from a form of ours, with its form token. Otherwise it is a link or a
            redirect from elsewhere, and must be harmless or prove itself by what the attempt keeps.
        handle_of: where the request names the attempt; the parameter `login` unless said otherwise.
    """

    run: Step
    posts: bool
    handle_of: Callable[[Visit], str] = lambda visit: visit.parameters.get("login") or ""


@dataclass(frozen=True, slots=True)
class Door:
    """A link on the sign-in page: its label, and the step it leads to."""

    label: str
    step: str
    mark: str = ""
    """A class of the style sheet, for a sign beside the label."""
    provider: str = ""
    """Who vouches behind it, as links name them; empty: nobody else does, and nothing can be linked."""
    provider_name: str = ""
    """What people call them."""


class Method(Protocol):
    """One way to sign in."""

    @property
    def name(self) -> str:
        """Its folder, its table in the configuration, and its part of URLs."""
        ...

    @property
    def panel(self) -> str | None:
        """The template of its form on the sign-in page; None: it has doors only."""
        ...

    @property
    def asks(self) -> tuple[str, ...]:
        """The fields of its form, which goes to its step `submit`: an application may draw it itself (`direct`)."""
        ...

    @property
    def texts(self) -> Mapping[str, Mapping[str, str]]:
        """What its pages say, by language; its keys begin with `sign_in.{name}.`"""
        ...

    @property
    def steps(self) -> Mapping[str, StepOf]:
        """Its steps by their part of the URL: `/sign-in/{name}/{step}`."""
        ...

    @property
    def acr_values(self) -> tuple[str, ...]:
        """What `acr` an application may ask it for."""
        ...

    def doors(self, texts: Texts) -> tuple[Door, ...]:
        """Its links on the sign-in page."""
        ...

    def panel_values(self, attempt: Attempt) -> Mapping[str, Any]:
        """What its panel shows where nothing went wrong yet."""
        ...

    async def end_session_url(self, site: Site, vouched: Vouched) -> str | None:
        """Where a sign-out here goes on, so that the person is signed out there too; `&state=` is added to it.

        None: they stay signed in there. What cannot be reached is None too, and logged: ours has ended already.
        """
        ...

    def routes(self, site: Site) -> list[BaseRoute]:
        """Requests that belong to no attempt of the browser that brings them: what others send us."""
        ...
