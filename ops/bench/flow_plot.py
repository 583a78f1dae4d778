"""The plot of a run of ops.bench.flow, as SVG; drawn by hand, so that nothing has to be installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 960, 360
LEFT, RIGHT, TOP, BOTTOM = 40, 20, 34, 40
_FONT = 'font-family="sans-serif" font-size="11"'
_LINES: tuple[tuple[str, str, Callable[[Sample], float]], ...] = (
    ("capacity", "#999", lambda one: one.capacity),
    ("in flight", "#d95f02", lambda one: one.held),
    ("waiting there", "#7570b3", lambda one: one.waiting),
    ("worked on", "#1b9e77", lambda one: one.running),
    ("slots found", "#111", lambda one: one.slots),
)


@dataclass(frozen=True)
class Sample:
    """How things stood, `at` seconds after the beginning."""

    at: float
    held: int
    running: int
    waiting: int
    capacity: int
    slots: int


def plot(samples: Sequence[Sample], phases: Sequence[tuple[float, str]]) -> str:
    """
    Args:
        samples: in order.
        phases: when each began, and its name.
    """
    end = samples[-1].at
    most = max(max(one.held, one.capacity, one.slots) for one in samples) * 1.05
    return "\n".join(_svg(samples, phases, end, most))


def _svg(samples: Sequence[Sample], phases: Sequence[tuple[float, str]], end: float, most: float) -> Iterator[str]:
    def x(at: float) -> float:
        return LEFT + at / end * (WIDTH - LEFT - RIGHT)

    def y(count: float) -> float:
        return HEIGHT - BOTTOM - count / most * (HEIGHT - TOP - BOTTOM)

    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_FONT}>'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    for count in range(0, int(most) + 1, 10 if most < 100 else 50):
        yield f'<path d="M{LEFT} {y(count):.1f}H{WIDTH - RIGHT}" stroke="#eee"/>'
        yield f'<text x="{LEFT - 6}" y="{y(count) + 4:.1f}" text-anchor="end">{count}</text>'
    for at, name in phases:
        yield f'<path d="M{x(at):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#bbb" stroke-dasharray="3 3"/>'
        yield f'<text x="{x(at) + 4:.1f}" y="{TOP + 10}" fill="#555">{name}</text>'
        yield f'<text x="{x(at):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{at:.0f} s</text>'
    for number, (name, colour, value) in enumerate(_LINES):
        steps = _steps([(x(one.at), y(value(one))) for one in samples])
        yield f'<path d="{steps}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
        yield f'<rect x="{LEFT + number * 120}" y="12" width="10" height="3" fill="{colour}"/>'
        yield f'<text x="{LEFT + number * 120 + 14}" y="17">{name}</text>'
    yield "</svg>"


def _steps(points: Sequence[tuple[float, float]]) -> str:
    """A line that goes on level until it changes."""
    before = points[0][1]
    words = [f"M{points[0][0]:.1f} {before:.1f}"]
    for at, now in points:
        if now != before:
            words.append(f"H{at:.1f}V{now:.1f}")
            before = now
    return "".join(words) + f"H{points[-1][0]:.1f}"
