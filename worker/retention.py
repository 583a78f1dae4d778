"""Retention: forgets campaigns that have been finished for as long as the settings say; by default none, ever."""

from __future__ import annotations

import logging
from datetime import timedelta

from jobs.records import BEFORE_ALL
from worker.context import Context

LOOK_SECONDS = 60.0
# With the next, all that one look may do: a tick is never long.
PAGE = 200
MAX_PAGES = 5

_log = logging.getLogger(__name__)


def forget_finished(context: Context) -> int:
    """Look once, unless somebody has just done so; returns how many jobs were forgotten. Their pictures stay.

    A campaign goes when none of its jobs is unfinished and each of them has been finished for so long.
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
    return forgotten


def _forget_page(context: Context, campaign: str, age: timedelta) -> int:
    store = context.store
    jobs, _ = store.campaign_page(campaign, BEFORE_ALL, PAGE)
    before = store.now() - age
    if any(job.finished_at is None or job.finished_at > before for job in jobs):
        return 0  # it was begun anew since somebody looked
    return store.delete([job.id for job in jobs], as_read=jobs)
