"""Job, Status: all that is known of one blend."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Annotated

from pydantic import Field

from jobs import doors
from jobs.actions import Action, ActionKind
from jobs.attempt import WORKED_ON, Attempt, Record
from jobs.request import BlendRequest

_NUMBER = attrgetter("number")


class Status(StrEnum):
    """Where a job stands. Each status names who moves it on.

    WAITING     due at `due_at`. Dispatch releases it when it is due and a slot is free.
    RELEASED    a wake-up is on its way. A worker claims it; or its lease ends: WAITING.
    SUBMITTING  a worker uploads, the last byte held back: provably unpaid. Commit; or failure, lease end: WAITING.
    COMMITTED   the last byte may be out. The answer moves it; no answer: UNSURE.
    UNSURE      it may have been accepted, and its task is unknown. A callback, or a task found by `state`; else PARKED.
    QUEUED      the API answered 22: it waits there. Callback, poll, or the code-22 policy.
    ACCEPTED    the API has it. Callback or poll.
    RUNNING     the API works on it. Callback or poll.
    COLLECTING  finished there; the picture is being fetched. Collect.
    SUCCEEDED   final: the picture is here.
    FAILED      final, with a reason. A person's retry; a late success.
    CANCELLED   final. A person's retry; a late success.
    PARKED      final until a person decides: it may have been paid for. A late callback; a person's retry.
    """

    WAITING = "waiting"
    RELEASED = "released"
    SUBMITTING = "submitting"
    COMMITTED = "committed"
    UNSURE = "unsure"
    QUEUED = "queued"
    ACCEPTED = "accepted"
    RUNNING = "running"
    COLLECTING = "collecting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARKED = "parked"

    @property
    def final(self) -> bool:
        return self in FINAL

    @property
    def holds_slot(self) -> bool:
        return self in HOLDS_SLOT


FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.PARKED})
# Ended without a picture: what a person may order once more.
RETRIABLE = FINAL - {Status.SUCCEEDED}
HOLDS_SLOT = frozenset(
    {
        Status.RELEASED,
        Status.SUBMITTING,
        Status.COMMITTED,
        Status.UNSURE,
        Status.QUEUED,
        Status.ACCEPTED,
        Status.RUNNING,
    }
)
# Where the API may have a task of ours: these are the statuses in which asking it makes sense.
AT_THE_API = frozenset({Status.UNSURE, Status.QUEUED, Status.ACCEPTED, Status.RUNNING})


# Where its task is known.
HAS_A_TASK = AT_THE_API - {Status.UNSURE}


class Reason(Record):
    """Why a job failed or is parked: a stable class for machines, a text for people."""

    kind: str
    message: str


class Picture(Record):
    """The finished picture, kept in the image store under its digest."""

    digest: str
    media_type: str
    width: int
    height: int
    bytes: int
    url: str


class Follows(Record):
    """What a follow-up is of: the job whose grid it carries on, that job's place in the order, and what is done to it.

    `take` is 2 and so on for further ones of the same action; `upstream` has the task, so nobody else can carry it on.
    """

    job_id: str
    order: int
    action: Action
    take: int = 1
    upstream: str = doors.DEFAULT

    @property
    def label(self) -> str:
        return self.action.value if self.take == 1 else f"{self.action}-{self.take}"


# Of jobs that were given none.
DEFAULT_CAMPAIGN = "default"


class Job(Record):
    """One blend, or a follow-up of one, from request to picture. Changed by `lifecycle`, written by `store` alone."""

    id: str
    campaign: str = DEFAULT_CAMPAIGN
    idempotency_key: Annotated[str | None, Field(description="the caller's own name for it")] = None
    request: BlendRequest
    created_at: datetime
    order: Annotated[int, Field(description="position among all jobs ever enqueued: oldest first")] = 0
    status: Status = Status.WAITING
    due_at: Annotated[datetime | None, Field(description="when somebody must look at it next; none when final")] = None
    attempts: tuple[Attempt, ...] = ()
    current: Annotated[int, Field(description="the attempt that `status` speaks of; 0 before the first")] = 0
    claims: Annotated[int, Field(description="attempts ever begun; numbers the next one")] = 0
    went_to: Annotated[
        tuple[tuple[int, str], ...],
        Field(description="doors, each with the first attempt that went by it; the ones before by the default"),
    ] = ()
    commits: Annotated[int, Field(description="bodies sent whole")] = 0
    lost_claims: Annotated[int, Field(description="workers lost in a row while holding this job")] = 0
    queued_answers: Annotated[int, Field(description="how often the API answered 22")] = 0
    backoffs: Annotated[int, Field(description="backoffs in a row: the exponent of the next")] = 0
    collect_failures: int = 0
    retrying_since: Annotated[datetime | None, Field(description="start of the time limit on resubmitting")] = None
    cancel_requested: bool = False
    reason: Reason | None = None
    picture: Picture | None = None
    reused_from: Annotated[str | None, Field(description="the job whose picture it has; nothing was paid")] = None
    finished_at: datetime | None = None
    follows: Annotated[Follows | None, Field(description="what it is a follow-up of; none for a blend")] = None
    follow_ups: Annotated[tuple[str, ...], Field(description="the ids of its own follow-ups")] = ()

    @property
    def is_grid(self) -> bool:
        """Whether its picture is a 2×2 grid, which can be carried on; an upscale is a single picture."""
        return self.follows is None or self.follows.action.kind is not ActionKind.UPSCALE

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that the status speaks of."""
        return self.find_attempt(self.current)

    def door_of(self, number: int) -> str:
        """The door by which an attempt went, also one that is forgotten by now: an attempt never changes it."""
        for first, door in reversed(self.went_to):
            if first <= number:
                return door
        return doors.DEFAULT

    def upstream_of(self, number: int) -> str:
        return doors.upstream_of(self.door_of(number))

    @property
    def door(self) -> str:
        """The door of the attempt that the status speaks of; of a job that was just released, of the one to come."""
        return self.door_of(self.claims + 1 if self.status is Status.RELEASED else self.current)

    @property
    def upstream(self) -> str:
        return doors.upstream_of(self.door)

    def going_to(self, door: str) -> Job:
        """The same job, whose attempts go by this door from the next one on."""
        number = self.claims + 1
        before = tuple(entry for entry in self.went_to if entry[0] < number)
        stays = (before[-1][1] if before else doors.DEFAULT) == door
        went_to = before if stays else (*before, (number, door))
        return self if went_to == self.went_to else self.but(went_to=went_to)

    @property
    def seed(self) -> str | None:
        """Of its picture, where it is known."""
        return self.attempt.seed if self.attempt else None

    @property
    def resubmissions(self) -> int:
        return max(0, self.commits - 1)

    @property
    def submissions(self) -> int:
        """Submissions known to be accepted, and so paid for: tasks, since two attempts may have got the same one."""
        taken = [one for one in self.attempts if one.taken]
        if len(taken) <= 1:
            return len(taken)
        return len({(self.upstream_of(one.number), one.task_id or one.number) for one in taken})

    @property
    def uncertain(self) -> int:
        """How many attempts may have been accepted."""
        return len([one for one in self.attempts if one.uncertain])

    @property
    def working(self) -> bool:
        """Whether its task was seen to have left the API's queue: a core is taken. A code 1 alone does not tell."""
        task = self._task_at_the_api
        return task is not None and task.seen in WORKED_ON

    @property
    def waiting_there(self) -> bool:
        """Whether its task is known to wait at the API: by a 22, or seen not to be started."""
        task = self._task_at_the_api
        if task is None or task.seen in WORKED_ON:
            return False
        return self.status is Status.QUEUED or task.seen is not None

    @property
    def _task_at_the_api(self) -> Attempt | None:
        return self.attempt if self.status in HAS_A_TASK else None

    def find_attempt(self, number: int) -> Attempt | None:
        for attempt in self.attempts:
            if attempt.number == number:
                return attempt
        return None

    def with_attempt(self, attempt: Attempt, **changes: object) -> Job:
        """The same job with `attempt` put in the place of its number (or added), and some fields changed."""
        others = [other for other in self.attempts if other.number != attempt.number]
        attempts = tuple(sorted([*others, attempt], key=_NUMBER)) if others else (attempt,)
        return self.but(attempts=attempts, **changes)
