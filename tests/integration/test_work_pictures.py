"""The pictures of finished tasks: expired, spoiled, lost or shared; and a picture to send that is gone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jobs import events
from jobs.attempt import TaskStatus
from jobs.job import Status
from jobs.pictures.images import StoredImage
from ops.sandbox.faults import SPOILS
from tests.integration.work import raising, reason
from tests.integration.workbench import Open, wait_for
from worker.collect import collect
from worker.proxy.lookups import Found


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


def test_a_picture_that_cannot_be_read_now_is_read_later(open_bench: Open) -> None:
    bench = open_bench("plus")
    stored = bench.context.images.find(bench.add().request.images[1])
    assert stored is not None
    content = stored.path.read_bytes()
    stored.path.unlink()
    stored.path.symlink_to(stored.path)  # no file is opened there, and yet something is
    waiting = bench.submit()
    assert waiting.status is Status.WAITING, bench.history()
    assert "symbolic links; it is tried again" in bench.history()[-1]
    assert bench.accepted() == []
    stored.path.unlink()
    stored.path.write_bytes(content)
    assert bench.work_until(Status.SUCCEEDED).submissions == 1


@pytest.mark.parametrize("expire", ["once", True])
def test_an_expired_link_is_renewed(open_bench: Open, expire: str | bool) -> None:
    bench = open_bench("plus")
    bench.faults(expire_links=expire)
    bench.add()
    assert bench.work_until(Status.SUCCEEDED, Status.PARKED).status is Status.SUCCEEDED


def test_whoever_asked_for_a_fresh_link_follows_it_alone(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.faults(expire_links="once")
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING, lambda: str(bench.history()))
    assert bench.wakeups.collects() == ["job_1"]
    assert collect(bench.context, "job_1")
    assert any("new link" in line for line in bench.history())
    assert bench.wakeups.collects() == [], "another would fetch it at the same time"


def test_a_fresh_link_of_a_task_that_still_runs_leads_to_a_preview_and_is_not_followed(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I5. A server that was set back shows the task as it was on its way."""
    bench = open_bench("plus")
    bench.faults(expire_links=True)
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING, lambda: str(bench.history()))
    ask = bench.context.proxies.of("default").fetch

    def set_back(task_id: str) -> Found:
        found = ask(task_id)
        assert isinstance(found, Found)
        return Found(dataclasses.replace(found.task, status=TaskStatus.IN_PROGRESS))

    monkeypatch.setattr(bench.context.proxies.of("default"), "fetch", set_back)
    collect(bench.context, "job_1")
    job = bench.store.get("job_1")
    assert (job.status, job.collect_failures) == (Status.COLLECTING, 1)


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
    assert bench.wakeups.collects() == ["job_1"]
    wait_for(lambda: bool(bench.sweep() and bench.wakeups.collects()), lambda: "no wake-up came")
    collect(bench.context, "job_1")
    collect(bench.context, "job_1")  # again: harmless
    assert bench.store.get("job_1").status is Status.SUCCEEDED
    assert sum("collected" in line for line in bench.history()) == 1


def test_whoever_fetched_a_picture_that_another_has_brought_did_it_in_vain(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING, lambda: str(bench.history()))
    downloads, fetch = bench.context.downloads, bench.context.downloads.fetch

    def overtaken(*args: Any) -> StoredImage:
        monkeypatch.setattr(downloads, "fetch", fetch)
        assert collect(bench.context, "job_1")
        return fetch(*args)

    monkeypatch.setattr(downloads, "fetch", overtaken)
    assert not collect(bench.context, "job_1")
    assert bench.store.get("job_1").status is Status.SUCCEEDED


def test_a_picture_that_waits_to_be_fetched_is_not_put_in_again_and_again(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pictures hang, jobs wait for longer than a lease: the list would grow for as long as that lasts."""
    bench = open_bench("plus", lease_seconds=0.05)
    looked, take_due = list[str](), bench.store.take_due

    def counted(status: Status, count: int, hold_seconds: float) -> list[str]:
        due = take_due(status, count, hold_seconds)
        looked.extend(due if status is Status.COLLECTING else [])
        return due

    monkeypatch.setattr(bench.store, "take_due", counted)
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING and len(looked) >= 3, lambda: str(bench.history()))
    assert bench.wakeups.collects() == ["job_1"]


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


def test_a_picture_that_cannot_be_kept_is_fetched_again_later(
    open_bench: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    wait_for(lambda: bench.sweep().status is Status.COLLECTING, lambda: str(bench.history()))
    with monkeypatch.context() as full:
        full.setattr("jobs.net.download.Downloads.fetch", raising(OSError(28, "No space left on device")))
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


def test_of_two_jobs_with_one_picture_a_retry_blends_the_one_anew_and_takes_the_other_at_its_word(
    open_bench: Open,
) -> None:
    """I1: a person decides, and each of them comes to an end; the one fetched the other's picture for ever."""
    bench = open_bench("plus")
    bench.add()
    bench.work_until(Status.SUCCEEDED)
    bench.faults(share_pictures=True)
    bench.add("job_2")
    bench.work_until(Status.PARKED, job_id="job_2")
    bench.faults(share_pictures=False)
    for job_id in ("job_1", "job_2"):
        assert reason(bench.store.get(job_id)) == "conflict"
        bench.store.apply(job_id, events.Retry())
    for job_id in ("job_1", "job_2"):
        bench.work_until(Status.SUCCEEDED, Status.PARKED, job_id=job_id)
    first, second = (bench.store.get(job_id) for job_id in ("job_1", "job_2"))
    assert (first.status, first.submissions) == (Status.SUCCEEDED, 1)
    assert (second.status, second.submissions) == (Status.SUCCEEDED, 2)
    assert first.picture != second.picture
