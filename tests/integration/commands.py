"""What tests of the command line share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import events
from jobs.attempt import TaskStatus
from jobs.job import Picture
from producer import Producer

UPLOADED = (events.Release(), events.Claim("w1"), events.Commit(1))


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, "one JSON value, and nothing else"
        return json.loads(self.out)


def happen(blends: Producer, job_id: str, *happened: events.Event) -> None:
    for event in happened:
        blends.store.apply(job_id, event)


def succeed(blends: Producer, job_id: str) -> Path:
    stored = blends.images.find(blends.get(job_id).request.images[0])
    assert stored is not None
    url = "https://cdn.test/x"
    picture = Picture(digest=stored.digest, media_type="image/png", width=16, height=16, bytes=stored.bytes, url=url)
    seen = events.TaskSeen(1, f"task-{job_id}", TaskStatus.SUCCESS, image_url=url)
    happen(blends, job_id, *UPLOADED, seen, events.Collected(1, picture))
    return stored.path
