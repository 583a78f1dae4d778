"""The Celery tasks: thin; each calls one of the rooms beside it.

A task that fails is not tried again by Celery: the record says what is due, and the sweep sends the next wake-up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from celery import Celery

from jobs import queue
from jobs.errors import JobNotFound, StoreUnavailable
from worker.collect import collect
from worker.context import Context
from worker.dispatch import dispatch
from worker.reconcile import sweep
from worker.submit import submit

_log = logging.getLogger(__name__)


P = ParamSpec("P")
T = TypeVar("T")

# A message's turn: after so long whoever took it lets others have the thread, ticks above all.
TURN_SECONDS = 1.0
# Slots that become free in so short a time are filled by one dispatch.
GATHER_SECONDS = 0.02


def register(app: Celery, open_context: Callable[[], Context]) -> None:
    """Give the app its tasks. `open_context` is called by the first task, not in processes that only send."""

    @app.task(name=queue.SUBMIT)  # type: ignore[untyped-decorator]
    def submit_task() -> None:
        work_off(open_context(), queue.SUBMIT, submit)

    @app.task(name=queue.COLLECT)  # type: ignore[untyped-decorator]
    def collect_task() -> None:
        work_off(open_context(), queue.COLLECT, collect)

    @app.task(name=queue.DISPATCH)  # type: ignore[untyped-decorator]
    def dispatch_task() -> None:
        context = open_context()
        context.leaving.wait(GATHER_SECONDS)
        _run(context, queue.DISPATCH, dispatch, context)

    @app.task(name=queue.SWEEP)  # type: ignore[untyped-decorator]
    def sweep_task() -> None:
        context = open_context()
        _run(context, queue.SWEEP, sweep, context)


def work_off(context: Context, task: str, step: Callable[[Context, str], object]) -> None:
    """Do one job after another, until none waits or this turn is over; then somebody else was woken up for the rest.

    Args:
        context: the worker's.
        task: SUBMIT or COLLECT.
        step: what is to be done with a job.
    """
    ends_at = time.monotonic() + TURN_SECONDS
    while not context.leaving.is_set() and time.monotonic() < ends_at:
        job_id = _run(context, task, context.wakeups.next, task)
        if job_id is None:
            return
        _run(context, task, step, context, job_id)


def _run(context: Context, name: str, call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
    """What the call returns; None when it was put off."""
    try:
        with context.activity:
            return call(*args, **named)
    except (StoreUnavailable, JobNotFound) as error:
        _log.warning("%s put off: %s", name, error)
        return None
