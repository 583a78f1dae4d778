"""The Celery tasks: thin; each calls one of the rooms beside it.

A task that fails is not tried again by Celery: the record says what is due, and the sweep sends the next wake-up.
"""

from __future__ import annotations

import logging

from celery import Celery

from jobs import queue
from jobs.errors import JobNotFound, StoreUnavailable
from worker.context import Context
from worker.duty import Duty
from worker.reconcile import sweep

_log = logging.getLogger(__name__)


def register(app: Celery, context: Context) -> None:
    """Give the app its tasks."""
    duty = Duty(context)

    @app.task(name=queue.SUBMIT)  # type: ignore[untyped-decorator]
    def submit_task() -> None:
        duty.work()

    @app.task(name=queue.COLLECT)  # type: ignore[untyped-decorator]
    def collect_task() -> None:
        duty.work()

    @app.task(name=queue.DISPATCH)  # type: ignore[untyped-decorator]
    def dispatch_task() -> None:
        duty.dispatch()

    @app.task(name=queue.SWEEP)  # type: ignore[untyped-decorator]
    def sweep_task() -> None:
        try:
            with context.activity:
                sweep(context)
        except (StoreUnavailable, JobNotFound) as error:
            _log.warning("sweep put off: %s", error)
