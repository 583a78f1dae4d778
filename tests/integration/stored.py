"""What the tests of the store share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import redis

from jobs import events
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.events import Event
from jobs.job import Job, Status
from jobs.slots.plan import next_in_turn
from jobs.store import JobStore
from jobs.writing.tallies import tally
from tests.unit.lifecycle_world import new_job


def add(store: JobStore, job_id: str = "job_1", **fields: Any) -> Job:
    now = store.now()
    job = new_job(id=job_id, created_at=now, due_at=now, order=store.next_orders(1), **fields)
    assert store.create([job]) == [True]
    return job


def happen(store: JobStore, job_id: str, *happened: Event) -> Job:
    for event in happened:
        store.apply(job_id, event)
    return store.get(job_id)


UPLOADED = (events.Release(), events.Claim("w1"), events.Commit(1))


def ready(store: JobStore, count: int) -> list[str]:
    queues = dict.fromkeys(store.turns.queues(), count)
    return [turn.job_id for turn in next_in_turn(store.turns.contenders(queues), count, lambda _: DEFAULT)]


def with_follow_ups(store: JobStore, job_ids: Sequence[str]) -> list[Job]:
    """The jobs, and whatever follows them."""
    jobs = [store.get(job_id) for job_id in job_ids]
    return [one for job in jobs for one in (job, *with_follow_ups(store, job.follow_ups))]


def assert_consistent(store: JobStore, client: redis.Redis, job_ids: list[str]) -> None:
    """Every index says what the records say."""
    jobs = with_follow_ups(store, job_ids)
    counts: Counter[str] = Counter()
    for job in jobs:
        counts.update(tally(job))
        for status in Status:
            for place in store.keys.places(status, job.campaign):
                standing = client.zscore(place, job.id) is not None
                assert standing <= (place in store.keys.places(job.status, job.campaign)), f"{job.id} in {place}"
        places = [client.zscore(place, job.id) for place in store.keys.places(job.status, job.campaign)]
        found = sum(score is not None for score in places)
        assert found == (job.status not in (Status.SUCCEEDED, Status.CANCELLED)), f"{job.id} {job.status}"
        for door in ("default", "spare"):
            holds = job.status.holds_slot and job.door == door
            assert bool(client.sismember(store.keys.door(door).slots, job.id)) == holds, f"{job.status} at {door}"
    for door in ("default", "spare"):
        there = [job for job in jobs if job.door == door]
        _, seen = store.throttle.read(door)
        told = (seen.held, seen.on_the_way, seen.unsure, seen.working, seen.waiting)
        on_the_way = (Status.RELEASED, Status.SUBMITTING, Status.COMMITTED)
        assert told == (
            sum(job.status.holds_slot for job in there),
            sum(job.status in on_the_way for job in there),
            sum(job.status is Status.UNSURE for job in there),
            sum(job.working for job in there),
            sum(job.waiting_there for job in there),
        ), door
    assert store.counts() == dict(counts)
    assert store.counts("default") == dict(counts)


class CutReplies:
    """Lets a script run, and loses its reply the first `times` times."""

    def __init__(self, script: Any, times: int) -> None:
        self.script, self.times = script, times

    def __call__(self, **call: Any) -> Any:
        return self._back(lambda: self.script(**call))

    def begin(self, *call: Any) -> Callable[[], Any]:
        return partial(self._back, self.script.begin(*call))

    def _back(self, read: Callable[[], Any]) -> Any:
        answer = read()
        if self.times:
            self.times -= 1
            raise redis.ConnectionError("cut")
        return answer


def happens_before_it_is_repeated(store: JobStore, monkeypatch: pytest.MonkeyPatch, *happened: Event) -> None:
    """The reply of the next write is lost, and this happens to the job before it is asked for again."""
    meanwhile = list(happened)
    script = store.save_script

    def lose_the_reply(**named: Any) -> Any:
        answer = script(**named)
        if meanwhile:
            todo = meanwhile[:]
            meanwhile.clear()
            happen(store, "job_1", *todo)
            raise redis.ConnectionError("the reply was lost")
        return answer

    monkeypatch.setattr(store, "save_script", lose_the_reply)


def running(task_id: str, progress: int) -> Event:
    return events.TaskSeen(1, task_id, TaskStatus.IN_PROGRESS, progress)
