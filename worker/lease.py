"""Leases: whoever works on a job says so now and then; a worker that was told to leave stops at the next byte."""

from __future__ import annotations

import time
from collections.abc import Callable

from jobs.errors import BlendqError
from jobs.job import Job
from worker.context import Context

RENEWAL_SECONDS = 5.0


class LeavingError(BlendqError):
    """The worker was told to leave. Raised only where what was begun can be given up for free."""

    retryable = True


def renewer(context: Context, job: Job, seconds: float) -> Callable[[], None]:
    """To be called between pieces of a transfer: one that moves keeps its lease, however long it takes.

    Args:
        job: as it was claimed, or found.
        seconds: how long the lease is; longer than any piece may take.

    The returned function raises LeavingError when the worker is to leave.
    """
    renewed_at = time.monotonic()

    def renew() -> None:
        nonlocal renewed_at
        if context.leaving.is_set():
            raise LeavingError("the worker was told to leave")
        if time.monotonic() - renewed_at >= RENEWAL_SECONDS:
            context.store.extend_lease(job, seconds)
            renewed_at = time.monotonic()

    return renew
