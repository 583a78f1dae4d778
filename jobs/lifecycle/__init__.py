"""The one table of what may happen to a job: (job, event) -> change.

Pure: the clock and chance are arguments. Whatever the table does not list changes nothing, so an event that comes
late, twice or out of order is harmless. `store.JobStore.apply` is the only caller that writes what comes out.
"""

from __future__ import annotations

from typing import assert_never

from jobs import events
from jobs.events import Event
from jobs.job import Job
from jobs.lifecycle import at_the_api, finishing, submitting
from jobs.lifecycle.change import CONFLICT, Change, Moment

__all__ = ["CONFLICT", "Change", "Moment", "advance"]


def advance(job: Job, event: Event, moment: Moment) -> Change | None:  # noqa: C901  (one line an event)
    """Decide what an event does to a job.

    Args:
        job: the record as it was read.
        event: what happened.
        moment: the store's clock, a random number, and the policy.

    Returns:
        The changed job, or None when the event means nothing to a job in this status.
    """
    match event:
        case events.Release():
            return submitting.release(job, event, moment)
        case events.Claim():
            return submitting.claim(job, event, moment)
        case events.Commit():
            return submitting.commit(job, event, moment)
        case events.Answer():
            return submitting.answer(job, event, moment)
        case events.NoAnswer():
            return submitting.no_answer(job, event, moment)
        case events.LeaseEnd():
            return submitting.lease_end(job, moment)
        case events.TaskSeen():
            return at_the_api.task_seen(job, event, moment)
        case events.TaskMissing():
            return at_the_api.task_missing(job, event, moment)
        case events.PatienceEnd():
            return at_the_api.patience_end(job, event, moment)
        case events.Withdrawn():
            return at_the_api.withdrawn(job, event, moment)
        case events.Collected():
            return finishing.collected(job, event, moment)
        case events.SeedTold():
            return finishing.seed_told(job, event)
        case events.Reuse():
            return finishing.reuse(job, event, moment)
        case events.CollectFailed():
            return finishing.collect_failed(job, event, moment)
        case events.Deadline():
            return at_the_api.deadline(job, moment)
        case events.Conflict():
            return finishing.conflict(job, event, moment)
        case events.Cancel():
            return finishing.cancel(job, moment)
        case events.Retry():
            return finishing.retry(job, moment)
        case events.Act():
            return finishing.act(job, event, moment)
        case _:  # pragma: no cover
            assert_never(event)
