"""Everything that can happen to a job. A closed set: `lifecycle.advance` knows each one, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from jobs.actions import Action
from jobs.attempt import TaskStatus
from jobs.doors import DEFAULT
from jobs.job import Picture


class AnswerKind(StrEnum):
    """What an answer to a submission means. Which answers mean what is decided in `worker.proxy.answers`."""

    ACCEPTED = "accepted"  # 1, 21: taken
    QUEUED = "queued"  # 22: taken and waiting there; without a task id: perhaps not taken
    # Proof that nothing was accepted, and that trying again may help:
    NOT_SENT = "not_sent"  # said by the worker that held the last byte back, even if its commit is in the record
    GIVEN_UP = "given_up"  # likewise, for a reason of our own: it leaves, its lease is lost, the store is away
    NO_ROOM = "no_room"
    NO_ACCOUNT = "no_account"
    # The same, but only a person can help; submitting pauses meanwhile:
    QUOTA = "quota"
    KEY = "key"
    WRONG_ADDRESS = "wrong_address"
    # Proof that nothing was accepted, and that the same request never will be:
    MODERATED = "moderated"
    INVALID = "invalid"
    NO_PARENT = "no_parent"  # of a follow-up: the grid that it carries on is not to be had any more


PAUSING = frozenset({AnswerKind.QUOTA, AnswerKind.KEY, AnswerKind.WRONG_ADDRESS})
HOPELESS = frozenset({AnswerKind.MODERATED, AnswerKind.INVALID, AnswerKind.NO_PARENT})
TAKING = frozenset({AnswerKind.ACCEPTED, AnswerKind.QUEUED})


@dataclass(frozen=True)
class Release:
    """Dispatch lets the job through, by one of the doors: a slot there is its own from here.

    `slots`: no more may be held by all jobs there; `budget`: no more submissions may be paid for in its campaign.
    None: no bound.
    """

    door: str = DEFAULT
    slots: int | None = None
    budget: int | None = None


@dataclass(frozen=True)
class Claim:
    """A worker takes the job up: a new attempt begins."""

    worker: str


@dataclass(frozen=True)
class Commit:
    """The whole body but its last byte is sent; from here on the job may have been paid for."""

    attempt: int


@dataclass(frozen=True)
class Answer:
    """The API answered the submission, or it was proven not to have been sent (NOT_SENT, GIVEN_UP)."""

    attempt: int
    kind: AnswerKind
    task_id: str | None = None
    position: int | None = None
    code: int | None = None
    description: str = ""
    retry_after_seconds: float = 0.0


@dataclass(frozen=True)
class NoAnswer:
    """Committed, and no answer that could be understood."""

    attempt: int
    description: str
    code: int | None = None


@dataclass(frozen=True)
class LeaseEnd:
    """The time is up in which whoever held the job had to move it."""


# Who asked, where the picture's link had expired: the one that fetches the picture, and follows the fresh link itself.
FETCHER = "collect"


@dataclass(frozen=True)
class TaskSeen:
    """The API showed the task, by callback or when asked; `source` says who asked."""

    attempt: int
    task_id: str
    status: TaskStatus
    progress: int | None = None
    image_url: str | None = None
    failure: str = ""  # a class, "timeout", "moderated", …
    fail_reason: str = ""  # the API's words
    source: str = "poll"
    seed: str | None = None


@dataclass(frozen=True)
class TaskMissing:
    """Asked, the API said that it does not know the task."""

    attempt: int


@dataclass(frozen=True)
class PatienceEnd:
    """The task waits at the API for too long: we are about to cancel it there, to submit again."""

    attempt: int


@dataclass(frozen=True)
class Withdrawn:
    """The earlier task is cancelled there, or cannot be and is given up by the user's choice: free to submit again."""

    attempt: int


@dataclass(frozen=True)
class Collected:
    """The picture is on disk, checked and durable."""

    attempt: int
    picture: Picture


@dataclass(frozen=True)
class SeedTold:
    """The API told the seed of a picture that is here already."""

    attempt: int
    seed: str


@dataclass(frozen=True)
class Reuse:
    """Another job has succeeded with the same content: its picture will do. Void where that one no longer has it."""

    source: str
    picture: Picture


@dataclass(frozen=True)
class CollectFailed:
    """The picture could not be fetched this time."""

    description: str


@dataclass(frozen=True)
class Deadline:
    """Somebody looked at the clock: an unsure or silent job is parked when its time is up."""


@dataclass(frozen=True)
class Conflict:
    """Two jobs claim one task, or one picture: neither can be trusted to have its own."""

    other: str
    what: str


@dataclass(frozen=True)
class Cancel:
    """A person or producer no longer wants it."""


@dataclass(frozen=True)
class Retry:
    """A person orders another try; the only event that may pay again for a job that may have been paid for."""


@dataclass(frozen=True)
class Act:
    """Follow-ups are wanted: at once where the job has succeeded, else when it does. `again`: one more of each."""

    actions: tuple[Action, ...]
    again: bool = False


Event = (
    Release
    | Claim
    | Commit
    | Answer
    | NoAnswer
    | LeaseEnd
    | TaskSeen
    | TaskMissing
    | PatienceEnd
    | Withdrawn
    | Collected
    | SeedTold
    | Reuse
    | CollectFailed
    | Deadline
    | Conflict
    | Cancel
    | Retry
    | Act
)
