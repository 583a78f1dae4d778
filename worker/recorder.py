"""Recorder: writes callbacks into the records, and says at once when it cannot keep up.

While some callbacks are written, others come; they are written together next: they share the round trips, and the
flush to the disk. Only so many may wait, and only for so long: the API hears "later" soon rather than nothing for long,
and what it does not send again is found by asking. All of it happens in the loop: a thread that writes would fight with
it for the interpreter's lock, and a callback that comes alone would cost as much again for being handed over.

A callback costs no task and no timer of its own: it is answered by whoever wrote it, and one timer is for the oldest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from jobs.applying import Applied
from jobs.events import Event
from jobs.loop_store import LoopStore
from worker.http import Answer
from worker.in_hand import InHand

# So many are written together: enough to share a flush, few enough that the first does not wait long for the last.
MAX_BATCH = 128
# Few enough that the last of them is answered soon on a slow machine too; the others hear "later" at once.
MAX_WAITING = 512
# Records, of 5 kB in memory: more jobs than are at the API at once.
MAX_KNOWN = 4000


class Overloaded(Exception):
    """It cannot be written now: too many wait, or the store takes too long."""


# What is answered when it is durable, or by what went wrong.
Say = Callable[[Exception | None], Answer]


@dataclass(slots=True)
class _Callback:
    job_id: str
    event: Event
    until: float  # by the loop's clock
    say: Say
    answer: asyncio.Future[Answer]

    def settle(self, error: Exception | None) -> None:
        if not self.answer.done():  # else its time was up
            self.answer.set_result(self.say(error))


class Recorder:
    """
    Args:
        store: where the jobs are.
        store_seconds: so long a callback waits for the store, its time in the queue included.
    """

    def __init__(self, store: LoopStore, store_seconds: float) -> None:
        self._store = store
        self._store_seconds = store_seconds
        self._waiting: deque[_Callback] = deque()
        self._unanswered: deque[_Callback] = deque()  # and those that are being written; the oldest first
        self._timer: asyncio.TimerHandle | None = None
        # What was written: the next callback of the job will most likely find it so.
        self._written = InHand(MAX_KNOWN)
        self._writer: asyncio.Task[None] | None = None

    def record(self, job_id: str, event: Event, say: Say) -> Answer | asyncio.Future[Answer]:
        """What is to be answered, once it is known.

        Args:
            job_id: the job.
            event: what happened to it.
            say: the answer when it is durable, and when it is not: JobNotFound; Overloaded or StoreUnavailable, where
                it may or may not have been written.
        """
        if len(self._waiting) >= MAX_WAITING:
            return say(Overloaded("too many callbacks wait"))
        loop = asyncio.get_running_loop()
        callback = _Callback(job_id, event, loop.time() + self._store_seconds, say, loop.create_future())
        self._waiting.append(callback)
        self._unanswered.append(callback)
        if self._timer is None:
            self._timer = loop.call_at(callback.until, self._give_up)
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._write_all())
        return callback.answer

    async def ping(self) -> None:
        """
        Raises:
            Overloaded, StoreUnavailable: the store does not answer in time.
        """
        try:
            async with asyncio.timeout(self._store_seconds):
                await self._store.ping()
        except TimeoutError as error:
            raise self._too_slow() from error

    def _too_slow(self) -> Overloaded:
        return Overloaded(f"the store did not answer in {self._store_seconds:g} s")

    def _give_up(self) -> None:
        """On those whose time is up."""
        loop = asyncio.get_running_loop()
        while (oldest := self._oldest()) and oldest.until <= loop.time():
            oldest.settle(self._too_slow())
        self._timer = loop.call_at(oldest.until, self._give_up) if oldest else None

    def _oldest(self) -> _Callback | None:
        """Of those that are not answered yet; the others are forgotten."""
        while self._unanswered and self._unanswered[0].answer.done():
            self._unanswered.popleft()
        return self._unanswered[0] if self._unanswered else None

    async def _write_all(self) -> None:
        """Until nothing waits."""
        while batch := self._next_batch():
            try:
                happened = [(one.job_id, one.event) for one in batch]
                known = {one.job_id: found for one in batch if (found := self._written.take(one.job_id))}
                outcomes = await self._store.apply_many(happened, known)
            except Exception as error:  # noqa: BLE001  (whatever is wrong, each of them is to hear of it)
                outcomes = [error] * len(batch)
            for one, outcome in zip(batch, outcomes, strict=True):
                one.settle(outcome if isinstance(outcome, Exception) else None)
                if isinstance(outcome, Applied):
                    self._written.keep(outcome)
            self._oldest()

    def _next_batch(self) -> list[_Callback]:
        """The longest waiting, but for those whose time was up."""
        batch: list[_Callback] = []
        while self._waiting and len(batch) < MAX_BATCH:
            one = self._waiting.popleft()
            if not one.answer.done():
                batch.append(one)
        return batch
