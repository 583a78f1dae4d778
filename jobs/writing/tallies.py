"""Tallies: what jobs add to the counts, of all jobs, of their campaign and of their door."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.doors import DEFAULT, named
from jobs.job import Job, Status

# The names of the counts of a campaign.
_SUMMED = ("submissions", "uncertain", "resubmissions", "queued_answers", "working", "waiting_there")
UNFINISHED = tuple(status.value for status in Status if not status.final)
# The names of the counts of a door.
AT_A_DOOR = ("released", "submitting", "committed", "unsure", "working", "waiting_there")
COUNTED = (*UNFINISHED, *(status.value for status in Status if status.final), *_SUMMED)


def tally(job: Job) -> dict[str, int]:
    """What one job adds to the counts of its campaign. Counts are sums of this, so they cannot drift."""
    summed = {name: count for name in _SUMMED if (count := getattr(job, name))}
    return {job.status.value: 1, **summed}


def at_doors(before: Job, after: Job) -> dict[str, int] | None:
    """What changes in the counts of its door; what is at the default one is all that is at no other."""
    if not after.went_to:
        return None
    return delta(_at_its_door(before), _at_its_door(after)) or None


def _at_its_door(job: Job) -> dict[str, int]:
    counts = tally(job) if job.door != DEFAULT else {}
    return {named(job.door, name): counts[name] for name in AT_A_DOOR if name in counts}


def delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    if before == after:
        return {}
    names = before.keys() | after.keys()
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    return {name: change for name, change in changes.items() if change}
