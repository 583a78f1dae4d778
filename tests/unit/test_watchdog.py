"""The watchdog: when a worker counts as deaf."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.errors import StoreUnavailable
from worker.context import Activity, Context
from worker.watchdog import DEAF_SECONDS, STARTING_SECONDS, STUCK_SECONDS, Watchdog


class Broker:
    """Says how many wake-ups wait; None: does not answer."""

    def __init__(self) -> None:
        self.waiting: int | None = 1

    def messages(self, _: list[str]) -> int:
        if self.waiting is None:
            raise StoreUnavailable("away")
        return self.waiting


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def activity() -> Activity:
    activity = Activity()
    activity.last_at = 0.0
    return activity


@pytest.fixture
def watchdog(broker: Broker, activity: Activity) -> Watchdog:
    context: Any = SimpleNamespace(store=SimpleNamespace(gate=broker), activity=activity, leaving=threading.Event())
    watchdog = Watchdog(cast(Context, context))
    watchdog.hears()
    return watchdog


def test_deaf_after_the_wake_ups_waited_long_enough(watchdog: Watchdog) -> None:
    assert not watchdog.deaf(100.0)
    assert not watchdog.deaf(100.0 + DEAF_SECONDS)
    assert watchdog.deaf(101.0 + DEAF_SECONDS)


def test_a_worker_that_still_starts_is_given_more_time(broker: Broker, activity: Activity) -> None:
    context: Any = SimpleNamespace(store=SimpleNamespace(gate=broker), activity=activity)
    starting = Watchdog(cast(Context, context))
    assert not starting.deaf(100.0)
    assert not starting.deaf(101.0 + DEAF_SECONDS)
    starting.hears()
    assert not starting.deaf(102.0 + DEAF_SECONDS), "what waited while it started was not missed"
    assert starting.deaf(103.0 + 2 * DEAF_SECONDS)


def test_a_worker_that_never_starts_is_deaf_as_well(broker: Broker, activity: Activity) -> None:
    context: Any = SimpleNamespace(store=SimpleNamespace(gate=broker), activity=activity)
    starting = Watchdog(cast(Context, context))
    assert not starting.deaf(100.0)
    assert starting.deaf(101.0 + STARTING_SECONDS)


def test_not_deaf_while_nothing_waits(watchdog: Watchdog, broker: Broker) -> None:
    watchdog.deaf(100.0)
    broker.waiting = 0
    assert not watchdog.deaf(1000.0)
    broker.waiting = 1
    assert not watchdog.deaf(1001.0), "the waiting begins anew"


def test_not_deaf_while_redis_is_away(watchdog: Watchdog, broker: Broker) -> None:
    watchdog.deaf(100.0)
    broker.waiting = None
    assert not watchdog.deaf(1000.0)


def test_not_deaf_while_it_works(watchdog: Watchdog, activity: Activity) -> None:
    watchdog.deaf(100.0)
    with activity:
        assert not watchdog.deaf(1000.0)


def test_not_deaf_after_it_took_something(watchdog: Watchdog, activity: Activity) -> None:
    watchdog.deaf(100.0)
    activity.last_at = 100.0 + DEAF_SECONDS
    assert not watchdog.deaf(101.0 + DEAF_SECONDS)


def test_a_worker_that_leaves_is_stuck_once_it_has_had_nothing_to_do_for_long(
    watchdog: Watchdog, activity: Activity
) -> None:
    later = 101.0 + STUCK_SECONDS
    assert not watchdog.stuck(100.0, 100.0 + STUCK_SECONDS)
    assert watchdog.stuck(100.0, later)
    activity.busy = 1
    assert not watchdog.stuck(100.0, later), "an answer is on the wire, or not recorded yet"
    activity.busy, activity.last_at = 0, 102.0
    assert not watchdog.stuck(100.0, later), "what follows its last task is given the same time"


def test_a_worker_that_cannot_leave_is_ended(watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a Redis that takes connections and does not answer."""
    codes: list[int] = []
    watchdog._context.leaving.set()
    monkeypatch.setattr("worker.watchdog.STUCK_SECONDS", -1.0)
    monkeypatch.setattr("worker.watchdog.os._exit", codes.append)
    watchdog.run()
    assert codes == [0]
