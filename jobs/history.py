"""HistoryEntry: one line of what a job has been through. Written by the store with each change, so nobody forgets."""

from __future__ import annotations

import functools
import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from jobs.events import Event
from jobs.job import Job, Status

MAX_DETAIL_CHARACTERS = 300


class HistoryEntry(BaseModel):
    """`before` is None for the first entry only."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    event: str
    before: Status | None = None
    after: Status
    detail: str = ""

    @classmethod
    def of(cls, event: Event, before: Job, after: Job, detail: str, at: datetime) -> HistoryEntry:
        return cls(
            at=at,
            event=_snake_case(type(event).__name__),
            before=before.status,
            after=after.status,
            detail=detail[:MAX_DETAIL_CHARACTERS],
        )

    @classmethod
    def enqueued(cls, job: Job) -> HistoryEntry:
        return cls(at=job.created_at, event="enqueue", after=Status.WAITING, detail=f"campaign {job.campaign}")

    def to_line(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


@functools.cache
def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
