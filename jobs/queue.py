"""The Celery app that both sides share: task names, queues, safety settings.

A message is only a wake-up: it brings a thread to the lists that say what is to be done (`jobs.errands`). The record is
the truth, so both may be lost, delivered twice or late. There is no countdown, eta or retry anywhere: with Redis as its
broker Celery keeps such messages in a worker's memory and delivers them again when the visibility timeout passes
(celery#2599, kombu#337).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from jobs.errands import COLLECTS, CONTROL, SUBMITS, Errand, Errands
from jobs.errors import StoreUnavailable
from jobs.keys import BROKER_PREFIX
from jobs.settings import Settings

_log = logging.getLogger(__name__)

SUBMIT = "blendq.submit"  # (): jobs have slots of their own, upload them
COLLECT = "blendq.collect"  # (): jobs are finished there, fetch their pictures
DISPATCH = "blendq.dispatch"  # (): a slot may be free, or a job due
SWEEP = "blendq.sweep"  # (): look for ended leases, silent jobs and lost wake-ups
# What stands in the list of dispatches: they are about no job in particular.
ALL_JOBS = "all"

TICK_SECONDS = 1.0
VISIBILITY_MARGIN_SECONDS = 600.0
SUBMISSION_MARGIN_SECONDS = 15.0
# Queues of their own, so that a thousand downloads cannot keep dispatch waiting.
_QUEUE_OF = {SUBMIT: SUBMITS, COLLECT: COLLECTS, DISPATCH: CONTROL, SWEEP: CONTROL}
_ERRAND_TASK = {SUBMITS: SUBMIT, COLLECTS: COLLECT, CONTROL: DISPATCH}
QUEUES = (CONTROL, SUBMITS, COLLECTS)
# Where the broker keeps what waits in them.
QUEUE_LISTS = tuple(BROKER_PREFIX + queue for queue in QUEUES)
CONTROL_LIST = QUEUE_LISTS[0]


def make_app(settings: Settings) -> Celery:
    """The Celery app of these settings. The same safety settings on both sides, above all the visibility timeout."""
    # Not the current app: a service that has a Celery app of its own must be able to use a Producer beside it.
    app = Celery("blendq", broker=broker_url(settings.redis_address()), set_as_current=False)
    app.conf.update(_safety(settings), **_routes(), beat_schedule=_ticks())
    return app


def broker_url(redis_url: str) -> str:
    """Celery's spelling of a Redis URL: it has a scheme of its own for sockets."""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://").replace("?db=", "?virtual_host=")
    return redis_url


def _safety(settings: Settings) -> dict[str, object]:
    submission = settings.upload_timeout_seconds + settings.answer_timeout_seconds + SUBMISSION_MARGIN_SECONDS
    return {
        # A message is acknowledged when a thread begins with it: what it is about stands in the lists, so nothing is
        # lost with it. One that is not when Redis goes away ends the whole worker (kombu restores it over a connection
        # that is gone), and a thread stays with its errands for as long as there are any.
        "task_acks_late": False,
        # Nothing is taken from the queue for a thread that is busy: another worker's may be free.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        # What a task came to stands in the record; nobody reads results.
        "task_ignore_result": True,
        "result_backend": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_concurrency": settings.worker_threads,
        # A broker that is down, full or read-only is waited for; the worker does not end.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": submission,
        "worker_hijack_root_logger": False,
        "broker_transport_options": {
            "global_keyprefix": BROKER_PREFIX,
            # Longer than any task: a message that is still being worked on must not be delivered again.
            "visibility_timeout": submission + VISIBILITY_MARGIN_SECONDS,
            # kombu waits forever by default.
            "socket_timeout": 30.0,
            "socket_connect_timeout": 5.0,
            "health_check_interval": 15,
            **({} if settings.redis_address().startswith("unix:") else {"socket_keepalive": True}),
        },
    }


def _routes() -> dict[str, object]:
    return {
        "task_queues": [Queue(name) for name in QUEUES],
        "task_default_queue": CONTROL,
        "task_routes": {task: {"queue": queue} for task, queue in _QUEUE_OF.items()},
    }


def _ticks() -> dict[str, object]:
    """Dispatch and sweep run by the clock too, so that no lost wake-up can stop anything."""
    return {task: {"task": task, "schedule": TICK_SECONDS} for task in (DISPATCH, SWEEP)}


class Wakeups:
    """Sends wake-ups. One that cannot be sent is not an error: the sweep will find the job by itself.

    Args:
        app: from `make_app`.
        errands: which jobs are meant.
    """

    def __init__(self, app: Celery, errands: Errands) -> None:
        self._app = app
        self.errands = errands

    def submit(self, *job_ids: str) -> None:
        self._put(SUBMITS, job_ids)

    def collect(self) -> None:
        """For jobs that have got pictures: they stand in the list since that change."""
        self._put(COLLECTS, ())

    def collect_again(self, *job_ids: str) -> None:
        """For jobs whose wake-ups may be lost: those that wait still are not put in twice, for it is asked again and
        again, and where pictures hang the list would grow without end.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        if absent := self.errands.absent(COLLECTS, job_ids):
            self._put(COLLECTS, absent)

    def dispatch(self) -> None:
        self._put(CONTROL, [ALL_JOBS])

    def give_back(self, errand: Errand) -> None:
        """Leave to others what was taken and not begun."""
        self._put(errand.queue, [errand.job_id])

    def next(self, queues: Sequence[str]) -> Errand | None:
        """The next errand for a worker that was woken up; None when there is none. Where more wait, it wakes another.

        Args:
            queues: the first is looked at first.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        errand = self.errands.take(queues)
        if errand and errand.call:
            self.call(errand.call)
        return errand

    def wait(self, queues: Sequence[str], seconds: float) -> Errand | None:
        """As `next`, but waits for one; None when none has come in this time."""
        return self.errands.wait(queues, seconds)

    def _put(self, queue: str, job_ids: Sequence[str]) -> None:
        try:
            call = self.errands.add(queue, job_ids)
        except StoreUnavailable as error:
            _log.warning("wake-up for %s %s not sent (%s); the sweep will find it", queue, job_ids, error)
            return
        if call:
            self.call(queue)

    def call(self, queue: str) -> None:
        """Send a message, for somebody to look at this queue's list."""
        self._send(_ERRAND_TASK[queue])

    def _send(self, task: str) -> None:
        try:
            self._app.send_task(task, retry=False, ignore_result=True)
        except OperationalError as error:
            _log.warning("wake-up %s not sent (%s); the sweep will find its jobs", task, type(error).__name__)
