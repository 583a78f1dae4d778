"""GET /v1/events: what becomes of jobs, as it happens; to be gone on with, and not too often."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from jobs import events
from jobs.attempt import TaskStatus
from jobs.settings import Settings
from producer import Producer
from tests.integration.commands import UPLOADED, happen, succeed
from tests.integration.service import Service, problem, serving


@pytest.fixture(scope="module")
def service(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(stack, tmp_path_factory.mktemp("api"), BLENDQ_SERVICE_REQUESTS_PER_SECOND="10000") as made:
        yield made


@dataclass(frozen=True)
class Event:
    id: str
    kind: str
    data: dict[str, Any]

    @property
    def told(self) -> tuple[str, str]:
        return self.data["id"], self.data["status"]


@contextmanager
def following(service: Service, path: str = "/v1/events", last: str | None = None) -> Iterator[Iterator[Event]]:
    """The events; it follows once the block begins."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with httpx.Client(base_url=service.url, timeout=30) as http, http.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": hello"
        yield _events(lines)


def _events(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


def until(events: Iterator[Event], job_id: str, status: str) -> list[Event]:
    found = []
    for event in events:
        found.append(event)
        if event.told == (job_id, status):
            return found
    raise AssertionError(f"the stream ended: {found}")


def test_whoever_follows_is_told_and_goes_on_where_he_was(service: Service, blends: Producer) -> None:
    with following(service) as told:
        first = service.enqueue()["id"]
        (seen,) = until(told, first, "waiting")
    second = service.enqueue()["id"]  # while he is away
    succeed(blends, second)
    with following(service, last=seen.id) as told:
        missed = until(told, second, "succeeded")
        assert missed[0].told == (second, "waiting")
        assert not [event for event in missed if event.data["id"] == first]
        third = service.enqueue()["id"]
        assert until(told, third, "waiting")[-1].data["campaign_id"] == "default"


def test_one_job_or_one_campaign_is_followed(service: Service, blends: Producer) -> None:
    ours, other = service.enqueue(campaign="ours"), service.enqueue(campaign="theirs")
    with following(service, ours["events_url"]) as told, following(service, "/v1/events?campaign=ours") as campaign:
        assert next(told).told == (ours["id"], "waiting"), "how it is now"
        blends.cancel(other["id"])
        blends.cancel(ours["id"])
        assert next(told).told == (ours["id"], "cancelled")
        assert next(campaign).told == (ours["id"], "cancelled")


def test_a_job_that_changes_often_is_told_of_twice_a_second(service: Service, blends: Producer) -> None:
    """And what is told last is what it has come to."""
    job_id = service.enqueue()["id"]
    happen(blends, job_id, *UPLOADED)
    with following(service) as told:
        began = time.monotonic()
        for progress in range(1, 61):
            seen = events.TaskSeen(1, f"task-{job_id}", TaskStatus.IN_PROGRESS, progress=progress)
            happen(blends, job_id, seen)
        seen_by_us = []
        for event in told:
            seen_by_us.append(event.data["progress"])
            if event.data["progress"] == 60:
                break
        # One at once, then one for each half second; some more, since the clock that counts is the server's.
        assert len(seen_by_us) <= 5 + (time.monotonic() - began) / 0.5
    assert seen_by_us == sorted(seen_by_us)


def test_who_was_away_for_too_long_is_told_that_some_are_missed(service: Service) -> None:
    with following(service, last="1-1") as told:
        assert next(told).kind == "missed"
        job_id = service.enqueue()["id"]
        assert until(told, job_id, "waiting")


@pytest.mark.parametrize("last", ["x", "1", "1-", "-1", "99999999999999999999-1"])
def test_a_place_that_cannot_be_is_refused(service: Service, last: str) -> None:
    problem(service.http.get("/v1/events", headers={"Last-Event-ID": last}), 400, "last_event_id")


def test_a_job_that_nobody_knows_is_not_followed(service: Service) -> None:
    problem(service.http.get("/v1/jobs/job_x/events"), 404, "job_not_found")


def test_who_follows_holds_up_nobody_who_leaves(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`serving` asks it to leave while the stream is open; it must end that, and itself in order."""
    with serving(stack, tmp_path_factory.mktemp("api")) as service, following(service) as told:
        service.process.terminate()
        assert list(told) == []
        assert service.process.wait(30) == 0
