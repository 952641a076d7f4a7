"""One program among several on one token file: waits for the word, calls the service, and says what it got.

python -m tests.client.child ISSUER API FILE CALLS
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import httpx2

from portero.client import Auth, Config, FileStore, Session


def main() -> None:
    """Print one status a line."""
    issuer, api, path, calls = sys.argv[1:]
    session = Session(Config(issuer=issuer, client_id="reports", allowed_origins=(api,)), store=FileStore(path))
    with httpx2.Client(auth=Auth(session), trust_env=False, timeout=60) as http, ThreadPoolExecutor() as pool:
        print("ready", flush=True)
        sys.stdin.readline()
        for answer in pool.map(lambda _: http.get(f"{api}/orders"), range(int(calls))):
            print(answer.status_code, flush=True)


if __name__ == "__main__":
    main()
