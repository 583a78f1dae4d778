"""Recorder: writes callbacks into the records, and says at once when it cannot keep up.

The store blocks, so it is called on threads of its own. Only so many callbacks may wait for one, and only for so long:
the API hears "later" soon rather than nothing for long, and what it does not send again is found by asking.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from jobs.errors import StoreUnavailable
from jobs.events import Event
from jobs.queue import Wakeups
from jobs.store import Applied, JobStore
from worker.context import follow_up

THREADS = 8
# Few enough that the last of them is answered soon on a slow machine too; the others hear "later" at once.
MAX_WAITING = 64
MAX_WAKEUPS_WAITING = 1000

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Overloaded(Exception):
    """It cannot be written now: too many wait, or the store takes too long."""


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
        self._threads = ThreadPoolExecutor(THREADS, "record")
        self._room = threading.BoundedSemaphore(THREADS + MAX_WAITING)
        # Wake-ups are sent after the answer: what gets lost here is found by the sweep.
        self._bell = ThreadPoolExecutor(1, "wake-up")
        self._bell_room = threading.BoundedSemaphore(MAX_WAKEUPS_WAITING)

    async def record(self, job_id: str, event: Event) -> None:
        """Durable when it returns.

        Raises:
            JobNotFound: there is no such job.
            Overloaded, StoreUnavailable: it may or may not have been written.
        """
        applied = await self._on_a_thread(lambda: self._store.apply(job_id, event))
        if applied.changed and self._bell_room.acquire(blocking=False):
            self._bell.submit(self._follow_up, applied).add_done_callback(lambda _: self._bell_room.release())

    async def ping(self) -> None:
        """
        Raises:
            Overloaded, StoreUnavailable: the store does not answer in time.
        """
        await self._on_a_thread(self._store.ping)

    def close(self) -> None:
        """Drop what waits, and wait for what is on its way."""
        for threads in (self._threads, self._bell):
            threads.shutdown(cancel_futures=True)

    async def _on_a_thread(self, call: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise Overloaded("too many callbacks wait")
        future = self._threads.submit(call)
        future.add_done_callback(lambda _: self._room.release())  # also when it is cancelled while it waits
        try:
            async with asyncio.timeout(self._store_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise Overloaded(f"the store did not answer in {self._store_seconds:g} s") from error

    def _follow_up(self, applied: Applied) -> None:
        try:
            follow_up(self._store, self._wakeups, applied)
        except StoreUnavailable as error:
            _log.warning("job=%s: nobody was woken up (%s); the sweep will", applied.after.id, error)
