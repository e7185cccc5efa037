"""Draws what a reader should grasp at a look, as SVG: bars of one number a proxy, lines over the load."""

from __future__ import annotations

import math
from collections.abc import Iterable
from xml.sax.saxutils import escape

COLOURS = {
    "nginx": "#2e7d32",
    "envoy": "#8e44ad",
    "relay": "#78909c",
    "litellm": "#d9822b",
    "ssegate": "#1565c0",
    "ssegate-wide": "#64b5f6",
    "ssegate-off": "#0d2f63",
    "ssegate-adaptive": "#00897b",
}
WIDTH, HEIGHT = 400, 300
"""Of a panel; its axes leave room for words on all sides."""
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 40, 54

Points = list[tuple[float, float]]


def _text(x: float, y: float, words: str, anchor: str = "middle", size: int = 12, extra: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" {extra}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


ENDS = ((1, 5), (1.5, 3), (2, 4), (2.5, 5), (3, 3), (4, 4), (5, 5), (6, 3), (8, 4), (10, 5))
"""Where an axis may end, in powers of ten, and in how many steps it is cut then."""


def _even_ticks(highest: float) -> list[float]:
    power = 10 ** math.floor(math.log10(highest))
    end, steps = next((end * power, steps) for end, steps in ENDS if end * power >= highest)
    return [end * step / steps for step in range(steps + 1)]


class _Scale:
    """Puts values on the vertical axis, in even steps or in powers of ten."""

    def __init__(self, values: Iterable[float], logarithmic: bool) -> None:
        values = [value for value in values if value > 0]
        self._log = logarithmic
        if logarithmic:
            self._low, self._high = (math.log10(value) for value in (min(values), max(values)))
            self._low, self._high = (
                math.floor(self._low),
                max(math.ceil(self._high), math.floor(self._low) + 1),
            )
            self.ticks = [10.0**power for power in range(int(self._low), int(self._high) + 1)]
        else:
            self.ticks = _even_ticks(max(values))
            self._low, self._high = 0.0, self.ticks[-1]

    def y(self, value: float) -> float:
        placed = math.log10(max(value, 10**self._low)) if self._log else value
        return HEIGHT - BOTTOM - (placed - self._low) / (self._high - self._low) * (HEIGHT - TOP - BOTTOM)


def _frame(title: str, scale: _Scale) -> list[str]:
    parts = [_text(LEFT, 20, title, "start", 14, 'font-weight="bold"')]
    for tick in scale.ticks:
        y = scale.y(tick)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y, "#ddd"), _text(LEFT - 6, y + 4, f"{tick:g}", "end")]
    return parts


def bars(title: str, values: dict[str, float]) -> str:
    """Draw one bar for each of *values*."""
    scale = _Scale(values.values(), logarithmic=False)
    parts = _frame(title, scale)
    step = (WIDTH - LEFT - RIGHT) / len(values)
    for i, (name, value) in enumerate(values.items()):
        x, y = LEFT + (i + 0.5) * step, scale.y(value)
        size = f'width="{step * 0.7:.1f}" height="{HEIGHT - BOTTOM - y:.1f}"'
        parts.append(
            f'<rect x="{x - step * 0.35:.1f}" y="{y:.1f}" {size} fill="{COLOURS.get(name, "#555")}"/>'
        )
        parts.append(_text(x, y - 5, f"{value:.3g}"))
        # Names of neighbours would run into each other on one line.
        parts.append(_text(x, HEIGHT - BOTTOM + 16 + 15 * (i % 2), name, size=11))
    return "\n".join(parts)


def lines(title: str, across: str, series: dict[str, Points], logarithmic: bool = False) -> str:
    """Draw one line for each of *series*, over the same horizontal axis."""
    scale = _Scale((y for points in series.values() for _, y in points), logarithmic)
    widest = max(x for points in series.values() for x, _ in points)
    parts = _frame(title, scale)

    def place(x: float) -> float:
        return LEFT + x / widest * (WIDTH - LEFT - RIGHT)

    for x in sorted({x for points in series.values() for x, _ in points if x >= widest / 8}):
        parts.append(_text(place(x), HEIGHT - BOTTOM + 16, f"{x / 1000:g} k", size=11))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - BOTTOM + 30, across, "end", 11))
    left = float(LEFT)
    for name, points in series.items():
        colour = COLOURS.get(name, "#555")
        path = " ".join(f"{place(x):.1f},{scale.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(_text(left, HEIGHT - 6, f"■ {name}", "start", 10, f'fill="{colour}"'))
        left += 18 + 5.6 * len(name)
    return "\n".join(parts)


def page(panels: list[str]) -> str:
    """Put *panels* side by side into one picture."""
    width = WIDTH * len(panels)
    placed = (f'<g transform="translate({WIDTH * i})">{panel}</g>' for i, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(placed) + "\n</svg>\n"
    )
