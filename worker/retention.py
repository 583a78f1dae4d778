"""Retention: forgets what has been finished for as long as the settings say; by default nothing, ever.

A campaign goes as a whole, for who runs its manifest again wants only what is missing. Jobs that were given none are no
campaign of that kind, and never come to an end where a service enqueues them all day: they go one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from jobs.job import DEFAULT_CAMPAIGN, Job
from jobs.records import BEFORE_ALL
from worker.context import Context

LOOK_SECONDS = 60.0
# With the next, all that one look may do: a tick is never long.
PAGE = 200
MAX_PAGES = 5

_log = logging.getLogger(__name__)


def forget_finished(context: Context) -> int:
    """Look once, unless somebody has just done so; returns how many jobs were forgotten. Their pictures stay.

    A campaign goes when none of its jobs is unfinished and each of them has been finished for so long; a job without
    one, when that holds of itself, and its follow-ups are gone.
    """
    days, store = context.settings.keep_finished_days, context.store
    if days is None or not store.idle.take_turn(LOOK_SECONDS):
        return 0
    age = timedelta(days=days)
    forgotten = 0
    for campaign in store.idle.look(age)[:MAX_PAGES]:
        count = _forget_page(context, campaign, age)
        forgotten += count
        if count:
            _log.info("campaign=%s %d jobs forgotten, all finished for %g days", campaign, count, days)
    if count := sum(_forget_single(context, jobs) for jobs in _of_no_campaign(context, store.now() - age)):
        _log.info("campaign=%s %d jobs forgotten, each finished for %g days", DEFAULT_CAMPAIGN, count, days)
    return forgotten + count


def _forget_page(context: Context, campaign: str, age: timedelta) -> int:
    store = context.store
    ids, _ = store.campaign_ids(campaign, BEFORE_ALL, PAGE)
    jobs = store.readable(ids)
    before = store.now() - age
    if len(jobs) < len(ids) or any(job.finished_at is None or job.finished_at > before for job in jobs):
        return 0  # it was begun anew since somebody looked, or is not known in full
    return store.delete([job.id for job in jobs], as_read=jobs)


def _of_no_campaign(context: Context, before: datetime) -> Iterator[list[Job]]:
    """Pages of those that were finished by then, in the order in which they were enqueued. From where the last look
    ended: any number of those before may have to stay.
    """
    store, place = context.store, context.forgetting
    for _ in range(MAX_PAGES):
        ids, after = store.campaign_ids(DEFAULT_CAMPAIGN, place.after, PAGE)
        jobs = store.readable(ids)
        old = [job for job in jobs if job.created_at <= before]
        yield [job for job in old if job.finished_at is not None and job.finished_at <= before]
        if after is None or len(old) < len(jobs):  # those behind are younger
            place.after = BEFORE_ALL
            return
        place.after = after


def _forget_single(context: Context, jobs: list[Job]) -> int:
    """A follow-up is nothing without its parent."""
    store = context.store
    follow_ups = store.readable([child for job in jobs for child in job.follow_ups])
    needed = {child.follows.job_id for child in follow_ups if child.follows}
    single = [job for job in jobs if job.id not in needed]
    return store.delete([job.id for job in single], as_read=single)
