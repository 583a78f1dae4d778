"""The Celery tasks: thin; each calls one of the rooms beside it.

A task that fails is not tried again by Celery: the record says what is due, and the sweep sends the next wake-up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import Celery

from jobs import queue
from jobs.errors import JobNotFound, StoreUnavailable
from worker.collect import collect
from worker.context import Context
from worker.dispatch import dispatch
from worker.reconcile import sweep
from worker.submit import submit

_log = logging.getLogger(__name__)


def register(app: Celery, open_context: Callable[[], Context]) -> None:
    """Give the app its tasks. `open_context` is called by the first task, not in processes that only send."""

    def run(name: str, step: Callable[..., object], *args: str) -> None:
        context = open_context()
        try:
            with context.activity:
                step(context, *args)
        except (StoreUnavailable, JobNotFound) as error:
            _log.warning("%s%s put off: %s", name, args, error)

    @app.task(name=queue.SUBMIT)  # type: ignore[untyped-decorator]
    def submit_task(job_id: str) -> None:
        run(queue.SUBMIT, submit, job_id)

    @app.task(name=queue.COLLECT)  # type: ignore[untyped-decorator]
    def collect_task(job_id: str) -> None:
        run(queue.COLLECT, collect, job_id)

    @app.task(name=queue.DISPATCH)  # type: ignore[untyped-decorator]
    def dispatch_task() -> None:
        run(queue.DISPATCH, dispatch)

    @app.task(name=queue.SWEEP)  # type: ignore[untyped-decorator]
    def sweep_task() -> None:
        run(queue.SWEEP, sweep)
