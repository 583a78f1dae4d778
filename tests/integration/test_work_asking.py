"""Asking the API about its tasks, which may have forgotten them, fail, or not answer (I7)."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import Any

import pytest

from jobs import events
from jobs.attempt import TaskStatus
from jobs.job import Status
from tests.integration.work import ENDLESS_TASKS, SLOW_TASKS, reason
from tests.integration.workbench import Open, wait_for
from worker.collect import collect
from worker.proxy.lookups import CannotTell, NoSuchCall, read_by_ids, read_query
from worker.proxy.reply import RawAnswer
from worker.reconcile import _ask_upstream

# A fault with which nothing can be learnt of any task, and what turns it on and off.
UNREACHABLE = [("fail_queries", 1, 0), ("refuse_key", True, False)]


def test_a_task_that_the_api_forgot_before_it_started_is_submitted_again(open_bench: Open) -> None:
    bench = open_bench("plus", *SLOW_TASKS, "--core-size", "1", slots=2, missing_absences=2, missing_after_seconds=0.1)
    bench.add("runs")
    bench.work_until(Status.RUNNING, job_id="runs")
    bench.add()
    bench.work_until(Status.QUEUED)
    wait_for(lambda: any(a.seen for a in bench.sweep().attempts), lambda: "the task was never seen waiting there")
    bench.sandbox.post("/sandbox/forget").raise_for_status()
    wait_for(lambda: bench.work_until(*set(Status) - {Status.WAITING}).claims == 2, lambda: str(bench.history()))
    parked = bench.work_until(Status.PARKED, job_id="runs")
    assert reason(parked) == "lost_there", "what had started may have been paid for"


def test_cancelling_a_task_at_the_api(open_bench: Open) -> None:
    bench = open_bench("plus", *ENDLESS_TASKS)
    bench.add()
    bench.work_until(Status.RUNNING, Status.ACCEPTED)
    bench.store.apply("job_1", events.Cancel())
    job = bench.work_until(Status.CANCELLED)
    assert job.attempt is not None
    assert job.attempt.seen is TaskStatus.CANCEL


def test_a_late_success_rescues_a_failed_job(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.faults(fail_tasks=1)
    bench.add()
    failed = bench.work_until(Status.FAILED)
    assert failed.attempt is not None
    assert failed.attempt.task_id is not None
    late = events.TaskSeen(
        failed.current, failed.attempt.task_id, TaskStatus.SUCCESS, 100, "http://127.0.0.1:9/x.png", source="callback"
    )
    assert bench.store.apply("job_1", late).after.status is Status.COLLECTING
    collect(bench.context, "job_1")
    assert bench.store.get("job_1").collect_failures == 1


def test_an_api_that_cannot_be_asked_is_asked_again_later(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    bench.faults(fail_queries=1)
    for _ in range(3):
        assert not bench.sweep().status.final
    bench.faults(fail_queries=0)
    assert bench.work_until(Status.SUCCEEDED).claims == 1


def test_a_cancel_that_comes_too_late_leaves_the_picture(open_bench: Open) -> None:
    bench = open_bench("open-source")  # has no call to cancel
    bench.add()
    bench.submit()
    bench.store.apply("job_1", events.Cancel())
    assert bench.work_until(Status.SUCCEEDED, Status.CANCELLED).status is Status.SUCCEEDED


@pytest.mark.parametrize("wanted", ["cancelled", "withdrawn"])
def test_a_task_that_cannot_be_cancelled_and_never_ends_parks_its_job(open_bench: Open, wanted: str) -> None:
    """I1: it held its slot for ever."""
    bench = open_bench("open-source", *ENDLESS_TASKS, "--core-size", "1", slots=2, queued_patience_seconds=0.1)
    bench.add("runs")
    bench.work_until(Status.RUNNING, Status.ACCEPTED, job_id="runs")
    bench.add()
    bench.work_until(Status.QUEUED)
    if wanted == "cancelled":
        bench.store.apply("job_1", events.Cancel())
    else:
        wait_for(lambda: bool(bench.sweep() and "patience_end" in str(bench.history())), lambda: str(bench.history()))
    bench.store.applying._policy = dataclasses.replace(bench.store.policy, task_limit_seconds=0.1)
    assert reason(bench.work_until(Status.PARKED)) == "silent"
    assert len(bench.accepted()) == 2


@pytest.mark.parametrize(("fault", "on", "off"), UNREACHABLE)
def test_an_unsure_job_is_not_parked_while_the_api_cannot_be_asked(
    open_bench: Open, fault: str, on: Any, off: Any
) -> None:
    bench = open_bench("plus", unsure_limit_seconds=0.1)
    bench.faults(lose_answer=1)
    bench.add()
    assert bench.submit().status is Status.UNSURE
    bench.faults(**{"lose_answer": 0, fault: on})
    give_up_at = time.monotonic() + 1.0
    while time.monotonic() < give_up_at:
        assert bench.sweep().status is Status.UNSURE
    bench.faults(**{fault: off})
    assert bench.work_until(Status.SUCCEEDED, Status.PARKED).status is Status.SUCCEEDED


def test_an_unsure_job_is_parked_where_only_the_lists_are_refused(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1: a gateway that keeps them to itself lets nobody look for a `state`; the job held its slot for ever."""
    bench = open_bench("gateway", unsure_limit_seconds=0.1)
    refused = read_query(RawAnswer(403, {}, b""), "any")
    monkeypatch.setattr(bench.context.proxies.of("default"), "find_by_state", lambda _: refused)
    bench.faults(lose_answer=1)
    bench.add()
    assert bench.submit().status is Status.UNSURE
    assert reason(bench.work_until(Status.PARKED)) == "unsure"
    assert bench.pause is None


@pytest.mark.parametrize(("fault", "on", "off"), UNREACHABLE)
def test_an_accepted_job_is_not_parked_while_the_api_cannot_be_asked(
    open_bench: Open, fault: str, on: Any, off: Any
) -> None:
    bench = open_bench("plus", task_limit_seconds=0.1)
    bench.add()
    assert bench.submit().status is Status.ACCEPTED
    bench.faults(**{fault: on})
    give_up_at = time.monotonic() + 1.0
    while time.monotonic() < give_up_at:
        assert not bench.sweep().status.final
    bench.faults(**{fault: off})
    assert bench.work_until(Status.SUCCEEDED, Status.PARKED).submissions == 1


@pytest.mark.parametrize("status", [200, 400, 403, 404])
def test_a_gateway_whose_list_tells_nothing_is_asked_one_by_one(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """I7: it keeps the list to itself, or answers with the page that it has for whatever it does not know."""
    bench = open_bench("plus")
    page = RawAnswer(status, {}, b"<html><title>New API</title></html>")
    monkeypatch.setattr(bench.context.proxies.of("default"), "list_by_ids", partial(read_by_ids, page))
    bench.add()
    assert bench.work_until(Status.SUCCEEDED).submissions == 1
    assert bench.pause is None


@pytest.mark.parametrize("unsure", [False, True], ids=["by their ids", "by their states"])
def test_a_worker_that_is_told_to_leave_asks_about_no_more_tasks(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch, unsure: bool
) -> None:
    """Each may take as long as an API that does not answer is waited for."""
    bench = open_bench("plus", *ENDLESS_TASKS)
    bench.faults(lose_answer=float(unsure), fail_queries=float(unsure))
    for job_id in ("job_1", "job_2"):
        bench.add(job_id)
        bench.work_until(Status.UNSURE if unsure else Status.ACCEPTED, job_id=job_id)
    asked = list[str]()

    def not_in_time(about: str) -> CannotTell:
        asked.append(about)
        bench.context.leaving.set()
        return CannotTell("not in time", answered=False)

    proxy = bench.context.proxies.of("default")
    monkeypatch.setattr(proxy, "list_by_ids", lambda _: NoSuchCall())
    monkeypatch.setattr(proxy, "fetch", not_in_time)
    monkeypatch.setattr(proxy, "find_by_state", not_in_time)
    before = bench.store.find_many(["job_1", "job_2"])
    _ask_upstream(bench.context, [job for job in before if job], bench.context.apis[0])
    assert len(asked) == 1
    assert bench.store.find_many(["job_1", "job_2"]) == before


def test_a_task_of_which_nothing_is_new_is_asked_about_again_as_soon_as_its_age_says(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when whoever asked would be given up: its end would be seen late, and its slot idle (I7)."""
    bench = open_bench("plus", *ENDLESS_TASKS, poll_max_seconds=600)
    bench.add()
    bench.submit()
    asked: list[Any] = []
    ask = bench.context.proxies.of("default").list_by_ids

    def counting(ids: Any) -> Any:
        asked.append(ids)
        return ask(ids)

    monkeypatch.setattr(bench.context.proxies.of("default"), "list_by_ids", counting)

    def often() -> bool:
        bench.sweep()
        return len(asked) >= 4

    wait_for(often, lambda: f"asked {len(asked)} times: {bench.history()}")
    assert bench.store.get("job_1").status is Status.ACCEPTED
