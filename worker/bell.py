"""Bell: wakes workers up for the receiver's loop, as `worker.waking` does for a thread.

It rings when a write has been sent, before it is answered: so both go in one packet, and share a flush to the disk.
Where the write is refused after all, somebody looks in vain. What gets lost is found with the next tick.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from jobs.applying import Applied
from jobs.errands import COLLECTS, CONTROL, must_call
from jobs.errors import StoreUnavailable
from jobs.limits import Buckets
from jobs.link import Link, answers_of
from jobs.queue import ALL_JOBS, Wakeups
from jobs.slots.gate import Gate
from worker.waking import have_pictures, lets_jobs_go

LOG_LINES_PER_SECOND = 1.0

_log = logging.getLogger(__name__)


class Bell:
    """
    Args:
        link: to the server.
        gate: lets one of those who ask for a dispatch have it.
        wakeups: tells the workers what there is to do.
    """

    def __init__(self, link: Link, gate: Gate, wakeups: Wakeups) -> None:
        self._link = link
        self._gate = gate
        self._wakeups = wakeups
        # Celery's client blocks; but a message is rarely needed.
        self._messages = ThreadPoolExecutor(1, "messages")
        self._log_lines = Buckets(LOG_LINES_PER_SECOND, 1)

    def ring(self, changes: Sequence[Applied]) -> None:
        """Wake up whoever has something to do after these; soon."""
        if have_pictures(changes):
            self._put(COLLECTS, ())
        if lets_jobs_go(changes):
            self._link.ask([self._gate.asking_dispatch()]).add_done_callback(self._dispatch)

    def close(self) -> None:
        """Wait for the message that is on its way, and drop the others."""
        self._messages.shutdown(cancel_futures=True)

    def _dispatch(self, asked: asyncio.Future[list[Any]]) -> None:
        if any(self._answers(asked)):  # else somebody else has asked
            self._put(CONTROL, (ALL_JOBS,))

    def _put(self, queue: str, job_ids: Sequence[str]) -> None:
        commands = self._wakeups.errands.adding(queue, job_ids)
        self._link.ask(commands).add_done_callback(partial(self._call, queue))

    def _call(self, queue: str, put: asyncio.Future[list[Any]]) -> None:
        if (answers := self._answers(put)) and must_call(answers):
            self._messages.submit(self._wakeups.call, queue)

    def _answers(self, asked: asyncio.Future[list[Any]]) -> list[Any]:
        """Nothing where Redis is away, or refuses."""
        try:
            return answers_of(asked)
        except StoreUnavailable as error:
            if self._log_lines.take("", time.monotonic()):
                _log.warning("nobody was woken up (%s); the sweep will find the jobs", error)
            return []
