"""oidc-provider, unmodified, vouches for people: ours are then sessions and tokens like any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from portero.core.transitions import LinkedKey, SubjectAggregate, SubjectKey
from portero.core.types import ClientId
from tests.strangers.acme import DOOR, acme_client, acme_table
from tests.strangers.node import Stranger
from tests.strangers.person import Person
from tests.strangers.world import CONFIDENTIAL, SECRET, World, strange_world

CALLBACK, BYE = CONFIDENTIAL.redirect_uris[0], CONFIDENTIAL.post_logout_redirect_uris[0]


@dataclass
class Acme:
    """The provider, and a server of ours whose one door leads to it."""

    issuer: str
    world: World

    @contextmanager
    def person(self, username: str) -> Iterator[Person]:
        person = Person(self.world, username, vouches=self.issuer)
        with person.browser:
            yield person

    def account(self, external: str) -> SubjectAggregate:
        """Who it vouched for, here."""
        link = self.world.run(self.world.context.store.read(LinkedKey(self.issuer, external)))
        assert link is not None
        return self.world.run(self.world.context.store.read(SubjectKey(link.subject)))


@pytest.fixture(scope="module")
def acme() -> Iterator[Acme]:
    """Both started once; each test has a person of its own."""
    people = {"grace": {"cuit": "20111111112", "acr": "gold"}}
    with (
        pytest.MonkeyPatch.context() as patch,
        Stranger("provider.mjs", people=people, claims=["cuit"]) as provider,
    ):
        issuer = provider.until("issuer")
        table = {**acme_table(issuer, patch), "claims": {"cuit": "cuit"}, "sign_out": True}
        with strange_world(sign_in={"openid": {"acme": table}}) as world:
            provider.tell([acme_client(world)])
            assert provider.until("ready")
            yield Acme(issuer, world)


def application(acme: Acme, name: str, **arguments: str) -> Stranger:
    """An application of ours: openid-client, as for the password."""
    acme.world.register(replace(CONFIDENTIAL, client_id=ClientId(name)))
    return Stranger(
        "openid_client.mjs",
        issuer=acme.world.issuer,
        api=acme.world.api,
        client_id=name,
        secret=SECRET,
        redirect_uri=CALLBACK,
        post_logout_redirect_uri=BYE,
        **arguments,
    )


def test_who_signs_out_there_is_out_everywhere(acme: Acme) -> None:
    """The whole story by its word: PKCE, nonce and `iss`; an account is made; API and refresh; its back channel."""
    with acme.person("grace") as grace:
        with application(acme, "shop") as shop:
            claims = shop.until("claims", visit=lambda url: grace.visit(url, until=CALLBACK).location)
            user = acme.account("grace").user
            assert user is not None
            assert claims["sub"] == user.subject != "grace"
            assert (claims["acr"], claims["amr"], claims["cuit"]) == (
                "urn:portero:openid:acme:gold",
                ["hwk"],
                "20111111112",
            )
            assert shop.until("userinfo")["name"] == "grace of Acme"
            assert "/sign-in" not in grace.asked

            shop.lives_until(lambda: grace.visit(f"{acme.issuer}/session/end"))
        assert acme.account("grace").browsers == ()


def test_who_signs_out_here_is_out_there(acme: Acme) -> None:
    """RP-Initiated Logout §2 through both: ours ends, theirs ends, and the application gets the browser back."""
    with acme.person("hedy") as hedy:
        with application(acme, "desk", law="leaves") as desk:
            desk.until("claims", visit=lambda url: hedy.visit(url, until=CALLBACK).location)
            asked = len(hedy.asked)
            for said in ("userinfo", "api", "refreshed", "api"):
                desk.until(said)
            left = desk.until("left", visit=lambda url: hedy.visit(url, until=BYE).location)
            assert left == f"{BYE}?state=left"
            assert hedy.asked[asked:] == [f"{acme.issuer}/session/end/confirm"]
            assert desk.until("refused") == "invalid_grant"
            assert desk.until("api") == 401

        # Nobody is signed in there any more: the next one is asked who they are.
        hedy.visit(f"{acme.world.issuer}/account")
        assert hedy.asked[-1].startswith(f"{acme.issuer}/interaction/")


def test_who_is_asked_anew_there_is_let_on_here(acme: Acme) -> None:
    """`prompt=login` and `max_age=0` go there, and `auth_time` comes back."""
    with acme.person("ida") as ida:
        ida.visit(f"{acme.world.issuer}/account")
        first = acme.account("ida").browsers[0]
        with application(acme, "bank", prompt="login") as bank:
            bank.until("claims", visit=lambda url: ida.visit(url, until=CALLBACK).location)

        asked = [path for path in ida.asked if path.startswith(f"{acme.issuer}/interaction/")]
        assert len(asked) == 2
        assert [one.id_digest == first.id_digest for one in acme.account("ida").browsers] == [False]


def test_who_turns_back_there_may_try_again(acme: Acme) -> None:
    """A code of its own making is refused there, and the page here leads back to the door."""
    with acme.person("joan") as joan:
        answer = joan.visit(f"{acme.world.issuer}/account", until=f"{acme.world.issuer}{DOOR}/callback").location
        code = answer.partition("code=")[2].partition("&")[0]
        page = joan.visit(answer.replace(code, "x" * len(code)))

        assert page.status == 422
        assert f"{DOOR}/start?login=" in page.text
        assert joan.visit(answer).url == f"{acme.world.issuer}/account"
