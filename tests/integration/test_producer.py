"""The producer on a real server: wake-ups, waiting, orders, and what it tells of campaigns."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path

import pytest

from jobs import events
from jobs.errands import CONTROL, Errands
from jobs.errors import (
    JobNotFound,
    StoreUnavailable,
    WaitTimeout,
)
from jobs.events import AnswerKind
from jobs.job import Status
from jobs.queue import Wakeups, make_app
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from producer import Finished, Producer
from producer.campaign import summaries, summary
from tests.integration.producing import MISSING, UPLOADED, happen, many, png, succeed


@pytest.fixture
def blends(apart: Producer) -> Producer:
    return apart


def dispatches_wanted(blends: Producer) -> int:
    client = connect(blends.settings.redis_address())
    try:
        return int(client.llen(blends.store.keys.errands(CONTROL)))
    finally:
        client.close()


def test_dispatch_is_woken_once_for_many(blends: Producer, digests: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = blends.store.gate
    # However long it takes here: as a rule another wake-up is sent after a second.
    monkeypatch.setattr(gate, "ask_dispatch", functools.partial(gate.ask_dispatch, hold_seconds=600))
    list(blends.enqueue_many(many(digests, 1200)))
    assert dispatches_wanted(blends) == 1
    blends.store.ask_all(blends.store.gate.dispatch_begins())
    blends.enqueue_batch(list(many(digests, 10)), campaign="default")  # nothing new: nothing to do
    assert dispatches_wanted(blends) == 0


def test_a_wake_up_that_cannot_be_sent_is_not_an_error(
    blends: Producer,
    pair: BlendRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Errands, "add", lambda *_: True)  # nobody waits, and no message does
    app = make_app(Settings(redis_url="redis://127.0.0.1:1"))
    monkeypatch.setitem(vars(blends), "_wakeups", Wakeups(app, Errands(connect(blends.settings.redis_address()))))
    monkeypatch.setitem(vars(blends), "_app", app)
    assert blends.enqueue(pair).status is Status.WAITING
    assert "not sent" in caplog.text


def test_redis_lost_after_the_jobs_were_written_is_not_an_error(
    blends: Producer, pair: BlendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> bool:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(blends.store.gate, "ask_dispatch", gone)
    assert blends.get(blends.enqueue(pair)).status is Status.WAITING


@pytest.mark.parametrize(
    ("url", "shown"), [("redis://:geheim@127.0.0.1:1/0", "redis://127.0.0.1:1/0"), (None, ".sock")]
)
def test_without_a_server_it_says_what_to_do(tmp_path: Path, url: str | None, shown: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"blendq up.*BLENDQ_REDIS_URL") as caught:
        Producer(Settings(data_dir=tmp_path / "data", redis_url=url))
    assert f"{shown};" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_wait_hands_back_the_picture(blends: Producer, pair: BlendRequest, digests: list[str]) -> None:
    job = blends.enqueue(pair)
    found: list[Finished] = []
    waiter = threading.Thread(target=lambda: found.append(blends.wait(job, timeout_seconds=30)))
    waiter.start()
    succeed(blends, job, digests[5])
    waiter.join(30)
    (finished,) = found
    assert finished.status is Status.SUCCEEDED
    assert finished.reason is None
    assert finished.picture is not None
    assert finished.picture.read_bytes() == png(5)


def test_a_picture_that_this_machine_does_not_have(blends: Producer, pair: BlendRequest) -> None:
    job = succeed(blends, blends.enqueue(pair), MISSING)
    assert blends.wait(job.id) == Finished(job, None)


def test_wait_hands_back_the_reason(blends: Producer, pair: BlendRequest) -> None:
    job = blends.enqueue(pair)
    happen(blends, job, *UPLOADED, events.Answer(1, AnswerKind.MODERATED, code=24, description="banned"))
    finished = blends.wait(job)
    assert (finished.status, finished.picture) == (Status.FAILED, None)
    assert finished.reason is not None
    assert finished.reason.kind == "moderated"


def test_wait_gives_up_in_time(blends: Producer, pair: BlendRequest) -> None:
    job = blends.enqueue(pair)
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match=f"{job.id} is still waiting after 0.2 s") as caught:
        blends.wait(job, timeout_seconds=0.2)
    assert 0.2 <= time.monotonic() - began < 5
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.retryable


def test_cancel_and_retry(blends: Producer, pair: BlendRequest) -> None:
    job = blends.enqueue(pair)
    assert blends.cancel(job).after.status is Status.CANCELLED
    assert not blends.cancel(job.id).changed
    assert blends.retry(job).after.status is Status.WAITING
    assert not blends.retry(job).changed


def test_cancel_frees_a_slot_and_wakes_dispatch(blends: Producer, pair: BlendRequest) -> None:
    job = happen(blends, blends.enqueue(pair), events.Release())
    blends.store.ask_all(blends.store.gate.dispatch_begins())
    assert blends.cancel(job).freed_slot
    assert (blends.store.throttle.slots_held(), dispatches_wanted(blends)) == (0, 1)


def test_retry_of_a_picture_that_was_paid_for_only_fetches_it(blends: Producer, pair: BlendRequest) -> None:
    job = succeed(blends, blends.enqueue(pair), MISSING)
    assert not blends.retry(job).changed
    other = blends.enqueue(pair, campaign="other")
    succeed(blends, other, f"sha256:{7:064x}")
    happen(blends, other, events.Conflict("job_x", "picture"))  # found out afterwards
    assert blends.retry(other).after.status is Status.COLLECTING


@pytest.mark.parametrize("call", ["get", "wait", "cancel", "retry"])
def test_an_unknown_job(blends: Producer, call: str) -> None:
    with pytest.raises(JobNotFound, match="job_none"):
        getattr(blends, call)("job_none")


def test_campaigns_in_numbers(blends: Producer, digests: list[str]) -> None:
    first, second, third = blends.enqueue_many(many(digests, 3), campaign="c")
    blends.enqueue(first.request, campaign="d")
    succeed(blends, first, digests[5])
    happen(blends, second, *UPLOADED, events.Answer(1, AnswerKind.QUEUED, f"t-{second.id}", 2, 22))
    happen(blends, third, events.Cancel())
    c, d = summaries(blends.store)
    assert (c.name, c.total, c.unfinished, d.name, d.total) == ("c", 3, 1, "d", 1)
    assert list(c.counts.items()) == [(Status.QUEUED, 1), (Status.SUCCEEDED, 1), (Status.CANCELLED, 1)]
    assert (c.submissions, c.resubmissions, c.queued_answers) == (2, 0, 1)
    assert c == summary(blends.store, "c")
