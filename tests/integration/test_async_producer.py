"""AsyncProducer on a real server: what Producer does, in an event loop; cancelled, and asked for much at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import IdempotencyConflict, PictureError, StoreUnavailable, WaitTimeout
from jobs.job import Status
from jobs.settings import Settings
from producer import AsyncProducer, BlendRequest, Producer
from tests.integration.commands import succeed
from tests.integration.service import noise
from tests.integration.workbench import under_way

DEADLINE_SECONDS = 30.0
Test = Callable[[AsyncProducer], Coroutine[Any, Any, None]]


def run(settings: Settings, test: Test) -> None:
    """Within a deadline; and no thread outlives it."""

    async def whole() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), AsyncProducer(settings) as blends:
            await test(blends)
        assert not [one for one in threading.enumerate() if one.name.startswith("blendq")]

    asyncio.run(whole())


@pytest.fixture(scope="module")
def digests(stack: Settings) -> tuple[str, str]:
    with Producer(stack) as blends:
        first, second = (blends.images.put_bytes(noise(), name="a").digest for _ in range(2))
    return first, second


def request(digests: tuple[str, str], number: int) -> BlendRequest:
    return BlendRequest(images=digests, instance_id=str(number))


def fresh() -> BlendRequest:
    return BlendRequest(images=[noise(), noise()])


async def until(condition: Callable[[], bool]) -> None:
    """Within the deadline of the test."""
    while not condition():
        await asyncio.sleep(0.01)


def test_a_job_from_its_request_to_its_picture(stack: Settings, blends: Producer, tmp_path: Path) -> None:
    async def test(aio: AsyncProducer) -> None:
        blend = fresh()
        job = await aio.enqueue(blend, idempotency_key="async-17")
        assert await aio.enqueue(blend, idempotency_key="async-17") == job == await aio.get(job.id)
        with pytest.raises(IdempotencyConflict):
            await aio.enqueue(fresh(), idempotency_key="async-17")
        with pytest.raises(WaitTimeout):
            await aio.wait(job, timeout_seconds=0.01)
        waiting = asyncio.create_task(aio.wait(job))
        data = succeed(blends, job.id).read_bytes()
        done = await waiting
        assert (done.status, done.picture and done.picture.read_bytes()) == (Status.SUCCEEDED, data)
        assert await aio.picture(job) == (await aio.save(job, tmp_path / "a.png")).read_bytes() == data
        upscale, (variation,) = await aio.act(job, "U1"), await aio.act_all(job, ["V1"])
        assert await aio.follow_ups(await aio.get(job)) == [upscale, variation]
        other = await aio.enqueue(fresh())
        assert (await aio.cancel(other)).after.status is Status.CANCELLED
        assert (await aio.retry(other)).after.status is Status.WAITING
        assert await aio.call(lambda sync: sync.campaign("default").pause())
        assert await aio.call(lambda sync: sync.campaign("default").resume())

    run(stack, test)


def test_a_stream_is_taken_batch_by_batch_and_keeps_its_order(stack: Settings, digests: tuple[str, str]) -> None:
    taken: list[int] = []

    async def requests() -> AsyncIterator[BlendRequest]:
        for number in range(1300):
            taken.append(number)
            if number % 100 == 0:
                await asyncio.sleep(0)
            yield request(digests, number)

    async def test(aio: AsyncProducer) -> None:
        jobs = aio.enqueue_many(requests(), campaign="stream")
        first = await anext(jobs)
        assert len(taken) == 500
        rest = [job async for job in jobs]
        assert [job.request.instance_id for job in [first, *rest]] == [str(number) for number in range(1300)]
        again = [
            job.id async for job in aio.enqueue_many((request(digests, n) for n in range(1300)), campaign="stream")
        ]
        assert again == [first.id, *(job.id for job in rest)], "an ordinary iterable does as well"
        assert (await aio.call(lambda sync: sync.store.counts("stream"))) == {"waiting": 1300}
        listed = aio.enqueue_many([request(digests, number) for number in range(1300)], campaign="listed")
        await anext(listed)
        client = await aio.call(lambda sync: sync.store._redis)
        assert not under_way(client), "no list is read ahead: nothing is under way while the loop has the turn"

    run(stack, test)


def test_what_goes_wrong_in_a_stream_is_told(stack: Settings, digests: tuple[str, str]) -> None:
    async def breaks() -> AsyncIterator[BlendRequest]:
        yield request(digests, 1)
        raise RuntimeError("the caller's own")

    async def test(aio: AsyncProducer) -> None:
        with pytest.raises(RuntimeError, match="the caller's own"):
            await anext(aio.enqueue_many(breaks(), campaign="broken"))
        bad = BlendRequest(images=("sha256:" + "00" * 32, digests[0]))
        with pytest.raises(PictureError, match="request 2"):
            await anext(aio.enqueue_many([request(digests, 1), bad], campaign="broken"))
        outcomes = await aio.enqueue_each([bad, request(digests, 2)], [None, None], campaign="broken")
        assert isinstance(outcomes[0], PictureError)
        assert (await aio.enqueue_batch([request(digests, 2)], campaign="broken")) == [(outcomes[1], False)]
        assert (await aio.call(lambda sync: sync.store.counts("broken"))) == {"waiting": 1}

    run(stack, test)


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_stream_that_waits_for_its_caller_can_be_cancelled(
    stack: Settings, digests: tuple[str, str], left_behind: bool
) -> None:
    """What was acknowledged is durable; what was not yet a batch is not enqueued; and no thread hangs."""
    told: list[str] = []
    pulling: list[bool] = []

    async def requests() -> AsyncIterator[BlendRequest]:
        for number in range(510):
            yield request(digests, 10_000 + number)
        pulling.append(True)
        await asyncio.Event().wait()  # for ever

    campaign = f"cancelled-{left_behind}"

    async def test(aio: AsyncProducer) -> None:
        async def enqueue() -> None:
            async for job in aio.enqueue_many(requests(), campaign=campaign):
                told.append(job.id)  # noqa: PERF401  (those that were told before it was cancelled count)

        task = asyncio.create_task(enqueue())
        await until(lambda: bool(pulling))
        if not left_behind:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(stack, test)
    with Producer(stack) as blends:
        assert [job.id for job in blends.store.campaign_jobs(campaign)] == told
    assert len(told) == 500


def test_many_wait_at_once_and_others_are_served(stack: Settings, blends: Producer) -> None:
    """Nobody who waits, or only follows, keeps a thread from those who have something to do."""

    async def test(aio: AsyncProducer) -> None:
        jobs = [await aio.enqueue(fresh(), campaign="crowd") for _ in range(3)]
        waiting = [asyncio.create_task(aio.wait(job)) for job in jobs for _ in range(20)]
        following = [asyncio.create_task(anext(aio.events(campaign="nobody"))) for _ in range(20)]
        began = time.monotonic()
        await aio.enqueue(fresh(), campaign="crowd")
        for job in jobs:
            succeed(blends, job.id)
        done = await asyncio.gather(*waiting)
        assert {one.status for one in done} == {Status.SUCCEEDED}
        assert time.monotonic() - began < DEADLINE_SECONDS
        for task in following:
            task.cancel()
        assert all(
            isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*following, return_exceptions=True)
        )

    run(stack, test)


def test_events_and_results_are_followed(stack: Settings, blends: Producer) -> None:
    async def test(aio: AsyncProducer) -> None:
        job, other = await aio.enqueue(fresh(), campaign="news"), await aio.enqueue(fresh(), campaign="news")
        events = aio.events(job=job)
        assert (await anext(events)).status is Status.WAITING
        results = aio.results("news")
        coming = asyncio.create_task(anext(results))
        succeed(blends, job.id)
        assert (await coming).job.id == job.id
        last = [await anext(events) for _ in range(3)][-1]
        assert last.status is Status.SUCCEEDED
        blends.cancel(other)
        assert [one.job.id async for one in results] == [other.id]
        assert (await anext(aio.events(last.id, campaign="news"))).job_id == other.id

    run(stack, test)


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    async def enter() -> None:
        with pytest.raises(StoreUnavailable, match="blendq up"):
            async with AsyncProducer(Settings(data_dir=tmp_path / "data")):
                pass

    asyncio.run(enter())
