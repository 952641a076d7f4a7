"""Bar charts as SVG, readable on light and dark pages; no library needed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

_COLOURS = ("#2f7d6b", "#8a9ba8", "#c98f2e", "#7a6bb0", "#b5536b", "#4f86c6")
_BAR, _GAP, _GROUP_GAP, _LEFT, _WIDTH, _TOP = 16, 4, 18, 150, 760, 64


def bars(path: Path, *, title: str, unit: str, groups: Mapping[str, Mapping[str, float]], note: str = "") -> None:
    """Write horizontal bars: one group per key, one bar per series, the value beside each bar.

    Args:
        path: where the SVG goes.
        title: what is measured.
        unit: of all values, such as `µs a token`; smaller or larger being better belongs in `note`.
        groups: group → series → value; a series keeps its colour across groups. NaN is left out.
        note: a line below the title: the machine, the date, the direction.
    """
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    colour = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(series)}
    largest = max((value for values in groups.values() for value in values.values() if value == value), default=1.0)
    scale = (_WIDTH - _LEFT - 90) / (largest or 1.0)
    body: list[str] = []
    y = float(_TOP + 14 * bool(note))
    for group, values in groups.items():
        shown = {name: value for name, value in values.items() if value == value}
        middle = y + len(shown) * (_BAR + _GAP) / 2
        body.append(f'<text x="8" y="{middle:.1f}" class="group">{escape(group)}</text>')
        for name, value in shown.items():
            width = max(value * scale, 1.0)
            body.append(
                f'<rect x="{_LEFT}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{colour[name]}">'
                f"<title>{escape(f'{group} · {name}: {_number(value)} {unit}')}</title></rect>"
                f'<text x="{_LEFT + width + 6:.1f}" y="{y + 12:.1f}">{_number(value)}</text>'
            )
            y += _BAR + _GAP
        y += _GROUP_GAP
    legend = _legend(colour, y)
    height = y + 34
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title)}">\n'
        "<style>text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}"
        ".group{font-weight:600}.page{fill:#fff}.note{fill:#666}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.page{fill:#16191c}.note{fill:#999}}</style>\n"
        f'<rect class="page" width="100%" height="100%"/>\n'
        f'<text x="8" y="24" class="title">{escape(title)} ({escape(unit)})</text>\n'
        + (f'<text x="8" y="44" class="note">{escape(note)}</text>\n' if note else "")
        + "\n".join([*body, *legend])
        + "\n</svg>\n"
    )


def _legend(colour: Mapping[str, str], y: float) -> list[str]:
    parts: list[str] = []
    x = float(_LEFT)
    for name, fill in colour.items():
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.1f}" width="12" height="12" rx="2" fill="{fill}"/>'
            f'<text x="{x + 17:.0f}" y="{y + 10.5:.1f}">{escape(name)}</text>'
        )
        x += 34 + 7 * len(name)
    return parts


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
