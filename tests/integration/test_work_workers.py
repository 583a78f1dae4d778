"""A job's work when wake-ups, leases, workers or Redis fail between its steps (I2, I3)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from jobs import events
from jobs.errors import JobNotFound, StoreUnavailable
from jobs.job import Status
from jobs.redis_client import RedisClient
from jobs.store import JobStore
from tests.integration.workbench import Open, wait_for
from worker import reconcile
from worker import submit as submit_room
from worker.dispatch import dispatch
from worker.submit import submit


def test_a_wake_up_that_comes_twice_or_late_submits_nothing(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    for _ in range(3):
        submit(bench.context, "job_1")
    assert len(bench.accepted()) == 1


def test_a_lost_wake_up_is_sent_again(open_bench: Open) -> None:
    bench = open_bench("plus", lease_seconds=0.05)
    bench.add()
    reconcile.sweep(bench.context)
    bench.work_until(Status.SUCCEEDED)
    bench.add("job_2")
    submit_room.submit(bench.context, "job_2")  # not released yet: nothing to claim
    assert bench.store.get("job_2").status is Status.WAITING
    dispatch(bench.context)
    bench.wakeups.submits.clear()  # the broker was flushed
    bench.work_until(Status.SUCCEEDED, job_id="job_2")
    assert any("nobody claimed it" in line for line in bench.history("job_2"))
    assert len(bench.accepted()) == 2


def test_whoever_released_a_job_claims_it_without_reading_it(open_bench: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = open_bench("plus")
    bench.add()
    read: list[str] = []
    load = bench.store._load

    def told(job_ids: Sequence[str]) -> Any:
        read.extend(job_ids)
        return load(job_ids)

    monkeypatch.setattr(bench.store, "_load", told)
    assert bench.submit().status is not Status.WAITING
    assert read == ["job_1"], "once, to release it"


def test_a_dispatch_that_finds_nothing_to_do_is_two_round_trips(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("plus")
    dispatch(bench.context)
    calls: list[object] = []
    one_call = RedisClient.one_call

    def counted(client: RedisClient) -> Any:
        calls.append(client)
        return one_call(client)

    monkeypatch.setattr(RedisClient, "one_call", counted)
    assert dispatch(bench.context) == 0
    assert len(calls) == 2, "what goes by what was found, and all that does not"


def test_what_others_did_to_a_job_since_it_was_released_counts(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    dispatch(bench.context)
    by_another = JobStore(bench.store._redis, bench.store.policy, bench.store.keys)
    by_another.apply("job_1", events.Claim("quick"))
    submit(bench.context, "job_1")
    job = bench.store.get("job_1")
    assert (job.status, job.claims, bench.accepted()) == (Status.SUBMITTING, 1, [])


def test_a_worker_that_lost_its_lease_does_not_send_the_last_byte(open_bench: Open) -> None:
    """I3, on the wire: the job was taken over while the upload was under way."""
    bench = open_bench("plus")
    bench.add()
    bench.store.apply("job_1", events.Release())
    stale = bench.store.apply("job_1", events.Claim("slow"))
    taken_over: list[events.Event] = [events.Cancel(), events.Retry(), events.Release(), events.Claim("quick")]
    for event in taken_over:
        bench.store.apply("job_1", event)
    event = submit_room._upload(bench.context, stale.after, submit_room.Committer(bench.context, stale))
    assert isinstance(event, events.Answer)
    assert event.kind is events.AnswerKind.GIVEN_UP
    assert not bench.store.apply("job_1", event).changed, "the job is another worker's now"
    assert bench.accepted() == []
    wait_for(
        lambda: bench.sandbox.get("/sandbox/ledger").json()["incomplete_bodies"] == 1,
        lambda: "the sandbox saw no incomplete body",
    )


def test_a_worker_that_is_to_leave_gives_its_upload_up_for_free(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.store.apply("job_1", events.Release())
    claimed = bench.store.apply("job_1", events.Claim("w1"))
    bench.context.leaving.set()
    event = submit_room._upload(bench.context, claimed.after, submit_room.Committer(bench.context, claimed))
    assert bench.store.apply("job_1", event).after.status is Status.WAITING
    assert bench.accepted() == []
    bench.add("job_2")
    assert bench.submit("job_2").status is Status.RELEASED, "nothing new is begun"


@pytest.mark.parametrize("trouble", [StoreUnavailable("away"), JobNotFound("empty until its data is restored")])
def test_the_answer_is_recorded_however_late_redis_comes_back(
    trouble: Exception, open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been paid for, so the worker insists."""
    monkeypatch.setattr(submit_room, "RECORD_RETRY_SECONDS", 0.01)
    bench = open_bench("plus")
    bench.add()
    apply, failures = bench.store.apply, [trouble] * 3

    def flaky(job_id: str, event: events.Event, **more: Any) -> Any:
        if isinstance(event, events.Answer) and failures:
            raise failures.pop()
        return apply(job_id, event, **more)

    monkeypatch.setattr(bench.store, "apply", flaky)
    assert bench.submit().status is Status.ACCEPTED
    assert failures == []


def test_a_commit_that_redis_did_not_confirm_keeps_the_last_byte_back(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("plus")
    bench.add()
    apply = bench.store.apply

    def cut(job_id: str, event: events.Event, **more: Any) -> Any:
        applied = apply(job_id, event, **more)
        if isinstance(event, events.Commit):
            raise StoreUnavailable("the reply was lost")
        return applied

    monkeypatch.setattr(bench.store, "apply", cut)
    job = bench.submit()
    assert (job.status, job.commits, bench.accepted()) == (Status.WAITING, 1, [])


def test_a_worker_that_was_stopped_between_commit_and_last_byte_keeps_it_back(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile its job was found unsure, parked, and ordered again by a person: to send it now would pay twice."""
    bench = open_bench("plus", lease_seconds=0.2, unsure_limit_seconds=0.1)
    bench.add()
    apply, orders = bench.store.apply, [events.Retry()]

    def stopped(job_id: str, event: events.Event, **more: Any) -> Any:
        applied = apply(job_id, event, **more)
        if isinstance(event, events.Commit):
            wait_for(lambda: bench.sweep().status is Status.PARKED, lambda: str(bench.history()))
            apply(job_id, orders.pop())
        return applied

    monkeypatch.setattr(bench.store, "apply", stopped)
    dispatch(bench.context)
    with monkeypatch.context() as patch:
        patch.setattr(bench.context.keeper, "holding", lambda *_: nullcontext())
        submit(bench.context, "job_1")
    monkeypatch.setattr(bench.store, "apply", apply)
    assert (bench.accepted(), orders) == ([], [])
    assert bench.work_until(Status.SUCCEEDED).submissions == 1
    assert len(bench.accepted()) == 1


def test_a_long_upload_keeps_its_lease_and_a_silent_worker_loses_it(open_bench: Open) -> None:
    bench = open_bench("plus", lease_seconds=0.2)
    keeper = bench.context.keeper
    bench.add()
    bench.store.apply("job_1", events.Release())
    bench.store.apply("job_1", events.Claim("w1"))
    with keeper.holding("job_1", Status.SUBMITTING, Status.COMMITTED):
        give_up_at = time.monotonic() + 0.6
        while time.monotonic() < give_up_at:
            keeper.beat(0.2)
            assert bench.sweep().status is Status.SUBMITTING
    keeper.beat(0.2)
    wait_for(lambda: bench.sweep().status is Status.WAITING, lambda: str(bench.history()))
