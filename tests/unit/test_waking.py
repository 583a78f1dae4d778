"""Who is woken up after a change: somebody to fetch a picture once for each link, dispatch for each slot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from jobs.applying import Applied
from jobs.attempt import Attempt
from jobs.job import Job, Status
from jobs.queue import Wakeups
from jobs.request import BlendRequest
from jobs.store import JobStore
from worker.waking import wake_up

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(status: Status, link: str | None = None, code: int | None = None) -> Job:
    attempt = Attempt(number=1, claimed_at=NOW, image_url=link, code=code)
    request = BlendRequest(images=("a", "b"))
    return Job(id="job_1", request=request, created_at=NOW, status=status, attempts=(attempt,), current=1)


class Heard:
    """Wake-ups, and a gate that always wants one for dispatch."""

    def __init__(self) -> None:
        self.gate = self
        self.said: list[str] = []

    def collect(self) -> None:
        self.said.append("collect")

    def dispatch(self) -> None:
        self.said.append("dispatch")

    def ask_dispatch(self) -> bool:
        return True


COLLECTING = job(Status.COLLECTING, "http://cdn/1")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (job(Status.RUNNING), COLLECTING, ["collect", "dispatch"]),
        (COLLECTING, job(Status.COLLECTING, "http://cdn/1?fresh"), ["collect"]),
        (COLLECTING, job(Status.COLLECTING, "http://cdn/1", code=1), []),  # the answer came after the callback
        (COLLECTING, job(Status.SUCCEEDED, "http://cdn/1"), []),
        (job(Status.SUBMITTING), job(Status.WAITING), ["dispatch"]),
        (job(Status.COMMITTED), job(Status.ACCEPTED), []),
    ],
)
def test_who_is_woken_up(before: Job, after: Job, said: list[str]) -> None:
    heard: Any = Heard()
    wake_up(cast(JobStore, heard), cast(Wakeups, heard), Applied(before, after))
    assert heard.said == said
