"""HistoryEntry: one line of what a job has been through. Written by the store with each change, so nobody forgets."""

from __future__ import annotations

import functools
import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

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
    def enqueued(cls, job: Job) -> HistoryEntry:
        return cls(at=job.created_at, event="enqueue", after=Status.WAITING, detail=f"campaign {job.campaign}")


def line_of(event: Event, before: Job, after: Job, detail: str, at: datetime) -> bytes:
    """The history's new line: the entry as JSON, without an object made of it."""
    statuses = {"before": str(before.status), "after": str(after.status)}  # as enums they take three times as long
    line = {"at": at, "event": _snake_case(type(event).__name__), **statuses}
    if detail:
        line["detail"] = detail[:MAX_DETAIL_CHARACTERS]
    return to_json(line)


@functools.cache
def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
