"""Errands: one message is enough for any number of jobs, and none of them waits for ever."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from jobs.errands import Errands
from jobs.errors import StoreUnavailable
from jobs.keys import BROKER_PREFIX, Keys
from jobs.queue import SUBMIT
from jobs.server import connect
from worker import tasks
from worker.context import Activity, Context


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def errands(client: redis.Redis, keys: Keys) -> Errands:
    return Errands(client, keys)


@pytest.fixture
def queue(client: redis.Redis) -> Iterator[str]:
    """Of this test's own: the broker's queues are everybody's."""
    name = uuid.uuid4().hex
    yield name
    client.delete(BROKER_PREFIX + name)


def test_the_longest_waiting_goes_first(errands: Errands, queue: str) -> None:
    errands.add(queue, ["a", "b"])
    errands.add(queue, ["c"])
    assert [errands.take(queue)[0] for _ in range(4)] == ["a", "b", "c", None]


def test_a_message_is_sent_only_where_none_waits(errands: Errands, queue: str, client: redis.Redis) -> None:
    assert errands.add(queue, ["a"])
    client.lpush(BROKER_PREFIX + queue, "a message")
    assert not errands.add(queue, ["b", "c"])
    assert errands.take(queue) == ("a", False)


def test_whoever_takes_one_calls_another_for_the_rest(errands: Errands, queue: str) -> None:
    errands.add(queue, ["a", "b", "c"])
    assert errands.take(queue) == ("a", True)
    assert errands.take(queue) == ("b", True)
    assert errands.take(queue) == ("c", False), "nothing is left to do for another"


class Waiting:
    """Wake-ups that hand out jobs from a list."""

    def __init__(self, *job_ids: str) -> None:
        self.left = list(job_ids)

    def next(self, task: str) -> str | None:
        assert task == SUBMIT
        return self.left.pop(0) if self.left else None


def worker(*job_ids: str) -> tuple[Context, Waiting]:
    wakeups = Waiting(*job_ids)
    context: Any = SimpleNamespace(wakeups=wakeups, activity=Activity(), leaving=threading.Event())
    return cast(Context, context), wakeups


def test_one_message_is_enough_for_all_jobs() -> None:
    context, _ = worker("a", "b", "c")
    done: list[str] = []
    tasks.work_off(context, SUBMIT, lambda _, job_id: done.append(job_id))
    assert done == ["a", "b", "c"]


def test_a_job_that_is_put_off_holds_up_none_of_the_others() -> None:
    context, _ = worker("a", "b", "c")
    done: list[str] = []

    def step(_: Context, job_id: str) -> None:
        if job_id == "a":
            raise StoreUnavailable("away")
        done.append(job_id)

    tasks.work_off(context, SUBMIT, step)
    assert done == ["b", "c"]


def test_a_turn_ends_when_its_time_is_over_or_the_worker_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.1, tasks.TURN_SECONDS])
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    context, wakeups = worker("a", "b")
    tasks.work_off(context, SUBMIT, lambda *_: None)
    assert wakeups.left == ["b"], "the thread is wanted for others"
    monkeypatch.undo()
    context, wakeups = worker("c", "d")
    tasks.work_off(context, SUBMIT, lambda *_: context.leaving.set())
    assert wakeups.left == ["d"], "it is for another worker"
