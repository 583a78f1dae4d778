"""Every error that blendq raises on purpose.

BlendqError
├── UsageError                 the call itself is wrong
│   └── SettingsError          a setting is missing, unknown or malformed
├── InvalidRequest             a job that could never be sent
│   ├── PictureError           a picture that is missing, broken or over a limit
│   ├── ManifestError          a manifest with bad rows; carries the first of them
│   ├── IdempotencyConflict    the same key was used for another request
│   └── JobPurged              the same key was used for a job that is gone
├── NotAGrid                   more is wanted of a job that has no finished 2×2 grid
├── JobNotFound
├── CampaignNotFound
├── ScheduleNotFound
├── ScheduleUnreadable         made by a newer version, or with a time zone that is not known here
├── WebhookNotFound
├── PictureMissing             a stored picture is gone from the image store
├── PictureUnreadable          it is there, and cannot be read now (retryable)
├── StoreUnavailable           Redis did not answer (retryable)
│   └── StoreForbidden         it refuses this user, or what the user asked for
├── ChangesMissed              a reader of the stream of changes was away for too long
├── EpochLost                  Redis came back without its records
├── WaitTimeout                a job was waited for, and is not finished yet (retryable)
├── UpstreamRefused            the API refused the key, or the account is out of quota
└── StackError                 a part of the local stack could not be started
    ├── PortInUse
    └── DataDirInUse

Each says what is wrong, where, and what to do; `code` is stable, `retryable` tells whether the same call may
succeed later, and `exit_code` is what the command line leaves with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


class BlendqError(Exception):
    """Base of the tree."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class UsageError(BlendqError):
    code = "usage"
    exit_code = 2


class SettingsError(UsageError):
    code = "settings"


class InvalidRequest(BlendqError):
    code = "invalid_request"
    exit_code = 4


class PictureError(InvalidRequest):
    code = "picture"


@dataclass(frozen=True)
class RowProblem:
    """One thing wrong with one row of a manifest. `line` counts from 1, as an editor does; in whatever `unit` is.

    `kind` is what it is for whoever enqueues that row alone.
    """

    line: int
    problem: str
    unit: str = "line"
    kind: type[InvalidRequest] = field(default=InvalidRequest, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.unit} {self.line}: {self.problem}"


class ManifestError(InvalidRequest):
    """A manifest that cannot be run. `problems` holds the first bad rows, `count` is how many there are.

    There are none when the file itself is bad.
    """

    code = "manifest"

    def __init__(self, message: str, problems: Sequence[RowProblem] = (), count: int = 0) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.count = count or len(self.problems)


class IdempotencyConflict(InvalidRequest):
    code = "idempotency_conflict"


class JobPurged(InvalidRequest):
    code = "job_purged"


class NotAGrid(BlendqError):
    code = "not_a_grid"


class JobNotFound(BlendqError):
    code = "job_not_found"


class CampaignNotFound(BlendqError):
    code = "campaign_not_found"


class ScheduleNotFound(BlendqError):
    code = "schedule_not_found"


class ScheduleUnreadable(BlendqError):
    code = "schedule_unreadable"

    def __init__(self, name: str, why: str) -> None:
        """
        Args:
            name: of the schedule.
            why: in plain words.
        """
        super().__init__(
            f"schedule {name!r} cannot be read here: {why}. Mend that (was it made by a newer version, or where more "
            f"time zones are known?); or forget it: blendq schedule remove {name}"
        )


class WebhookNotFound(BlendqError):
    code = "webhook_not_found"


class PictureMissing(BlendqError):
    code = "picture_missing"


class PictureUnreadable(BlendqError):
    code = "picture_unreadable"
    retryable = True

    def __init__(self, picture: str, error: OSError) -> None:
        """
        Args:
            picture: its name in the store.
            error: the system's.
        """
        super().__init__(f"picture {picture} cannot be read: {error.strerror}; it is tried again")


class StoreUnavailable(BlendqError):
    code = "store_unavailable"
    retryable = True


class StoreForbidden(StoreUnavailable):
    """A kind of absence: whoever works waits for the password or the user's rights to be set right."""

    code = "store_forbidden"


class WaitTimeout(BlendqError, TimeoutError):
    code = "wait_timeout"
    retryable = True


class ChangesMissed(BlendqError):
    code = "changes_missed"


class EpochLost(BlendqError):
    code = "epoch_lost"


class UpstreamRefused(BlendqError):
    code = "upstream_refused"
    exit_code = 5


class StackError(BlendqError):
    code = "stack"


class PortInUse(StackError):
    code = "port_in_use"
    exit_code = 2


class DataDirInUse(StackError):
    code = "data_dir_in_use"
    exit_code = 2
