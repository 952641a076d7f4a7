"""`make docs`: the pages that are generated from the code. `--check` writes nothing and fails if one is out of date.

A page that is partly written by hand keeps its generated part between `<!-- generated: NAME -->` and
`<!-- end -->`.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def marked_tests(marker: str) -> dict[int, list[str]]:
    """Map each number N to the tests that carry `@pytest.mark.<marker>(N)` or `(row=N)`, as `file::test`."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{marker}":
                    argument = (decorator.args or [keyword.value for keyword in decorator.keywords])[0]
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                        found[argument.value].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def attacks() -> str:
    """Every row of the corpus: what is tried, where it stops, the tests that prove it."""
    rows = tomllib.loads((ROOT / "tests/attacks/corpus.toml").read_text())["rows"]
    tests = marked_tests("attack")
    lines = ["| # | what is tried | where it stops | proven by |", "|---|---|---|---|"]
    for number, (what, where) in sorted(rows.items(), key=lambda item: int(item[0])):
        proofs = [f"[{name.split('::')[1]}]({name.split('::')[0]})" for name in tests.get(int(number), [])]
        more = f" and {len(proofs) - 2} more" if len(proofs) > 2 else ""
        lines.append(f"| {number} | {what} | {where} | {', '.join(proofs[:2]) + more or '—'} |")
    proven = sum(1 for number in rows if int(number) in tests)
    return "\n".join([f"{proven} of {len(rows)} rows are proven by tests.", "", *lines])


def performance() -> str:
    """The figures of `bench/results`, each with the command that makes it."""
    lines = ["| what | measured | aim | command |", "|---|---|---|---|"]
    machines = []
    for path in sorted((ROOT / "bench/results").glob("*.json")):
        result = json.loads(path.read_text())
        rows = result.get("table", [])
        lines += [
            f"| {row['what']} | {row['measured']} | {row['aim']} | `make bench NAME={path.stem}{row.get('with', '')}` |"
            for row in rows
        ]
        if rows:
            machines.append(result["machine"])
    if machines:
        last = machines[-1]
        lines += [
            "",
            f"Measured on {last['processor']}, {last['cores']} cores, {round(last['memory_mib'] / 1024)} GiB, "
            f"Python {last['python']}: medians of alternating runs beside the peers named. "
            "The full figures, with versions and spread, are in [bench/results](bench/results/).",
        ]
    return "\n".join(lines)


def gateways() -> str:
    """The gateways of `bench/results/gateway.json` beside each other."""
    path = ROOT / "bench/results/gateway.json"
    if not path.exists():
        return "Not measured on this machine yet: `make bench NAME=gateway`."
    result = json.loads(path.read_text())
    lines = [
        "| gateway | requests a second | p99, ms | CPU a request, µs | memory, MiB | with 20,000 tokens |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["one_token"].items():
        many = result["many_tokens"].get(name)
        crowd = format(many["rate"], ",.0f") if many else "checks none"
        cost = f"{row['cpu_us']:.0f} | {row['resident_mib']:.0f}"
        lines.append(f"| {name} | {row['rate']:,.0f} | {row['p99_ms']:.1f} | {cost} | {crowd} |")
    busiest = max(row["load_busy"] for row in result["one_token"].values())
    machine, absent = result["machine"], ", ".join(result["missing"]) or "none"
    return "\n".join(
        [
            *lines,
            "",
            f"Measured on {machine['processor']}, one core for the gateway, one for wrk and the upstream together "
            f"(busy up to {busiest:.0%}). Not installed there: {absent}. Command: `make bench NAME=gateway`.",
        ]
    )


def configuration() -> str:
    """The authorization server's settings with their defaults and what each trades."""
    source = ROOT / "src/portero/authorization_server/config.py"
    tree = ast.parse(source.read_text())
    config = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    lines = ["| setting | type | default | what it does |", "|---|---|---|---|"]
    body = config.body
    for index, node in enumerate(body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        after = body[index + 1] if index + 1 < len(body) else None
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = " ".join(str(after.value.value).split())
        default = ast.unparse(node.value).replace("|", "\\|") if node.value is not None else "(required)"
        kind = ast.unparse(node.annotation).replace("|", "\\|")
        lines.append(f"| `{node.target.id}` | `{kind}` | `{default}` | {said} |")
    return "\n".join(lines)


def command_line() -> str:
    """`--help` of every command."""
    import click

    from portero.cli.program import program

    def walk(command: click.Command, name: str) -> Iterator[str]:
        with click.Context(command, info_name=name) as context:
            yield f"## `{name}`\n\n```text\n{command.get_help(context)}\n```\n"
            if isinstance(command, click.Group):
                for child in command.list_commands(context):
                    inner = command.get_command(context, child)
                    if inner is not None and not inner.hidden:
                        yield from walk(inner, f"{name} {child}")

    return "\n".join(walk(program, "portero")).rstrip()


def refresh_table() -> str:
    """The rules of a refresh and a token's life, from the table that decides."""
    from portero.core.sessions.refresh_table import as_markdown, as_mermaid

    return f"{as_markdown()}\n```mermaid\n{as_mermaid()}```"


def standards() -> str:
    """The index of standards: what is followed, what is not, and why."""
    index = tomllib.loads((ROOT / "docs/standards.toml").read_text())
    lines = []
    for group, entries in index.items():
        lines += [f"## {group}", "", "| standard | title | | why |", "|---|---|---|---|"]
        lines += [f"| {number} | {title} | {state} | {reason} |" for number, (title, state, reason) in entries.items()]
        lines.append("")
    return "\n".join(lines).rstrip()


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "SECURITY.md": ("attacks", attacks),
    "README.md": ("performance", performance),
    "README.es.md": ("performance", performance),
    "docs/explanation/layouts-and-engines.md": ("gateways", gateways),
    "docs/reference/configuration.md": ("configuration", configuration),
    "docs/reference/command-line.md": ("command-line", command_line),
    "docs/reference/standards.md": ("standards", standards),
    "docs/reference/refresh-tokens.md": ("refresh-table", refresh_table),
}


def rendered(path: Path, name: str, part: Callable[[], str]) -> str:
    """The page with its generated part made anew."""
    text = path.read_text()
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{path}: no part marked <!-- generated: {name} -->")
    return pattern.sub(lambda match: match[1] + part() + "\n" + match[2], text)


def main() -> int:
    checking = "--check" in sys.argv[1:]
    stale = []
    for file, (name, part) in PARTS.items():
        path = ROOT / file
        new = rendered(path, name, part)
        if new != path.read_text():
            stale.append(file)
            if not checking:
                path.write_text(new)
    for file in stale:
        print(f"{'out of date' if checking else 'written'}: {file}")
    return 1 if checking and stale else 0


if __name__ == "__main__":
    sys.exit(main())
