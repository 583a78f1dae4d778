"""A model of the store: a few dicts, and the table of design in plain words; and a store that replies as it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import redis

from jobs import events
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.events import AnswerKind, Event
from jobs.job import Status
from jobs.policy import Policy
from jobs.server import to_text
from jobs.store import JobStore

SLOTS = 2
NAMES = ("job_1", "job_2", "job_3")
HOUR = timedelta(hours=1)  # past every lease, backoff and the time to be unsure; the longer limits are out of reach
POLICY = Policy(resubmit_limit_seconds=1e9, task_limit_seconds=1e9, collect_limit_seconds=1e9)

W, R, U, C = Status.WAITING, Status.RELEASED, Status.SUBMITTING, Status.COMMITTED
AT_WORK = (Status.QUEUED, Status.ACCEPTED, Status.RUNNING)
FORWARD = (C, Status.UNSURE, *AT_WORK, Status.COLLECTING, Status.SUCCEEDED)
OVER = (Status.FAILED, Status.CANCELLED, Status.PARKED)
TAKING = (AnswerKind.ACCEPTED, AnswerKind.QUEUED)


# The model ----------------------------------------------------------------------------------------------------------


@dataclass
class Try:
    """What is known of one attempt."""

    committed: bool = False
    answered: bool = False
    refused: bool = False
    gone: bool = False
    doubted: bool = False  # its picture is another job's as well
    code: int | None = None
    task: str | None = None
    seen: TaskStatus | None = None
    absences: int = 0


@dataclass
class Model:
    """What one job must be."""

    name: str
    status: Status = W
    current: int = 0
    tries: dict[int, Try] = field(default_factory=dict)
    claims: int = 0
    lost: int = 0  # workers in a row
    cancel_requested: bool = False
    conflict: bool = False
    next_door: str = DEFAULT
    went_by: dict[int, str] = field(default_factory=dict)  # each attempt, for ever

    @property
    def door(self) -> str:
        return self.next_door if self.status is R else self.went_by.get(self.current, DEFAULT)

    def happens(self, event: Event, tasks: dict[str, Model]) -> None:  # noqa: C901  (one line or two an event)
        """`tasks`: which job has which task or picture; a second one that has it, too, parks both."""
        match event:
            case events.Release() if self.status is W:
                self.status, self.next_door = R, event.door
            case events.Claim() if self.status is R:
                self._claimed()
            case events.Commit(n) if self.status is U and n == self.current:
                self.status, self.tries[n].committed = C, True
            case events.Answer(n) if n in self.tries and not self.tries[n].answered:
                self._answered(event, tasks)
            case events.NoAnswer(n) if self.status is C and n == self.current:
                self.status, self.lost = Status.UNSURE, 0
            case events.LeaseEnd():
                self._lease_ended()
            case events.TaskSeen():
                self._seen(event, tasks)
            case events.TaskMissing(n) if self.status in AT_WORK and n == self.current:
                self._missing(self.tries[n])
            case events.Deadline() if self.status is Status.UNSURE:
                self.status = Status.PARKED
            case events.Collected(n) if self.status is Status.COLLECTING and n == self.current:
                if not self._conflicts(event.picture.digest, tasks):
                    self.status = Status.SUCCEEDED
            case events.Cancel():
                self._cancelled()
            case events.Retry() if self.status in OVER:
                self._retried()

    def _claimed(self) -> None:
        self.status, self.claims = U, self.claims + 1
        self.current = self.claims
        self.went_by[self.current] = self.next_door
        free = {
            n
            for n, one in self.tries.items()
            if one.gone or (one.task is None and one.seen is None and (one.refused or not one.committed))
        }
        self.tries = {n: one for n, one in self.tries.items() if n not in free} | {self.current: Try()}

    def _answered(self, event: events.Answer, tasks: dict[str, Model]) -> None:
        one, latest = self.tries[event.attempt], event.attempt == self.current
        in_doubt = one.committed and not (one.refused or one.gone or one.task or one.seen)
        uploaded = latest and self.status is U
        if self.conflict or not (in_doubt or (latest and (uploaded or one.committed))):
            return
        if uploaded and event.kind in TAKING:
            return
        if event.task_id and self._conflicts(self.named(event.attempt, event.task_id), tasks):
            return
        one.answered, one.code = True, event.code
        ordered_again = self.status in (W, R, U) and in_doubt and event.task_id
        if not ordered_again and not (latest and self.status in (U, C, Status.UNSURE, Status.PARKED)):
            one.task, one.refused = one.task or event.task_id, in_doubt and event.kind not in TAKING
        elif event.kind in TAKING and event.task_id:
            one.task, self.lost, self.current = event.task_id, 0, event.attempt
            self.status = Status.ACCEPTED if event.kind is AnswerKind.ACCEPTED else Status.QUEUED
        else:
            one.refused, self.lost = True, 0
            again = Status.CANCELLED if self.cancel_requested else W
            self.status = Status.FAILED if event.kind is AnswerKind.INVALID else again

    def named(self, attempt: int, task: str) -> str:
        """Every API numbers its own tasks."""
        return task if self.went_by[attempt] == DEFAULT else f"{self.went_by[attempt]}:{task}"

    def _conflicts(self, what: str, tasks: dict[str, Model]) -> bool:
        owner = tasks.setdefault(what, self)
        if owner is self:
            return False
        for one in (self, owner):
            if one.status is Status.COLLECTING:
                one.tries[one.current].doubted = True
            one.status, one.conflict = Status.PARKED, True
        return True

    def _lease_ended(self) -> None:
        if self.status is U:
            self.lost += 1
            self.status = W if self.lost < 3 else Status.PARKED
        elif self.status is C:
            self.status, self.lost = Status.UNSURE, 0
        elif self.status is R:
            self.status = W

    def _seen(self, event: events.TaskSeen, tasks: dict[str, Model]) -> None:
        if not 0 < event.attempt <= self.claims or self.conflict:
            return
        known = self.tries.get(event.attempt)
        if self.status is Status.SUCCEEDED and known and (known.task or known.seen) and not known.gone:
            return
        if self._conflicts(self.named(event.attempt, event.task_id), tasks):
            return
        one = self.tries.setdefault(event.attempt, Try(committed=True))
        if one.seen is TaskStatus.FAILURE and event.status in (TaskStatus.NOT_START, TaskStatus.IN_PROGRESS):
            return
        new = self._status_by(event, one)
        one.task, one.gone, one.refused, one.absences = event.task_id, False, False, 0
        one.seen = max(one.seen or TaskStatus.NOT_START, event.status, key=SEEN.index)
        one.doubted = one.doubted and event.status is not TaskStatus.SUCCESS
        if new is not None:
            alive = new in AT_WORK and (new is not self.status or event.attempt == self.current)
            self.lost = 0 if alive else self.lost
            self.status, self.current = new, event.attempt

    def _status_by(self, event: events.TaskSeen, one: Try) -> Status | None:
        """Where the news puts the job; None where it stays."""
        mine = event.attempt == self.current
        if self.status is Status.SUCCEEDED:
            return None  # another attempt was paid for too; the first success is the job's
        if event.status is TaskStatus.SUCCESS:
            return None if self.status is Status.COLLECTING else Status.COLLECTING
        if event.status is TaskStatus.FAILURE:
            fails = mine and one.seen is not TaskStatus.SUCCESS and self.status in (C, Status.UNSURE, *AT_WORK)
            return Status.FAILED if fails else None
        if self.status in (Status.FAILED, Status.CANCELLED) or (self.status in FORWARD and not mine):
            return None
        shown = Status.RUNNING if event.status is TaskStatus.IN_PROGRESS else Status.ACCEPTED
        if event.status is TaskStatus.NOT_START and one.code == 22:
            shown = Status.QUEUED
        return max(self.status, shown, key=FORWARD.index) if self.status in FORWARD else shown

    def _missing(self, one: Try) -> None:
        one.absences += 1
        started = one.seen not in (None, TaskStatus.NOT_START)
        if self.cancel_requested:
            self.status, one.gone = Status.CANCELLED, not started
        elif self.status is Status.QUEUED and one.seen is None:
            self.status, one.gone = W, True
        elif one.absences >= POLICY.missing_absences:
            self.status, one.gone = (Status.PARKED, False) if started else (W, True)

    def _cancelled(self) -> None:
        if self.status in (W, R, U):
            self.status = Status.CANCELLED
        elif self.status in (C, Status.UNSURE, *AT_WORK):
            self.cancel_requested = True

    def _retried(self) -> None:
        done = [n for n, one in self.tries.items() if one.seen is TaskStatus.SUCCESS and not (one.gone or one.doubted)]
        self.status = Status.COLLECTING if done else W
        self.current = done[0] if done and self.current not in done else self.current
        self.lost, self.cancel_requested, self.conflict = 0, False, False


SEEN = (TaskStatus.NOT_START, TaskStatus.IN_PROGRESS, TaskStatus.FAILURE, TaskStatus.SUCCESS)


# The store, with a clock that can be moved on, and replies that can be lost -----------------------------------------


class MovedStore(JobStore):
    """A store for which it is later than it is, and which may be overtaken between its read and its write."""

    ahead = timedelta()
    overtaken_by: Callable[[], object] | None = None

    def _load(self, job_ids: Sequence[str]) -> tuple[datetime, list[Any]]:
        now, records = super()._load(job_ids)
        if (overtake := self.overtaken_by) is not None:
            self.overtaken_by = None
            overtake()
        return now + self.ahead, records


@dataclass
class BadLine:
    """Stands in for a script: loses what is asked, or what is answered, a number of times.

    Args:
        meanwhile: what somebody else does while the reply is being lost.
    """

    script: Any
    before: int = 0
    after: int = 0
    meanwhile: Callable[[], object] | None = None
    answers: list[str] = field(default_factory=list)

    def __call__(self, **call: Any) -> Any:
        self._there()
        return self._back(lambda: self.script(**call))

    def begin(self, *call: Any) -> Callable[[], Any]:
        self._there()
        return partial(self._back, self.script.begin(*call))

    def _there(self) -> None:
        if self.before:
            self.before -= 1
            raise redis.ConnectionError("cut on the way there")

    def _back(self, read: Callable[[], Any]) -> Any:
        answer = read()
        self.answers.append(to_text(answer[0][0]) if isinstance(answer[0], list) else "created")
        if self.after:
            self.after -= 1
            if self.meanwhile is not None:
                self.meanwhile()
            raise redis.ConnectionError("cut on the way back")
        return answer
