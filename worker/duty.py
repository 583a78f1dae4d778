"""Duty: what a thread does that was woken up: one errand after another, and it waits a moment for the next.

To wait in Redis costs next to nothing, to be called by a message of Celery's some milliseconds of processor time. So
under load threads are called once in many errands; and since each tick brings one, somebody waits most of the time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from jobs import errands
from jobs.errands import COLLECTS, CONTROL, SUBMITS, Errand
from jobs.errors import JobNotFound, StoreUnavailable
from worker.collect import collect
from worker.context import Context
from worker.dispatch import dispatch
from worker.submit import submit

# All threads but one may stay so long, and wait so long for an errand, before Celery has them back.
STAY_SECONDS = 10.0
IDLE_SECONDS = 1.0
# The last one comes back after so long, and does not wait: ticks are to find a thread.
TURN_SECONDS = 1.0
# Waits are cut into pieces, so that a worker that is told to leave soon does.
PIECE_SECONDS = 0.2
# No more often than this, so that under load one dispatch fills several slots. The first has nobody to wait for.
GATHER_SECONDS = 0.05

_log = logging.getLogger(__name__)


class _Order(threading.local):
    """Which list a thread looks at first. By turns: neither submissions nor pictures may keep the others waiting.

    Pictures first, and whose turn it is keeps it where there was nothing to do after all, or a dispatch came between:
    else what is submitted but not fetched would grow for ever. It outlives the thread's stay, for one picture that
    hangs takes longer: if each stay began with pictures, nothing would be submitted while enough of them hang.
    """

    queues: Sequence[str] = (COLLECTS, SUBMITS)


class Duty:
    """Shared by all threads of a worker.

    Args:
        context: the worker's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._stayers = threading.Semaphore(context.settings.worker_threads - 1)
        self._dispatched_at = time.monotonic()
        self._order = _Order()

    def work(self) -> None:
        """Do one errand after another. What is left when the turn is over is somebody else's, who was called."""
        stays = self._stayers.acquire(blocking=False)
        try:
            with self._context.activity:
                if stays:
                    self._turn(STAY_SECONDS, IDLE_SECONDS)
                else:
                    self._turn(TURN_SECONDS, idle_seconds=0.0)
        except StoreUnavailable as error:
            _log.warning("no errands: %s", error)
        finally:
            if stays:
                self._stayers.release()

    def dispatch(self) -> None:
        """Let waiting jobs through, and help with them."""
        self._do(Errand(CONTROL, ""))
        self.work()

    def _turn(self, seconds: float, idle_seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        order = self._order
        while time.monotonic() < ends_at and (errand := self._next((CONTROL, *order.queues), idle_seconds)):
            if self._do(errand) and errand.queue == order.queues[0]:
                order.queues = order.queues[::-1]

    def _next(self, queues: Sequence[str], idle_seconds: float) -> Errand | None:
        leaving, wakeups = self._context.leaving, self._context.wakeups
        if leaving.is_set():
            return None
        errand = wakeups.next(queues)
        idle_until = time.monotonic() + idle_seconds
        while errand is None and not leaving.is_set() and time.monotonic() < idle_until:
            errand = wakeups.wait(queues, PIECE_SECONDS)
        if errand and leaving.is_set():
            wakeups.give_back(errand)
            return None
        return errand

    def _do(self, errand: Errand) -> bool:
        """Returns whether there was something to do."""
        context = self._context
        try:
            with context.activity:
                match errand.queue:
                    case errands.SUBMITS:
                        return submit(context, errand.job_id)
                    case errands.COLLECTS:
                        return collect(context, errand.job_id)
                    case _:
                        self._gather()
                        return bool(dispatch(context))
        except (StoreUnavailable, JobNotFound) as error:
            _log.warning("%s %s put off: %s", errand.queue, errand.job_id, error)
            return False

    def _gather(self) -> None:
        """Wait until some time after the last dispatch."""
        self._context.leaving.wait(max(0.0, self._dispatched_at + GATHER_SECONDS - time.monotonic()))
        self._dispatched_at = time.monotonic()
