"""Kill at any moment loses nothing committed: the real server, a real file, SIGKILL."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.running import Server, add_people_and_clients, attempt, run


def test_after_a_kill_everything_is_found_again(tmp_path: Path) -> None:
    """Users, clients, sessions, keys and the chain of refresh tokens outlive the process that wrote them."""
    with Server(tmp_path) as server:
        secret = add_people_and_clients(tmp_path)
        first = server.sign_in("ana", "correct horse")
        second = server.token(
            grant_type="refresh_token", refresh_token=first["refresh_token"], refresh_attempt=attempt(1)
        ).json()
        keys = httpx2.get(f"{server.issuer}/jwks", trust_env=False).json()

        server.kill()
        server.start()

        assert httpx2.get(f"{server.issuer}/jwks", trust_env=False).json() == keys
        sessions = json.loads(run(tmp_path, "sessions", "list", "--json").stdout)
        assert len(sessions) == 1
        assert sessions[0]["client_id"] == "page"
        service = httpx2.post(
            f"{server.issuer}/token",
            data={"grant_type": "client_credentials", "scope": "revocations:read"},
            auth=("service", secret),
            trust_env=False,
        )
        assert service.status_code == 200, service.text
        third = server.token(
            grant_type="refresh_token", refresh_token=second["refresh_token"], refresh_attempt=attempt(2)
        )
        assert third.status_code == 200, third.text
        assert userinfo(server, third.json()).status_code == 200


def test_an_answer_lost_in_the_kill_is_asked_for_again(tmp_path: Path) -> None:
    """Committed, and the answer not read: the same attempt gets the same successor, after a restart."""
    with Server(tmp_path) as server:
        add_people_and_clients(tmp_path)
        first = server.sign_in("ana", "correct horse")
        form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "refresh_attempt": attempt(1)}
        lost = server.token(**form).json()

        server.kill()
        server.start()
        again = server.token(**form)

        assert again.status_code == 200, again.text
        assert again.json()["refresh_token"] == lost["refresh_token"]


def test_what_was_revoked_stays_revoked(tmp_path: Path) -> None:
    """An ended session does not come back with the restart."""
    with Server(tmp_path) as server:
        add_people_and_clients(tmp_path)
        tokens = server.sign_in("ana", "correct horse")
        sid = json.loads(run(tmp_path, "sessions", "list", "--json").stdout)[0]["sid"]
        assert run(tmp_path, "sessions", "end", sid).returncode == 0

        server.kill()
        server.start()
        refused = server.token(
            grant_type="refresh_token", refresh_token=tokens["refresh_token"], refresh_attempt=attempt(1)
        )

        assert refused.status_code == 400
        assert refused.json()["error"] == "invalid_grant"
        assert refused.json()["error_reason"] == "revoked"
        assert userinfo(server, tokens).status_code == 401


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_between_any_two_refreshes_breaks_no_chain(tmp_path: Path, seed: int) -> None:
    """Killed at a random moment under load: whoever got an answer, and whoever got none, goes on."""
    moments = random.Random(seed)
    with Server(tmp_path) as server:
        add_people_and_clients(tmp_path)
        chains = [Chain(server, server.sign_in("ana", "correct horse")) for _ in range(3)]
        threads = [threading.Thread(target=chain.run) for chain in chains]
        for thread in threads:
            thread.start()
        # A moment is a number of answers, not a time: which chain is where by then is chance.
        wanted = moments.randrange(3, 30)
        while sum(chain.answers for chain in chains) < wanted:
            assert all(thread.is_alive() for thread in threads), [chain.refusal for chain in chains]
        server.kill()
        for thread in threads:
            thread.join()

        server.start()

        for chain in chains:
            assert chain.refusal is None
            assert chain.step().status_code == 200


class Chain:
    """A client that refreshes until the server is gone; it keeps its attempt before it sends it, as ours do."""

    def __init__(self, server: Server, tokens: dict[str, Any]) -> None:
        self.server = server
        self.refresh_token: str = tokens["refresh_token"]
        self.attempts = 0
        self.answers = 0
        self.refusal: str | None = None
        self._pending = attempt(random.Random(self.refresh_token).getrandbits(64))

    def run(self) -> None:
        while self.refusal is None:
            try:
                self.step()
            except httpx2.TransportError:
                return

    def step(self) -> httpx2.Response:
        """One refresh, with the attempt of the last one where that was not answered."""
        answer = self.server.token(
            grant_type="refresh_token", refresh_token=self.refresh_token, refresh_attempt=self._pending
        )
        if answer.status_code == 200:
            self.answers += 1
            self.refresh_token = answer.json()["refresh_token"]
            self._pending = attempt(random.Random(self.refresh_token).getrandbits(64))
        else:
            self.refusal = answer.text
        return answer


def userinfo(server: Server, tokens: dict[str, Any]) -> httpx2.Response:
    """Use an access token at the authorization server itself."""
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    return httpx2.get(f"{server.issuer}/userinfo", headers=headers, trust_env=False)
