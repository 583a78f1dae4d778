"""Kept: jobs that have had their whole life, and are kept as they ended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from jobs import events
from jobs.attempt import TaskStatus
from jobs.content import content_id
from jobs.events import AnswerKind
from jobs.ids import id_of
from jobs.job import Job, Picture, Status
from jobs.request import BlendRequest
from jobs.store import JobStore
from jobs.writing.docs import to_kept

CAMPAIGN = "kept"
PAGE = 250
WORKER = "worker-7f9c4d5b8-x2x9q-17"


def live(store: JobStore, first: int, count: int) -> None:
    """Each through all that it goes through, as the workers do it."""
    for start in range(first, first + count, PAGE):
        numbers = range(start, min(start + PAGE, first + count))
        now, order = store.now(), store.next_orders(len(numbers))
        jobs = [
            Job(id=_id(number), campaign=CAMPAIGN, request=_request(number), created_at=now, due_at=now, order=place)
            for place, number in enumerate(numbers, order)
        ]
        store.create(jobs)
        lives = [_life(number) for number in numbers]
        for step in zip(*lives, strict=True):
            store.apply_many([(job.id, event) for job, event in zip(jobs, step, strict=True)])


def copy(store: JobStore, client: redis.Redis, first: int, count: int) -> None:
    """As if each had lived: what the store keeps of one that has, with its own names. A hundred times as fast.

    Args:
        store: in which job `first - 1` has lived.
        client: of its server.
        first: the number of the first.
        count: how many.
    """
    lived = store.get(_id(first - 1))
    lines: Any = client.lrange(store.keys.history(lived.id), 0, -1)
    writes: Any = client.hget(store.keys.job(lived.id), "writes")
    for start in range(first, first + count, PAGE):
        numbers = range(start, min(start + PAGE, first + count))
        jobs = list(_copies(lived, numbers, store.next_orders(len(numbers))))
        with client.pipeline(transaction=False) as pipeline:
            for job in jobs:
                fields: Any = {"doc": to_kept(job), "version": len(lines) + 1, "writes": writes}
                pipeline.hset(store.keys.job(job.id), mapping=fields)
                pipeline.rpush(store.keys.history(job.id), *lines)
            pipeline.zadd(store.keys.campaign_jobs(CAMPAIGN), {job.id: job.order for job in jobs})
            pipeline.hset(store.keys.tasks, mapping={job.attempts[0].task_id or "": job.id for job in jobs})
            pipeline.hset(store.keys.pictures, mapping={job.picture.digest: job.id for job in jobs if job.picture})
            pipeline.hset(store.keys.contents, mapping={content_id(job.request): job.id for job in jobs})
            for counts in (store.keys.counts, store.keys.campaign_counts(CAMPAIGN)):
                pipeline.hincrby(counts, Status.SUCCEEDED, len(jobs))
                pipeline.hincrby(counts, "submissions", len(jobs))
            pipeline.execute()


def _copies(lived: Job, numbers: Sequence[int], order: int) -> Iterator[Job]:
    for place, number in enumerate(numbers, order):
        attempt = lived.attempts[0].but(task_id=_task(number), image_url=_url(number))
        own = {"id": _id(number), "request": _request(number), "order": place, "picture": _picture(number)}
        yield lived.with_attempt(attempt, **own)


def _id(number: int) -> str:
    return id_of(f"kept {number}")


def _digest(*what: object) -> str:
    return "sha256:" + hashlib.sha256(repr(what).encode()).hexdigest()


def _request(number: int) -> BlendRequest:
    images = (_digest("left", number % 1000), _digest("right", number // 1000))
    return BlendRequest(images=images, custom_id=f"row-{number}")


def _task(number: int) -> str:
    return f"17000000{number:08}"


def _url(number: int) -> str:
    """As long as those of the servers that the API shows pictures from."""
    name = _digest("name", number)[7:39]
    return f"https://cdn.example.com/attachments/{10**18 + number}/{11 * 10**17 + 7 * number}/somebody_{name}.png"


def _picture(number: int) -> Picture:
    return Picture(
        digest=_digest("blend", number),
        media_type="image/png",
        width=2048,
        height=2048,
        bytes=6 << 20,
        url=_url(number),
    )


def _life(number: int) -> list[events.Event]:
    task = _task(number)
    seen = TaskStatus.SUCCESS
    return [
        events.Release(),
        events.Claim(WORKER),
        events.Commit(1),
        events.Answer(1, AnswerKind.ACCEPTED, task, None, 1, "Submit success"),
        events.TaskSeen(1, task, TaskStatus.IN_PROGRESS, progress=40, source="callback"),
        events.TaskSeen(1, task, seen, progress=100, image_url=_url(number), source="callback"),
        events.Collected(1, _picture(number)),
    ]
