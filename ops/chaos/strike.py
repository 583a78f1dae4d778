"""Strikes: faults as they happened, and how long the stack took to recover from each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.history import HistoryEntry
from jobs.job import Status
from ops.chaos.doubt import Span
from ops.chaos.schedule import Fault

# A job in one of these is in the hands of a worker; when that is gone, somebody must notice.
IN_HANDS = frozenset({Status.RELEASED, Status.SUBMITTING, Status.COMMITTED, Status.COLLECTING})
# At real times: what a killed worker held must move on, and a campaign after a Redis that was away.
HELD_LIMIT_SECONDS = 60.0
AWAY_LIMIT_SECONDS = 90.0

NEVER = float("inf")


@dataclass
class Strike:
    """A fault as it happened; times in seconds since the start of the run.

    `recovered_after` its end some job moved on, `accepted_after` its end the API accepted a submission; and every job
    that was in a worker's hands when it `struck` had moved on `held_for` seconds later.
    """

    fault: Fault
    began: float = 0.0
    struck: float | None = None
    ended: float | None = None
    recovered_after: float | None = None
    accepted_after: float | None = None
    held_for: float | None = None
    problem: str = ""
    marker: object = None

    def as_json(self) -> dict[str, Any]:
        times = {
            "began": self.began,
            "seconds": None if self.ended is None else self.ended - self.began,
            "recovered_after": self.recovered_after,
            "accepted_after": self.accepted_after,
            "held_for": self.held_for,
        }
        told = {name: round(time, 2) for name, time in times.items() if time is not None}
        return {"number": self.fault.number, "kind": self.fault.kind, **told, "problem": self.problem}

    def span(self, origin: float, now: float) -> Span:
        """When it was there, in seconds since the epoch; `origin` is when the run began."""
        ended = now if self.ended is None else self.ended
        return Span(self.fault.number, self.fault.kind, origin + self.began, origin + ended)

    def measure(
        self, origin: float, accepted: Sequence[float], histories: Mapping[str, Sequence[HistoryEntry]]
    ) -> None:
        """
        Args:
            origin: when the run began; like `accepted`, when submissions were, in seconds since the epoch.
        """
        if self.ended is not None:
            later = [at for at in accepted if at > origin + self.ended]
            self.accepted_after = min(later) - origin - self.ended if later else None
        if self.struck is not None and self.fault.kind == "worker-kill":
            self.held_for = max(_held(histories, origin + self.struck), default=None)

    def too_slow(self) -> Iterator[str]:
        """What took longer than it may at real times."""
        name = f"fault {self.fault.number}, {self.fault.kind}"
        if (self.held_for or 0.0) > HELD_LIMIT_SECONDS:
            yield f"{name}: what was in a worker's hands had moved on after {self.held_for:.0f} s only"
        if self.fault.kind.startswith("redis-") and (self.accepted_after or 0.0) > AWAY_LIMIT_SECONDS:
            yield f"{name}: nothing was submitted for {self.accepted_after:.0f} s after it"


def _held(histories: Mapping[str, Sequence[HistoryEntry]], at: float) -> Iterator[float]:
    """For each job that was in a worker's hands at this moment, how long until it moved on."""
    for history in histories.values():
        before = [entry for entry in history if entry.at.timestamp() <= at]
        if before and before[-1].after in IN_HANDS:
            after = history[len(before) :]
            yield after[0].at.timestamp() - at if after else NEVER
