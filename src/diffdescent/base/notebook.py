"""What objects show of themselves in a notebook: tables and curves in plain HTML and SVG.

Nothing but text is made, so it needs no plotting library. Colours are transparent over the page's
own background, and lines take the colour of its text: both themes can be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

_Place = Callable[[float, float], tuple[float, float]]

WIDTH, HEIGHT, MARGIN = 420, 190, 42
"""The size of a curve's picture and the room for its labels, in pixels."""


def table_html(
    head: Sequence[str], rows: Sequence[Sequence[str]], shades: Sequence[Sequence[float]] = ()
) -> str:
    """A table whose numbers stand under each other.

    ``shades`` colours the cells: from −1 (blue) over 0 (none) to 1 (red), a row of them for each
    row of the table.
    """
    lines = ["".join(f"<th style='text-align:right'>{escape(name)}</th>" for name in head)]
    for i, row in enumerate(rows):
        shade = shades[i] if i < len(shades) else [0.0] * len(row)
        cells = zip(row, shade, strict=True)
        lines.append("".join(f"<td style='{_style(v)}'>{escape(text)}</td>" for text, v in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div style='overflow-x:auto'><table style='width:auto'>{body}</table></div>"


def _style(shade: float) -> str:
    style = "text-align:right;white-space:nowrap;padding:1px 6px"
    if shade == 0:
        return style
    red, green, blue = (214, 69, 65) if shade > 0 else (49, 120, 198)
    return f"{style};background:rgba({red},{green},{blue},{min(abs(shade), 1) * 0.75:.2f})"


def curve_svg(values: Sequence[float], across: str, up: str) -> str:
    """Positive ``values`` against 0, 1, …, on a logarithmic axis, as an SVG picture.

    ``across`` and ``up`` name the axes. Values that are not positive and finite are left out.
    """
    known = [(i, v) for i, v in enumerate(values) if 0 < v < math.inf]
    if not known:
        return ""
    low, high = (math.log10(end(v for _, v in known)) for end in (min, max))
    low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    last = max(len(values) - 1, 1)

    def place(i: float, power: float) -> tuple[float, float]:
        x = MARGIN + (WIDTH - MARGIN - 12) * i / last
        return x, HEIGHT - MARGIN - (HEIGHT - MARGIN - 10) * (power - low) / (high - low)

    points = [place(i, math.log10(v)) for i, v in known]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.5'/>" for x, y in points)
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' style='max-width:100%'"
        " fill='currentColor' font-size='11' font-family='sans-serif' role='img'>"
        f"{_axes(place, low, high, last)}"
        f"<polyline points='{path}' fill='none' stroke='#3178c6' stroke-width='1.5'/>"
        f"<g fill='#3178c6'>{dots}</g>"
        f"<text x='{(WIDTH + MARGIN) / 2}' y='{HEIGHT - 6}' text-anchor='middle'>"
        f"{escape(across)}</text>"
        f"<text transform='translate(11 {(HEIGHT - MARGIN) / 2}) rotate(-90)'"
        f" text-anchor='middle'>{escape(up)}</text></svg>"
    )


def _axes(place: _Place, low: int, high: int, last: int) -> str:
    """Lines and numbers at powers of ten, and the first and last step."""
    parts = []
    every = max(1, (high - low) // 4)
    for power in range(low, high + 1, every):
        x, y = place(0, power)
        end, _ = place(last, power)
        parts.append(
            f"<line x1='{x}' x2='{end}' y1='{y:.1f}' y2='{y:.1f}' stroke='currentColor'"
            f" stroke-opacity='.2'/><text x='{x - 4}' y='{y + 4:.1f}' text-anchor='end'>"
            f"{10.0**power:g}</text>"
        )
    for step in sorted({0, last // 2, last}):
        x, y = place(step, low)
        parts.append(f"<text x='{x:.1f}' y='{y + 15:.1f}' text-anchor='middle'>{step}</text>")
    return "".join(parts)
