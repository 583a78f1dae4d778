"""What is kept for one who follows jobs, and what he is sent when nothing happens."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from jobs.job import Status
from jobs.store import JobStore
from jobs.telling.changes import Changed
from producer.api import event_routes, follower
from producer.api.follower import Follower, Subscription


def change(number: int, job_id: str = "job_1") -> Changed:
    return Changed(f"{number}-{number % 7}", job_id, "default", Status.RUNNING, number)


def test_the_latest_of_each_job_is_kept_in_order_whatever_the_length_of_its_id() -> None:
    one = Subscription(lambda found: found.job_id != "job_3")
    one.add([change(9), change(9, "job_2"), change(10), change(11, "job_3")])
    assert [(found.job_id, found.progress) for found in one.take()] == [("job_2", 9), ("job_1", 10)]
    assert (one.take(), one.missed, one.news.is_set()) == ([], False, False)


def test_who_is_too_slow_costs_no_more_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "MAX_WAITING_JOBS", 3)
    one = Subscription(lambda _: True)
    one.add([change(number, f"job_{number}") for number in range(4)])
    assert (one.take(), one.missed) == ([], True)


def test_a_comment_comes_when_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whatever stands in between does not take the connection for dead."""
    monkeypatch.setattr(event_routes, "HEARTBEAT_SECONDS", 0.01)

    async def first() -> Any:
        idle = Follower(cast("JobStore", None))
        return await anext(event_routes._live(idle, Subscription(lambda _: True), "0-0"))

    assert asyncio.run(first()).startswith(":")


def test_what_was_told_from_what_is_kept_is_not_told_again() -> None:
    """It comes twice where reading what was before and following overlap."""

    async def first() -> Any:
        one = Subscription(lambda _: True)
        one.add([change(5), change(7, "job_2")])
        return await anext(event_routes._live(Follower(cast("JobStore", None)), one, change(5).id))

    assert change(7).id in asyncio.run(first())
