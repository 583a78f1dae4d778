"""The steps of a job's work against the simulated API, with no callback at all (I7); the ledger is the judge (I2)."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.job import Status
from jobs.settings import OnQueued
from tests.integration.work import ENDLESS_TASKS, paid_tokens, reason
from tests.integration.workbench import QUICK_TASKS, Open, wait_for


@pytest.mark.parametrize("personality", ["open-source", "plus", "community", "gateway"])
def test_a_job_comes_to_its_picture_by_asking_alone(open_bench: Open, personality: str) -> None:
    bench = open_bench(personality)
    bench.add(state="mine", dimensions="LANDSCAPE", bot_type="NIJI_JOURNEY", modes=("FAST",))
    job = bench.work_until(Status.SUCCEEDED, Status.FAILED)
    assert job.picture is not None, bench.history()
    assert (job.picture.width / job.picture.height, job.picture.media_type) == (1.5, "image/png")
    assert bench.context.images.find(job.picture.digest) is not None
    assert paid_tokens(bench) == ["job_1/1"]


def test_jobs_that_get_a_22_are_paid_once_each(open_bench: Open) -> None:
    bench = open_bench("open-source", "--speed", "100", "--task-seconds", "100", "120", "--core-size", "1", slots=4)
    for number in range(4):
        bench.add(f"job_{number}")
    for number in range(4):
        bench.work_until(Status.SUCCEEDED, job_id=f"job_{number}")
    assert sorted(paid_tokens(bench)) == [f"job_{number}/1" for number in range(4)]
    assert bench.store.counts()["queued_answers"] >= 1
    assert bench.store.counts().get("resubmissions", 0) == 0


@pytest.mark.parametrize("mode", [OnQueued.CONFIRM, OnQueued.RESUBMIT])
def test_a_22_that_took_nothing_is_resubmitted_until_accepted(open_bench: Open, mode: OnQueued) -> None:
    bench = open_bench("again", *QUICK_TASKS, "--again-times", "4", on_queued=mode)
    bench.add()
    job = bench.work_until(Status.SUCCEEDED, Status.FAILED, Status.PARKED)
    assert (job.status, job.resubmissions, job.queued_answers) == (Status.SUCCEEDED, 4, 4), bench.history()
    assert len(bench.accepted()) == 1
    assert sum("again in" in line or "looks again in" in line for line in bench.history()) == 4


def test_a_22_is_never_resubmitted_in_wait_mode(open_bench: Open) -> None:
    bench = open_bench(
        "again", on_queued="wait", missing_absences=2, missing_after_seconds=0.1, unsure_limit_seconds=0.2
    )
    bench.add()
    job = bench.work_until(Status.PARKED)
    assert (job.claims, job.commits, bench.accepted()) == (1, 1, [])


def test_in_resubmit_mode_the_earlier_task_is_cancelled_there(open_bench: Open) -> None:
    bench = open_bench("plus", *ENDLESS_TASKS, "--core-size", "1", slots=2, on_queued="resubmit")
    bench.add("runs")
    bench.work_until(Status.RUNNING, Status.ACCEPTED, job_id="runs")
    bench.add()

    def resubmitted() -> bool:
        bench.work_until(Status.QUEUED)
        return bench.store.get("job_1").claims >= 3

    wait_for(resubmitted, lambda: str(bench.history()))
    queued = [task["state"] for task in bench.sandbox.get("/mj/task/queue").json()]
    assert len(queued) <= 1, "never two of one job wait there at once"
    assert any("cancel" in line for line in bench.history())


def test_patience_ends_in_a_cancelled_task_and_another_attempt(open_bench: Open) -> None:
    bench = open_bench("plus", *ENDLESS_TASKS, "--core-size", "1", slots=2, queued_patience_seconds=0.3)
    bench.add("runs")
    bench.work_until(Status.RUNNING, Status.ACCEPTED, job_id="runs")
    bench.add()
    bench.work_until(Status.QUEUED)
    wait_for(lambda: bench.work_until(Status.QUEUED).claims >= 2, lambda: str(bench.history()))
    assert any("patience_end" in line for line in bench.history())


def test_an_impatient_user_of_a_server_without_cancel_pays_once(open_bench: Open) -> None:
    bench = open_bench("open-source", *ENDLESS_TASKS, "--core-size", "1", slots=2, queued_patience_seconds=0.1)
    bench.add("runs")
    bench.work_until(Status.RUNNING, Status.ACCEPTED, job_id="runs")
    bench.add()
    bench.work_until(Status.QUEUED)
    wait_for(lambda: bool(bench.sweep() and "patience_end" in str(bench.history())), lambda: str(bench.history()))
    for _ in range(3):
        bench.sweep()
    assert (bench.store.get("job_1").status, len(bench.accepted())) == (Status.QUEUED, 2)


def test_a_lost_answer_is_found_by_its_state(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.faults(lose_answer=1)
    bench.add()
    assert bench.submit().status is Status.UNSURE
    bench.faults(lose_answer=0)
    assert bench.work_until(Status.SUCCEEDED, Status.PARKED).status is Status.SUCCEEDED
    assert paid_tokens(bench) == ["job_1/1"]


def test_a_lost_answer_that_nobody_can_find_is_parked_not_paid_again(open_bench: Open) -> None:
    bench = open_bench("gateway", unsure_limit_seconds=0.3)
    bench.faults(lose_answer=1)
    bench.add()
    job = bench.work_until(Status.PARKED, Status.SUCCEEDED)
    assert (job.status, reason(job), len(bench.accepted())) == (Status.PARKED, "unsure", 1)


@pytest.mark.parametrize("fault", ["no_account", "queue_full", "rate_limit"])
def test_no_room_backs_off_and_tries_again(open_bench: Open, fault: str) -> None:
    bench = open_bench("plus")
    bench.faults(**{fault: True})
    bench.add()
    job = bench.submit()
    assert (job.status, job.backoffs, bench.store.throttle.slots_held()) == (Status.WAITING, 1, 0)
    bench.faults(**{fault: False})
    assert bench.work_until(Status.SUCCEEDED).submissions == 1
    assert len(bench.accepted()) == 1


def test_banned_content_fails_with_the_word(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.faults(banned=True)
    bench.add()
    job = bench.submit()
    assert (job.status, reason(job)) == (Status.FAILED, "moderated")


@pytest.mark.parametrize("fault", [{"fail_5xx": 1}, {"html_answers": True}, {"internal_error": True}])
def test_an_answer_that_proves_nothing_is_unsure(open_bench: Open, fault: dict[str, Any]) -> None:
    bench = open_bench("plus")
    bench.faults(**fault)
    bench.add()
    assert bench.submit().status is Status.UNSURE


def test_an_api_that_is_down_costs_nothing_but_a_backoff(open_bench: Open) -> None:
    bench = open_bench("plus", api_url="http://127.0.0.1:9")
    bench.add()
    job = bench.submit()
    assert (job.status, job.commits, job.backoffs) == (Status.WAITING, 0, 1)
    assert "not_sent" in bench.history()[-1]


def test_a_failure_there_is_a_failure_with_the_apis_words(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.faults(fail_tasks=1)
    bench.add()
    job = bench.work_until(Status.FAILED, Status.SUCCEEDED)
    assert job.status is Status.FAILED
    assert job.reason is not None
    assert job.reason.message
