"""Errands: what is to be done, in lists beside the broker's queues: jobs to submit, jobs to collect, and a dispatch.

A message of Celery's costs many times what an id in a list does. So it only brings a thread to the lists. Whoever has
come works them off, and then waits for what is put in: it is handed to him at once. Another message is sent only where
nobody waits and no message does. What is taken and lost is found by the sweep, as a lost message is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from jobs.keys import BROKER_PREFIX, Keys
from jobs.server import lua, to_text, unavailable

# The broker's queues; each has its list.
CONTROL, SUBMITS, COLLECTS = "control", "submit", "collect"
# To look for a hundred jobs in so many takes Redis 2 ms.
LONG_LIST = 1000


@dataclass(frozen=True, slots=True)
class Errand:
    """What was taken: from which queue's list, and about which job; and for which queue another must be woken up."""

    queue: str
    job_id: str
    call: str | None = None


class Errands:
    """
    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys | None = None) -> None:
        self._redis = client
        self._keys = keys or Keys()
        self._take_script = client.register_script(lua("take"))

    def add(self, queue: str, job_ids: Sequence[str]) -> bool:
        """Put jobs behind those that wait; returns whether somebody must be woken up for them.

        None, where they were put there with the change that gave them something to do (save.lua).

        Whoever waits has been handed one already. For the others a message that waits is enough: it is taken after
        this, and whoever takes it finds them.
        """
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for command in self.adding(queue, job_ids):
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return must_call(pipeline.execute())

    def adding(self, queue: str, job_ids: Sequence[str]) -> list[tuple[str, ...]]:
        """The commands of `add`; `must_call` reads their answers."""
        errands = self._keys.errands(queue)
        look: list[tuple[str, ...]] = [("LLEN", errands), ("LLEN", BROKER_PREFIX + queue)]
        return [("RPUSH", errands, *job_ids), *look] if job_ids else look

    def absent(self, queue: str, job_ids: Sequence[str]) -> list[str]:
        """Those that do not stand in the list: somebody has them in hand, or they are lost. Of a long list none: it is
        looked through for each of them, and what is put in behind so many has time.
        """
        with unavailable():
            if self._redis.llen(self._keys.errands(queue)) > LONG_LIST:
                return []
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.lpos(self._keys.errands(queue), job_id)
            places: list[Any] = pipeline.execute()
        return [job_id for job_id, place in zip(job_ids, places, strict=True) if place is None]

    def take(self, queues: Sequence[str]) -> Errand | None:
        """The longest waiting of the first of these queues that has any; None when none has."""
        keys = [self._keys.errands(queue) for queue in queues] + [BROKER_PREFIX + queue for queue in queues]
        with unavailable():
            found: Any = self._take_script(keys=keys)
        if found is None:
            return None
        number, job_id, call = found
        return Errand(queues[number - 1], to_text(job_id), queues[call - 1] if call else None)

    def wait(self, queues: Sequence[str], seconds: float) -> Errand | None:
        """As `take`, but waits for one; None when none has come in this time."""
        queue_of = {self._keys.errands(queue): queue for queue in queues}
        with unavailable():
            found: Any = self._redis.blpop(list(queue_of), timeout=seconds)
        return None if found is None else Errand(queue_of[to_text(found[0])], to_text(found[1]))


def must_call(answers: Sequence[Any]) -> bool:
    """Whether errands that were just put in wait, and no message does."""
    *_, waiting, messages = answers
    return bool(waiting and not messages)
