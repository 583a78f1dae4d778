"""Doubt: submissions in the gap between commit and answer, which faults struck them there, and which were parked.

A job may be parked as unsure only when a fault struck a submission of it in that gap: one for each submission that was
caught there, since one fault catches all that are on the wire at its moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.history import HistoryEntry
from jobs.job import Status

# What these faults strike lies nowhere between a worker and the API: they excuse nothing. A worker told to leave
# finishes what is on the wire.
_ELSEWHERE = (
    "worker-term",
    "worker-restart",
    "receiver-",
    "beat-",
    "producer-",
    "hooks-",
    "callbacks-",
    "wakeups-",
    "links-",
    "pictures-",
)

UNSURE = "unsure"  # the reason for which such a job is parked


@dataclass(frozen=True)
class Span:
    """When a fault was there, in seconds since the epoch."""

    number: int
    kind: str
    began: float
    ended: float


@dataclass(frozen=True)
class Gap:
    """From a submission's commit until the record knew more, in seconds since the epoch. `ended_by` is the event."""

    began: float
    ended: float
    ended_by: str

    def overlaps(self, span: Span) -> bool:
        return span.began <= self.ended and self.began <= span.ended


@dataclass
class Doubt:
    """What came of the submissions that faults caught in the gap.

    `too_slow` were parked with no fault in their gap, but the API took longer to answer than blendq waits: a machine
    that is too busy for the run's short patience. `without_fault` has no excuse.
    """

    caught: int = 0
    parked: int = 0
    most_parked_by_one_fault: int = 0
    too_slow: int = 0
    without_fault: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


class Doubts:
    """Gathers the jobs of a run, one after the other.

    Args:
        spans: the faults that were played.
        answer_seconds: how long blendq waits for an answer in this run.
    """

    def __init__(self, spans: Sequence[Span], answer_seconds: float) -> None:
        self._spans = [span for span in spans if not span.kind.startswith(_ELSEWHERE)]
        self._answer_seconds = answer_seconds
        self._parked_by: Counter[int] = Counter()
        self.found = Doubt()

    def add(self, job_id: str, history: Sequence[HistoryEntry], *, parked: bool) -> None:
        """
        Args:
            parked: whether it is parked as unsure now.
        """
        met = list(gaps(history))
        struck = [[span for span in self._spans if gap.overlaps(span)] for gap in met]
        self.found.caught += sum(map(bool, struck))
        if not parked:
            return
        self.found.parked += 1
        if struck and struck[-1]:
            self._parked_by.update(span.number for span in struck[-1])
            self.found.most_parked_by_one_fault = max(self._parked_by.values())
        elif met and self._waited_in_vain(met[-1]):
            self.found.too_slow += 1
        else:
            self.found.without_fault.append(
                f"{job_id}: parked as unsure, and no fault struck between commit and answer"
            )

    def _waited_in_vain(self, gap: Gap) -> bool:
        return gap.ended_by == "no_answer" and gap.ended - gap.began >= self._answer_seconds


def gaps(history: Sequence[HistoryEntry]) -> Iterator[Gap]:
    """Each time that the job was committed, and nobody knew more."""
    began: float | None = None
    for entry in history:
        at = entry.at.timestamp()
        if entry.event == "commit":
            began = at
        elif began is not None and entry.after is not Status.COMMITTED:
            yield Gap(began, at, entry.event)
            began = None
    if began is not None:
        yield Gap(began, float("inf"), "")
