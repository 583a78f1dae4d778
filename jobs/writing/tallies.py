"""Tallies: what jobs add to the counts, of all jobs, of their campaign and of their door."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.doors import DEFAULT, named
from jobs.job import HAS_A_TASK, Job, Status

# The names of the counts of a campaign.
_SUMMED = ("submissions", "uncertain", "resubmissions", "queued_answers", "working", "waiting_there")
UNFINISHED = tuple(status.value for status in Status if not status.final)
# The names of the counts of a door.
AT_A_DOOR = ("released", "submitting", "committed", "unsure", "working", "waiting_there")
COUNTED = (*UNFINISHED, *(status.value for status in Status if status.final), *_SUMMED)


def tally(job: Job) -> dict[str, int]:
    """What one job adds to the counts of its campaign. Counts are sums of this, so they cannot drift."""
    counts: dict[str, int] = {
        str(job.status): 1,
        "resubmissions": job.resubmissions,
        "queued_answers": job.queued_answers,
    }
    if job.attempts:
        counts["submissions"] = job.submissions
        counts["uncertain"] = job.uncertain
    if job.status in HAS_A_TASK:
        counts["working"] = int(job.working)
        counts["waiting_there"] = int(job.waiting_there)
    return {name: count for name, count in counts.items() if count}


def at_doors(before: Job, was: Mapping[str, int], after: Job, now: Mapping[str, int]) -> dict[str, int]:
    """What changes in the counts of doors; what is at the default one is all that is at no other.

    Args:
        before, after: the job.
        was, now: its tallies.
    """
    return delta(_at_its_door(before, was), _at_its_door(after, now)) if after.went_to else {}


def _at_its_door(job: Job, counts: Mapping[str, int]) -> dict[str, int]:
    if job.door == DEFAULT:
        return {}
    return {named(job.door, name): counts[name] for name in AT_A_DOOR if name in counts}


def delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    change = dict(after)
    for name, count in before.items():
        change[name] = change.get(name, 0) - count
    return {name: count for name, count in change.items() if count}
