"""A record that cannot be read, by whatever defect, holds up none of the other jobs (I1, I7)."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from jobs import events
from jobs.events import AnswerKind
from jobs.job import Status
from jobs.server import to_ms
from tests.integration.stored import happen
from tests.integration.workbench import Open, Workbench, wait_for
from worker.dispatch import dispatch
from worker.reconcile import sweep


def spoil(bench: Workbench, job_id: str) -> None:
    bench.store._redis.hset(bench.store.keys.job(job_id), "doc", '{"id":"a secret"}')


def test_the_others_are_asked_about(open_bench: Open, caplog: pytest.LogCaptureFixture) -> None:
    bench = open_bench("plus", poll_min_seconds=0.05)
    for job_id in ("job_1", "job_2"):
        bench.add(job_id)
        assert bench.submit(job_id).status is Status.ACCEPTED
    bench.wakeups.submits.clear()
    spoil(bench, "job_1")
    bench.work_until(Status.SUCCEEDED, job_id="job_2")
    assert "job=job_1 cannot be read" in caplog.text


def test_what_it_holds_is_not_told(open_bench: Open) -> None:
    """An error of whoever reads it stands in the log (I8)."""
    bench = open_bench("plus")
    bench.add()
    spoil(bench, "job_1")
    with pytest.raises(ValueError, match="validation errors for Job") as error:
        bench.store.get("job_1")
    assert "a secret" not in str(error.value)


def test_the_leases_of_the_others_end(open_bench: Open, caplog: pytest.LogCaptureFixture) -> None:
    bench = open_bench("plus", lease_seconds=0.05)
    for job_id in ("job_1", "job_2"):
        bench.add(job_id)
        bench.store.apply(job_id, events.Release())
        bench.store.apply(job_id, events.Claim("a worker that is gone"))
    spoil(bench, "job_1")

    def waits() -> bool:
        sweep(bench.context)
        return bench.store.get("job_2").status is Status.WAITING

    wait_for(waits, lambda: str(bench.history("job_2")))
    assert "job=job_1" in caplog.text


def test_the_others_have_their_turn(open_bench: Open, caplog: pytest.LogCaptureFixture) -> None:
    bench = open_bench("plus", slots=1)
    for job_id in ("job_1", "job_2"):
        bench.add(job_id)
    spoil(bench, "job_1")
    wait_for(lambda: dispatch(bench.context) == 1, lambda: "nobody goes")
    assert bench.store.get("job_2").status is Status.RELEASED
    assert [record.getMessage() for record in caplog.records] == ["job=job_1 cannot be released (ValidationError)"]
    assert bench.store._redis.zscore(bench.store.keys.later, "job_1"), "it is looked at again"


def test_a_job_that_is_ready_before_its_time_keeps_none_waiting(open_bench: Open) -> None:
    """As where the server's clock was set back."""
    bench = open_bench("plus", slots=1)
    bench.add("job_1")
    bench.store.apply("job_1", events.Release())
    happen(bench.store, "job_1", events.Claim("w"), events.Answer(1, AnswerKind.NOT_SENT, retry_after_seconds=60))
    due_at = bench.store.get("job_1").due_at
    assert due_at
    keys, client = bench.store.keys, bench.store._redis
    client.zrem(keys.later, "job_1")
    client.zadd(keys.ready("default"), {"job_1": 0})
    bench.add("job_2")
    wait_for(lambda: dispatch(bench.context) == 1, lambda: "nobody goes")
    assert bench.store.get("job_2").status is Status.RELEASED
    assert client.zscore(keys.later, "job_1") == to_ms(due_at)


def test_the_others_become_due(open_bench: Open, caplog: pytest.LogCaptureFixture) -> None:
    bench = open_bench("plus")
    caplog.set_level(logging.ERROR)
    for job_id in ("job_1", "job_2"):
        job = bench.add(job_id)
        keys, client = bench.store.keys, bench.store._redis
        client.zrem(keys.ready(job.campaign), job_id)
        client.zadd(keys.later, {job_id: (job.created_at - timedelta(seconds=1)).timestamp() * 1000})
    spoil(bench, "job_1")
    assert bench.store.gate.ripen(page=1) == 0, "it must come to an end where all of a page are so"
    assert bench.store.gate.ripen(page=1) == 1, "as many as one likes hold up none behind them"
    assert dispatch(bench.context) == 1
    assert bench.store.get("job_2").status is Status.RELEASED
    told = [record.getMessage() for record in caplog.records if "job=job_1" in record.getMessage()]
    assert told == ["job=job_1 cannot be read (ValidationError)"], "once a minute, and not with each dispatch"
    assert bench.store._redis.zscore(bench.store.keys.later, "job_1"), "it is looked at again"


def test_what_a_newer_version_can_ask_of_an_account_keeps_no_queue_waiting(open_bench: Open) -> None:
    bench = open_bench("plus")
    keys, client = bench.store.keys, bench.store._redis
    bench.add("job_1")
    spoil(bench, "job_1")
    client.zrem(keys.ready("default"), "job_1")
    client.zadd(keys.ready("default", "|DRAFT|"), {"job_1": 0})
    client.sadd(keys.contenders, "default:|DRAFT|")
    bench.add("job_2")
    assert dispatch(bench.context) == 1
    assert bench.store.get("job_2").status is Status.RELEASED


def test_an_endpoint_that_cannot_be_read_keeps_no_job_from_being_asked_about(
    open_bench: Open, caplog: pytest.LogCaptureFixture
) -> None:
    bench = open_bench("plus", poll_min_seconds=0.05)
    keys, client = bench.store.keys, bench.store._redis
    client.hset(keys.webhooks, "wh_1", '{"id":"a secret"}')
    client.zadd(keys.outbox, {"msg_1": 0})
    bench.add()
    assert bench.submit().status is Status.ACCEPTED
    bench.work_until(Status.SUCCEEDED)
    assert "webhooks are told no further for now, by a defect (ValidationError)" in caplog.text
    assert "a secret" not in caplog.text
    assert client.zcard(keys.outbox), "what is to be told waits"
