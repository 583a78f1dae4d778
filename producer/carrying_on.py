"""Carrying on: more is wanted of a finished grid, and each wish becomes a job of its own."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.actions import Action, ActionKind
from jobs.errors import InvalidRequest, NotAGrid, UsageError
from jobs.events import Act
from jobs.follow_ups import follow_up_id
from jobs.job import Job, Status
from jobs.store import JobStore


def read_actions(words: Sequence[str]) -> tuple[Action, ...]:
    """
    Raises:
        InvalidRequest: one is no action.
    """
    try:
        return tuple(dict.fromkeys(Action(word.upper()) for word in words))
    except ValueError as error:
        raise InvalidRequest(f"{error}; there are {', '.join(Action)}") from error


def carry_on(store: JobStore, job_id: str, actions: Sequence[Action], *, again: bool) -> list[Job]:
    """The follow-ups of a job, created where they are missing; `again`: one more of each.

    Raises:
        JobNotFound, NotAGrid: there is no such job; it has no grid that could be carried on.
        UsageError: an upscale again, or no action at all.
    """
    if not actions:
        raise UsageError(f"name at least one action: {', '.join(Action)}")
    if again and any(action.kind is ActionKind.UPSCALE for action in actions):
        raise UsageError("an upscale is the same picture each time; only V1 to V4 and R can be made again")
    _must_be_a_grid(store.get(job_id))
    applied = store.apply(job_id, Act(tuple(actions), again))
    before, after = applied.before, applied.after
    new = [one for one in after.follow_ups if one not in before.follow_ups]
    return [store.get(one) for one in (new if again else [follow_up_id(after, action) for action in actions])]


def _must_be_a_grid(job: Job) -> None:
    if not job.is_grid:
        raise NotAGrid(f"job {job.id} is an upscale: a single picture, of which nothing more can be made")
    if job.reused_from:
        raise NotAGrid(f"job {job.id} has the picture of job {job.reused_from}; carry that one on")
    if job.status is not Status.SUCCEEDED:
        raise NotAGrid(
            f"job {job.id} is {job.status}, and has no grid; wait for it, or enqueue with `then`, which waits by itself"
        )
