"""Gate: which jobs go next, and how many at once.

The jobs that become due, the wake-up for dispatch, and the pause in which nothing at all goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import redis
from redis.client import Pipeline

from jobs.errands import CONTROL
from jobs.job import Job
from jobs.keys import Keys
from jobs.questions import Question
from jobs.server import lua, server_time, to_bytes, to_ms, to_text, to_time, unavailable
from jobs.slots.pause import Pause, keep_pause
from jobs.slots.pins import Queue
from jobs.slots.plan import RANKS_A_PRIORITY

# A job that cannot be read, or written, by a defect of ours, is tried again after so long.
PUT_OFF_SECONDS = 60.0


def rank(job: Job) -> int:
    """The score of a ready job: the lowest goes first. Strict by priority, the oldest first within one.

    A follow-up is as old as its parent: it goes while the API still knows that one's task.
    """
    return (9 - job.request.priority) * RANKS_A_PRIORITY + (job.follows.order if job.follows else job.order)


class Gate:
    """What dispatch goes by. The jobs themselves are changed by the store alone.

    Args:
        client: from `server.connect`.
        keys: the same as the store's.
        readable: reads jobs by their ids; the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys, readable: Callable[[Sequence[str]], list[Job]]) -> None:
        self._redis = client
        self._readable = readable
        self._keys = keys
        self._ripen_script = client.register_script(lua("ripen"))
        self._put_off_script = client.register_script(lua("put_off"))

    def messages(self, queues: Sequence[str]) -> int:
        """How many wake-ups wait in these queues of the broker (its lists, by their full names)."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in queues:
                pipeline.llen(queue)
            return int(sum(pipeline.execute()))

    def ripen(self, page: int = 500) -> int:
        """Put the waiting jobs that have become due among the ready ones; returns how many."""
        moved = 0
        while True:
            now = to_ms(server_time(self._redis))
            with unavailable():
                found: Any = self._redis.zrangebyscore(self._keys.later, "-inf", now, 0, page)
            ids = [to_text(one) for one in found]
            jobs = self._readable(ids)
            if unread := set(ids) - {job.id for job in jobs}:
                until = now + int(PUT_OFF_SECONDS * 1000)
                with unavailable():  # they stand before all others, and would be told of again and again
                    self._redis.zadd(self._keys.later, dict.fromkeys(unread, until), xx=True)
            by_queue: dict[Queue, list[str | int]] = defaultdict(list)
            for job in jobs:
                by_queue[Queue.of(job)] += [job.id, rank(job)]
            ripened = sum(self._ripen(queue, ranks) for queue, ranks in by_queue.items())
            moved += ripened
            if len(ids) < page or not ripened:
                return moved

    def _ripen(self, queue: Queue, ranks: list[str | int]) -> int:
        keys = [self._keys.later, self._keys.ready(*queue), self._keys.contenders]
        with unavailable():
            moved: Any = self._ripen_script(keys=keys, args=[str(queue), *ranks])
        return int(moved)

    def put_off(self, queue: Queue, job_id: str, until: datetime) -> None:
        """Look at a ready job that cannot go only then, instead of at the head of its queue for ever."""
        with unavailable():
            self._put_off_script(keys=[self._keys.ready(*queue), self._keys.later], args=[job_id, to_ms(until)])

    def ask_dispatch(self, hold_seconds: float = 1.0) -> bool:
        """Whether a wake-up for dispatch should be sent now; False when one is on its way already."""
        with unavailable():
            asked: Any = self._redis.execute_command(*self.asking_dispatch(hold_seconds))  # type: ignore[no-untyped-call]
            return bool(asked)

    def asking_dispatch(self, hold_seconds: float = 1.0) -> tuple[str | int, ...]:
        """The command of `ask_dispatch`."""
        return ("SET", self._keys.dispatch_asked, 1, "NX", "PX", int(hold_seconds * 1000))

    def dispatch_begins(self) -> Question[tuple[Pause | None, bool]]:
        """From here on a slot that becomes free needs a new wake-up.

        Returns:
            why nothing at all is submitted, if so; and whether jobs have become due, for `ripen`.
        """

        def put(pipeline: Pipeline) -> None:
            pipeline.delete(self._keys.dispatch_asked, self._keys.errands(CONTROL))
            pipeline.get(self._keys.stopped)
            pipeline.time()
            pipeline.zrangebyscore(self._keys.later, "-inf", "+inf", 0, 1, withscores=True)

        def meaning(answers: Sequence[Any]) -> tuple[Pause | None, bool]:
            _, doc, time, first = answers
            due = bool(first) and first[0][1] <= to_ms(to_time(*time))
            return None if doc is None else Pause.from_json(to_bytes(doc)), due

        return Question(put, meaning)

    def pause(self, kind: str, message: str, seconds: float) -> bool:
        """Submit nothing at all for a while, for a reason on our own side (`OWN_REASONS`).

        Returns:
            whether this is news, to be told once: False when it is paused already.
        """
        with unavailable():
            return keep_pause(self._redis, self._keys.stopped, Pause(kind, message, server_time(self._redis)), seconds)

    def paused(self) -> Pause | None:
        """Why nothing at all is submitted. What one upstream refuses is told by its `Circuit`."""
        with unavailable():
            doc = self._redis.get(self._keys.stopped)
        return None if doc is None else Pause.from_json(to_bytes(doc))

    def resume(self) -> None:
        """Submit again at once."""
        with unavailable():
            self._redis.delete(self._keys.stopped)
