"""Schedule: a manifest that is enqueued again and again by the clock. Pure but for reading the time zone's rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jobs.errors import UsageError
from jobs.plain_words import in_plain_words

MIN_EVERY_SECONDS = 1.0
MAX_SECONDS = 366 * 86400.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Overlap(StrEnum):
    """What to do when the jobs of the run before are not all finished."""

    SKIP = "skip"  # leave this run out
    QUEUE = "queue"  # begin it when they are
    ALLOW = "allow"  # begin it nevertheless


class Schedule(BaseModel):
    """When, what, and how. Either `cron` or `every_seconds` is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$", description="begins the names of its campaigns")]
    manifest: Annotated[str, Field(description="absolute path; may hold * and ?, and is read at each run")]
    root: Annotated[
        str | None, Field(description="the folder that the manifest and its pictures must be in, when others named it")
    ] = None
    cron: Annotated[str | None, Field(description="five fields: minute, hour, day, month, weekday")] = None
    every_seconds: Annotated[float | None, Field(ge=MIN_EVERY_SECONDS, le=MAX_SECONDS)] = None
    timezone: Annotated[str, Field(description="of the cron fields, as Europe/Berlin")] = "UTC"
    overlap: Overlap = Overlap.SKIP
    catch_up_seconds: Annotated[
        float, Field(ge=0, le=MAX_SECONDS, description="a run that comes later than this is left out")
    ] = 3600.0
    paused: bool = False

    @classmethod
    def parse(cls, **fields: object) -> Self:
        """
        Raises:
            UsageError: says which value cannot be.
        """
        try:
            return cls.model_validate({name: value for name, value in fields.items() if value is not None})
        except ValidationError as error:
            raise UsageError(f"schedule: {in_plain_words(error)}") from error

    @model_validator(mode="after")
    def _has_a_clock(self) -> Self:
        if (self.cron is None) == (self.every_seconds is None):
            raise ValueError("give either a cron expression (--cron) or a number of seconds (--every)")
        try:
            zone = ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {self.timezone!r}; give one as Europe/Berlin") from error
        if self.cron is not None:
            try:
                next(CronSim(self.cron, datetime.now(zone)))
            except (CronSimError, StopIteration) as error:
                raise ValueError(f"{self.cron!r} never comes, or is no cron expression, as '0 3 * * *' is") from error
        return self

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times at which it runs after `moment`, in UTC, each once.

        Daylight saving as Debian's cron has it: a time that the clock skips comes right after, one that it shows
        twice comes once; what runs every hour or more often runs by real time. In whole milliseconds, as they are kept:
        what is counted from a time that was cut off would be that time again.
        """
        if self.every_seconds is not None:
            count = int((moment - _EPOCH).total_seconds() // self.every_seconds) - 1
            while True:
                count += 1
                if (at := _EPOCH + timedelta(milliseconds=round(count * self.every_seconds * 1000))) > moment:
                    yield at
        for local in CronSim(self.cron or "", moment.astimezone(ZoneInfo(self.timezone))):
            yield local.astimezone(UTC)

    def next_after(self, moment: datetime) -> datetime:
        return next(self.after(moment))

    def next_times(self, moment: datetime, count: int) -> list[datetime]:
        return list(islice(self.after(moment), count))

    def campaign_of(self, at: datetime) -> str:
        """The campaign of one run. It is named by the time, so the same run twice enqueues nothing twice."""
        return f"{self.name}-{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03}Z"


class Outcome(StrEnum):
    """What became of a run."""

    ENQUEUED = "enqueued"
    SKIPPED = "skipped"  # the run before was not finished
    MISSED = "missed"  # nobody was there in time
    FAILED = "failed"  # the manifest is bad


class Ran(BaseModel):
    """One run, for the list of them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    outcome: Outcome
    campaign: str | None = None
    jobs: int = 0
    message: str = ""
