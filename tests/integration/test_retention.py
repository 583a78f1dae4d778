"""Campaigns that have been finished for long are forgotten, where that is wished; nothing else ever is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs import events
from jobs.actions import Action
from jobs.attempt import TaskStatus
from jobs.keys import Keys
from jobs.settings import Settings
from jobs.store import JobStore
from tests.integration.redis_users import GuardedServer
from tests.integration.workbench import Workbench, open_workbench, wait_for
from tests.unit.lifecycle_world import PICTURE, new_job
from worker import retention
from worker.reconcile import sweep
from worker.retention import forget_finished

# A twentieth of a second.
SOON_DAYS = 0.05 / 86400
Open = Callable[..., Workbench]


@pytest.fixture
def bench(redis_url: str, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0.002)
    made = []

    def open_bench(url: str = redis_url, named: Keys = keys, **settings: object) -> Workbench:
        made.append(open_workbench(url, named, tmp_path, "http://127.0.0.1:9", **settings))
        return made[-1]

    yield open_bench
    for one in made:
        one.context.close()


def add(store: JobStore, campaign: str, count: int = 1) -> list[str]:
    first, now = store.next_orders(count), store.now()
    jobs = [
        new_job(id=f"job_{order}", campaign=campaign, created_at=now, due_at=now, order=order)
        for order in range(first, first + count)
    ]
    store.create(jobs)
    return [job.id for job in jobs]


def cancel(store: JobStore, job_ids: list[str]) -> None:
    store.apply_many([(job_id, events.Cancel()) for job_id in job_ids])


def look_until(bench: Workbench, condition: Callable[[], bool]) -> None:
    def turn() -> bool:
        sweep(bench.context)
        return condition()

    wait_for(turn, lambda: f"left: {bench.store.counts()}")


def names(store: JobStore) -> list[str]:
    return [name for name, _ in store.campaigns()]


def test_what_is_finished_for_long_is_forgotten(bench: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "worker.retention")
    made = bench(keep_finished_days=SOON_DAYS)
    store = made.store
    cancel(store, add(store, "done", 450))
    half = add(store, "half", 2)
    cancel(store, half[:1])
    look_until(made, lambda: names(store) == ["half"])
    assert store.counts("half") == {"waiting": 1, "cancelled": 1}, "a campaign goes whole, and so stays"
    assert store.counts() == {"waiting": 1, "cancelled": 1}
    forgotten = [record.getMessage() for record in caplog.records if record.name == "worker.retention"]
    assert [line.split(" jobs")[0] for line in forgotten] == [
        "campaign=done 200", "campaign=done 200", "campaign=done 50",
    ]  # fmt: skip
    cancel(store, half[1:])
    look_until(made, lambda: names(store) == [])
    assert list(store._redis.scan_iter(f"{store.keys.prefix}:campaign:*")) == []


def test_jobs_without_a_campaign_go_one_by_one_and_parents_last(bench: Open) -> None:
    made = bench(keep_finished_days=SOON_DAYS)
    store = made.store
    waiting, *done, parent = add(store, "default", 5)
    seen = events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1")
    for event in (events.Release(), events.Claim("w"), events.Commit(1), seen, events.Collected(1, PICTURE)):
        store.apply(parent, event)
    (child,) = store.apply(parent, events.Act((Action.U1,))).after.follow_ups
    cancel(store, done)
    look_until(made, lambda: store.counts() == {"waiting": 2, "submissions": 1, "succeeded": 1})
    cancel(store, [child])
    look_until(made, lambda: store.counts() == {"waiting": 1})
    assert store.get(waiting)


def test_any_number_that_stay_hold_up_none_behind_them(bench: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pages were all that was ever looked at: a thousand grids, say, whose follow-ups were enqueued later."""
    monkeypatch.setattr(retention, "PAGE", 2)
    monkeypatch.setattr(retention, "MAX_PAGES", 1)
    made = bench(keep_finished_days=SOON_DAYS)
    first, *between, last = add(made.store, "default", 6)
    cancel(made.store, [last])
    look_until(made, lambda: made.store.counts() == {"waiting": 5})
    cancel(made.store, [first])
    look_until(made, lambda: made.store.counts() == {"waiting": 4})
    assert all(map(made.store.get, between))


def test_what_cannot_be_read_stays_and_holds_up_nothing_else(bench: Open, caplog: pytest.LogCaptureFixture) -> None:
    made = bench(keep_finished_days=SOON_DAYS)
    store = made.store
    parts = [add(store, campaign, 2) for campaign in ("default", "spoiled", "done")]
    for job_ids in parts:
        cancel(store, job_ids)
    (spoiled, _), (other, whole), _ = parts
    for job_id in (spoiled, other):
        store._redis.hset(store.keys.job(job_id), "doc", '{"id":"a secret"}')
    look_until(made, lambda: store.counts() == {"cancelled": 3})
    assert store.get(whole), "a campaign goes whole, and so stays"
    assert store.counts("default") == {"cancelled": 1}
    assert f"job={spoiled} cannot be read" in caplog.text


def test_nothing_is_forgotten_by_default(bench: Open) -> None:
    made = bench()
    cancel(made.store, add(made.store, "done"))
    assert forget_finished(made.context) == 0
    assert not made.store._redis.exists(made.store.keys.idle_looked_at)


def test_what_was_begun_anew_stays(bench: Open) -> None:
    """Between two looks it was tried again, and ended again: it is not old, though it was finished before."""
    made = bench(keep_finished_days=1.0)
    store = made.store
    job_ids = add(store, "again")
    cancel(store, job_ids)
    forget_finished(made.context)
    store._redis.zincrby(store.keys.idle, -2 * 86_400_000, "again")
    wait_for(lambda: not store._redis.exists(store.keys.idle_looked_at), lambda: "somebody has just looked")
    assert forget_finished(made.context) == 0
    assert names(store) == ["again"]
    store.apply(job_ids[0], events.Retry())
    wait_for(lambda: not store._redis.exists(store.keys.idle_looked_at), lambda: "somebody has just looked")
    forget_finished(made.context)
    assert store._redis.zscore(store.keys.idle, "again") is None, "its time begins anew"


def test_one_looks_for_all(bench: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOOK_SECONDS", 600.0)
    made = bench(keep_finished_days=SOON_DAYS)
    forget_finished(made.context)
    monkeypatch.setattr(made.store.idle, "look", lambda _: pytest.fail("it is not its turn"))
    assert forget_finished(made.context) == 0


def test_a_worker_may_forget(bench: Open, guarded: GuardedServer) -> None:
    made = bench(guarded.url("worker"), Keys(), keep_finished_days=SOON_DAYS)
    (job_id,) = add(made.store, "done")
    seen = events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1")
    for event in (events.Release(), events.Claim("w"), events.Commit(1), seen, events.Collected(1, PICTURE)):
        made.store.apply(job_id, event)
    cancel(made.store, add(made.store, "done"))

    def turn() -> bool:
        forget_finished(made.context)
        return names(made.store) == []

    wait_for(turn, lambda: "still there")
    assert guarded.denied() == []


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_time_that_cannot_be(days: float) -> None:
    with pytest.raises(ValidationError):
        Settings(keep_finished_days=days)
