"""Enqueueing on a real server: durable, checked whole, and harmless to repeat.

Proves of I1 and I2 what the producer's side has to do with them.
"""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

from jobs.errors import (
    EpochLost,
    PictureError,
    UsageError,
)
from jobs.job import Status
from jobs.keys import Keys
from jobs.request import BlendRequest
from jobs.server import connect
from producer import Producer
from producer.campaign import summaries, summary
from tests.integration.producing import MISSING, UPLOADED, happen, many, png
from tests.integration.workbench import under_way


@pytest.fixture
def blends(apart: Producer) -> Producer:
    return apart


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
    blends: Producer, keys: Keys, digests: list[str]
) -> None:
    """I1, hazard 1: killed, acknowledgements lost, run again."""
    count = 4000
    where = [str(blends.settings.redis_url), str(blends.settings.data_dir), keys.prefix, *digests[:2], str(count)]
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
