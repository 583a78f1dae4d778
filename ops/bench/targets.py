"""Targets: what each row is held against, and whether it was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.bench.report import Line, Row, cells, short

FIRST, LAST = 0, -1


@dataclass(frozen=True)
class Target:
    """A bound on a figure.

    Args:
        figure: its name.
        least, most: the bound; one of them.
        who: the line by its name, or by its place.
        beside: of which line it is a multiple; None where the figure itself is bounded.
    """

    figure: str
    least: float | None = None
    most: float | None = None
    who: str | int = FIRST
    beside: str | int | None = None

    def judged(self, row: Row) -> Judged | None:
        """None where the row has no such lines."""
        line, other = _line(row, self.who), _line(row, self.beside)
        if line is None or (other is None and self.beside is not None):
            return None
        words, value = f"{line.who}: {self.figure} {self._bound}", line.figures.get(self.figure)
        if other is not None:
            theirs = other.figures.get(self.figure)
            words, value = (
                f"{words} times that of {other.who}",
                value / theirs if value is not None and theirs else None,
            )
        return Judged(words, None if value is None else short(value), value is not None and self._met(value))

    def _met(self, value: float) -> bool:
        return value >= self.least if self.least is not None else value <= (self.most or 0)

    @property
    def _bound(self) -> str:
        if self.least is not None:
            return f"at least {short(self.least):,g}"
        return f"at most {short(self.most or 0):,g}"


@dataclass(frozen=True)
class Judged:
    """A target as it reads, what was measured (None: it was never seen), and whether that will do."""

    target: str
    measured: float | None
    met: bool

    @property
    def cells(self) -> tuple[str, str, str]:
        measured = "never" if self.measured is None else f"{self.measured:,g}"
        return self.target, measured, "met" if self.met else "**not met**"


TARGETS: Mapping[str, Sequence[Target]] = {
    "enqueue": [Target("jobs/s", least=50_000)],
    "small jobs": [
        Target("jobs/s", least=2, beside="celery"),
        Target("CPU ms a job", most=1, beside="celery"),
    ],
    "big jobs": [
        Target("jobs/s", least=2.5, beside="celery"),
        Target("CPU ms a job", most=1 / 6, beside="celery"),
        Target("worker peak MB", most=1 / 15, beside="celery"),
        Target("jobs/s", least=1 / 3, beside="limit: raw sockets"),
    ],
    "callbacks": [
        Target("durable/s", least=5000, who="blendq, all at once"),
        Target("p99 ms", most=50, who="blendq, 1,000 a second"),
    ],
    # No more than machines differ from one moment to the next: it is to be the same.
    "growth": [
        Target("CPU ms a job", most=1.2, who=LAST, beside=FIRST),
        Target("Redis CPU ms a job", most=1.2, who=LAST, beside=FIRST),
        Target("bytes of Redis a job", most=2048, who=LAST),
    ],
    "slots": [
        Target("busy %", least=97, who="steady"),
        Target("22 %", most=10, who="steady"),
        Target("23 %", most=0.5, who="steady"),
        Target("followed, task times", most=2, who="half gone"),
        Target("followed, task times", most=2, who="all back"),
        Target("free to upload, ms", most=100, who="urgent jobs"),
    ],
}


def judged(row: Row) -> list[Judged]:
    """Each target of the row that can be told."""
    found = (target.judged(row) for target in TARGETS.get(row.name, ()))
    return [one for one in found if one is not None]


def to_text(found: Sequence[Judged]) -> str:
    """A table in Markdown."""
    lines = [cells("target", "measured", ""), cells(*["---"] * 3)]
    lines += [
        cells(
            one.target, "never" if one.measured is None else f"{one.measured:,g}", "met" if one.met else "**not met**"
        )
        for one in found
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row, who: str | int | None) -> Line | None:
    if isinstance(who, int):
        return row.lines[who]
    return next((line for line in row.lines if line.who == who), None)
