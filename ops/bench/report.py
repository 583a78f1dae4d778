"""Report: rows of figures, ours and the others', as a table or as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """One contestant's figures, by their names (with units); medians of all repetitions."""

    who: str
    figures: Mapping[str, float]
    problems: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What was measured, and what each came to.

    Args:
        name: of the row.
        what: the work, in words.
        lines: where they are `compared`, ours comes first.
        compared: whether ours is beside others'.
        files: what belongs to it, by name: a plot.
    """

    name: str
    what: str
    lines: Sequence[Line]
    compared: bool = True
    files: Mapping[str, str] = field(default_factory=dict)

    def ratios(self) -> dict[str, dict[str, float]]:
        """Ours divided by theirs, for each of the others."""
        if not self.compared:
            return {}
        ours, *others = self.lines
        return {
            other.who: {
                name: short(value / other.figures[name])
                for name, value in ours.figures.items()
                if other.figures.get(name)
            }
            for other in others
        }

    def to_json(self) -> dict[str, Any]:
        return {"row": self.name, "what": self.what, "lines": [asdict(line) for line in self.lines]} | {
            "ratios": self.ratios()
        }

    def to_text(self) -> str:
        """A table in Markdown, as the docs have it: in brackets ours divided by theirs."""
        names = list(dict.fromkeys(name for line in self.lines for name in line.figures))
        lines = [f"### {self.name}", "", self.what, "", cells("", *names), cells(*["---"] * (len(names) + 1))]
        ratios = self.ratios()
        for line in self.lines:
            figures = [_figure(line.figures.get(name), ratios.get(line.who, {}).get(name)) for name in names]
            lines.append(cells(line.who, *figures))
        lines += [f"{line.who}: {dict(line.problems)}" for line in self.lines if line.problems]
        return "\n".join(lines) + "\n"


def median_line(who: str, repetitions: Sequence[Mapping[str, float]], problems: Mapping[str, int]) -> Line:
    names = repetitions[0]
    figures = {name: short(statistics.median(one[name] for one in repetitions)) for name in names}
    return Line(who, figures, problems)


def machine() -> dict[str, Any]:
    """What it ran on, and how busy that was."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "processors": os.cpu_count(),
        "processor": cpu.partition(":")[2].strip(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }


def _figure(value: float | None, ratio: float | None) -> str:
    """A cell, in brackets the ratio."""
    if value is None:
        return ""
    return f"{value:,g}" + (f" ({ratio:,g})" if ratio is not None else "")


def cells(*words: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(words) + " |"


def short(value: float) -> float:
    """Three digits: more would only look exact."""
    return float(f"{value:.3g}") if abs(value) < 1000 else round(value)
