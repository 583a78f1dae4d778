"""Recorder: writes callbacks into the records, and says at once when it cannot keep up.

The store blocks, so it is called on threads of its own. Whichever is free takes all callbacks that wait, and writes
them together: they share the round trips, and the flush to the disk. Only so many may wait, and only for so long: the
API hears "later" soon rather than nothing for long, and what it does not send again is found by asking.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.errors import StoreUnavailable
from jobs.events import Event
from jobs.queue import Wakeups
from jobs.store import Applied, JobStore
from worker.waking import wake_up, wakes_somebody

# One decides while the other waits for the disk.
WRITERS = 2
# So many are written together: enough to share a flush, few enough that the first does not wait long for the last.
MAX_BATCH = 64
# Few enough that the last of them is answered soon on a slow machine too; the others hear "later" at once.
MAX_WAITING = 512
# Batches. Sending wake-ups is slower than writing; what would pile up is left to the sweep.
MAX_FOLLOW_UPS_WAITING = 16

_log = logging.getLogger(__name__)


class Overloaded(Exception):
    """It cannot be written now: too many wait, or the store takes too long."""


@dataclass(frozen=True, slots=True)
class _Callback:
    job_id: str
    event: Event
    written: asyncio.Future[None]


class Recorder:
    """
    Args:
        store: where the jobs are.
        wakeups: tells the workers what there is to do.
        store_seconds: so long a callback waits for the store, its time in the queue included.
    """

    def __init__(self, store: JobStore, wakeups: Wakeups, store_seconds: float) -> None:
        self._store = store
        self._wakeups = wakeups
        self._store_seconds = store_seconds
        self._waiting: deque[_Callback] = deque()
        self._threads = ThreadPoolExecutor(WRITERS, "record")
        self._writers: set[asyncio.Task[None]] = set()
        # Wake-ups are sent after the answer: what gets lost here is found by the sweep.
        self._bell = ThreadPoolExecutor(1, "wake-up")
        self._bell_room = threading.BoundedSemaphore(MAX_FOLLOW_UPS_WAITING)

    async def record(self, job_id: str, event: Event) -> None:
        """Durable when it returns.

        Raises:
            JobNotFound: there is no such job.
            Overloaded, StoreUnavailable: it may or may not have been written.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded("too many callbacks wait")
        loop = asyncio.get_running_loop()
        callback = _Callback(job_id, event, loop.create_future())
        self._waiting.append(callback)
        if len(self._writers) < WRITERS:
            writer = loop.create_task(self._write_all())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        await self._in_time(callback.written)

    async def ping(self) -> None:
        """
        Raises:
            Overloaded, StoreUnavailable: the store does not answer in time.
        """
        await self._in_time(asyncio.get_running_loop().run_in_executor(self._threads, self._store.ping))

    def close(self) -> None:
        """Drop what waits, and wait for what is on its way."""
        for threads in (self._threads, self._bell):
            threads.shutdown(cancel_futures=True)

    async def _in_time(self, answer: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._store_seconds):
                await answer
        except TimeoutError as error:
            raise Overloaded(f"the store did not answer in {self._store_seconds:g} s") from error

    async def _write_all(self) -> None:
        """Until nothing waits."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            try:
                happened = [(one.job_id, one.event) for one in batch]
                outcomes = await loop.run_in_executor(self._threads, self._store.apply_many, happened)
            except Exception as error:  # noqa: BLE001  (whatever is wrong, each of them is to hear of it)
                outcomes = [error] * len(batch)
            for one, outcome in zip(batch, outcomes, strict=True):
                _tell(one.written, outcome)
            self._wake_up([outcome for outcome in outcomes if isinstance(outcome, Applied)])

    def _next_batch(self) -> list[_Callback]:
        """The longest waiting, but for those whose time was up."""
        batch: list[_Callback] = []
        while self._waiting and len(batch) < MAX_BATCH:
            one = self._waiting.popleft()
            if not one.written.done():
                batch.append(one)
        return batch

    def _wake_up(self, applied: Sequence[Applied]) -> None:
        changed = [one for one in applied if wakes_somebody(one)]
        if changed and self._bell_room.acquire(blocking=False):
            self._bell.submit(self._ring, changed).add_done_callback(lambda _: self._bell_room.release())

    def _ring(self, changed: Sequence[Applied]) -> None:
        try:
            wake_up(self._store, self._wakeups, *changed)
        except StoreUnavailable as error:
            _log.warning("%d jobs: nobody was woken up (%s); the sweep will", len(changed), error)


def _tell(written: asyncio.Future[None], outcome: Applied | Exception) -> None:
    if written.done():
        return  # its time was up
    if isinstance(outcome, Exception):
        written.set_exception(outcome)
    else:
        written.set_result(None)
