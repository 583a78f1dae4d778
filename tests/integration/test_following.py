"""What becomes of jobs, told as it becomes: events, results, pictures."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import pytest

from jobs.errors import CampaignNotFound, ChangesMissed, JobNotFound, PictureMissing
from jobs.job import Job, Status
from jobs.server import connect
from jobs.settings import Settings
from producer import BlendRequest, Producer
from producer.following import Results
from tests.integration.commands import succeed
from tests.integration.service import noise
from tests.integration.workbench import wait_for


def enqueue(blends: Producer, campaign: str) -> Job:
    """A blend of pictures that no other job has."""
    return blends.enqueue(BlendRequest(images=[noise(), noise()]), campaign=campaign)


def test_events_come_from_the_moment_of_the_call_on(blends: Producer) -> None:
    enqueue(blends, "followed")
    events = blends.events(campaign="followed")
    enqueue(blends, "another")
    job = enqueue(blends, "followed")
    succeed(blends, job.id)
    told = list(islice(events, 4))
    assert {one.job_id for one in told} == {job.id}
    assert [one.status for one in told] == [Status.WAITING, Status.SUBMITTING, Status.COLLECTING, Status.SUCCEEDED]
    later = blends.events(told[1].id, campaign="followed")
    assert list(islice(later, 2)) == told[2:], "it goes on where it was"


def test_events_of_one_job_begin_with_how_it_is(blends: Producer) -> None:
    job = enqueue(blends, "followed")
    events = blends.events(job=job)
    assert next(events).status is Status.WAITING
    enqueue(blends, "followed")
    blends.cancel(job)
    told = next(events)
    assert (told.job_id, told.status) == (job.id, Status.CANCELLED)
    with pytest.raises(JobNotFound):
        blends.events(job="job_none")


def test_whoever_was_away_for_too_long_is_told(blends: Producer) -> None:
    enqueue(blends, "followed")
    with pytest.raises(ChangesMissed, match="read the jobs"):
        next(blends.events("1-1"))


def test_an_event_is_waited_for(blends: Producer) -> None:
    job = enqueue(blends, "followed")
    events = blends.events(campaign="followed")
    found: list[Status] = []
    reader = threading.Thread(target=lambda: found.append(next(events).status))
    reader.start()
    blends.cancel(job)
    reader.join(30)
    assert found == [Status.CANCELLED]


def test_results_come_as_jobs_finish_each_once(blends: Producer) -> None:
    first, second, third = (enqueue(blends, "results") for _ in range(3))
    enqueue(blends, "another")
    path = succeed(blends, second.id)
    results = blends.results("results")
    done = next(results)
    assert (done.job.id, done.status, done.picture) == (second.id, Status.SUCCEEDED, path)
    blends.cancel(first)
    blends.retry(first)
    succeed(blends, third.id)
    assert next(results).job.id == third.id, "the first one is not finished after all"
    blends.cancel(first)
    assert [one.job.id for one in results] == [first.id]
    assert {one.job.id for one in blends.results("results")} == {first.id, second.id, third.id}


def test_results_of_a_stream_that_was_missed_are_read_from_the_records(blends: Producer) -> None:
    first, second, last = (enqueue(blends, "missed") for _ in range(3))
    succeed(blends, first.id)
    results = Results(blends.store, "missed")
    assert [one.id for one in results.step(0) or ()] == [first.id]
    succeed(blends, second.id)
    with connect(blends.settings.redis_address()) as client:
        client.xtrim(blends.store.keys.changes, maxlen=0, approximate=False)  # as many others' changes would
    assert results.step(0) == []
    assert [one.id for one in results.step(0) or ()] == [second.id], "and the first one is not told again"
    blends.cancel(last)
    assert [one.id for one in results.step(0) or ()] == [last.id]
    assert results.step(0) is None


def test_a_job_that_is_tried_again_is_told_once(blends: Producer) -> None:
    job, other = enqueue(blends, "again"), enqueue(blends, "again")
    blends.cancel(job)
    results = blends.results("again")
    assert next(results).job.id == job.id
    blends.retry(job)
    succeed(blends, job.id)
    blends.cancel(other)
    assert [one.job.id for one in results] == [other.id]


def test_results_of_no_campaign(blends: Producer) -> None:
    with pytest.raises(CampaignNotFound):
        blends.results("nobody-knows")


def test_results_end_when_the_campaign_is_purged(blends: Producer) -> None:
    job = enqueue(blends, "purged")
    results = blends.results("purged")
    blends.cancel(job)
    assert next(results).job.id == job.id
    blends.campaign("purged").purge()
    assert list(results) == []


def test_a_picture_is_read_and_saved(blends: Producer, tmp_path: Path) -> None:
    job = enqueue(blends, "pictures")
    for call in (blends.picture, lambda one: blends.save(one, tmp_path / "a.png")):
        with pytest.raises(PictureMissing, match=f"{job.id} has no picture here, it is waiting"):
            call(job)
    data = succeed(blends, job.id).read_bytes()
    (tmp_path / "a.png").write_text("what was there")
    assert blends.picture(job.id) == data
    assert blends.save(job, str(tmp_path / "a.png")) == tmp_path / "a.png"
    assert (tmp_path / "a.png").read_bytes() == data
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


def test_a_record_holds_no_picture(blends: Producer, stack: Settings) -> None:
    """I8: one that was handed over in memory is named by its digest, too."""
    job = enqueue(blends, "in-memory")
    assert all(image.startswith("sha256:") for image in blends.get(job).request.images)


def test_a_wait_that_nobody_ends_gives_up(blends: Producer) -> None:
    job = enqueue(blends, "waited")
    waiter = threading.Thread(target=lambda: blends.wait(job))
    waiter.start()
    blends.cancel(job)
    wait_for(lambda: not waiter.is_alive(), lambda: "it waits on")
