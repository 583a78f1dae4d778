"""Watchdog: a worker that is alive, yet takes nothing, leaves, so that another is started in its place.

After some losses of the connection a consumer stays deaf (celery#8030, celery#10205). From outside it looks well.
And one that is told to leave ends in time: Celery waits for a Redis that takes connections and does not answer, minutes
long.
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
# A worker that is to leave, and has nothing more to do, needs no longer; what it tells webhooks is told again.
STUCK_SECONDS = 20.0
STUCK_LOOK_SECONDS = 1.0

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
        told_at = time.monotonic()
        while not self.stuck(told_at, time.monotonic()):
            time.sleep(STUCK_LOOK_SECONDS)
        _log.warning("this worker has nothing more to do, and yet does not end by itself: it leaves")
        os._exit(0)

    def stuck(self, told_at: float, now: float) -> bool:
        """Whether a worker that leaves has had nothing to do for so long that something keeps it from ending.

        Args:
            told_at: when it was told to leave, by this machine's monotonic clock, in seconds.
            now: by the same clock.
        """
        activity = self._context.activity
        return not activity.busy and now - max(told_at, activity.last_at) > STUCK_SECONDS

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
