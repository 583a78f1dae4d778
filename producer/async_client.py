"""AsyncProducer: what `Producer` does, for programs that run in an event loop.

async with AsyncProducer() as blends:
    job = await blends.enqueue(BlendRequest(images=["a.png", "b.png"]), idempotency_key="order-17")
    print((await blends.wait(job, timeout_seconds=600)).picture)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from jobs.actions import Action
from jobs.applying import Applied
from jobs.errors import InvalidRequest
from jobs.job import DEFAULT_CAMPAIGN, Job
from jobs.keys import Keys
from jobs.pictures.images import Check
from jobs.pictures.picture_formats import check_picture
from jobs.request import BlendRequest
from jobs.settings import Settings
from jobs.telling.changes import Changed
from producer.client import Producer
from producer.enqueueing import BATCH_JOBS
from producer.following import Events, Finished, Patience, Results
from producer.pulling import Pulled

# Each call waits for Redis, or decodes a picture.
THREADS = 8
# So long nothing is asked for when nothing was new.
PAUSE_SECONDS = 0.2
P = ParamSpec("P")
T = TypeVar("T")


class AsyncProducer:
    """A `Producer` on a few threads of its own. Use it in an `async with` block; tasks of one event loop may share it.

    Each method does what that of the same name does there, and raises the same. A call that is cancelled may have been
    done all the same, as after a lost acknowledgement: the same call again finds the same job.

    Args:
        settings: by default those of the environment.
        keys: as for `Producer`.
        check: likewise.
        threads: how many calls are under way at once; waiting and following take none.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        keys: Keys | None = None,
        check: Check = check_picture,
        threads: int = THREADS,
    ) -> None:
        self._open = partial(Producer, settings, keys, check)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="blendq")
        self._pulled: set[Pulled[BlendRequest]] = set()

    async def __aenter__(self) -> Self:
        try:
            self._blends = await self._run(self._open)
        except BaseException:
            self._pool.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """What is under way is finished first; what has not begun is not done."""
        for pulled in self._pulled:
            pulled.stop()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        self._blends.close()

    async def call(self, what: Callable[[Producer], T]) -> T:
        """Whatever else a `Producer` can do: `await blends.call(lambda blends: blends.campaign("summer").pause())`."""
        return await self._run(what, self._blends)

    # Enqueueing ------------------------------------------------------------------------------------------------

    async def enqueue(
        self,
        request: BlendRequest,
        *,
        campaign: str = DEFAULT_CAMPAIGN,
        idempotency_key: str | None = None,
        reuse: bool = False,
    ) -> Job:
        """See `Producer.enqueue`."""
        return await self._run(
            self._blends.enqueue, request, campaign=campaign, idempotency_key=idempotency_key, reuse=reuse
        )

    async def enqueue_each(
        self,
        requests: Sequence[BlendRequest],
        idempotency_keys: Sequence[str | None],
        *,
        campaign: str,
        reuse: bool = False,
    ) -> list[Job | InvalidRequest]:
        """See `Producer.enqueue_each`."""
        return await self._run(self._blends.enqueue_each, requests, idempotency_keys, campaign=campaign, reuse=reuse)

    async def enqueue_batch(
        self,
        requests: Sequence[BlendRequest],
        *,
        campaign: str,
        takes: Sequence[int] | None = None,
        reuse: bool = False,
    ) -> list[tuple[Job, bool]]:
        """See `Producer.enqueue_batch`."""
        return await self._run(self._blends.enqueue_batch, requests, campaign=campaign, takes=takes, reuse=reuse)

    async def enqueue_many(
        self,
        requests: AsyncIterable[BlendRequest] | Iterable[BlendRequest],
        *,
        campaign: str = DEFAULT_CAMPAIGN,
        reuse: bool = False,
    ) -> AsyncGenerator[Job, None]:
        """See `Producer.enqueue_many`. No more requests are taken than the batch that is being enqueued.

        Args:
            requests: an ordinary iterable is gone through in a thread, an asynchronous one in the event loop.
            campaign: where they belong.
            reuse: as for `Producer.enqueue`.
        """
        if not isinstance(requests, AsyncIterable):
            async for job in self._batches(requests, campaign, reuse):
                yield job
            return
        pulled = Pulled(requests, BATCH_JOBS, asyncio.get_running_loop())
        self._pulled.add(pulled)
        try:
            async for job in self._batches(pulled, campaign, reuse):
                yield job
        finally:
            pulled.stop()
            self._pulled.discard(pulled)

    async def _batches(self, requests: Iterable[BlendRequest], campaign: str, reuse: bool) -> AsyncGenerator[Job, None]:
        # An iterator, also of a list: then nothing is under way in Redis that would have to be waited for in the event
        # loop, when whoever takes the jobs is cancelled.
        jobs = self._blends.enqueue_many(iter(requests), campaign=campaign, reuse=reuse)
        while batch := await self._run(list, islice(jobs, BATCH_JOBS)):
            for job in batch:
                yield job

    # Looking after jobs ----------------------------------------------------------------------------------------

    async def get(self, job: Job | str) -> Job:
        """See `Producer.get`."""
        return await self._run(self._blends.get, job)

    async def wait(self, job: Job | str, timeout_seconds: float | None = None) -> Finished:
        """See `Producer.wait`."""
        patience = Patience(timeout_seconds)
        while not (now := await self.get(job)).status.final:
            await asyncio.sleep(patience.pause_seconds(now))
        return await self._run(Finished.of, now, self._blends.images)

    async def picture(self, job: Job | str) -> bytes:
        """See `Producer.picture`."""
        return await self._run(self._blends.picture, job)

    async def save(self, job: Job | str, path: str | PathLike[str]) -> Path:
        """See `Producer.save`."""
        return await self._run(self._blends.save, job, path)

    async def cancel(self, job: Job | str) -> Applied:
        """See `Producer.cancel`."""
        return await self._run(self._blends.cancel, job)

    async def retry(self, job: Job | str) -> Applied:
        """See `Producer.retry`."""
        return await self._run(self._blends.retry, job)

    async def act(self, job: Job | str, action: Action | str, *, again: bool = False) -> Job:
        """See `Producer.act`."""
        return await self._run(self._blends.act, job, action, again=again)

    async def act_all(self, job: Job | str, actions: Sequence[Action | str], *, again: bool = False) -> list[Job]:
        """See `Producer.act_all`."""
        return await self._run(self._blends.act_all, job, actions, again=again)

    async def follow_ups(self, job: Job) -> list[Job]:
        """See `Producer.follow_ups`."""
        return await self._run(self._blends.follow_ups, job)

    # Following along -------------------------------------------------------------------------------------------

    async def events(
        self, after: str | None = None, *, campaign: str | None = None, job: Job | str | None = None
    ) -> AsyncGenerator[Changed, None]:
        """See `Producer.events`. It begins when the first event is asked for."""
        job_id = job.id if isinstance(job, Job) else job
        events = await self._run(Events, self._blends.store, after, campaign, job_id)
        async for change in self._flow(events.step):
            yield change

    async def results(self, campaign: str) -> AsyncGenerator[Finished, None]:
        """See `Producer.results`."""
        results = await self._run(Results, self._blends.store, campaign)
        async for job in self._flow(results.step):
            yield await self._run(Finished.of, job, self._blends.images)

    async def _flow(self, step: Callable[[float], Sequence[T] | None]) -> AsyncIterator[T]:
        """No step waits, so that nobody who only follows keeps a thread."""
        while (found := await self._run(step, 0.0)) is not None:
            for one in found:
                yield one
            if not found:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _run(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(do, *args, **kwargs))
