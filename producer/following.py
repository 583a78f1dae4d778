"""Following: what becomes of jobs, as it becomes.

Each step reads what there is, or waits for it a little while. So the same steps serve a program's thread, which lets
them wait, and an event loop, which does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobs.errors import ChangesMissed, WaitTimeout
from jobs.job import Job, Reason, Status
from jobs.pictures.images import ImageStore
from jobs.records import BEFORE_ALL
from jobs.store import JobStore
from jobs.telling.changes import Changed, present
from producer.campaign import summary

PAGE = 500
_FIRST_PAUSE_SECONDS = 0.05
_PAUSE_GROWTH = 1.5
_MAX_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Finished:
    """What became of a job: its picture, or the reason why there is none.

    `picture` is the file in the image store, not to be changed; None when the job did not succeed, or when this
    machine does not share the image store of the worker that fetched it.
    """

    job: Job
    picture: Path | None

    @classmethod
    def of(cls, job: Job, images: ImageStore) -> Self:
        stored = images.find(job.picture.digest) if job.picture and job.status is Status.SUCCEEDED else None
        return cls(job, stored.path if stored else None)

    @property
    def status(self) -> Status:
        return self.job.status

    @property
    def reason(self) -> Reason | None:
        return self.job.reason


class Patience:
    """How long whoever waits for a job does something else before looking again.

    Args:
        timeout_seconds: how long at most in all; None for as long as it takes.
    """

    def __init__(self, timeout_seconds: float | None) -> None:
        self._timeout_seconds = timeout_seconds
        self._began = time.monotonic()
        self._pause = _FIRST_PAUSE_SECONDS

    def pause_seconds(self, job: Job) -> float:
        """Until the next look at the job, which is not finished.

        Raises:
            WaitTimeout: the time is up.
        """
        pause, self._pause = self._pause, min(self._pause * _PAUSE_GROWTH, _MAX_PAUSE_SECONDS)
        if self._timeout_seconds is None:
            return pause
        left = self._began + self._timeout_seconds - time.monotonic()
        if left <= 0:
            words = f"job {job.id} is still {job.status} after {self._timeout_seconds:g} s"
            raise WaitTimeout(f"{words}; it goes on, wait for it again")
        return min(pause, left)


class Events:
    """What becomes of jobs, from now on or from an earlier event.

    Args:
        store: where the jobs are.
        after: the `id` of an event; None for what comes from now on, and for one job first how it is now.
        campaign: only its jobs; None for all.
        job_id: only this job; None for all.
    """

    def __init__(
        self, store: JobStore, after: str | None = None, campaign: str | None = None, job_id: str | None = None
    ) -> None:
        self._store = store
        self._campaign = campaign
        self._job_id = job_id
        self._place = store.newest_change() if after is None else after
        self._first = present(store.get(job_id), self._place) if job_id is not None and after is None else None

    def step(self, block_seconds: float) -> list[Changed]:
        """The next ones, in their order; none when nothing came within `block_seconds`.

        Raises:
            ChangesMissed: the place to go on from is no longer kept.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return [first]
        while found := self._store.changes(self._place, PAGE, block_seconds):
            self._place = found[-1].id
            if wanted := [change for change in found if self._wants(change)]:
                return wanted
        return []

    def _wants(self, change: Changed) -> bool:
        return (self._campaign is None or change.campaign == self._campaign) and (
            self._job_id is None or change.job_id == self._job_id
        )


class Results:
    """The finished jobs of a campaign, each once: first those that are, then the others as they finish.

    Holds the ids of those that it has told of.

    Args:
        store: where the jobs are.
        campaign: its name.

    Raises:
        CampaignNotFound: it has no jobs.
    """

    def __init__(self, store: JobStore, campaign: str) -> None:
        summary(store, campaign)
        self._store = store
        self._campaign = campaign
        self._told: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        """The stream is followed from before the records are read, so that nothing falls in between."""
        self._events = Events(self._store, campaign=self._campaign)
        self._page: int | None = BEFORE_ALL

    def step(self, block_seconds: float) -> Sequence[Job] | None:
        """Some that have finished; none when none did within `block_seconds`. None when all have."""
        if self._page is not None:
            jobs, self._page = self._store.campaign_page(self._campaign, self._page, PAGE)
            return self._news(jobs)
        # Whatever finished before this is asked is in the stream already.
        counts = self._store.counts(self._campaign)
        over = not any(counts.get(status) for status in Status if not status.final)
        try:
            changes = self._events.step(0 if over else block_seconds)
        except ChangesMissed:
            self._begin()
            return []
        if over and not changes:
            return None
        ids = dict.fromkeys(change.job_id for change in changes if change.status.final)
        return self._news(self._store.find_many([one for one in ids if one not in self._told]))

    def _news(self, jobs: Iterable[Job | None]) -> Sequence[Job]:
        news = [job for job in jobs if job and job.status.final and job.id not in self._told]
        self._told.update(job.id for job in news)
        return news
