"""Where the time goes between the end of a task and the next upload, read from the histories of jobs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from jobs.job import Status
from jobs.store import JobStore

MOST_JOBS = 2000
_STEPS = (("release", "claim"), ("claim", "commit"), ("commit", "answer"))


def delays(store: JobStore, campaign: str) -> dict[str, str]:
    """Median and 95th percentile of each step, in ms.

    A release is matched with the newest slot that became free before it and has no other release yet.
    """
    freed: list[datetime] = []
    released: list[datetime] = []
    steps: dict[tuple[str, str], list[float]] = {step: [] for step in _STEPS}
    for job in islice(store.campaign_jobs(campaign), MOST_JOBS):
        if job.status is Status.WAITING:
            continue
        lines = store.history(job.id)
        at = {line.event: line.at for line in lines}
        released += [line.at for line in lines if line.event == "release"]
        freed += [line.at for line in lines if line.before and line.before.holds_slot and not line.after.holds_slot]
        for first, then in _STEPS:
            if first in at and then in at:
                steps[first, then].append((at[then] - at[first]).total_seconds())
    told = {"freed -> released": _spread(_replacements(freed, released))}
    return told | {f"{first} -> {then}": _spread(values) for (first, then), values in steps.items()}


def _replacements(freed: Sequence[datetime], released: Sequence[datetime]) -> list[float]:
    """From a slot that became free to the release that took its place."""
    found: list[float] = []
    free: list[datetime] = []
    for moment, is_release in sorted([*((at, False) for at in freed), *((at, True) for at in released)]):
        if not is_release:
            free.append(moment)
        elif free:
            found.append((moment - free.pop()).total_seconds())
    return found


def _spread(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return "too few"
    cuts = statistics.quantiles(seconds, n=20)
    return f"{cuts[9] * 1000:.0f} ms median, {cuts[18] * 1000:.0f} ms 95 % ({len(seconds)})"
