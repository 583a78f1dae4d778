"""Plots over time, as SVG; drawn by hand, so that nothing has to be installed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

WIDTH, HEIGHT = 960, 360
LEFT, RIGHT, TOP, BOTTOM = 50, 20, 34, 40
_FONT = 'font-family="sans-serif" font-size="11"'
_LEGEND_WIDTH = 110
_LETTER_WIDTH = 6.5
_MOST_TICKS = 10
_TIME_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 36000)

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A value over time.

    Args:
        name: in the legend.
        colour: as SVG has it.
        points: seconds and values, in order; each holds until the next.
    """

    name: str
    colour: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Panel:
    """One plot.

    Args:
        lines: drawn in this order.
        marks: moments to point out, in seconds, and their names.
        unit: of the values.
        height: in pixels.
    """

    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = ()
    unit: str = ""
    height: int = HEIGHT


def drawing(panels: Sequence[Panel]) -> str:
    """The plots one below the other, over the same time."""
    tops = list(accumulate((panel.height for panel in panels), initial=0))
    end = max((at for panel in panels for line in panel.lines for at, _ in line.points), default=0) or 1
    drawn = [word for panel, top in zip(panels, tops, strict=False) for word in _panel(panel, top, end)]
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tops[-1]}" {_FONT}>'
    return "\n".join([start, f'<rect width="{WIDTH}" height="{tops[-1]}" fill="#fff"/>', *drawn, "</svg>"])


def _panel(panel: Panel, top: float, end: float) -> Iterator[str]:
    most = max((value for line in panel.lines for _, value in line.points), default=0) * 1.05 or 1
    foot = top + panel.height - BOTTOM

    def x(at: float) -> float:
        return LEFT + at / end * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return foot - value / most * (panel.height - TOP - BOTTOM)

    for value in _ticks(most, _round_step(most)):
        yield f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#eee"/>'
        yield _text(LEFT - 6, y(value) + 4, f"{value:,g}", anchor="end")
    step = next((one for one in _TIME_STEPS if end / one <= _MOST_TICKS), _TIME_STEPS[-1])
    for at in _ticks(end, step):
        yield _text(x(at), foot + 14, _time(at, step), anchor="middle")
    ends: list[float] = []  # of what is written in each line of names
    for at, name in panel.marks:
        yield f'<path d="M{x(at):.1f} {top + TOP}V{foot}" stroke="#bbb" stroke-dasharray="3 3"/>'
        yield _text(x(at) + 4, top + TOP + 10 + 12 * _free_line(ends, x(at), len(name) * _LETTER_WIDTH), name)
    yield _text(WIDTH - RIGHT, top + 17, panel.unit, anchor="end")
    for number, line in enumerate(panel.lines):
        steps = _steps([(x(at), y(value)) for at, value in line.points])
        yield f'<path d="{steps}" fill="none" stroke="{line.colour}" stroke-width="1.3"/>'
        left = LEFT + number * _LEGEND_WIDTH
        yield f'<rect x="{left}" y="{top + 12}" width="10" height="3" fill="{line.colour}"/>'
        yield _text(left + 14, top + 17, line.name)


def _free_line(ends: list[float], left: float, width: float) -> int:
    """The first line in which nothing stands at `left`; taken from then on, up to its end."""
    number = next((number for number, end in enumerate(ends) if end < left), len(ends))
    ends[number : number + 1] = [left + width]
    return number


def _ticks(end: float, step: float) -> list[float]:
    return [number * step for number in range(int(end / step) + 1)]


def _round_step(most: float) -> float:
    """1, 2 or 5, with as many noughts as it takes."""
    least = most / _MOST_TICKS
    unit = 10 ** math.floor(math.log10(least))
    return next(float(unit * digit) for digit in (1, 2, 5, 10) if unit * digit >= least)


def _time(seconds: float, step: float) -> str:
    unit, name = next((unit, name) for unit, name in ((3600, "h"), (60, "min"), (1, "s")) if step >= unit)
    return f"{seconds / unit:g} {name}"


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{words}</text>'


def _steps(points: Sequence[Point]) -> str:
    """A line that goes on level until it changes."""
    if not points:
        return ""
    before = points[0][1]
    words = [f"M{points[0][0]:.1f} {before:.1f}"]
    for at, now in points:
        if now != before:
            words.append(f"H{at:.1f}V{now:.1f}")
            before = now
    return "".join(words) + f"H{points[-1][0]:.1f}"
