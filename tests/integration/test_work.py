"""The steps of a job's work against the simulated API, with no callback at all (I7); the ledger is the judge (I2)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from jobs import events
from jobs.epoch import Epoch
from jobs.errors import EpochLost, JobNotFound, StoreUnavailable
from jobs.job import Job, Status, TaskStatus
from jobs.settings import OnQueued
from ops.sandbox.faults import SPOILS
from tests.integration.workbench import QUICK_TASKS, Open, Workbench, wait_for
from worker import reconcile
from worker import submit as submit_room
from worker.collect import collect
from worker.dispatch import dispatch
from worker.proxy.lookups import CannotTell, NoSuchCall
from worker.submit import submit

SLOW_TASKS = ("--speed", "100", "--task-seconds", "1000", "1000")
ENDLESS_TASKS = ("--task-seconds", "5000", "5000")


def paid_tokens(bench: Workbench) -> list[str]:
    return [entry["token"] for entry in bench.accepted()]


def reason(job: Job) -> str | None:
    return job.reason.kind if job.reason else None


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


@pytest.mark.parametrize(
    ("fault", "kind"), [("refuse_key", "key"), ("quota", "quota")], ids=["wrong key", "out of quota"]
)
def test_what_only_a_person_can_mend_pauses_submitting(open_bench: Open, fault: str, kind: str) -> None:
    bench = open_bench("gateway")
    bench.faults(**{fault: True})
    bench.add()
    assert bench.submit().status is Status.WAITING
    pause = bench.store.gate.paused()
    assert pause is not None
    assert pause.kind == kind
    bench.add("job_2")
    assert bench.submit("job_2").claims == 0, "nobody else is sent into the same refusal"
    bench.faults(**{fault: False})
    bench.store.gate.resume()
    assert bench.work_until(Status.SUCCEEDED).status is Status.SUCCEEDED
    assert bench.work_until(Status.SUCCEEDED, job_id="job_2").claims == 1
    assert len(bench.accepted()) == 2


@pytest.mark.parametrize("fault", ["no_account", "queue_full", "rate_limit"])
def test_no_room_backs_off_and_tries_again(open_bench: Open, fault: str) -> None:
    bench = open_bench("plus")
    bench.faults(**{fault: True})
    bench.add()
    job = bench.submit()
    assert (job.status, job.backoffs, bench.store.gate.slots_held()) == (Status.WAITING, 1, 0)
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


def test_a_worker_that_lost_its_lease_does_not_send_the_last_byte(open_bench: Open) -> None:
    """I3, on the wire: the job was taken over while the upload was under way."""
    bench = open_bench("plus")
    bench.add()
    bench.store.apply("job_1", events.Release())
    stale = bench.store.apply("job_1", events.Claim("slow")).after
    taken_over: list[events.Event] = [events.Cancel(), events.Retry(), events.Release(), events.Claim("quick")]
    for event in taken_over:
        bench.store.apply("job_1", event)
    event = submit_room._upload(bench.context, stale)
    assert isinstance(event, events.Answer)
    assert event.kind is events.AnswerKind.GIVEN_UP
    assert not bench.store.apply("job_1", event).changed, "the job is another worker's now"
    assert bench.accepted() == []
    wait_for(
        lambda: bench.sandbox.get("/sandbox/ledger").json()["incomplete_bodies"] == 1,
        lambda: "the sandbox saw no incomplete body",
    )


def test_a_picture_that_is_gone_fails_its_job_in_plain_words(open_bench: Open) -> None:
    bench = open_bench("plus")
    job = bench.add()
    stored = bench.context.images.find(job.request.images[0])
    assert stored is not None
    stored.path.unlink()
    failed = bench.submit()
    assert failed.reason is not None
    assert (failed.status, failed.reason.kind) == (Status.FAILED, "invalid")
    assert "enqueue the job again" in failed.reason.message


@pytest.mark.parametrize("expire", ["once", True])
def test_an_expired_link_is_renewed(open_bench: Open, expire: str | bool) -> None:
    bench = open_bench("plus")
    bench.faults(expire_links=expire)
    bench.add()
    assert bench.work_until(Status.SUCCEEDED, Status.PARKED).status is Status.SUCCEEDED


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoiled_picture_is_fetched_until_it_is_right(open_bench: Open, spoil: str) -> None:
    bench = open_bench("plus")
    bench.faults(spoil_pictures=spoil)
    bench.add()
    wait_for(lambda: bench.work_until(*Status).collect_failures >= 2, lambda: str(bench.history()))
    assert bench.store.get("job_1").status is Status.COLLECTING
    bench.faults(spoil_pictures="")
    job = bench.work_until(Status.SUCCEEDED, Status.PARKED)
    assert job.picture is not None
    assert (job.status, job.picture.media_type) == (Status.SUCCEEDED, "image/png")


@pytest.mark.parametrize("renewed", [False, True])
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_picture_that_never_comes_right_parks_its_job(open_bench: Open, spoil: str, renewed: bool) -> None:
    """The API may give a fresh link each time that it is asked; that is no progress."""
    bench = open_bench("plus", collect_limit_seconds=1.0)
    bench.faults(spoil_for_good=spoil, expire_links=renewed)
    bench.add()
    job = bench.work_until(Status.SUCCEEDED, Status.PARKED)
    assert job.reason is not None
    assert (job.status, job.reason.kind, job.picture) == (Status.PARKED, "picture", None)
    assert len(bench.accepted()) == 1


def test_a_lost_collect_wake_up_is_sent_again(open_bench: Open) -> None:
    bench = open_bench("plus", lease_seconds=0.05)
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING, lambda: str(bench.history()))
    bench.wakeups.collects.clear()
    wait_for(lambda: bool(bench.sweep() and bench.wakeups.collects), lambda: "no wake-up came")
    collect(bench.context, "job_1")
    collect(bench.context, "job_1")  # again: harmless
    assert bench.store.get("job_1").status is Status.SUCCEEDED
    assert sum("collected" in line for line in bench.history()) == 1


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


def test_a_worker_that_is_to_leave_gives_its_upload_up_for_free(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.store.apply("job_1", events.Release())
    claimed = bench.store.apply("job_1", events.Claim("w1")).after
    bench.context.leaving.set()
    event = submit_room._upload(bench.context, claimed)
    assert bench.store.apply("job_1", event).after.status is Status.WAITING
    assert bench.accepted() == []
    bench.add("job_2")
    assert bench.submit("job_2").status is Status.RELEASED, "nothing new is begun"


def test_a_worker_that_is_to_leave_gives_its_download_up(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING, lambda: str(bench.history()))
    bench.context.leaving.set()
    collect(bench.context, "job_1")
    assert bench.store.get("job_1").status is Status.COLLECTING
    bench.context.leaving.clear()
    bench.work_until(Status.SUCCEEDED)


def test_a_server_without_a_list_is_asked_one_by_one(open_bench: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = open_bench("plus")
    monkeypatch.setattr(bench.context.proxy, "list_by_ids", lambda _: NoSuchCall())
    bench.add()
    assert bench.work_until(Status.SUCCEEDED).submissions == 1


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


def test_an_unsure_job_is_not_parked_while_the_api_is_away(open_bench: Open) -> None:
    bench = open_bench("plus", unsure_limit_seconds=0.1)
    bench.faults(lose_answer=1, fail_queries=1)
    bench.add()
    assert bench.submit().status is Status.UNSURE
    give_up_at = time.monotonic() + 1.0
    while time.monotonic() < give_up_at:
        assert bench.sweep().status is Status.UNSURE
    bench.faults(lose_answer=0, fail_queries=0)
    assert bench.work_until(Status.SUCCEEDED, Status.PARKED).status is Status.SUCCEEDED


@pytest.mark.parametrize(("fault", "on", "off"), [("fail_queries", 1, 0), ("refuse_key", True, False)])
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


def test_a_key_that_is_refused_while_only_asking_pauses_submitting(
    open_bench: Open, caplog: pytest.LogCaptureFixture
) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    bench.faults(refuse_key=True)
    wait_for(lambda: bool(bench.sweep() and bench.store.gate.paused()), lambda: str(bench.history()))
    pause = bench.store.gate.paused()
    assert pause is not None
    assert (pause.kind, "api_key" in pause.message) == ("key", True)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_a_gateway_that_keeps_its_list_to_itself_is_asked_one_by_one(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("plus")
    refused = CannotTell("HTTP 403", answered=False, key_refused=True)
    monkeypatch.setattr(bench.context.proxy, "list_by_ids", lambda _: refused)
    bench.add()
    assert bench.work_until(Status.SUCCEEDED).submissions == 1
    assert bench.store.gate.paused() is None


def test_after_a_pause_one_job_goes_ahead(open_bench: Open) -> None:
    bench = open_bench("gateway", slots=3)
    bench.faults(quota=True)
    for number in range(3):
        bench.add(f"job_{number}")
    assert dispatch(bench.context) == 3
    submit(bench.context, "job_0")
    for number in (1, 2):
        bench.store.apply(f"job_{number}", events.Cancel())
        bench.store.apply(f"job_{number}", events.Retry())
    bench.context.store.gate._redis.delete(bench.store.keys.pause)  # as if its time had passed
    wait_for(lambda: dispatch(bench.context) == 1, lambda: "nobody went ahead")
    assert bench.store.gate.slots_held() == 1
    bench.faults(quota=False)
    for number in range(3):
        bench.work_until(Status.SUCCEEDED, job_id=f"job_{number}")
    assert not bench.store.gate.suspect()
    assert len(bench.accepted()) == 3


def test_no_account_for_long_pauses_submitting_and_says_so_once(
    open_bench: Open, caplog: pytest.LogCaptureFixture
) -> None:
    bench = open_bench("plus", backoff_base_seconds=0.001, backoff_cap_seconds=0.002)
    bench.faults(no_account=True)
    bench.add()
    wait_for(lambda: bool(bench.submit() and bench.store.gate.paused()), lambda: str(bench.history()))
    pause = bench.store.gate.paused()
    assert pause is not None
    assert (pause.kind, bench.store.get("job_1").claims) == ("no_account", submit_room.NO_ACCOUNTS_IN_A_ROW)
    assert sum("submitting pauses" in record.message for record in caplog.records) == 1


def test_a_redis_that_lost_its_records_stops_submitting_until_a_person_decides(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.work_until(Status.SUCCEEDED)
    client, keys = bench.store.gate._redis, bench.store.keys
    client.delete(keys.epoch)  # what a flush would leave
    bench.add("job_2")
    assert bench.submit("job_2").status is Status.WAITING
    pause = bench.store.gate.paused()
    assert pause is not None
    assert (pause.kind, "blendq resume --accept-loss" in pause.message) == ("epoch", True)
    restarted = Epoch(client, keys, bench.context.settings.data_dir)
    with pytest.raises(EpochLost):
        restarted.verify()
    restarted.accept()  # as `blendq resume --accept-loss` does, beside the worker that runs
    bench.store.gate.resume()
    assert bench.work_until(Status.SUCCEEDED, job_id="job_2").submissions == 1
    Epoch(client, keys, bench.context.settings.data_dir).verify()


def test_a_full_disk_stops_submitting(open_bench: Open) -> None:
    bench = open_bench("plus", min_free_disk_percent=99.9)
    bench.add()
    assert bench.submit().status is Status.WAITING
    pause = bench.store.gate.paused()
    assert pause is not None
    assert pause.kind == "disk"


def test_a_picture_that_cannot_be_kept_is_fetched_again_later(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING, lambda: str(bench.history()))
    with monkeypatch.context() as full:
        full.setattr("jobs.download.Downloads.fetch", raising(OSError(28, "No space left on device")))
        collect(bench.context, "job_1")
    assert bench.store.get("job_1").collect_failures == 1
    assert "No space left" in bench.history()[-1]
    bench.work_until(Status.SUCCEEDED)


def test_two_jobs_with_one_picture_are_both_parked(open_bench: Open) -> None:
    """I5: the API swapped pictures, so neither job can be trusted to have its own."""
    bench = open_bench("plus")
    bench.add()
    done = bench.work_until(Status.SUCCEEDED)
    assert done.picture is not None
    bench.add("job_2")
    bench.submit("job_2")
    seen = events.TaskSeen(1, "t-other", TaskStatus.SUCCESS, 100, "http://cdn/1")
    bench.store.apply("job_2", events.NoAnswer(1, "lost"))
    job = bench.store.get("job_2")
    assert job.attempt is not None
    bench.store.apply("job_2", dataclasses.replace(seen, task_id=job.attempt.task_id or "t-other"))
    bench.store.apply("job_2", events.Collected(1, done.picture))
    for job_id in ("job_1", "job_2"):
        assert (bench.store.get(job_id).status, reason(bench.store.get(job_id))) == (Status.PARKED, "conflict")


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


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
