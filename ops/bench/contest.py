"""The contest: whoever does whole jobs, as one interface; and one repetition of it, measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ops.bench import parts
from ops.bench.parts import Use
from ops.bench.stand_in import StandIn

POLL_SECONDS = 0.01
PATIENCE_SECONDS = 60.0

Blend = tuple[Path, ...]


class Contestant(Protocol):
    """Somebody who gets blends done. All its processes run from `start` to `close`; it may be held in between."""

    name: str

    def start(self) -> None: ...

    def close(self) -> None: ...

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """Each part's processes (children are found)."""

    @property
    def held(self) -> Sequence[str]:
        """The parts that are stopped while others are measured, and while jobs are put in."""

    def enqueue(self, blends: Sequence[Blend], name: str) -> None:
        """Put jobs in, under a name for this repetition; it returns when all are acknowledged."""

    def finished(self, name: str) -> int:
        """How many jobs of that repetition have their picture."""


@dataclass(frozen=True)
class Result:
    """One repetition."""

    jobs: int
    seconds: float
    parts: Mapping[str, Use]
    problems: Mapping[str, int] = field(default_factory=dict)

    @property
    def jobs_per_second(self) -> float:
        return self.jobs / self.seconds

    @property
    def cpu_ms_a_job(self) -> float:
        return sum(one.cpu_seconds for one in self.parts.values()) * 1000 / self.jobs

    @property
    def worker_peak_mb(self) -> float:
        """Of the part that holds the pictures."""
        return max((one.peak_mb for name, one in self.parts.items() if name == "worker"), default=0.0)


def repetition(contestant: Contestant, api: StandIn, blends: Sequence[Blend], name: str) -> Result:
    """Put the jobs in, let go, and wait until all are done.

    Returns:
        what it took from letting go to the last picture; jobs that were not done, and blends that were paid twice, as
        problems.
    """
    held = [pid for part in contestant.held for pid in contestant.pids[part]]
    contestant.enqueue(blends, name)
    api.reset()
    parts.reset_peaks(held)
    before = {part: parts.use(*pids) for part, pids in contestant.pids.items()}
    began = time.monotonic()
    parts.let_go(held)
    while (done := contestant.finished(name)) < len(blends) and time.monotonic() - began < PATIENCE_SECONDS:
        time.sleep(POLL_SECONDS)
    seconds = time.monotonic() - began
    after = {part: parts.use(*pids) for part, pids in contestant.pids.items()}
    parts.hold(held)
    ledger = api.ledger()
    problems = {"unfinished": len(blends) - done, "paid twice": ledger.submissions - ledger.contents}
    problems["not submitted"] = len(blends) - ledger.contents
    return Result(
        done or 1,
        seconds,
        parts.used_between(before, after),
        {what: count for what, count in problems.items() if count},
    )
