"""What a long run came to: tables of what a job took as more and more were kept, and plots over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ops.bench.long_run.samples import ENQUEUEING, PRODUCER, WORKING, Sample, Window, windows
from ops.bench.plot import Line as Curve
from ops.bench.plot import Panel, drawing
from ops.bench.report import Line, Row, short

MOST_LINES = 10
MOST_POINTS = 400
_HEIGHT = 240
_TABLES = {
    ENQUEUEING: ("One process enqueues, and nobody works", (PRODUCER, "redis")),
    WORKING: ("The whole stack; the processor time of the API is not counted", ("worker", "receiver", "redis", "beat")),
}
_COLOURS = {
    "worker": "#d95f02",
    "receiver": "#7570b3",
    "redis": "#111",
    "beat": "#e7298a",
    PRODUCER: "#66a61e",
    "upstream": "#999",
}


def rows(samples: Sequence[Sample]) -> list[Row]:
    """A line for each tenth of the enqueueing, and of the work."""
    made = []
    for doing, (what, parts) in _TABLES.items():
        each = [one for one in windows([one for one in samples if one.doing == doing], MOST_LINES) if one.jobs]
        if each:
            lines = [Line(_standing(one.end), _figures(one, parts)) for one in each]
            made.append(Row(doing, f"{what}; memory is that at the end of each line.", lines, compared=False))
    return made


def _standing(sample: Sample) -> str:
    return f"{sample.waiting:,} wait, {sample.finished:,} done"


def _figures(window: Window, parts: Sequence[str]) -> dict[str, float]:
    last = window.end
    figures: dict[str, float] = {"under way": last.enqueued - last.waiting - last.finished, "jobs": window.jobs}
    figures |= {"jobs/s": window.jobs_per_second, "CPU ms a job": window.cpu_ms_a_job(*parts)}
    figures |= {f"{part} ms": window.cpu_ms_a_job(part) for part in parts}
    figures |= {f"{part} MB": last.rss_mb.get(part, 0) for part in parts}
    figures |= {"Redis' data MB": last.redis_mb, "its log MB": last.aof_mb, "logs MB": last.logs_mb}
    return {name: short(value) for name, value in figures.items()}


def plots(samples: Sequence[Sample]) -> str:
    """Memory, rates, and processor time a job, over time."""
    marks = [(one.at, f"{one.doing}: {_standing(one)}") for one in samples if one.first]
    seen = samples[:: math.ceil(len(samples) / MOST_POINTS) or 1]
    memory = [Curve(part, _COLOURS[part], [(one.at, one.rss_mb.get(part, 0)) for one in seen]) for part in _COLOURS]
    memory.append(Curve("Redis' data", "#1f78b4", [(one.at, one.redis_mb) for one in seen]))
    each = windows(samples, MOST_POINTS)
    rates = [_curve(doing, _COLOURS[PRODUCER], each, doing, lambda one: one.jobs_per_second) for doing in _TABLES]
    costs = [_curve(part, _COLOURS[part], each, WORKING, _cost_of(part)) for part in _TABLES[WORKING][1]]
    return drawing(
        [
            Panel(memory, marks, "resident memory, MB", _HEIGHT),
            *(Panel([rate], marks, "jobs/s", _HEIGHT) for rate in rates),
            Panel(costs, marks, "processor time, ms a finished job", _HEIGHT),
        ]
    )


def _cost_of(part: str) -> Callable[[Window], float]:
    return lambda window: window.cpu_ms_a_job(part)


def _curve(name: str, colour: str, each: Sequence[Window], doing: str, value: Callable[[Window], float]) -> Curve:
    """What the windows came to in which this was done; 0 in the others, and between them."""
    points: list[tuple[float, float]] = []
    for one in each:
        if points and points[-1][0] == one.begin.at:
            points.pop()
        points += [(one.begin.at, value(one) if one.end.doing == doing else 0), (one.end.at, 0)]
    return Curve(name, colour, points)
