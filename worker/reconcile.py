"""Reconcile: asks the API about silent jobs; frees expired leases; sends lost wake-ups again.

With this alone, and no callback at all, every job comes to its end (I7).
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from jobs.applying import Applied
from jobs.attempt import TaskStatus
from jobs.errors import StoreUnavailable
from jobs.events import AnswerKind, Deadline, Event, LeaseEnd, PatienceEnd, TaskMissing, TaskSeen, Withdrawn
from jobs.job import HAS_A_TASK, Job, Status
from jobs.settings import OnQueued
from jobs.upstreams import Upstream
from worker.context import Context
from worker.cores import ask_for_cores
from worker.dispatch import pause
from worker.proxy.client import ProxyClient
from worker.proxy.lookups import Cancelled, CannotTell, Found, NoSuchCall, Unknown
from worker.proxy.task import TaskView
from worker.retention import forget_finished
from worker.sightings import seen
from worker.waking import wake_up

# The API takes this many ids in one call.
BATCH = 100
# Enough for the changes of one batch; a sweeper that dies leaves its jobs to the next after so long.
HOLD_SECONDS = 5.0
MAX_BATCHES_A_SWEEP = 20
# To ask for when only the answer's manner counts.
NO_TASK = "0"

Answers = Mapping[str, TaskView | Unknown | CannotTell]

_log = logging.getLogger(__name__)
# By upstream.
_asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def sweep(context: Context) -> None:
    """Look once at everything that is due."""
    _end_leases(context)
    _collect_again(context)
    _aside("webhooks are told", context.notifier.look)
    _aside("jobs are forgotten", partial(forget_finished, context))
    _ask(context)


def _aside(what: str, work: Callable[[], object]) -> None:
    """Whatever is wrong with it, the APIs are asked about the jobs all the same.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    try:
        work()
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  (a defect of ours)
        _log.error("%s no further for now, by a defect (%s)", what, type(error).__name__)


def _ask(context: Context) -> None:
    apis = context.apis
    for _ in range(MAX_BATCHES_A_SWEEP):
        # An API that does not answer holds its asker for long. A second one in this process would only wait as well.
        if context.leaving.is_set() or all(_asking[api.name].locked() for api in apis):
            return
        jobs = _due_jobs(context)
        _give_up_strays(context, jobs)
        if sum(_each(partial(_ask_upstream, context, jobs), apis)) == 0:
            return


def _each(ask: Callable[[Upstream], int], apis: Sequence[Upstream]) -> list[int]:
    """What each was asked, at the same time: the others need not wait for one that does not answer."""
    if len(apis) == 1:
        return [ask(apis[0])]
    with ThreadPoolExecutor(len(apis), "ask") as threads:
        return list(threads.map(ask, apis))


def _ask_upstream(context: Context, due: Sequence[Job], api: Upstream) -> int:
    """Ask one API about its jobs; returns how many were heard of, so 0 ends the round where none answers."""
    jobs = [job for job in due if job.upstream == api.name]
    if not _asking[api.name].acquire(blocking=False):
        context.store.look_again(jobs)
        return len(jobs)  # behind them others may be due
    try:
        proxy = context.proxies.of(api.name)
        heard = _ask_about_unsure(context, proxy, [job for job in jobs if job.status is Status.UNSURE])
        heard += _ask_about_tasks(context, proxy, [job for job in jobs if job.status is not Status.UNSURE])
        ask_for_cores(context, api)
    finally:
        _asking[api.name].release()
    return heard


def _give_up_strays(context: Context, jobs: Sequence[Job]) -> None:
    """Nobody can be asked about jobs whose upstream is not in the settings, so their time runs out."""
    names = {api.name for api in context.apis}
    for job in jobs:
        if job.upstream not in names:
            _log.warning("job=%s cannot be asked about: upstream %s is not in the settings", job.id, job.upstream)
            _apply(context, job.id, Deadline())


def _end_leases(context: Context) -> None:
    for status in (Status.RELEASED, Status.SUBMITTING, Status.COMMITTED):
        due = context.store.take_due(status, BATCH, HOLD_SECONDS)
        outcomes = context.store.apply_many([(job_id, LeaseEnd()) for job_id in due])
        wake_up(context.store, context.wakeups, *(one for one in outcomes if isinstance(one, Applied)))
        for job_id, one in zip(due, outcomes, strict=True):
            if isinstance(one, StoreUnavailable):
                raise one
            if isinstance(one, Exception):
                _log.error("job=%s its lease cannot be ended (%s)", job_id, type(one).__name__)


def _collect_again(context: Context) -> None:
    if job_ids := context.store.take_due(Status.COLLECTING, BATCH, context.store.policy.lease_seconds):
        context.wakeups.collect_again(*job_ids)


def _due_jobs(context: Context) -> list[Job]:
    """At most one batch of those whose tasks nobody knows, and one of those that the APIs should have; due to be asked
    about.
    """
    hold = context.settings.poll_max_seconds
    unsure = context.store.take_due(Status.UNSURE, BATCH, hold)
    ids: list[str] = []
    for status in (Status.QUEUED, Status.ACCEPTED, Status.RUNNING):
        ids += context.store.take_due(status, BATCH - len(ids), hold) if len(ids) < BATCH else []
    return context.store.readable([*unsure, *ids])


def _ask_about_unsure(context: Context, proxy: ProxyClient, jobs: Sequence[Job]) -> int:
    """Nobody knows the task id of these; where the API can look up a `state`, the token in it finds the task."""
    for job in jobs:
        if context.leaving.is_set():  # each may take as long as an API that does not answer is waited for
            break
        answer = proxy.find_by_state(context.hooks.state(job.id, job.current, job.request.state))
        if isinstance(answer, Found):
            _apply(context, job.id, seen(job.current, answer.task, "state"))
        elif not isinstance(answer, CannotTell) or answer.answered or (answer.key_refused and _knows_us(proxy)):
            _apply(context, job.id, Deadline())  # while the API is away, its time does not run out
    return len(jobs)


def _knows_us(proxy: ProxyClient) -> bool:
    """Whether another call is open to us: some gateways keep their tasks to themselves, but for one at a time."""
    answer = proxy.fetch(NO_TASK)
    return not isinstance(answer, CannotTell) or answer.answered


def _ask_about_tasks(context: Context, proxy: ProxyClient, jobs: Sequence[Job]) -> int:
    """Ask about one batch; returns how many were heard of."""
    if not jobs:
        return 0
    answers = _look_up(context, proxy, jobs)
    heard = 0
    for job in jobs:
        answer = answers.get(_task_id(job) or "")
        if isinstance(answer, CannotTell) and not answer.answered:
            continue  # while the API is away, or does not know us, the job's time does not run out
        heard += not isinstance(answer, CannotTell)
        _settle(context, proxy, _hear(context, job, answer))
    context.store.look_again([job for job in jobs if isinstance(answers.get(_task_id(job) or ""), TaskView)])
    return heard


def _hear(context: Context, job: Job, answer: TaskView | Unknown | CannotTell | None) -> Job:
    """The job after what the API said of its task."""
    match answer:
        case TaskView():
            return _apply(context, job.id, seen(job.current, answer, "poll")).after
        case Unknown():
            return _apply(context, job.id, TaskMissing(job.current)).after
        case _:
            return job


def _task_id(job: Job) -> str | None:
    return job.attempt.task_id if job.attempt else None


def _look_up(context: Context, proxy: ProxyClient, jobs: Sequence[Job]) -> Answers:
    """What the API says of each job's task."""
    task_ids = [task_id for job in jobs if (task_id := _task_id(job))]
    answer = proxy.list_by_ids(task_ids)
    if isinstance(answer, NoSuchCall) or (isinstance(answer, CannotTell) and (answer.answered or answer.key_refused)):
        # Some gateways keep the list to themselves, or answer with a page; or it is longer than is read.
        return _fetch_each(context, proxy, jobs[0].upstream, task_ids)
    if isinstance(answer, CannotTell):
        _log.warning("the API cannot be asked about %d tasks: %s", len(task_ids), answer.message)
        return dict.fromkeys(task_ids, answer)
    return {task_id: answer.get(task_id, Unknown()) for task_id in task_ids}


def _fetch_each(context: Context, proxy: ProxyClient, upstream: str, task_ids: Sequence[str]) -> Answers:
    answers: dict[str, TaskView | Unknown | CannotTell] = {}
    for task_id in task_ids:
        if context.leaving.is_set():
            return dict.fromkeys(task_ids, CannotTell("the worker is leaving", answered=False)) | answers
        answer = proxy.fetch(task_id)
        if isinstance(answer, CannotTell):
            _log.warning("the API cannot be asked about a task: %s", answer.message)
            if answer.key_refused:  # whatever is submitted or asked next would be refused alike
                pause(context, upstream, AnswerKind.KEY, answer.message)
                return dict.fromkeys(task_ids, answer) | answers
        answers[task_id] = answer.task if isinstance(answer, Found) else answer
    return answers


def _settle(context: Context, proxy: ProxyClient, job: Job) -> None:
    """What the clock has to say, once the API was heard."""
    if job.cancel_requested and job.status in HAS_A_TASK:
        _cancel_there(context, proxy, job)
    elif job.status is Status.QUEUED:
        job = _apply(context, job.id, PatienceEnd(job.current)).after
        if job.status is Status.QUEUED and job.attempt is not None and job.attempt.withdrawn:
            _withdraw(context, proxy, job)
    # Whether it could be cancelled or not, its time runs out.
    _apply(context, job.id, Deadline())


def _withdraw(context: Context, proxy: ProxyClient, job: Job) -> None:
    """Get the earlier task out of the way, so that the job may be submitted again."""
    if _cancel_there(context, proxy, job):
        return
    if context.settings.on_queued is OnQueued.RESUBMIT:  # the user says that a 22 here means "not taken"
        _apply(context, job.id, Withdrawn(job.current))


def _cancel_there(context: Context, proxy: ProxyClient, job: Job) -> bool:
    attempt = job.attempt
    if attempt is None or attempt.task_id is None:
        return False
    answer = proxy.cancel(attempt.task_id)
    if isinstance(answer, Cancelled):
        event = TaskSeen(attempt.number, attempt.task_id, TaskStatus.CANCEL, source="cancel")
        _apply(context, job.id, event)
        return True
    _log.info("job=%s task=%s not cancelled: %s", job.id, attempt.task_id, answer)
    return False


def _apply(context: Context, job_id: str, event: Event) -> Applied:
    applied = context.store.apply(job_id, event)
    wake_up(context.store, context.wakeups, applied)
    return applied
