"""Carrying on: what a follow-up sends, by what the API says of its parent's task now.

The task is asked for anew with each submission: what its buttons do need not be kept, and a task that the API has
forgotten is found out before anything is sent.
"""

from __future__ import annotations

from typing import assert_never

from jobs.errors import BlendqError
from jobs.events import AnswerKind
from jobs.job import Follows, Job, Status
from worker.context import Context
from worker.proxy.actions import ActionBody, NoSuchButton
from worker.proxy.lookups import CannotTell, Found, Unknown
from worker.proxy.task import TaskView


class CannotCarryOnError(BlendqError):
    """Nothing was sent. `kind` says whether trying again may help."""

    def __init__(self, kind: AnswerKind, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds


def action_body(context: Context, job: Job, follows: Follows) -> ActionBody:
    """
    Raises:
        CannotCarryOnError: the parent cannot be carried on, or not now.
        UpstreamMissing: the API that has it is not in the settings.
        StoreUnavailable: Redis does not answer.
    """
    parent = _parent_task(context, follows)
    hook = context.hooks.url(job.id, job.current)
    state = context.hooks.state(job.id, job.current, job.request.state)
    try:
        return ActionBody(parent, follows.action, hook, state)
    except NoSuchButton as error:
        raise CannotCarryOnError(AnswerKind.INVALID, str(error)) from error


def _parent_task(context: Context, follows: Follows) -> TaskView:
    task_id = _parent_task_id(context.store.find(follows.job_id), follows)
    answer = context.proxies.of(follows.upstream).fetch(task_id)
    match answer:
        case Found(task):
            return task
        case Unknown():
            raise _no_parent(
                f"the API no longer knows task {task_id}, the grid of job {follows.job_id}. Enqueue that blend anew "
                "(--repeat, or another idempotency key), and carry on from the new grid"
            )
        case CannotTell():
            kind = AnswerKind.KEY if answer.key_refused else AnswerKind.NOT_SENT
            raise CannotCarryOnError(kind, answer.message, answer.retry_after_seconds or 0.0)
        case _:  # pragma: no cover
            assert_never(answer)


def _parent_task_id(parent: Job | None, follows: Follows) -> str:
    if parent is None or parent.order != follows.order:
        raise _no_parent(f"job {follows.job_id}, whose grid it carries on, was purged")
    if parent.reused_from:
        raise _no_parent(f"job {parent.id} has the picture of job {parent.reused_from}; carry that one on")
    if parent.status is not Status.SUCCEEDED or parent.attempt is None or parent.attempt.task_id is None:
        raise _no_parent(f"job {parent.id}, whose grid it carries on, is {parent.status}; settle that one first")
    return parent.attempt.task_id


def _no_parent(message: str) -> CannotCarryOnError:
    return CannotCarryOnError(AnswerKind.NO_PARENT, message)
