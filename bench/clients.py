"""What the browser library weighs and costs: bytes beside its peers, microseconds a request, refreshes an hour.

    python -m bench clients

Every library is bundled the same way: esbuild, ES2022, minified, one file for a page that signs people in and calls an
API with what it gets. Weighed as it is and as gzip -9 makes it. Portero is weighed whole, and by the files it is
shipped in: the core, which every page loads, and the rest, each loaded where it is used.

The time is that of `portero.fetch` over the same `fetch`, with a token that is good and an answer that is at hand: what
the library adds to each request when nothing is to be done. In Chromium, in turns, the median of many rounds.

The refreshes are those of ten tabs of one login that all call an API all the time, with tokens of 20 s, scaled to an
hour of tokens that live five minutes: 12 is one refresh each cycle.

Last line: `clients core_kb_gzip=… request_us=… refreshes_per_hour=… aim=6 met|short`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from bench.plot import bars
from bench.report import RESULTS, last_line, write_json

ROOT: Final = Path(__file__).resolve().parents[1]
BUILD: Final = ROOT / ".build/bench/clients"
SOURCES: Final = ROOT / "bench/peers/clients"
PEERS: Final = {
    "oidc-client-ts": "3.5.0",
    "@auth0/auth0-spa-js": "2.28.3",
    "keycloak-js": "26.2.4",
    "supertokens-website": "20.1.6",
    "oauth4webapi": "3.8.8",
}
AIM_KB: Final = 6.0
AIM_US: Final = 50.0
CYCLES_AN_HOUR: Final = 12
SECONDS: Final = float(os.environ.get("SECONDS", "60"))
"""How long the ten tabs run."""
_INSTALLING: Final = 180
_BUILDING: Final = 300


def main() -> None:
    """Measure, print, and write `bench/results/clients.json`."""
    missing = [name for name in PEERS if not installed(name)]
    run("node", "scripts/build.mjs", folder=ROOT / "clients/browser")
    sizes = json.loads(run("node", SOURCES / "sizes.mjs", BUILD, *(name for name in PEERS if name not in missing)))
    measured = json.loads(run("node", SOURCES / "measure.mjs", str(SECONDS)))
    for name, size in sizes.items():
        print(f"{name:34s} {size['bytes']:8d} bytes {size['gzip']:8d} gzip")
    for name in missing:
        print(f"{name:34s} missing: it could not be installed")
    added, refreshes = measured["added_us"], measured["refreshes"]
    hourly = refreshes / measured["cycles"] * CYCLES_AN_HOUR
    plain = measured["plain_us"]
    print(f"added to a request with nothing to do  {added:6.1f} µs   (aim {AIM_US:g}; plain fetch {plain:.1f})")
    print(f"refreshes an hour, ten tabs            {hourly:6.1f}      (aim {CYCLES_AN_HOUR}: one each cycle)")
    core = sizes["portero (core)"]["gzip"] / 1000
    met = core <= AIM_KB and added < AIM_US and hourly <= CYCLES_AN_HOUR * 1.1
    write_json("clients", results(sizes, missing, measured, hourly, met=met))
    bars(
        RESULTS / "clients.svg",
        title="Browser libraries, bundled the same way",
        unit="kB gzip",
        groups={name: {"kB gzip": size["gzip"] / 1000} for name, size in sizes.items() if not name.endswith(".js")},
        note="smaller is better; " + measured["chromium"],
    )
    last_line(
        "clients",
        {"core_kb_gzip": core, "request_us": added, "refreshes_per_hour": hourly},
        aim=AIM_KB,
        met=met,
    )


def results(
    sizes: dict[str, Any], missing: list[str], measured: dict[str, Any], hourly: float, *, met: bool
) -> dict[str, Any]:
    """What is kept, and the lines of the performance table."""
    core, whole = (sizes[name]["gzip"] / 1000 for name in ("portero (core)", "portero"))
    others = ", ".join(f"{name} {sizes[name]['gzip'] / 1000:.1f}" for name in PEERS if name not in missing)
    return {
        "peers": {name: "missing" if name in missing else version for name, version in PEERS.items()},
        "sizes": sizes,
        **measured,
        "aim": {"core_kb_gzip": AIM_KB, "added_us": AIM_US, "met": met},
        "table": [
            {
                "what": "browser library, kB gzip: the core, and all of it (others, built the same way)",
                "measured": f"{core:.2f}, {whole:.2f} ({others})",
                "aim": f"core ≤ {AIM_KB:g}",
            },
            {
                "what": "added to a request when nothing is to be done, Chromium",
                "measured": f"{measured['added_us']:.1f} µs",
                "aim": f"< {AIM_US:g} µs",
            },
            {
                "what": "refreshes an hour of ten tabs of one login, tokens of five minutes",
                "measured": f"{hourly:.0f}",
                "aim": f"{CYCLES_AN_HOUR}",
            },
        ],
    }


def installed(name: str) -> bool:
    """Install a peer from npm where it is not; whether that could be done."""
    wanted = f"{name}@{PEERS[name]}"
    folder = BUILD / name.replace("/", "-")
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    try:
        run("npm", "install", "--silent", "--no-fund", "--no-audit", wanted, folder=folder, seconds=_INSTALLING)
    except (subprocess.SubprocessError, OSError):
        return False
    stamp.write_text(wanted)
    return True


def run(*command: str | Path, folder: Path = ROOT, seconds: float = _BUILDING + 0.0) -> str:
    """Run to the end and return what it said."""
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=seconds + SECONDS, check=True
    ).stdout
