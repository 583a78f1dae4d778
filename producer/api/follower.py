"""Follower: one thread that reads the stream of changes, for everybody of this process who follows along.

What a follower has not been sent yet is kept by job, only the latest of each. So a slow one costs a bounded amount, and
is sent the newest state instead of everything in between.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from jobs.errors import BlendqError, ChangesMissed
from jobs.store import JobStore
from jobs.telling.changes import Changed, place_of

# More jobs than this that changed since the last sending, and the follower has missed some.
MAX_WAITING_JOBS = 10_000
PAGE = 500
BLOCK_SECONDS = 2.0
PAUSE_SECONDS = 1.0
_log = logging.getLogger(__name__)

Wanted = Callable[[Changed], bool]


class Subscription:
    """One who follows. Used in the event loop alone."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._latest: dict[str, Changed] = {}
        self.news = asyncio.Event()
        self.missed = False

    def add(self, changes: Sequence[Changed]) -> None:
        for change in filter(self._wanted, changes):
            self._latest[change.job_id] = change
        if len(self._latest) > MAX_WAITING_JOBS:
            self.miss()
        elif self._latest:
            self.news.set()

    def miss(self) -> None:
        """Some changes will never come."""
        self._latest.clear()
        self.missed = True
        self.news.set()

    def take(self) -> list[Changed]:
        """What is new, the oldest first; each job once."""
        self.news.clear()
        taken, self._latest = sorted(self._latest.values(), key=lambda change: place_of(change.id)), {}
        return taken


class Follower:
    """The thread, started when somebody first follows.

    Args:
        store: whose changes.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._subscriptions: set[Subscription] = set()
        self._thread: threading.Thread | None = None
        self._reading = asyncio.Event()
        self._leaving = threading.Event()
        self.left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._subscriptions)

    async def subscribe(self, wanted: Wanted) -> Subscription:
        """From when this returns, nothing is missed."""
        subscription = Subscription(wanted)
        self._subscriptions.add(subscription)
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._read, args=(loop,), name="changes", daemon=True)
            self._thread.start()
        await self._reading.wait()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def leave(self) -> None:
        """Whoever follows is sent no more."""
        self._leaving.set()
        self.left.set()
        for subscription in self._subscriptions:
            subscription.news.set()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        place: str | None = None
        while not self._leaving.is_set():
            try:
                if place is None:
                    place = self._store.newest_change()
                    loop.call_soon_threadsafe(self._reading.set)
                changes = self._store.changes(place, PAGE, BLOCK_SECONDS)
            except ChangesMissed:
                place = None
                loop.call_soon_threadsafe(self._all_miss)
            except BlendqError as error:
                _log.warning("changes are not read: %s", error)
                self._leaving.wait(PAUSE_SECONDS)
            else:
                if changes:
                    place = changes[-1].id
                    loop.call_soon_threadsafe(self._hand_out, changes)

    def _hand_out(self, changes: Sequence[Changed]) -> None:
        for subscription in self._subscriptions:
            subscription.add(changes)

    def _all_miss(self) -> None:
        for subscription in self._subscriptions:
            subscription.miss()
