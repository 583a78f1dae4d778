"""Where the time goes between the end of a task and the next upload, read from the histories of jobs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from jobs.history import HistoryEntry
from jobs.job import Job, Status
from jobs.store import JobStore

MOST_JOBS = 3000
_STEPS = (("release", "claim"), ("claim", "commit"), ("commit", "answer"))


@dataclass(frozen=True)
class Way:
    """What one job has been through, and its campaign."""

    campaign: str
    lines: Sequence[HistoryEntry]

    def at(self, event: str) -> datetime | None:
        return next((line.at for line in self.lines if line.event == event), None)

    def freed(self) -> Iterator[datetime]:
        for line in self.lines:
            if line.before and line.before.holds_slot and not line.after.holds_slot:
                yield line.at


def delays(store: JobStore, since: datetime, until: datetime, campaigns: Sequence[str]) -> dict[str, str]:
    """Median and 95th percentile of each step, in ms; the whole way for each campaign by itself.

    A release is matched with the newest slot that became free before it and has no other release yet. So it must be a
    time in which the number of slots hardly changed.
    """
    begun = [Way(name, store.history(job.id)) for name in campaigns for job in _begun(store, name)]
    ways = [Way(way.campaign, [line for line in way.lines if since <= line.at <= until]) for way in begun]
    told: dict[str, list[float]] = {}
    for way, freed in _replacements(ways):
        if (released := way.at("release")) and (claimed := way.at("claim")):
            told.setdefault("slot free -> released", []).append((released - freed).total_seconds())
            told.setdefault(f"slot free -> upload ({way.campaign})", []).append((claimed - freed).total_seconds())
    for first, then in _STEPS:
        for way in ways:
            if (began := way.at(first)) and (ended := way.at(then)):
                told.setdefault(f"{first} -> {then}", []).append((ended - began).total_seconds())
    return {name: _spread(values) for name, values in told.items()}


def _begun(store: JobStore, campaign: str) -> list[Job]:
    jobs = islice(store.campaign_jobs(campaign), MOST_JOBS)
    return [job for job in jobs if job.status is not Status.WAITING]


def _replacements(ways: Sequence[Way]) -> Iterator[tuple[Way, datetime]]:
    """Each job with the moment at which the slot that it took became free; none for those that took a new one."""
    moments: list[tuple[datetime, int | None]] = [(at, None) for way in ways for at in way.freed()]
    moments += [(at, number) for number, way in enumerate(ways) if (at := way.at("release"))]
    free: list[datetime] = []
    for moment, number in sorted(moments, key=lambda one: (one[0], one[1] is not None)):
        if number is None:
            free.append(moment)
        elif free:
            yield ways[number], free.pop()


def _spread(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return "too few"
    cuts = statistics.quantiles(seconds, n=20)
    return f"{cuts[9] * 1000:.0f} ms median, {cuts[18] * 1000:.0f} ms 95 % ({len(seconds)})"
