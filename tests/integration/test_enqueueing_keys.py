"""Idempotency keys: each names one request, whatever becomes of its job (I2)."""

from __future__ import annotations

import pytest

from jobs.errors import (
    IdempotencyConflict,
    JobNotFound,
    JobPurged,
    UsageError,
)
from jobs.idempotency import digest_of
from jobs.job import Job
from jobs.keys import Keys
from jobs.request import BlendRequest
from jobs.server import connect
from producer import Producer
from tests.integration.store_model import BadLine


@pytest.fixture
def blends(apart: Producer) -> Producer:
    return apart


def test_a_key_names_one_request(blends: Producer, pair: BlendRequest) -> None:
    noted = pair.model_copy(update={"metadata": {"a": [1, 2.5, None, {"ü": True}]}})
    job = blends.enqueue(noted, idempotency_key="order-17")
    assert blends.enqueue(noted, idempotency_key="order-17").id == job.id
    assert blends.enqueue(noted, idempotency_key="order-18").id != job.id
    others: list[dict[str, object]] = [{"dimensions": "PORTRAIT"}, {"custom_id": "x"}, {"metadata": {}}]
    for changes in others:
        other = BlendRequest.parse(noted.model_dump() | changes)
        with pytest.raises(IdempotencyConflict, match=f"order-17.*{job.id}"):
            blends.enqueue(other, idempotency_key="order-17")


def test_a_key_names_one_request_whatever_the_campaign(blends: Producer, pair: BlendRequest) -> None:
    """I2: a service that named another campaign by mistake does not pay a second time."""
    job = blends.enqueue(pair, campaign="summer", idempotency_key="order-17")
    with pytest.raises(IdempotencyConflict, match=f"order-17.*{job.id}"):
        blends.enqueue(pair, campaign="winter", idempotency_key="order-17")
    assert blends.enqueue(pair, campaign="summer", idempotency_key="order-17") == job
    assert blends.enqueue(pair, campaign="winter").idempotency_key is None
    assert blends.store.counts() == {"waiting": 2}


def test_one_batch_may_hold_good_and_bad_keys(blends: Producer, pair: BlendRequest) -> None:
    turned = BlendRequest(images=pair.images[::-1])
    outcomes = blends.enqueue_each([pair, turned, pair, turned, turned], ["a", "a", "a", None, "b"], campaign="c")
    assert [type(one) for one in outcomes] == [Job, IdempotencyConflict, Job, Job, Job]
    assert outcomes[0] == outcomes[2]
    assert blends.store.counts("c") == {"waiting": 3}


def test_a_key_outlives_its_job(blends: Producer, pair: BlendRequest, keys: Keys) -> None:
    """I2: whoever asks again after a purge is told so, and does not pay a second time."""
    job = blends.enqueue(pair, idempotency_key="order-17")
    client, name = connect(blends.settings.redis_address()), keys.idempotency(digest_of("order-17"))
    assert client.pttl(name) == -1, "it ends no sooner than its job"
    blends.cancel(job)
    blends.campaign("default").purge()
    with pytest.raises(JobNotFound):
        blends.get(job)
    with pytest.raises(JobPurged, match=f"order-17.*{job.id}"):
        blends.enqueue(pair, idempotency_key="order-17")
    with pytest.raises(IdempotencyConflict):
        blends.enqueue(pair, campaign="winter", idempotency_key="order-17")
    days = client.pttl(name) / 86_400_000
    client.delete(name)  # what those days do
    client.close()
    assert 29.9 < days <= 30
    assert blends.enqueue(pair, idempotency_key="order-17").id == job.id


def test_a_lost_acknowledgement_of_a_keyed_job_is_asked_for_again(
    blends: Producer, pair: BlendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeated script finds the key claimed, by the very job that it creates."""
    line = BadLine(blends.store._create_script, after=1)
    monkeypatch.setattr(blends.store, "_create_script", line)
    job = blends.enqueue(pair, idempotency_key="order-17")
    assert blends.get(job) == job
    assert line.answers == ["created", "created"]


@pytest.mark.parametrize("key", ["", "x" * 256, "\ud800"])
def test_a_key_that_cannot_be(blends: Producer, pair: BlendRequest, key: str) -> None:
    with pytest.raises(UsageError, match="idempotency key"):
        blends.enqueue(pair, idempotency_key=key)
