"""Errands: which jobs are to be submitted, and which collected, as lists of ids beside the broker's queues.

A message of Celery's costs many times what an id in a list does. So it says only that there is something to do: whoever
takes it works off the list, and another message is sent only where none waits. Under load that is one a second and
thread instead of one a job. An id that is taken and lost is found by the sweep, as a lost message is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from jobs.keys import BROKER_PREFIX, Keys
from jobs.server import to_text, unavailable


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

    def add(self, queue: str, job_ids: Sequence[str]) -> bool:
        """Put jobs behind those that wait; returns whether somebody must be woken up for them.

        A message that waits is enough: it is taken after this, and whoever takes it finds them.
        """
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.rpush(self._keys.errands(queue), *job_ids)
            pipeline.llen(BROKER_PREFIX + queue)
            _, messages = pipeline.execute()
        return not messages

    def take(self, queue: str) -> tuple[str | None, bool]:
        """The job that has waited the longest, None when none does; and whether another worker must be woken up."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.lpop(self._keys.errands(queue))
            pipeline.llen(self._keys.errands(queue))
            pipeline.llen(BROKER_PREFIX + queue)
            found: Any = pipeline.execute()
        job_id, waiting, messages = found
        return None if job_id is None else to_text(job_id), bool(waiting and not messages)
