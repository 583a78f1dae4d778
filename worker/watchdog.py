"""Watchdog: a worker that is alive, yet takes nothing, leaves, so that another is started in its place.

After some losses of the connection a consumer stays deaf (celery#8030, celery#10205). From outside it looks well.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

from jobs.errors import StoreUnavailable
from jobs.queue import QUEUE_LISTS
from worker.context import Context

LOOK_SECONDS = 5.0
DEAF_SECONDS = 45.0
# A worker that still starts takes nothing either; on a busy machine that lasts, and to start over would not help.
STARTING_SECONDS = 300.0
# What is on the wire may still be answered; then it is over.
LEAVE_MARGIN_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Watchdog(threading.Thread):
    """Watches one worker process. Start it with the worker, and say `hears` once that takes wake-ups.

    Args:
        context: the worker's; its `last_task_at` and `busy` say what it does.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._context = context
        self._waiting_since: float | None = None
        self._limit_seconds = STARTING_SECONDS

    def hears(self) -> None:
        """The worker has started: from here on it has to take what waits."""
        self._waiting_since = None
        self._limit_seconds = DEAF_SECONDS

    def run(self) -> None:
        while not self._context.leaving.wait(LOOK_SECONDS):
            if self.deaf(time.monotonic()):
                _log.critical(
                    "wake-ups wait, and this worker has taken none for %.0f s: it leaves", self._limit_seconds
                )
                _leave(self._context.settings.answer_timeout_seconds + LEAVE_MARGIN_SECONDS)
                return

    def deaf(self, now: float) -> bool:
        """Whether wake-ups have waited all the while that this worker, idle, has taken none.

        Args:
            now: this machine's monotonic clock, in seconds.
        """
        context = self._context
        try:
            waiting = context.store.gate.messages(QUEUE_LISTS) > 0
        except StoreUnavailable:
            waiting = False  # nobody can take anything now
        if not waiting or context.activity.busy:
            self._waiting_since = None
            return False
        self._waiting_since = self._waiting_since or now
        return now - max(self._waiting_since, context.activity.last_at) > self._limit_seconds


def _leave(seconds: float) -> None:
    """Leave as on SIGTERM; and for certain after `seconds`, since what is deaf may not hear that either."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds)
    os._exit(1)
