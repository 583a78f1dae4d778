"""Collect: fetches the finished picture."""

from __future__ import annotations

import logging

from jobs.attempt import Attempt, TaskStatus
from jobs.events import FETCHER, Collected, CollectFailed, SeedTold
from jobs.job import Job, Picture, Status
from jobs.net.download import DownloadError, LinkExpiredError
from jobs.pictures.images import StoredImage
from worker.context import Context
from worker.lease import LeavingError
from worker.proxy.lookups import Found
from worker.sightings import seen
from worker.waking import wake_up

_log = logging.getLogger(__name__)


def collect(context: Context, job_id: str) -> bool:
    """Download the picture of a job that is finished at the API.

    Safe to repeat at any point: the picture is kept by its content, and the record changes only once.

    Returns:
        whether there was one to fetch.
    """
    known = context.store.read(job_id)
    job, attempt = known.job, known.job.attempt
    if job.status is not Status.COLLECTING or attempt is None or attempt.image_url is None:
        return False
    try:
        with context.keeper.holding(job_id, Status.COLLECTING):
            stored, url = _fetch(context, job, attempt)
    except (DownloadError, LeavingError) as error:
        _failed(context, job_id, str(error))
        return True
    except OSError as error:  # our own disk: full, most likely
        _failed(context, job_id, f"the picture cannot be kept: {error.strerror}")
        return True
    applied = context.store.apply(job_id, Collected(attempt.number, _picture(stored, url)), known=known)
    wake_up(context.store, context.wakeups, applied)
    if not applied.changed:  # somebody else was faster
        return False
    if context.settings.fetch_seeds and applied.after.seed is None:
        _ask_for_seed(context, job, attempt)
    return True


def _ask_for_seed(context: Context, job: Job, attempt: Attempt) -> None:
    """Once, and only now: whatever comes of it, the picture is here."""
    proxy = context.proxies.find(job.upstream)
    seed = proxy.image_seed(attempt.task_id) if proxy and attempt.task_id else None
    if seed is not None:
        context.store.apply(job.id, SeedTold(attempt.number, seed))
    else:
        _log.info("job=%s the API does not tell the seed", job.id)


def _failed(context: Context, job_id: str, why: str) -> None:
    _log.warning("job=%s picture not fetched: %s", job_id, why)
    context.store.apply(job_id, CollectFailed(why))


def _fetch(context: Context, job: Job, attempt: Attempt) -> tuple[StoredImage, str]:
    url = attempt.image_url or ""
    stop = context.keeper.stop_when_leaving
    try:
        return context.downloads.fetch(url, context.images, stop), url
    except LinkExpiredError:
        fresh = _fresh_link(context, job, attempt)
        if fresh is None or fresh == url:
            raise
        return context.downloads.fetch(fresh, context.images, stop), fresh


def _fresh_link(context: Context, job: Job, attempt: Attempt) -> str | None:
    """Links expire within hours; asked for the task again, the API may give another."""
    proxy = context.proxies.find(job.upstream)
    if proxy is None or attempt.task_id is None:
        return None
    answer = proxy.fetch(attempt.task_id)
    if not isinstance(answer, Found):
        return None
    context.store.apply(job.id, seen(attempt.number, answer.task, FETCHER))
    return answer.task.image_url if answer.task.status is TaskStatus.SUCCESS else None


def _picture(stored: StoredImage, url: str) -> Picture:
    return Picture(
        digest=stored.digest,
        media_type=stored.media_type,
        width=stored.width,
        height=stored.height,
        bytes=stored.bytes,
        url=url,
    )
