"""Small charts as SVG inside a page: lines and confusion tables, without a library of plots."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, MARGIN = 460, 220, 44
COLOURS = ('#1f6feb', '#d1580b', '#1a7f37', '#8250df', '#bf3989')
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
  color: #1f2328; background: #fff }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top }
figcaption { font-weight: 600 }
table { border-collapse: collapse; margin: 0 0 1rem } td, th { padding: .2rem .6rem;
  border-bottom: 1px solid #d0d7de; text-align: left; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.right { color: #1a7f37 } .wrong { color: #cf222e } .note { color: #59636e }
svg text { font: 11px system-ui, sans-serif; fill: #59636e } img { image-rendering: auto }
"""


def lines(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """A chart of named lines of (x, y), as a figure."""
    points = [point for line in series.values() for point in line]
    finite = [p for p in points if np.isfinite(p[1])]
    if not finite:
        return ''
    left, right = _range([p[0] for p in finite])
    low, high = _range([p[1] for p in finite])
    parts = [_axes(left, right, low, high)]
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = ' '.join(
            f'{_place(x, left, right, MARGIN, WIDTH - 8):.1f},'
            f'{_place(y, low, high, HEIGHT - 24, 12):.1f}'
            for x, y in line
            if np.isfinite(y)
        )
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'
        )
        parts.append(
            f'<text x="{WIDTH - 12}" y="{24 + 14 * number}" text-anchor="end" '
            f'style="fill:{colour}">{html.escape(name)}</text>'
        )
    drawn = ''.join(parts)
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'aria-label="{html.escape(title)}">{drawn}</svg></figure>'
    )


def confusion_table(title: str, names: Sequence[str], counts: NDArray[np.int64]) -> str:
    """A table of counts, rows the truth, darker where more."""
    head = ''.join(f'<th class="number">{number}</th>' for number in range(1, len(names) + 1))
    rows = []
    for number, (name, row) in enumerate(zip(names, counts, strict=True), start=1):
        total = max(int(row.sum()), 1)
        cells = ''.join(
            f'<td class="number" style="background:rgba(31,111,235,{value / total:.2f})">'
            f'{value}</td>'
            for value in row
        )
        rows.append(f'<tr><td>{number}. {html.escape(name)}</td>{cells}</tr>')
    return (
        f'<h3>{html.escape(title)}</h3><table><tr><th>truth \\ found</th>{head}</tr>'
        f'{"".join(rows)}</table>'
    )


def page(title: str, body: str) -> str:
    """A whole page that needs nothing else."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<title>{html.escape(title)}</title><style>{STYLE}</style></head>'
        f'<body><h1>{html.escape(title)}</h1>{body}</body></html>\n'
    )


def _axes(left: float, right: float, low: float, high: float) -> str:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT - 24 + share * (12 - (HEIGHT - 24))
        x = MARGIN + share * (WIDTH - 8 - MARGIN)
        parts.append(
            f'<line x1="{MARGIN}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>'
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f'{low + share * (high - low):.3g}</text>'
            f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f'{left + share * (right - left):.4g}</text>'
        )
    return ''.join(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _place(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)
