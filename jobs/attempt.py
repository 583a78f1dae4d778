"""Attempt: one try at submitting, and what the API said of its task."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field


class TaskStatus(StrEnum):
    """The API's own status of a task (the `status` of its task JSON); UNKNOWN for anything it may invent."""

    NOT_START = "NOT_START"
    SUBMITTED = "SUBMITTED"
    MODAL = "MODAL"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCEL = "CANCEL"
    UNKNOWN = "UNKNOWN"


# A task that has left the API's queue.
WORKED_ON = frozenset({TaskStatus.SUBMITTED, TaskStatus.MODAL, TaskStatus.IN_PROGRESS})
_STARTED = WORKED_ON | {TaskStatus.SUCCESS, TaskStatus.FAILURE}


_new, _set = object.__new__, object.__setattr__


class Record(BaseModel):
    """What is kept of a job, or of a part of it. Never changed itself: `but` makes a changed copy."""

    # A record written by a newer blendq stays readable; of one that is not, the log shows nothing.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def but(self, **changes: object) -> Self:
        """The same record with some fields changed. As `model_copy`, which copies what is never changed here, and takes
        twice as long: several times in the life of each job.
        """
        changed = _new(self.__class__)
        _set(changed, "__dict__", {**self.__dict__, **changes})
        _set(changed, "__pydantic_fields_set__", self.__pydantic_fields_set__.union(changes))
        _set(changed, "__pydantic_extra__", None)
        _set(changed, "__pydantic_private__", None)
        return changed


class Attempt(Record):
    """One try at submitting. Its number is the fence: only the worker that holds the current number may commit.

    An attempt that was never committed, or that was proven refused, is forgotten at the next claim; the rest stay,
    since a callback for an attempt of long ago must still find its job.
    """

    number: int
    worker: str = ""
    claimed_at: datetime
    committed_at: datetime | None = None
    answered_at: datetime | None = None
    code: int | None = None
    description: str = ""
    task_id: str | None = None
    position: int | None = None
    refused: bool = False
    gone: Annotated[bool, Field(description="the API does not know it: nothing was paid for")] = False
    withdrawn: Annotated[bool, Field(description="we asked the API to cancel it, to submit again")] = False
    seen: TaskStatus | None = None
    seen_at: Annotated[datetime | None, Field(description="the last change seen of it")] = None
    progress: int | None = None
    image_url: str | None = None
    seed: Annotated[str | None, Field(description="of its picture, where the API told it")] = None
    absences: int = 0
    absent_since: datetime | None = None

    @property
    def taken(self) -> bool:
        """Whether the API is known to have accepted it: a submission that costs money."""
        return (self.task_id is not None or self.seen is not None) and not self.gone

    @property
    def uncertain(self) -> bool:
        """Whether it was sent whole and may have been accepted, for all that is known."""
        return self.committed_at is not None and not (self.refused or self.gone or self.taken)

    @property
    def forgettable(self) -> bool:
        return not (self.taken or self.uncertain)

    @property
    def started(self) -> bool:
        """Whether its task was seen to have left the API's queue: what is made of it is paid for."""
        return self.seen in _STARTED or bool(self.progress)
