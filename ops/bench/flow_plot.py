"""The plot of a run of ops.bench.flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ops.bench.plot import Line, Panel, drawing

LINES: tuple[tuple[str, str, Callable[[Sample], float]], ...] = (
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
    lines = [Line(name, colour, [(one.at, value(one)) for one in samples]) for name, colour, value in LINES]
    return drawing([Panel(lines, phases)])
