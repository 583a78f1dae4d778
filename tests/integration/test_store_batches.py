"""Many events at once: one read and one write, and each is decided, guarded and told for itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from pydantic import ValidationError

from jobs import events
from jobs.applying import Applied
from jobs.errors import JobNotFound, StoreUnavailable
from jobs.job import Status
from jobs.policy import Policy
from jobs.server import connect
from jobs.store import JobStore
from tests.integration.stored import UPLOADED, CutReplies, add, assert_consistent, happen, running


def upload(store: JobStore, *job_ids: str) -> None:
    for job_id in job_ids:
        add(store, job_id)
        happen(store, job_id, *UPLOADED)


def test_many_events_share_one_read_and_one_write(store: JobStore, client: redis.Redis) -> None:
    names = [f"job_{number}" for number in range(10)]
    upload(store, *names)
    before = commands(client)
    outcomes = store.apply_many([(name, running(f"task of {name}", 10)) for name in names])
    after = commands(client)
    assert [isinstance(outcome, Applied) and outcome.changed for outcome in outcomes] == [True] * 10
    assert (after["evalsha"] - before["evalsha"], after["time"] - before["time"]) == (1, 1)
    assert_consistent(store, client, names)


def commands(client: redis.Redis) -> dict[str, int]:
    """How often the server was asked for what."""
    found: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in found.items()}


def test_events_of_one_job_happen_in_order(store: JobStore, client: redis.Redis) -> None:
    """Each on the record that the last one left, and those of other jobs between them."""
    upload(store, "job_1", "job_2")
    happened = [("job_1", running("t1", percent)) for percent in range(1, 61)]
    outcomes = store.apply_many([*happened[:30], ("job_2", running("t2", 5)), *happened[30:]])
    assert all(isinstance(outcome, Applied) and outcome.changed for outcome in outcomes)
    assert [entry.detail for entry in store.history("job_1")][-60:] == [
        f"poll: IN_PROGRESS {percent}%" for percent in range(1, 61)
    ]
    assert_consistent(store, client, ["job_1", "job_2"])


def test_one_that_fails_holds_up_none_of_the_others(store: JobStore, client: redis.Redis) -> None:
    """Unknown, unreadable, or of a kind that the server refuses: that one is told, the others are written."""
    names = ["job_1", "job_2", "job_3", "job_4"]
    upload(store, *names)
    client.hset(store.keys.job("job_2"), "doc", "{")
    client.delete(store.keys.history("job_3"))
    client.set(store.keys.history("job_3"), "no list")
    happened = [(name, running(f"task of {name}", 10)) for name in (*names, "job_none")]
    outcomes = store.apply_many(happened)
    assert [type(outcome) for outcome in outcomes] == [
        Applied,
        ValidationError,
        redis.ResponseError,
        Applied,
        JobNotFound,
    ]
    assert [len(store.history(name)) for name in ("job_1", "job_4")] == [5, 5], "and written once"


def test_two_jobs_of_one_batch_with_one_task_are_both_parked(store: JobStore, client: redis.Redis) -> None:
    """I5"""
    upload(store, "job_1", "job_2", "job_3")
    store.apply_many([("job_1", running("t1", 5)), ("job_2", running("t1", 5)), ("job_3", running("t3", 5))])
    assert [store.get(name).status for name in ("job_1", "job_2", "job_3")] == [
        Status.PARKED,
        Status.PARKED,
        Status.RUNNING,
    ]
    assert_consistent(store, client, ["job_1", "job_2", "job_3"])


def test_a_lost_reply_of_a_batch_counts_as_won_for_each(store: JobStore, client: redis.Redis) -> None:
    names = ["job_1", "job_2", "job_3"]
    upload(store, *names)
    store.save_script = CutReplies(store.save_script, 1)  # type: ignore[assignment]
    outcomes = store.apply_many([(name, running(f"task of {name}", 10)) for name in names])
    assert all(isinstance(outcome, Applied) and outcome.changed for outcome in outcomes)
    assert [len(store.history(name)) for name in names] == [5, 5, 5]
    assert_consistent(store, client, names)


def test_only_those_that_were_overtaken_are_decided_again(store: JobStore, client: redis.Redis) -> None:
    names = ["job_1", "job_2", "job_3"]
    upload(store, *names)
    load, overtakers = store._load, [lambda: store.apply("job_2", events.Cancel())]
    asked: list[list[str]] = []

    def overtaken(job_ids: Sequence[str]) -> Any:
        found = load(job_ids)
        asked.append(list(job_ids))
        if overtakers:
            overtakers.pop()()
        return found

    store._load = overtaken  # type: ignore[method-assign]
    store.apply_many([(name, running(f"task of {name}", 10)) for name in names])
    assert asked == [names, ["job_2"], ["job_2"]]  # the second is the other writer's
    assert store.get("job_2").cancel_requested
    assert {store.get(name).status for name in names} == {Status.RUNNING}
    assert_consistent(store, client, names)


def test_a_server_that_takes_no_writes_is_told_to_each(store: JobStore, client: redis.Redis) -> None:
    upload(store, "job_1", "job_2")
    client.config_set("maxmemory", 1)
    try:
        outcomes = store.apply_many([(name, running(f"task of {name}", 10)) for name in ("job_1", "job_2")])
    finally:
        client.config_set("maxmemory", 0)
    assert [(type(outcome), "OOM" in str(outcome)) for outcome in outcomes] == [(StoreUnavailable, True)] * 2
    assert {store.get(name).status for name in ("job_1", "job_2")} == {Status.COMMITTED}


def test_a_server_that_is_gone_is_told_to_each(tmp_path: Path) -> None:
    store = JobStore(connect(f"unix://{tmp_path}/none.sock"), Policy())
    outcomes = store.apply_many([("job_1", events.Release()), ("job_2", events.Release())])
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]
