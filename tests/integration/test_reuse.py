"""The same content is not paid for again in another campaign, where that is wanted (I2, I6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs import events
from jobs.errors import IdempotencyConflict, NotAGrid
from jobs.job import Job, Status
from jobs.request import BlendRequest
from producer import Producer
from tests.integration.commands import UPLOADED, happen, succeed


@pytest.fixture
def blends(apart: Producer) -> Producer:
    return apart


@pytest.fixture
def pair(blends: Producer, pictures: list[str]) -> BlendRequest:
    return BlendRequest(images=[blends.images.put_file(Path(name)).digest for name in pictures])


@pytest.fixture
def done(blends: Producer, pair: BlendRequest) -> Job:
    """A job of campaign `spring` that has its picture."""
    job = blends.enqueue(pair, campaign="spring")
    succeed(blends, job.id)
    return blends.get(job)


def ready(blends: Producer, campaign: str) -> list[str]:
    turns = blends.store.turns
    return [
        job.job_id
        for one in turns.contenders(dict.fromkeys(turns.queues(), 9))
        if one.name == campaign
        for job in one.ready
    ]


def test_another_campaign_has_the_picture_at_once(blends: Producer, pair: BlendRequest, done: Job) -> None:
    webhook = blends.store.webhooks.add("https://hooks.test/x", "summer")
    job = blends.enqueue(pair.model_copy(update={"custom_id": "mine"}), campaign="summer", reuse=True)
    assert (job.status, job.reused_from, job.picture) == (Status.SUCCEEDED, done.id, done.picture)
    assert job.finished_at is not None
    assert blends.store.counts("summer") == {"succeeded": 1}, "no submission"
    assert ready(blends, "summer") == []
    assert blends.wait(job).picture == blends.images.find(done.picture.digest).path  # type: ignore[union-attr]
    assert [entry.event for entry in blends.store.history(job.id)] == ["enqueue", "reuse"]
    assert done.id in blends.store.history(job.id)[-1].detail
    blends.store.outbox.hand_out(blends.store.webhooks.all)
    kinds = set()
    while due := blends.store.outbox.take(webhook.id, 60.0):
        kinds.add(due.notice.kind.value)
    assert kinds == {"job.succeeded", "campaign.finished"}
    assert blends.enqueue(pair, campaign="summer", reuse=True) == job


def test_it_has_to_be_asked_for(blends: Producer, pair: BlendRequest, done: Job) -> None:
    assert blends.enqueue(pair, campaign="summer").status is Status.WAITING
    assert blends.enqueue(pair, campaign="summer", reuse=True).status is Status.SUCCEEDED, "it had not begun"


def test_what_has_begun_goes_on(blends: Producer, pair: BlendRequest, done: Job) -> None:
    job = blends.enqueue(pair, campaign="summer")
    happen(blends, job.id, *UPLOADED)
    assert blends.enqueue(pair, campaign="summer", reuse=True).status is Status.COMMITTED


@pytest.mark.parametrize("fields", [{"dimensions": "PORTRAIT"}, {"modes": ["FAST"]}, {"remix": True}], ids=str)
def test_other_options_are_another_picture(blends: Producer, pair: BlendRequest, done: Job, fields: Any) -> None:
    other = BlendRequest.parse({"images": pair.images} | fields)
    assert blends.enqueue(other, campaign="summer", reuse=True).status is Status.WAITING
    turned = pair.with_images(pair.images[::-1])
    assert blends.enqueue(turned, campaign="summer", reuse=True).status is Status.WAITING


def test_each_of_a_batch_by_itself(blends: Producer, pair: BlendRequest, done: Job) -> None:
    new = pair.with_images(pair.images[::-1])
    jobs = blends.enqueue_each([pair, new, pair], ["a", None, "b"], campaign="summer", reuse=True)
    assert [job.status for job in jobs if isinstance(job, Job)] == [
        Status.SUCCEEDED, Status.WAITING, Status.SUCCEEDED,
    ]  # fmt: skip
    assert [job.reused_from for job in blends.enqueue_many([pair], campaign="autumn", reuse=True)] == [done.id]
    takes = blends.enqueue_batch([pair, pair], campaign="winter", takes=[1, 2], reuse=True)
    assert [(job.status, created) for job, created in takes] == [(Status.SUCCEEDED, True), (Status.WAITING, True)]


def purge(blends: Producer, job: Job) -> None:
    assert blends.store.delete([job.id]) == 1


def doubt(blends: Producer, job: Job) -> None:
    happen(blends, job.id, events.Conflict("job_x", "picture"))


@pytest.mark.parametrize("lose", [purge, doubt])
def test_a_picture_that_is_no_longer_known_is_not_taken(
    blends: Producer, pair: BlendRequest, done: Job, lose: Callable[[Producer, Job], None]
) -> None:
    taken = blends.enqueue(pair, campaign="summer", reuse=True)
    lose(blends, done)
    assert blends.enqueue(pair, campaign="autumn", reuse=True).status is Status.WAITING
    assert blends.get(taken).status is Status.SUCCEEDED


@pytest.mark.parametrize("lose", [purge, doubt])
def test_one_that_is_lost_between_the_look_and_the_writing(
    blends: Producer,
    pair: BlendRequest,
    done: Job,
    lose: Callable[[Producer, Job], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = blends.store.reusable

    def look_and_lose(requests: list[BlendRequest]) -> list[Job | None]:
        found = look(requests)
        lose(blends, done)
        return found

    monkeypatch.setattr(blends.store, "reusable", look_and_lose)
    job = blends.enqueue(pair, campaign="summer", reuse=True)
    assert (job.status, job.reused_from) == (Status.WAITING, None)
    assert ready(blends, "summer") == [job.id], "it is worked on like any other"


def test_a_picture_that_is_gone_from_the_disk_is_not_taken(blends: Producer, pair: BlendRequest, done: Job) -> None:
    assert done.picture is not None
    stored = blends.images.find(done.picture.digest)
    assert stored is not None
    stored.path.unlink()
    assert blends.reusable([pair]) == [None]


def test_a_lost_reply_is_asked_for_again(
    blends: Producer, pair: BlendRequest, done: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, losses = blends.store._create_and_save, [redis.ConnectionError("cut")]

    def lose(*call: Any) -> Any:
        answer = create(*call)
        if losses:
            raise losses.pop()
        return answer

    monkeypatch.setattr(blends.store, "_create_and_save", lose)
    job = blends.enqueue(pair, campaign="summer", reuse=True)
    assert (job.status, losses) == (Status.SUCCEEDED, [])
    assert blends.store.counts("summer") == {"succeeded": 1}
    assert len(blends.store.history(job.id)) == 2


def test_one_that_was_there_already_keeps_what_is_its_own(blends: Producer, pair: BlendRequest, done: Job) -> None:
    named = pair.model_copy(update={"custom_id": "mine"})
    first = blends.enqueue(named, campaign="summer")
    taken = blends.enqueue(pair, campaign="summer", reuse=True)
    assert (taken.id, taken.status, taken.reused_from) == (first.id, Status.SUCCEEDED, done.id)
    assert (taken.request.custom_id, taken.order) == ("mine", first.order)


def test_a_key_that_names_another_request_leaves_that_one_alone(
    blends: Producer, pair: BlendRequest, done: Job
) -> None:
    """I1: the content that has a picture must not be written over the job that waits."""
    other = BlendRequest(images=pair.images[::-1])
    job = blends.enqueue(other, campaign="summer", idempotency_key="order-17")
    with pytest.raises(IdempotencyConflict):
        blends.enqueue(pair, campaign="summer", idempotency_key="order-17", reuse=True)
    assert blends.get(job) == job


def test_the_index_goes_with_its_jobs(blends: Producer, pair: BlendRequest, done: Job) -> None:
    client, keys = blends.store._redis, blends.store.keys
    taken = blends.enqueue(pair, campaign="summer", reuse=True)
    assert client.hvals(keys.contents) == [done.id.encode()]
    purge(blends, taken)
    assert client.hvals(keys.contents) == [done.id.encode()], "it is another's"
    assert client.hget(keys.pictures, done.picture.digest) == done.id.encode()  # type: ignore[union-attr]
    purge(blends, done)
    assert client.hvals(keys.contents) == []


def test_one_that_is_doubted_and_ordered_again_is_paid_for(blends: Producer, pair: BlendRequest, done: Job) -> None:
    taken = blends.enqueue(pair, campaign="summer", reuse=True)
    doubt(blends, taken)
    again = blends.retry(taken).after
    assert (again.status, again.reused_from, again.picture) == (Status.WAITING, None, None)


def test_only_the_job_that_made_a_grid_is_carried_on(blends: Producer, pair: BlendRequest, done: Job) -> None:
    """The API knows one task of it; two jobs with one upscale of it would be in conflict (I5)."""
    job = blends.enqueue(pair, campaign="summer", reuse=True)
    with pytest.raises(NotAGrid, match=f"has the picture of job {done.id}; carry that one on"):
        blends.act(job, "U1")
    assert blends.act(done, "U1").follows
