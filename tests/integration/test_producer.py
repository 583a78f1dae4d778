"""The producer on a real server: enqueueing is durable, checked whole and harmless to repeat; waiting; orders.

Proves of I1 and I2 what the producer's side has to do with them.
"""

from __future__ import annotations

import base64
import functools
import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from jobs import events
from jobs.errands import CONTROL, Errands
from jobs.errors import (
    EpochLost,
    IdempotencyConflict,
    JobNotFound,
    JobPurged,
    PictureError,
    StoreUnavailable,
    UsageError,
    WaitTimeout,
)
from jobs.events import AnswerKind
from jobs.idempotency import digest_of
from jobs.job import Job, Picture, Status, TaskStatus
from jobs.keys import Keys
from jobs.queue import Wakeups, make_app
from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from producer import Finished, Producer
from producer.campaign import summaries, summary
from tests.integration.store_model import BadLine
from tests.integration.workbench import under_way

MISSING = "sha256:" + "00" * 32
UPLOADED = (events.Release(), events.Claim("w"), events.Commit(1))


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade % 256, shade // 256, 7)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=redis_url, data_dir=tmp_path / "data")


@pytest.fixture
def blends(settings: Settings, keys: Keys) -> Iterator[Producer]:
    with Producer(settings, keys) as producer:
        yield producer


@pytest.fixture
def digests(blends: Producer) -> list[str]:
    return [blends.images.put_bytes(png(shade), name="a").digest for shade in range(40)]


@pytest.fixture
def pair(digests: list[str]) -> BlendRequest:
    return BlendRequest(images=(digests[0], digests[1]))


def many(digests: list[str], count: int) -> Iterator[BlendRequest]:
    for number in range(count):
        first, second = divmod(number, len(digests))
        yield BlendRequest(images=(digests[first], digests[second]), custom_id=f"n{number}")


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)


def happen(blends: Producer, job: Job, *happened: events.Event) -> Job:
    for event in happened:
        blends.store.apply(job.id, event)
    return blends.get(job)


def succeed(blends: Producer, job: Job, digest: str) -> Job:
    picture = Picture(digest=digest, media_type="image/png", width=4, height=4, bytes=9, url="https://cdn.test/x")
    seen = events.TaskSeen(1, f"task-{job.id}", TaskStatus.SUCCESS, image_url="https://cdn.test/x")
    return happen(blends, job, *UPLOADED, seen, events.Collected(1, picture))


# --- enqueueing ---------------------------------------------------------------------------------------------------


def test_a_job_is_there_with_its_pictures_by_digest(blends: Producer, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    url = "data:image/png;base64," + base64.b64encode(png(2)).decode()
    request = BlendRequest.parse({"images": [tmp_path / "a.png", url], "dimensions": "PORTRAIT", "state": "mine"})
    job = blends.enqueue(request)
    stored = blends.get(job.id)
    assert stored == job
    assert (stored.campaign, stored.status, stored.request.state) == ("default", Status.WAITING, "mine")
    assert stored.created_at == stored.due_at
    found = [blends.images.find(digest) for digest in stored.request.images]
    assert [image.path.read_bytes() for image in found if image] == [png(1), png(2)]


def test_a_redis_that_lost_its_records_takes_no_job(blends: Producer, pair: BlendRequest) -> None:
    """It would be gone when the right data comes back, or be paid for a second time."""
    blends.enqueue(pair)
    client, keys = connect(blends.settings.redis_address()), blends.store.keys
    client.delete(keys.epoch)  # what a flush would leave
    other = BlendRequest(images=pair.images[::-1])
    with pytest.raises(EpochLost, match="resume --accept-loss"):
        blends.enqueue(other)
    assert blends.store.counts() == {"waiting": 1}
    assert not client.exists(keys.epoch)
    client.close()


def test_a_redis_swapped_between_the_question_and_the_writing_takes_no_job(
    blends: Producer, pair: BlendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    blends.enqueue(pair)
    client, keys, now = connect(blends.settings.redis_address()), blends.store.keys, blends.store.now

    def swapped_meanwhile() -> datetime:
        client.set(keys.epoch, "another")
        return now()

    monkeypatch.setattr(blends.store, "now", swapped_meanwhile)
    with pytest.raises(EpochLost, match="nothing was enqueued"):
        blends.enqueue(BlendRequest(images=pair.images[::-1]))
    assert blends.store.counts() == {"waiting": 1}
    client.close()


def test_the_same_content_is_one_job_however_far_it_has_come(blends: Producer, pair: BlendRequest) -> None:
    job = blends.enqueue(pair)
    happen(blends, job, *UPLOADED)
    again = blends.enqueue(pair.model_copy(update={"custom_id": "another label"}))
    assert (again.id, again.status) == (job.id, Status.COMMITTED)
    assert blends.store.counts() == {"committed": 1, "uncertain": 1}


def test_the_same_file_under_another_name_is_the_same_content(blends: Producer, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(3))
    one, other = (BlendRequest.parse({"images": [tmp_path / name] * 2}) for name in ("a.png", "b.png"))
    assert blends.enqueue(one).id == blends.enqueue(other).id


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


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 65, "a/b", "a\n"])
def test_a_campaign_name_is_checked_before_anything(blends: Producer, pair: BlendRequest, name: str) -> None:
    for call in (blends.enqueue, lambda one, campaign: blends.enqueue_many([one], campaign=campaign)):
        with pytest.raises(UsageError, match="campaign"):
            call(pair, campaign=name)
    with pytest.raises(UsageError, match="campaign"):
        blends.enqueue_batch([pair], campaign=name)


def test_a_bad_picture_enqueues_nothing(blends: Producer, pair: BlendRequest, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    bad = [
        BlendRequest.parse({"images": [tmp_path / "none.png", tmp_path / "text.png"]}),
        BlendRequest(images=(MISSING, pair.images[0])),
    ]
    with pytest.raises(PictureError) as caught:
        blends.enqueue_batch([pair, *bad], campaign="c")
    said = str(caught.value)
    assert [word in said for word in ("request 1", "request 2", "none.png", "text.png", "request 3", MISSING)] == [
        False, True, True, True, True, True,
    ]  # fmt: skip
    with pytest.raises(PictureError, match=r"none\.png: no such file"):
        blends.enqueue(bad[0])
    assert blends.store.counts() == {}


def test_hundreds_of_bad_pictures_make_a_short_error(blends: Producer) -> None:
    with pytest.raises(PictureError, match=r"request 10: .*; and 290 more$") as caught:
        blends.enqueue_batch([BlendRequest(images=(MISSING, MISSING))] * 300, campaign="c")
    assert len(str(caught.value)) < 3000


def test_a_batch_tells_what_is_new(blends: Producer, digests: list[str]) -> None:
    requests = list(many(digests, 1001))
    blends.enqueue(requests[3], campaign="c")
    pairs = blends.enqueue_batch([*requests, requests[0], requests[700]], campaign="c")
    assert [index for index, (_, new) in enumerate(pairs) if not new] == [3, 1001, 1002]
    assert [job.request.custom_id for job, _ in pairs] == [*(r.custom_id for r in requests), "n0", "n700"]
    assert pairs[0][0].id == pairs[1001][0].id
    assert summary(blends.store, "c").total == 1001


def test_an_empty_batch_is_nothing(blends: Producer) -> None:
    assert blends.enqueue_batch([], campaign="c") == []
    assert list(blends.enqueue_many([], campaign="c")) == []
    assert summaries(blends.store) == []


def test_a_batch_that_was_begun_is_created_though_nobody_asks_for_more(blends: Producer, digests: list[str]) -> None:
    jobs = blends.enqueue_many(list(many(digests, 1300)), campaign="c")
    next(jobs)
    jobs.close()  # type: ignore[attr-defined]
    assert blends.store.counts("c") == {"waiting": 1000}
    blends.store.ping()
    assert not under_way(blends.store._redis), "an answer that was not read would be taken for that of the next call"


def test_a_stream_is_taken_batch_by_batch_and_keeps_its_order(blends: Producer, digests: list[str]) -> None:
    taken: list[int] = []

    def requests() -> Iterator[BlendRequest]:
        for number, request in enumerate(many(digests, 1300)):
            taken.append(number)
            yield request

    jobs = blends.enqueue_many(requests(), campaign="c")
    first = next(jobs)
    assert (len(taken), blends.store.counts("c")) == (500, {"waiting": 500})
    rest = list(jobs)
    assert [job.request.custom_id for job in [first, *rest]] == [f"n{number}" for number in range(1300)]
    assert [job.id for job in blends.store.campaign_jobs("c")] == [first.id, *(job.id for job in rest)]


def test_a_bad_picture_in_a_stream_leaves_the_batches_before(blends: Producer, digests: list[str]) -> None:
    requests = [*many(digests, 600), BlendRequest(images=(MISSING, MISSING)), *islice(many(digests, 700), 600, None)]
    with pytest.raises(PictureError, match="request 601"):
        list(blends.enqueue_many(requests, campaign="c"))
    assert blends.store.counts("c") == {"waiting": 500}


def test_a_file_is_read_once_for_a_whole_stream(blends: Producer, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(9))
    pictures = [tmp_path / "a.png", tmp_path / "a.png"]

    def requests() -> Iterator[BlendRequest]:
        for number in range(501):
            if number == 500:
                (tmp_path / "a.png").write_bytes(b"changed while we read on")
            yield BlendRequest.parse({"images": pictures, "instance_id": str(number)})

    assert len(list(blends.enqueue_many(requests()))) == 501


ENQUEUE = """
import sys
from jobs.keys import BROKER_PREFIX, Keys
from jobs.request import BlendRequest
from jobs.settings import Settings
from producer import Producer
url, data, prefix, a, b, count = sys.argv[1:]
with Producer(Settings(redis_url=url, data_dir=data), Keys(prefix)) as blends:
    requests = (BlendRequest(images=(a, b), instance_id=str(n)) for n in range(int(count)))
    for job in blends.enqueue_many(requests, campaign="c"):
        print(job.id, flush=True)
"""


def test_a_producer_killed_again_and_again_makes_each_job_once(
    blends: Producer, settings: Settings, keys: Keys, digests: list[str]
) -> None:
    """I1, hazard 1: killed, acknowledgements lost, run again."""
    count = 4000
    where = [str(settings.redis_url), str(settings.data_dir), keys.prefix, *digests[:2], str(count)]
    acknowledged: set[str] = set()
    for lines in (1, 700, 1900):
        with subprocess.Popen([sys.executable, "-c", ENQUEUE, *where], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            acknowledged.update(line.strip() for line in islice(process.stdout, lines))
            process.send_signal(signal.SIGKILL)
    assert 1900 <= len(acknowledged) < count
    finished = subprocess.run([sys.executable, "-c", ENQUEUE, *where], stdout=subprocess.PIPE, text=True, check=True)
    ids = finished.stdout.split()
    assert len(set(ids)) == count
    assert acknowledged <= set(ids)
    assert blends.store.counts() == blends.store.counts("c") == {"waiting": count}
    assert {job.id for job in blends.store.campaign_jobs("c")} == set(ids)


# --- wake-ups -----------------------------------------------------------------------------------------------------


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
    blends.store.gate.dispatch_begins()
    blends.enqueue_batch(list(many(digests, 10)), campaign="default")  # nothing new: nothing to do
    assert dispatches_wanted(blends) == 0


def test_a_wake_up_that_cannot_be_sent_is_not_an_error(
    blends: Producer,
    pair: BlendRequest,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Errands, "add", lambda *_: True)  # nobody waits, and no message does
    app = make_app(Settings(redis_url="redis://127.0.0.1:1"))
    monkeypatch.setitem(vars(blends), "_wakeups", Wakeups(app, Errands(connect(settings.redis_address()))))
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


# --- no server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"), [("redis://:geheim@127.0.0.1:1/0", "redis://127.0.0.1:1/0"), (None, ".sock")]
)
def test_without_a_server_it_says_what_to_do(tmp_path: Path, url: str | None, shown: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"blendq up.*BLENDQ_REDIS_URL") as caught:
        Producer(Settings(data_dir=tmp_path / "data", redis_url=url))
    assert f"{shown};" in str(caught.value)
    assert "geheim" not in str(caught.value)


# --- waiting ------------------------------------------------------------------------------------------------------


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


# --- a person's orders --------------------------------------------------------------------------------------------


def test_cancel_and_retry(blends: Producer, pair: BlendRequest) -> None:
    job = blends.enqueue(pair)
    assert blends.cancel(job).after.status is Status.CANCELLED
    assert not blends.cancel(job.id).changed
    assert blends.retry(job).after.status is Status.WAITING
    assert not blends.retry(job).changed


def test_cancel_frees_a_slot_and_wakes_dispatch(blends: Producer, pair: BlendRequest) -> None:
    job = happen(blends, blends.enqueue(pair), events.Release())
    blends.store.gate.dispatch_begins()
    assert blends.cancel(job).freed_slot
    assert (blends.store.throttle.slots_held(), dispatches_wanted(blends)) == (0, 1)


def test_retry_of_a_picture_that_was_paid_for_only_fetches_it(
    blends: Producer, settings: Settings, pair: BlendRequest
) -> None:
    job = succeed(blends, blends.enqueue(pair), MISSING)
    assert not blends.retry(job).changed
    other = blends.enqueue(pair, campaign="other")
    seen = events.TaskSeen(1, f"task-{other.id}", TaskStatus.SUCCESS, image_url="https://cdn.test/x")
    happen(blends, other, *UPLOADED, seen, events.Conflict("job_x", "t"))
    assert blends.retry(other).after.status is Status.COLLECTING


@pytest.mark.parametrize("call", ["get", "wait", "cancel", "retry"])
def test_an_unknown_job(blends: Producer, call: str) -> None:
    with pytest.raises(JobNotFound, match="job_none"):
        getattr(blends, call)("job_none")


# --- campaigns ----------------------------------------------------------------------------------------------------


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
