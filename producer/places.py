"""Places: where the next jobs stand in the order of all jobs, and since when."""

from __future__ import annotations

import time
from datetime import datetime

from jobs.epoch import Epoch
from jobs.store import JobStore

# So many batches have theirs set aside at once: asking for each would wait for Redis, which works on the one before.
BATCHES_AHEAD = 10
KEPT_SECONDS = 1.0


class Places:
    """For one call that enqueues.

    Args:
        store: gives them.
        epoch: of that Redis.
    """

    def __init__(self, store: JobStore, epoch: Epoch) -> None:
        self._store = store
        self._epoch = epoch
        self._next = self._left = 0
        self._asked: float | None = None

    def take(self, count: int) -> tuple[str, datetime, int]:
        """
        Returns:
            the epoch and the store's clock, both of at most KEPT_SECONDS ago, and the first of `count` places.

        Raises:
            EpochLost, StoreUnavailable: nothing can be enqueued now.
        """
        if self._left < count or self._asked is None or time.monotonic() > self._asked + KEPT_SECONDS:
            # Who comes once has one batch.
            self._ask(count if self._asked is None else count * BATCHES_AHEAD)
        first, self._next, self._left = self._next, self._next + count, self._left - count
        return self._verified, self._now, first

    def _ask(self, count: int) -> None:
        self._asked = time.monotonic()
        self._verified = self._epoch.verify()
        self._now = self._store.now()
        self._next, self._left = self._store.next_orders(count), count
