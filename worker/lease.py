"""Leases: a worker says, again and again, which jobs it holds; a worker that dies or stops falls silent.

One thread keeps all leases of a process, so a lease is short however long an upload or an answer may take; and it
stops with the process, on SIGSTOP too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import BlendqError, StoreUnavailable
from jobs.job import Status
from jobs.store import JobStore

# So many beats may be lost before a lease ends.
BEATS_A_LEASE = 4

_log = logging.getLogger(__name__)


class LeavingError(BlendqError):
    """The worker was told to leave. Raised only where what was begun can be given up for free."""

    retryable = True


class Keeper(threading.Thread):
    """Keeps the leases of one process.

    Args:
        store: where the leases are.
        leaving: set when the process is told to end; what can be given up for free then is.
    """

    def __init__(self, store: JobStore, leaving: threading.Event) -> None:
        super().__init__(name="leases", daemon=True)
        self._store = store
        self._leaving = leaving
        self._lock = threading.Lock()
        self._held: set[tuple[Status, str]] = set()

    def run(self) -> None:
        seconds = self._store.policy.lease_seconds
        while True:  # while leaving too: an answer may still be on the wire
            time.sleep(seconds / BEATS_A_LEASE)
            self.beat(seconds)

    def beat(self, seconds: float) -> None:
        """Say once that all that is held is still held."""
        with self._lock:
            held = tuple(self._held)
        if not held:
            return
        try:
            self._store.extend_leases(held, seconds)
        except StoreUnavailable as error:
            _log.warning("leases of %d jobs not renewed: %s", len(held), error)

    @contextmanager
    def holding(self, job_id: str, *statuses: Status) -> Iterator[None]:
        """While this lasts, the job's lease does not end in any of these statuses."""
        mine = {(status, job_id) for status in statuses}
        with self._lock:
            self._held |= mine
        try:
            yield
        finally:
            with self._lock:
                self._held -= mine

    def stop_when_leaving(self) -> None:
        """To be called between pieces of a transfer.

        Raises:
            LeavingError: the worker was told to leave.
        """
        if self._leaving.is_set():
            raise LeavingError("the worker was told to leave")
