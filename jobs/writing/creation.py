"""Creation: new jobs, as `lua/create.lua` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from jobs.idempotency import content_of, digest_of
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.server import to_ms
from jobs.slots.gate import rank
from jobs.slots.pins import Queue
from jobs.writing.docs import Docs
from jobs.writing.write import Write


@dataclass(frozen=True)
class Creation:
    """Jobs of one campaign that are to be created in one step; `then` happens to some of them in the same step."""

    jobs: Sequence[Job]
    keys: Sequence[str]
    args: Sequence[str | int]
    then: Sequence[Write]

    @classmethod
    def of(cls, keys: Keys, jobs: Sequence[Job], epoch: str | None, then: Sequence[Write]) -> Self:
        """
        Args:
            keys: the store's.
            jobs: one or more, that differ in their ids, requests, keys and places alone; all waiting.
            epoch: that the server must have; None for any.
            then: first changes of some of these jobs.
        """
        first, campaign = jobs[0], jobs[0].campaign
        if any(_shared(job) != _shared(first) for job in jobs) or first.status is not Status.WAITING:
            raise ValueError("jobs are created waiting, for one campaign at a time, and in one moment")
        waits_in = list(map(Queue.of, jobs))
        queues = list(dict.fromkeys(waits_in))
        own = [
            keys.ready(*queues[0]),
            keys.counts,
            keys.campaign_counts(campaign),
            keys.campaigns,
            keys.campaign_jobs(campaign),
            keys.epoch,
            keys.contenders,
            keys.changes,
            *(keys.job(job.id) for job in jobs),
            *(keys.idempotency(digest_of(job.idempotency_key)) for job in jobs if job.idempotency_key),
            *(keys.ready(*queue) for queue in queues[1:]),
        ]
        args: list[str | int] = [campaign, to_ms(first.created_at), epoch or "", len(jobs), len(queues)]
        args += map(str, queues)
        place = {queue: number for number, queue in enumerate(queues, 1)}
        docs = Docs(first)
        for job, queue in zip(jobs, waits_in, strict=True):
            content = content_of(job.request) if job.idempotency_key else ""
            args += (job.id, rank(job), job.order, docs.of(job), content, place[queue])
        return cls(jobs, own, args, then)


def _shared(job: Job) -> tuple[object, ...]:
    return job.campaign, job.status, job.created_at, job.due_at
